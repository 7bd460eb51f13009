"""Collections: what a run makes, what a second one leaves alone, and what the manifest says of it."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import sharpbit
from sharpbit.app.cli import app
from sharpbit.collection.manifest import COLUMNS, Manifest, row_of
from sharpbit.collection.places import Item, items, place
from sharpbit.collection.worker import Settings, Worker
from sharpbit.errors import UsageError
from sharpbit.image import read
from sharpbit.pipeline.claims import Claims

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra batch)")
HERE = Path(__file__).parents[2]


def image(path, seed, height=20, width=26):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
    return path


def collection(folder, count=12):
    for number in range(count):
        image(folder / ("deep" if number % 2 else "") / f"{number}{'.png' if number % 3 else '.jpg'}", number)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    (folder / "readme.txt").write_text("no image")
    (folder / ".hidden").mkdir()
    image(folder / ".hidden" / "x.png", 0)
    return folder


def rows(results):
    return {row["path"]: row for row in parquet.read_table(results / "manifest.parquet").to_pylist()}


def stamps(results):
    """When each visible file was written: claims and what a manifest is made of are hidden."""
    files = [path for path in results.rglob("*") if path.is_file()]
    seen = [path for path in files if not any(part.startswith(".") for part in path.relative_to(results).parts)]
    return {path: path.stat().st_mtime_ns for path in seen}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A collection with its results, for tests that change neither."""
    root = tmp_path_factory.mktemp("made")
    source = collection(root / "source")
    report = sharpbit.upscale_collection(source, root / "results", scale=2, workers=2)
    return source, root / "results", report


def copied(made, tmp_path):
    for folder in made[:2]:
        shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path / "source", tmp_path / "results"


def test_every_file_has_a_truthful_row(made):
    source, results, report = made
    found = rows(results)
    assert (report.done, report.before, report.failed, report.ignored) == (12, 0, 1, 2)
    assert found["broken.png"]["status"] == "failed"
    assert "is damaged or cut off" in found["broken.png"]["error"]
    assert found["readme.txt"]["status"] == found[".hidden"]["status"] == "ignored"
    done = [row for row in found.values() if row["status"] == "done"]
    assert len(done) == 12
    for row in done:
        original, result = source / row["path"], results / row["result"]
        assert row["sha256"] == hashlib.sha256(original.read_bytes()).hexdigest()
        assert (row["bytes"], row["result_bytes"]) == (original.stat().st_size, result.stat().st_size)
        assert read(result).pixels.shape == (row["result_height"], row["result_width"], 3) == (40, 52, 3)
        assert (row["height"], row["width"], row["scale"]) == (20, 26, 2)
        assert row["model"].startswith("x2-")
    assert set(COLUMNS) == set(parquet.read_schema(results / "manifest.parquet").names)


def test_results_are_those_of_the_folder_command(made, tmp_path):
    source, results, _ = made
    sharpbit.upscale_folder(source, tmp_path, scale=2)
    for path in tmp_path.rglob("*.*"):
        assert path.read_bytes() == (results / path.relative_to(tmp_path)).read_bytes()


def test_a_second_run_does_what_is_new_alone(made, tmp_path):
    source, results = copied(made, tmp_path)
    old = stamps(results)
    nothing = sharpbit.upscale_collection(source, results, scale=2, workers=1)
    assert (nothing.done, nothing.before, nothing.failed, nothing.ignored) == (0, 12, 1, 2)
    assert stamps(results) == old
    image(source / "new.jpg", 100)
    image(source / "deep/7.png", 101)  # another image under the name of one that is done
    (results / "deep/5.png").unlink()
    report = sharpbit.upscale_collection(source, results, scale=2, workers=1)
    assert (report.done, report.before, report.failed) == (3, 10, 1)
    changed = {str(path.relative_to(results)) for path, stamp in stamps(results).items() if old.get(path) != stamp}
    assert changed == {"new.jpg", "deep/7.png", "deep/5.png", "manifest.parquet"}
    assert rows(results)["deep/7.png"]["sha256"] == hashlib.sha256((source / "deep/7.png").read_bytes()).hexdigest()
    assert len(rows(results)) == 16


def test_what_failed_is_tried_again_when_it_changed_or_when_asked(made, tmp_path):
    source, results = copied(made, tmp_path)
    again = sharpbit.upscale_collection(source, results, scale=2, workers=1, retry=True)
    assert (again.done, again.failed) == (0, 1)
    (results / "deep").rename(results / "elsewhere")  # a reason to fail that is none of the file's
    (results / "deep").write_text("no folder")
    failing = sharpbit.upscale_collection(source, results, scale=2, workers=1)
    assert (failing.done, failing.failed) == (0, 7)
    (results / "deep").unlink()
    left = sharpbit.upscale_collection(source, results, scale=2, workers=1)
    assert (left.done, left.failed) == (0, 7)
    mended = sharpbit.upscale_collection(source, results, scale=2, workers=1, retry=True)
    assert (mended.done, mended.failed) == (6, 1)
    image(source / "broken.png", 3)
    last = sharpbit.upscale_collection(source, results, scale=2, workers=1)
    assert (last.done, last.failed) == (1, 0)


def test_a_result_that_is_not_of_this_collection_is_never_replaced(tmp_path):
    image(tmp_path / "source/a.png", 1)
    sharpbit.upscale(tmp_path / "source/a.png", tmp_path / "out/a.png", model="x2-art-fast")
    theirs = (tmp_path / "out/a.png").read_bytes()
    for retry in (False, True, True):
        how = {"model": "x2-clean-fast", "workers": 1, "retry": retry}
        report = sharpbit.upscale_collection(tmp_path / "source", tmp_path / "out", **how)
        assert (report.done, report.failed) == (0, 1)
        assert "was made by x2-art-fast" in rows(tmp_path / "out")["a.png"]["error"]
        assert (tmp_path / "out/a.png").read_bytes() == theirs


def test_a_stale_result_is_replaced_when_the_file_is_whole_again(tmp_path):
    image(tmp_path / "source/a.png", 1)
    how = {"scale": 2, "workers": 1}
    assert sharpbit.upscale_collection(tmp_path / "source", tmp_path / "out", **how).done == 1
    (tmp_path / "source/a.png").write_bytes(b"broken")
    assert sharpbit.upscale_collection(tmp_path / "source", tmp_path / "out", **how).failed == 1
    assert rows(tmp_path / "out")["a.png"]["result"] == "a.png"
    image(tmp_path / "source/a.png", 2)
    before = (tmp_path / "out/a.png").read_bytes()
    assert sharpbit.upscale_collection(tmp_path / "source", tmp_path / "out", **how).done == 1
    assert (tmp_path / "out/a.png").read_bytes() != before


def test_other_settings_and_a_run_beside_it_are_refused(made, tmp_path):
    source, results = copied(made, tmp_path)
    with pytest.raises(UsageError, match="holds results with scale 2, and now it is 3"):
        sharpbit.upscale_collection(source, results, scale=3)
    with Claims() as claims:
        assert claims.take(results / ".sharpbit" / "run")
        with pytest.raises(UsageError, match="another run works on"):
            sharpbit.upscale_collection(source, results, scale=2)


def test_mistakes_are_one_sentence(tmp_path):
    source = collection(tmp_path / "source", 1)
    for arguments, sentence in (
        ([str(tmp_path / "nowhere"), str(tmp_path / "out")], "there is no folder"),
        ([str(source), str(source)], "would hold the results of its own images"),
        (["nothing://there", str(tmp_path / "out")], "is no folder that can be opened"),
        ([str(source), str(tmp_path / "out"), "-n", "x9-none"], "x9-none"),
        ([str(source), str(tmp_path / "out"), "-f", "xyz"], "is not written"),
        ([str(source), str(tmp_path / "out"), "--json", "--json-lines"], "exclude each other"),
    ):
        found = CliRunner().invoke(app, ["batch", *arguments])
        assert found.exit_code == 2, found.output
        assert sentence in found.output
        assert len(found.output.strip().splitlines()) == 1
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.parquet").write_bytes(b"PAR1 no manifest")
    found = CliRunner().invoke(app, ["batch", str(source), str(tmp_path / "out")])
    assert found.exit_code == 2
    assert "the manifest" in found.output


def test_the_command_prints_what_became_of_it(made, tmp_path):
    source, results = copied(made, tmp_path)
    found = CliRunner().invoke(app, ["batch", str(source), str(results), "-s", "2"])
    assert found.exit_code == 1
    assert "broken.png" in found.output
    assert "12 done before, 1 failed, 2 ignored" in found.output


def test_names_that_may_meet_are_told(tmp_path):
    image(tmp_path / "source/scan.bmp", 1)
    image(tmp_path / "source/scan.bmp.png", 2)
    report = sharpbit.upscale_collection(tmp_path / "source", tmp_path / "out", scale=2, workers=1)
    assert (report.done, report.failed) == (1, 1)
    found = rows(tmp_path / "out")
    assert found["scan.bmp"]["result"] == "scan.bmp.png"
    assert "may become the same file" in found["scan.bmp.png"]["error"]


def test_an_archive_is_a_folder_too(made, tmp_path):
    source, results, _ = made
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in ("deep/0.txt", "0.jpg"):
            archive.writestr(path, (source / path).read_bytes() if (source / path).exists() else b"")
    url = f"zip://::{tmp_path / 'all.zip'}"
    report = sharpbit.upscale_collection(url, tmp_path / "out", scale=2, workers=1)
    assert (report.done, report.failed, report.ignored) == (1, 0, 1)
    assert (tmp_path / "out/0.jpg").read_bytes() == (results / "0.jpg").read_bytes()
    again = sharpbit.upscale_collection(url, tmp_path / "out", scale=2, workers=1)
    assert (again.done, again.before) == (0, 1)


def test_an_object_store(made):
    """The file system of fsspec that lives in memory, in this process."""
    source, results, _ = made
    store = place("memory://photos")
    store.fs.pipe_file(store.of("a/0.jpg"), (source / "0.jpg").read_bytes())
    store.fs.pipe_file(store.of("a/.cache/0.jpg"), b"")
    target = place("memory://upscaled")
    found = sorted(items(store, target), key=lambda item: item.path)
    assert [(item.path, item.ignored) for item in found] == [("a/.cache/0.jpg", "it is hidden"), ("a/0.jpg", None)]
    worker = Worker(Settings("memory://photos", "memory://upscaled", scale=2))
    row = worker.make(found[1])
    assert row["status"] == "done", row
    assert target.fs.cat_file(target.of("a/0.jpg")) == (results / "0.jpg").read_bytes()
    assert worker.make(found[1])["note"] == "its result was there before the manifest had it"
    manifest = Manifest(target)
    manifest.settle(worker.settings.identity())
    manifest.add(row)
    assert Manifest(target).known() == {}
    manifest.merge()
    assert Manifest(target).known()["a/0.jpg"].result == "a/0.jpg"
    with pytest.raises(UsageError, match="holds results with scale 2"):
        manifest.settle(Settings("x", "y", scale=3).identity())


def test_a_network_that_fails_twice_is_asked_again(monkeypatch):
    from sharpbit.collection import worker

    tries = []

    def fetch():
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionResetError("gone")

    monkeypatch.setattr(worker, "_PAUSE", 0)
    worker.again(fetch)
    assert len(tries) == 3
    with pytest.raises(ConnectionResetError):
        worker.again(lambda: (_ for _ in ()).throw(ConnectionResetError("gone")))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer that interrupts")
def test_limits_of_time_and_memory(tmp_path):
    image(tmp_path / "a/large.png", 1, 900, 1600)
    image(tmp_path / "a/small.png", 1)
    how = {"scale": 4, "workers": 1}
    slow = sharpbit.upscale_collection(tmp_path / "a", tmp_path / "slow", max_seconds=0.15, **how)
    assert (slow.done, slow.failed) == (1, 1)
    assert "given up after 0.15 s" in rows(tmp_path / "slow")["large.png"]["error"]
    assert rows(tmp_path / "slow")["large.png"]["result_width"] is None
    assert not (tmp_path / "slow/large.png").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
def test_an_image_that_does_not_fit_fails_alone(tmp_path):
    image(tmp_path / "a/small.png", 1)
    Image.new("RGB", (8000, 7000)).save(tmp_path / "a/large.png")  # 168 MB
    report = sharpbit.upscale_collection(tmp_path / "a", tmp_path / "out", scale=2, workers=1, max_memory=128)
    assert (report.done, report.failed) == (1, 1)
    assert "perhaps the limit of 128 MiB is too small" in rows(tmp_path / "out")["large.png"]["error"]


def started(*arguments):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "sharpbit", "batch", *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(pid):
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "spawn_main" in line]


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to this in time"
        time.sleep(0.02)


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps to find processes with")
def test_a_killed_worker_and_a_killed_run_lose_nothing(tmp_path):
    for number in range(40):
        image(tmp_path / f"source/{number}.png", number, 120, 160)
    results = tmp_path / "results"
    made = lambda: len(list(results.glob("*.png")))  # noqa: E731
    with started(tmp_path / "source", results, "-s", "4", "--workers", "2") as run:
        until(lambda: made() >= 3)
        os.kill(children(run.pid)[0], signal.SIGKILL)
        until(lambda: made() >= 12)
        workers = children(run.pid)
        run.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 10)
    before = stamps(results)
    with started(tmp_path / "source", results, "-s", "4", "--workers", "2") as run:
        _, error = run.communicate(timeout=120)
    assert run.returncode == 0, error
    after = stamps(results)
    assert {path: after[path] for path in before} == before  # nothing was done twice
    found = rows(results)
    assert len(found) == made() == 40
    assert all(row["status"] == "done" for row in found.values())
    shutil.copyfile(HERE / "README.md", tmp_path / "source/none.txt")
    with started(tmp_path / "source", results, "-s", "4") as run:
        _, error = run.communicate(timeout=120)
    assert "40 done before" in error


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps to find processes with")
def test_control_c_says_how_to_go_on(tmp_path):
    for number in range(30):
        image(tmp_path / f"source/{number}.png", number, 200, 300)
    results = tmp_path / "results"
    with started(tmp_path / "source", results, "-s", "4", "--workers", "1") as run:
        until(lambda: len(list(results.glob("*.png"))) >= 2)
        run.send_signal(signal.SIGINT)
        _, error = run.communicate(timeout=60)
    assert run.returncode == 130, error
    assert error.strip().endswith("the same command goes on")
    assert not [path for path in results.iterdir() if path.name.endswith(".part")]
    assert len(rows(results)) >= 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own modules
def test_items_of_ray(tmp_path):
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    source = collection(tmp_path / "source", 40)
    report = sharpbit.upscale_collection(source, tmp_path / "by_ray", scale=2, workers=2, ray="local")
    assert (report.done, report.failed, report.ignored) == (40, 1, 2)
    sharpbit.upscale_collection(source, tmp_path / "here", scale=2, workers=1)
    for path in (tmp_path / "here").rglob("*.[jp][pn]g"):
        assert path.read_bytes() == (tmp_path / "by_ray" / path.relative_to(tmp_path / "here")).read_bytes()
    assert not ray.is_initialized()


def test_a_step_for_data_of_ones_own():
    import pickle

    import sharpbit.ray

    step = pickle.loads(pickle.dumps(sharpbit.ray.Upscale(scale=2)))
    some = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    found = step({"image": some, "path": np.array(["a", "b"])})
    assert found["image"].shape == (2, 40, 60, 3)
    assert np.array_equal(found["image"][1], sharpbit.upscale(some[1], scale=2))
    assert list(found["path"]) == ["a", "b"]
    mixed = np.empty(2, object)
    mixed[:] = [some[0], some[0, :10]]
    assert [image.shape for image in step({"image": mixed})["image"]] == [(40, 60, 3), (20, 60, 3)]


class EndpointError(Exception):
    """As packages of stores have them, derived from nothing that is known here."""


def unreachable(*given, **named):
    raise EndpointError("no route to host")


def test_what_a_store_raises_is_one_sentence(monkeypatch):
    store = place("memory://photos")
    for name in ("isdir", "exists", "cat_file", "pipe_file", "walk"):
        monkeypatch.setattr(type(store.fs), name, unreachable)
    for work in (
        store.is_folder,
        lambda: store.exists("a"),
        lambda: store.read("a"),
        lambda: store.write("a", b""),
        lambda: list(items(store, place("memory://upscaled"))),
    ):
        with pytest.raises(UsageError, match="memory://photos cannot be reached: no route to host"):
            work()


def test_a_store_that_fails_while_its_manifest_is_merged_is_one_sentence(monkeypatch):
    store = place("memory://upscaled-once")
    manifest = Manifest(store)
    for name in ("rm_file", "open"):
        manifest.add(row_of(Item("a.png"), "done", result="a.png"))
        manifest.flush()
        with monkeypatch.context() as broken:
            broken.setattr(type(store.fs), name, unreachable)
            with pytest.raises(UsageError, match="memory://upscaled-once cannot be reached: no route to host"):
                manifest.known()
    assert list(manifest.known()) == ["a.png"]


def test_errors_name_the_file_of_the_store():
    store = place("memory://photos")
    store.fs.pipe_file(store.of("deep/broken.png"), b"\x89PNG\r\n\x1a\n and nothing more")
    row = Worker(Settings("memory://photos", "memory://upscaled", scale=2)).make(Item("deep/broken.png"))
    assert row["error"].startswith("broken.png is damaged")


def test_an_item_that_cannot_be_taken_has_a_row():
    worker = Worker(Settings("memory://photos", "memory://upscaled", scale=2))
    row = worker.make(Item("gone.png"))
    assert row["status"] == "failed"
    assert "gone.png" in row["error"]
