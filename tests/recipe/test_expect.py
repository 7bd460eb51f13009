"""What recipes expect: the printed numbers, or what was measured here, or why there are none."""

from pathlib import Path

import pytest

from sharpbit import recipe
from sharpbit.recipe import Expected

FOLDER = Path(__file__).parents[2] / "recipes"
PRINTED = sorted((FOLDER / "refqsr").glob("*.toml"))
TRAINED = [path for path in sorted(FOLDER.rglob("*.toml")) if path.parent.name != "compose"]  # which name commands
MEASURED = sorted(path for name in ("refqsr", "carn-m") for path in (FOLDER / "evidence" / name).glob("*.toml"))


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_a_recipe_without_numbers_says_why(path):
    assert recipe.read(path).expect or "[expect]  # " in path.read_text()


@pytest.mark.parametrize("path", [*PRINTED, *MEASURED], ids=lambda path: path.stem)
def test_every_recipe_says_what_it_expects(path):
    """Printed numbers say that they are no measurements of ours."""
    for name, value in recipe.read(path).expect.items():
        if isinstance(value, Expected):
            assert name in ("Urban100", "Test2K", "Test4K")
            assert "not measured here" in value.note
        else:
            assert 25 < value < 38, name


def test_the_row_of_the_abstract_is_there():
    """SRResNet-DDTB 8-4 on Urban100: 25.97 dB."""
    expected = recipe.read(FOLDER / "refqsr" / "srresnet-ddtb-8-4-x4.toml").expect["Urban100"]
    assert isinstance(expected, Expected)
    assert (expected.psnr, expected.ssim) == (25.97, 0.781)
