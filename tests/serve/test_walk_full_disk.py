"""A full disk below the server: a sentence and 507, and no fault of sharpbit."""

import errno
import io

import pytest
from serving import client, picture

from sharpbit.serve import stored, work


class Full(io.FileIO):
    """A file on a disk that is full."""

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


class Broken(io.FileIO):
    """A file on a disk that has failed."""

    def write(self, data):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(("disk", "status"), [(Full, 507), (Broken, 500)])
def test_an_upload_onto_a_full_disk(monkeypatch, tmp_path, disk, status):
    with client() as api:
        monkeypatch.setattr(api._transport, "raise_server_exceptions", False)
        monkeypatch.setattr(stored.tempfile, "TemporaryFile", lambda **_: disk(tmp_path / "upload", "w+"))
        answer = api.post("/v1/upscale", content=picture(), headers={"content-type": "image/png"})
        assert answer.status_code == status, answer.text
        assert ("the disk of the server is full" in answer.json()["error"]) == (status == 507)
        assert ("report" in answer.json()["error"]) == (status == 500)
        described = api.get("/openapi.json").json()["paths"]["/v1/upscale"]["post"]["responses"]
        assert "507" in described


def test_a_result_that_has_no_place(monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    with client() as api:
        monkeypatch.setattr(work, "Stored", full)
        begun = api.post("/v1/jobs", content=picture(), headers={"content-type": "image/png"}).json()
        job = api.get(f"/v1/jobs/{begun['id']}", params={"wait": 5}).json()
        assert job["state"] == "failed"
        assert "no file for the result (No space left on device)" in job["error"]
