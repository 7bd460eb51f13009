"""Mistakes with collections: odd names, damaged records, scripts without a guard, runs that were killed."""

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from sharpbit.collection import cluster, pool, upscaling
from sharpbit.collection.manifest import Known, Manifest, row_of, row_of_other
from sharpbit.collection.places import Item, items, place
from sharpbit.collection.worker import Settings
from sharpbit.errors import UsageError
from sharpbit.pipeline import claims

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra batch)")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra batch)")


def found(source, results):
    return {item.path: item for item in items(place(source), place(results))}


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes and pipes are those of Linux")
def test_odd_names_and_pipes_have_rows_that_a_manifest_holds(tmp_path):
    for name in (b"sur\xff.png", b"sur\xff.txt", b"line\nbreak.png"):
        (tmp_path / os.fsdecode(name)).touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "film.mp4").symlink_to("folder")
    listed = found(tmp_path, tmp_path / "out")
    assert "rename it" in listed["sur\\udcff.png"].error
    assert listed["sur\\udcff.txt"].error is None
    assert listed["line\nbreak.png"].error is listed["line\nbreak.png"].ignored is None
    assert listed["pipe.mp4"].ignored == "it is no file"  # it would be waited for
    assert listed["film.mp4"].ignored == "it is no file"
    assert listed["link"].ignored == "it is a link to a folder"  # there is no option that enters it
    manifest = Manifest(place(tmp_path / "out"))
    for item in listed.values():
        manifest.add(row_of_other(item))
    manifest.add(row_of(Item("x.png"), "failed", error=f"{tmp_path}/\udcff cannot be written"))
    assert len(manifest.known()) == len(listed) + 1


def test_results_are_no_images_of_their_collection_by_a_link_either(tmp_path):
    (tmp_path / "photos" / "out").mkdir(parents=True)
    for name in ("a.png", "out/a.png"):
        (tmp_path / "photos" / name).touch()
    (tmp_path / "link").symlink_to("photos/out")
    (tmp_path / "same").symlink_to("photos")
    assert set(found(tmp_path / "photos", tmp_path / "link")) == {"a.png"}
    with pytest.raises(UsageError, match="would hold the results of its own images"):
        upscaling.upscale_collection(tmp_path / "same", tmp_path / "photos")
    with pytest.raises(UsageError, match="name of a folder is empty"):
        upscaling.upscale_collection("", tmp_path / "photos")


def test_names_of_videos_that_may_meet_are_told(tmp_path):
    for name in ("clip.avi", "clip.avi.mkv"):
        (tmp_path / name).touch()
    assert "may become the same file" in found(tmp_path, tmp_path / "out")["clip.avi.mkv"].error


def test_a_manifest_of_another_version(tmp_path):
    manifest = Manifest(place(tmp_path))
    manifest.add(row_of(Item("a.png", 3, "7"), "done", result="a.png"))
    manifest.merge()
    path = tmp_path / "manifest.parquet"
    table = parquet.read_table(path)
    parquet.write_table(table.drop_columns(["error", "note"]).append_column("later", arrow.array([1])), path)
    assert manifest.known()["a.png"].result == "a.png"
    manifest.add(row_of(Item("b.png"), "failed", error="no"))
    assert set(manifest.known()) == {"a.png", "b.png"}
    assert parquet.read_schema(path).names == table.column_names
    parquet.write_table(table.drop_columns(["status"]), path)
    with pytest.raises(UsageError, match=r"cannot be read \(it has no column status\)"):
        manifest.known()


@pytest.mark.parametrize("damaged", ["{", "[1]", "null", "\udcff"])
def test_damaged_settings_are_one_sentence(tmp_path, damaged):
    manifest, identity = Manifest(place(tmp_path)), Settings("a", "b", scale=2).identity()
    manifest.settle(identity)
    path = tmp_path / ".sharpbit" / "settings.json"
    lacking = {key: value for key, value in json.loads(path.read_text()).items() if key != "exact"}
    path.write_text(json.dumps(lacking))  # of a version that had no such option
    manifest.settle(identity)
    path.write_bytes(damaged.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=r"settings\.json is damaged"):
        manifest.settle(identity)


def test_a_run_that_made_nothing_settles_nothing(tmp_path):
    manifest = Manifest(place(tmp_path))
    for scale in (2, 3):
        manifest.settle(Settings("a", "b", scale=scale).identity())
    (tmp_path / "a.png").touch()
    with pytest.raises(UsageError, match="with scale 3, and now it is not given"):
        manifest.settle(Settings("a", "b").identity())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own modules
def test_an_address_that_is_no_cluster_is_one_sentence():
    pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    with pytest.raises(UsageError, match="there is no Ray cluster at 'nonsense'"):
        list(cluster.on_ray([Item("a.png")], Settings("a", "b"), "nonsense", 1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own modules
def test_an_address_where_nobody_listens_is_one_sentence_at_once():
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(UsageError, match=f"there is no Ray cluster at '{address}': .*refused"):
            list(cluster.on_ray([Item("a.png")], Settings("a", "b"), address, 1))
    assert time.monotonic() - begun < 10  # Ray alone warns and waits for twenty seconds or more
    assert not ray.is_initialized()


def test_another_model_under_the_same_name_is_another_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"one")
    assert upscaling._model("model.onnx") == str(tmp_path / "model.onnx")  # for processes with another folder
    assert upscaling._model("auto") is None
    before = Settings("a", "b", model="model.onnx").identity()
    (tmp_path / "model.onnx").write_bytes(b"two")
    assert Settings("a", "b", model="model.onnx").identity() != before


def test_what_failed_after_it_was_done_replaces_its_old_result():
    item = Item("a.png", 5, "2")
    for status, modified, old in (
        ("done", "2", False),
        ("done", "1", True),
        ("failed", "1", True),
        ("ignored", "1", False),
    ):
        known = {"a.png": Known(status, 5, modified, "a.png", "")}
        assert upscaling._marked(item, known).replaces == ("a.png" if old else "")
    assert not upscaling._marked(item, {}).replaces


def test_a_file_that_a_broken_pool_did_not_take_is_not_lost(monkeypatch):
    def submit(work, item):
        raise BrokenProcessPool

    @contextmanager
    def broken(settings, workers):
        yield SimpleNamespace(submit=submit), SimpleNamespace(value=1)

    monkeypatch.setattr(pool, "_pool", broken)
    one_by_one = []

    def alone(suspects, settings):
        one_by_one.extend(item.path for item, _ in suspects)
        suspects.clear()
        yield {}

    monkeypatch.setattr(pool, "_one_by_one", alone)
    coming = [Item("a.png")]
    assert list(pool.in_processes(coming, Settings("a", "b"), 1)) == [{}]
    assert one_by_one == ["a.png"]


def test_a_script_without_a_guard_is_told(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    script = tmp_path / "script.py"
    script.write_text("import sharpbit\nsharpbit.upscale_collection('photos', 'out', workers=1)\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1  # of the script itself; its processes end without a word
    assert "below 'if __name__ == \"__main__\":'" in done.stderr


def test_a_run_that_was_killed_on_another_machine_is_waited_out(tmp_path, monkeypatch):
    monkeypatch.setattr(upscaling, "BEAT", 0.2)
    monkeypatch.setattr(upscaling, "PATIENCE", 0.5)
    claim = claims.claim_of(tmp_path / ".sharpbit" / "run")
    claim.parent.mkdir()
    claim.write_text("elsewhere 1 abc")
    with claims.Claims(beat=0.05, patience=0.3) as mine:
        upscaling._claim(place(tmp_path), mine)
        with claims.Claims(patience=0.3) as others, pytest.raises(UsageError, match="another run works on"):
            upscaling._claim(place(tmp_path), others)
    assert not claim.exists()


def test_limits_that_are_none_are_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    for seconds in (0, -1, "1"):
        with pytest.raises(UsageError, match="max_seconds is a number"):
            upscaling.upscale_collection(tmp_path / "photos", tmp_path / "out", max_seconds=seconds)
    assert not (tmp_path / "out").exists()
