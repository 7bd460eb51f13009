"""Which files become which, decided before anything is read."""

from pathlib import Path

import pytest

from sharpbit.errors import UsageError
from sharpbit.pipeline.jobs import jobs


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder to plan in, by the relative names that a user types; nothing in it is ever opened."""
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/b.JPG", "in/sub/a.png", "in/.hidden.png", "in/.cache/x.png", "in/read.me", "one.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def plan(inputs, output=None, *, suffix=".png", template=None, model="x2-clean-balanced", scale="2"):
    found = jobs(inputs, output, suffix=suffix, template=template, model=model, scale=scale)
    return [job for job in found if job.ignored is None]


def pairs(*arguments, **more):
    found = plan(*arguments, **more)
    assert [job.error for job in found] == [None] * len(found)
    return {str(job.source): str(job.target) for job in found}


def test_a_walk_takes_images_in_order_and_leaves_hidden_ones(tree):
    assert [str(job.source) for job in plan(["in"], "out")] == ["in/a.png", "in/b.JPG", "in/sub/a.png"]


@pytest.mark.parametrize(
    ("inputs", "output", "expected"),
    [
        (["one.jpg"], None, {"one.jpg": "one_x2.png"}),
        (["one.jpg"], "big.webp", {"one.jpg": "big.webp"}),
        (["one.jpg"], "new/deep/big.PNG", {"one.jpg": "new/deep/big.PNG"}),
        (["one.jpg"], "folder", {"one.jpg": "folder/one.png"}),
        (["one.jpg"], "folder.png/", {"one.jpg": "folder.png/one.png"}),
        (["one.jpg"], "version1.0", {"one.jpg": "version1.0/one.png"}),
        (["one.jpg"], ".", {"one.jpg": "one_x2.png"}),
        (["in/a.png"], "in", {"in/a.png": "in/a_x2.png"}),
        (
            ["in", "one.jpg"],
            "out",
            {
                "in/a.png": "out/a.png",
                "in/b.JPG": "out/b.png",
                "in/sub/a.png": "out/sub/a.png",
                "one.jpg": "out/one.png",
            },
        ),
        (["in/sub"], None, {"in/sub/a.png": "in/sub/a_x2.png"}),
        (["./one.jpg", "one.jpg", "in/../one.jpg"], "out", {"one.jpg": "out/one.png"}),
    ],
)
def test_where_results_go(tree, inputs, output, expected):
    assert pairs(inputs, output) == expected


def test_a_factor_that_is_no_whole_number_is_in_the_name(tree):
    assert pairs(["one.jpg"], scale="1.5") == {"one.jpg": "one_x1.5.png"}


def test_a_size_in_pixels_is_no_factor_in_the_name(tree):
    assert pairs(["one.jpg"], scale="fit") == {"one.jpg": "one_fit.png"}


@pytest.mark.parametrize("output", [None, "in", "in/out", "out"])
def test_the_same_command_again_takes_the_same_images(tree, output):
    """What the first run wrote into its own input must not become input of the second."""
    first = pairs(["in"], output)
    for target in first.values():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    assert pairs(["in"], output) == first


def test_a_shell_pattern_again_takes_the_same_images(tree):
    first = pairs(["in/a.png", "in/b.JPG"])
    assert pairs(["in/a.png", "in/a_x2.png", "in/b.JPG", "in/b_x2.png"]) == first


def test_a_collision_keeps_the_ending_of_both(tree):
    Path("in/a.jpg").touch()
    found = pairs(["in"], "out")
    assert found["in/a.jpg"] == "out/a.jpg.png"
    assert found["in/a.png"] == "out/a.png.png"
    assert found["in/b.JPG"] == "out/b.png"


def test_names_that_differ_in_capitals_collide(tree):
    """On many file systems A.png and a.png are one file."""
    Path("in/A.jpg").touch()
    assert pairs(["in"], "out")["in/A.jpg"] == "out/A.jpg.png"


def test_two_folders_with_one_name_are_an_error_of_the_second(tree):
    Path("other").mkdir()
    Path("other/a.png").touch()
    found = plan(["in/a.png", "other/a.png"], "out")
    assert found[0].error is None
    assert "in/a.png goes already" in str(found[1].error)


def test_a_image_is_never_its_own_result(tree):
    (named,) = plan(["in/a.png"], "in/sub/../a.png")
    (templated,) = plan(["in/a.png"], template="{stem}")
    for job in (named, templated):
        assert "its own result" in str(job.error)


def test_an_original_is_not_taken_for_a_result(tree):
    """a.jpg and a.png become a.jpg.jpg and a.png.jpg: neither is made from the other."""
    Path("in/a.jpg").touch()
    found = pairs(["in/a.jpg", "in/a.png"], suffix=".jpg", template="{stem}")
    assert found == {"in/a.jpg": "in/a.jpg.jpg", "in/a.png": "in/a.png.jpg"}


def test_a_template(tree):
    found = pairs(["one.jpg"], "out", template="{model}-{scale}-{stem}-{ext}-{{x}}")
    assert found == {"one.jpg": "out/x2-clean-balanced-2-one-jpg-{x}.png"}


@pytest.mark.parametrize(
    "template",
    [
        *("", "x", "{scale}", "{stem", "stem}", "{}", "{0}{stem}", "{stem.__class__}", "{stem[0]}", "{stem}{nope}"),
        *("{stem:d}", "{stem:999999999}", "{stem!r}", "{stem:{ext}}", "../{stem}", "a/{stem}"),
    ],
)
def test_a_template_that_cannot_work(tree, template):
    with pytest.raises(UsageError, match="template"):
        plan(["one.jpg"], "out", template=template)


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        ([], None, "at least one image"),
        (["-", "one.jpg"], None, "one image, not 2"),
        (["in"], "-", "one image, not 3"),
        (["in"], "out.png", "cannot all go to out.png"),
        (["in"], "one.jpg", "cannot all go to one.jpg"),
        (["one.jpg", "in/a.png"], "out.png", "cannot all go to out.png"),
        (["one.jpg"], "big.jxl", "ends in '.jxl'"),
        (["one.jpg"], "big.jpgg", "ends in '.jpgg'"),
    ],
)
def test_a_plan_that_cannot_work(tree, inputs, output, message):
    with pytest.raises(UsageError, match=message):
        plan(inputs, output)


@pytest.mark.parametrize(
    ("inputs", "output", "source", "target"),
    [
        (["-"], None, "-", "-"),
        (["-"], "-", "-", "-"),
        (["-"], "big.png", "-", Path("big.png")),
        (["one.jpg"], "-", Path("one.jpg"), "-"),
    ],
)
def test_streams(tree, inputs, output, source, target):
    (job,) = plan(inputs, output)
    assert (job.source, job.target) == (source, target)
