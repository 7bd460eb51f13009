"""The HTTP API in process: what comes back, and what each kind of wrong request gets."""

import io
import time
import zipfile

import numpy as np
import pytest
from PIL import Image
from serving import client, header_of_png, picture

import sharpbit
from sharpbit.image.resize import resize

ME = {"sharpbit-client": "me"}


@pytest.fixture(scope="module")
def api():
    with client() as found:
        yield found


def started(api, name="photo.png", data=None, headers=ME, **fields):
    answer = api.post("/v1/jobs", files={"image": (name, data or picture())}, data=fields, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


def finished(api, **given):
    job = api.get(f"/v1/jobs/{started(api, **given)['id']}", params={"wait": 30}).json()
    assert job["state"] in ("done", "failed"), job
    return job


def opened(answer):
    return Image.open(io.BytesIO(answer.content))


def test_an_image_comes_back_as_python_makes_it(api, tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    expected = np.asarray(Image.open(sharpbit.upscale(tmp_path / "a.png", scale=3)))
    answer = api.post("/v1/upscale", files={"image": ("a.png", picture())}, data={"scale": "3"})
    assert answer.status_code == 200
    assert np.array_equal(np.asarray(opened(answer)), expected)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["sharpbit-models"].startswith("x3-")
    assert "a_x3.png" in answer.headers["content-disposition"]


def test_an_image_alone_is_a_body_too(api):
    answer = api.post(
        "/v1/upscale?scale=2&format=webp&name=b.png", content=picture(), headers={"content-type": "image/png"}
    )
    assert opened(answer).format == "WEBP"
    assert opened(answer).size == (48, 32)
    assert "b_x2.webp" in answer.headers["content-disposition"]


def test_a_job_says_what_was_chosen_and_what_it_cost(api):
    job = finished(api, name="old.jpg", data=picture(64, 64, "JPEG", quality=40), scale="2")
    assert job["state"] == "done"
    assert job["models"] == ["x2-photo-balanced"]
    assert "JPEG" in job["why"]
    assert job["size"] == {"width": 64, "height": 64}
    assert job["result_size"] == {"width": 128, "height": 128}
    assert set(job["seconds"]) == {"waiting", "decode", "network", "encode"}
    assert job["engines"][0]["precision"] == "int8"
    assert job["result_name"] == "old_x2.jpg"
    result = api.get(f"/v1/jobs/{job['id']}/result")
    assert len(result.content) == job["bytes"]
    assert opened(result).format == "JPEG"


def test_an_image_is_upscaled_again_without_being_sent_again(api):
    first = finished(api)
    answer = api.post("/v1/jobs", data={"job": first["id"], "scale": "4"}, files={"nothing": ("", b"")})
    assert answer.status_code == 422  # a second field with a file
    answer = api.post("/v1/upscale", headers={"content-type": "multipart/form-data; boundary=B"}, content=(
        f'--B\r\nContent-Disposition: form-data; name="job"\r\n\r\n{first["id"]}\r\n'
        '--B\r\nContent-Disposition: form-data; name="scale"\r\n\r\n4\r\n--B--\r\n'
    ))  # fmt: skip
    assert answer.status_code == 200
    assert opened(answer).size == (96, 64)


def test_a_client_sees_its_own_jobs_alone(api):
    mine, other = started(api, headers={"sharpbit-client": "A"}), started(api, headers={"sharpbit-client": "B"})
    nobody = started(api, headers={})
    listed = {job["id"] for job in api.get("/v1/jobs", headers={"sharpbit-client": "A"}).json()["jobs"]}
    assert mine["id"] in listed
    assert not {other["id"], nobody["id"]} & listed
    assert api.get("/v1/jobs").json() == {"jobs": []}


def test_all_frames_of_an_animation(api):
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    answer = api.post("/v1/upscale", files={"image": ("a.gif", out.getvalue())})
    assert opened(answer).n_frames == 2


def test_decoded_layers_go_with_their_job(api):
    job = finished(api)
    api.get(f"/v1/jobs/{job['id']}/view/after")
    kept = api.app.app.state.views._kept
    assert (job["id"], "after") in kept
    api.delete(f"/v1/jobs/{job['id']}")
    assert (job["id"], "after") not in kept


def test_layers_of_the_page(api):
    job = finished(api, data=picture(40, 30))
    at = f"/v1/jobs/{job['id']}/view"
    before, bicubic, after = (np.asarray(opened(api.get(f"{at}/{name}"))) for name in ("before", "bicubic", "after"))
    original = np.asarray(Image.open(io.BytesIO(picture(40, 30))))
    assert np.array_equal(before, original)
    assert np.array_equal(after, np.asarray(opened(api.get(f"/v1/jobs/{job['id']}/result"))))
    expected = resize(original.astype(np.float32), 60, 80)
    assert np.abs(bicubic - np.rint(expected).clip(0, 255)).max() <= 1
    part = np.asarray(opened(api.get(f"{at}/bicubic", params={"left": 31, "top": 17, "width": 20, "height": 9})))
    assert np.array_equal(part, bicubic[17:26, 31:51])
    assert opened(api.get(f"{at}/after", params={"side": 16})).size == (16, 12)
    assert opened(api.get(f"{at}/after", params={"left": 79, "top": 59, "width": 9, "height": 9})).size == (1, 1)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16"])
def test_layers_of_other_samples(api, mode):
    image = Image.fromarray(np.arange(300, dtype=np.uint16).reshape(15, 20) * 200) if mode == "I;16" else None
    image = image or Image.new(mode, (20, 15), (100, 200)[: len(mode)] if mode != "RGBA" else (9, 8, 7, 100))
    out = io.BytesIO()
    image.save(out, "PNG")
    job = finished(api, data=out.getvalue())
    for name in ("before", "bicubic", "after"):
        shown = opened(api.get(f"/v1/jobs/{job['id']}/view/{name}"))
        assert shown.mode == mode.replace("I;16", "L")
        assert shown.size == ((20, 15) if name == "before" else (40, 30))


def test_results_in_an_archive(api):
    jobs = [finished(api), finished(api), finished(api, name="ü/../b.png")]
    answer = api.get("/v1/results.zip", params=[("id", job["id"]) for job in jobs])
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == ["photo_x2.png", "photo_x2 (2).png", "b_x2.png"]
    assert archive.testzip() is None


def test_models_limits_health_metrics(api):
    names = [model["name"] for model in api.get("/v1/models").json()["models"]]
    assert "x2-photo-balanced" in names
    assert api.get("/v1/limits").json()["pixels"] == 64 << 20
    assert api.get("/health").json()["status"] == "ok"
    finished(api)
    text = api.get("/metrics").text
    for line in text.splitlines():
        assert line.startswith("# ") or len(line.rsplit(" ", 1)) == 2
        assert line.startswith("# ") or float(line.rsplit(" ", 1)[1]) >= 0
    assert 'sharpbit_requests_total{code="200"}' in text
    assert 'sharpbit_jobs_total{state="done"}' in text


def test_the_description_has_every_address_and_method(api):
    described = api.get("/openapi.json").json()["paths"]
    for path, methods in described.items():
        for method in ("get", "post", "delete", "put"):
            address = path.replace("{id}", "x").replace("{layer}", "after")
            status = api.request(method, address).status_code
            assert (status == 405) == (method not in methods), (method, path)
            if method in methods and status >= 300:
                assert str(status) in methods[method]["responses"]
    routes = {route.path for route in api.app.app.routes}
    assert {path for path in routes if path.startswith(("/v1", "/health", "/metrics"))} == set(described)


def test_what_was_deleted_is_gone(api):
    job = finished(api)
    assert api.delete(f"/v1/jobs/{job['id']}").status_code == 204
    for path in ("", "/result", "/view/after"):
        answer = api.get(f"/v1/jobs/{job['id']}{path}")
        assert answer.status_code == 404
        assert "expired" in answer.json()["error"]


WRONG = {
    "no image": ({"files": {"image": ("a.txt", b"words, no image")}}, 415, "not an image"),
    "a PDF": ({"files": {"image": ("a.png", b"%PDF-1.7 and so on")}}, 415, "a PDF document"),
    "empty": ({"files": {"image": ("a.png", b"")}}, 422, "is empty"),
    "cut off header": ({"files": {"image": ("a.png", picture()[:20])}}, 422, "damaged"),
    "a huge header": ({"files": {"image": ("a.png", header_of_png(100_000, 100_000))}}, 413, "10,000,000,000"),
    "a huge result": ({"files": {"image": ("a.png", header_of_png(8000, 8000))}, "data": {"scale": "16"}}, 413, "128"),
    "unknown model": ({"files": {"image": ("a.png", picture())}, "data": {"model": "nix"}}, 422, "no model 'nix'"),
    "a model by its path": (
        {"files": {"image": ("a.png", picture())}, "data": {"model": "/etc/passwd"}}, 422, "no model 'passwd'"
    ),
    "a factor too large": ({"files": {"image": ("a.png", picture())}, "data": {"scale": "17"}}, 422, "from 1 to 16"),
    "a factor, nan": ({"files": {"image": ("a.png", picture())}, "data": {"scale": "nan"}}, 422, "from 1 to 16"),
    "a format": ({"files": {"image": ("a.png", picture())}, "data": {"format": "exe"}}, 422, "not one of"),
    "a quality": ({"files": {"image": ("a.png", picture())}, "data": {"quality": "50.5"}}, 422, "whole number"),
    "an unknown field": ({"files": {"image": ("a.png", picture())}, "data": {"path": "/etc"}}, 422, "no field 'path'"),
    "another field": ({"files": {"photo": ("a.png", picture())}}, 422, "belongs into image"),
    "nothing": ({"content": b"", "headers": {"content-type": "text/plain"}}, 415, "send a form"),
    "no type": ({"content": b"x"}, 415, "of no type"),
    "a form without an image": (
        {"content": b"--B--\r\n", "headers": {"content-type": "multipart/form-data; boundary=B"}}, 422, "give an image"
    ),
    "a broken form": (
        {"content": b"nonsense", "headers": {"content-type": "multipart/form-data; boundary=B"}}, 400, "form"
    ),
    "no boundary": ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
    "two images": (
        {"files": [("image", ("a.png", picture())), ("image", ("b.png", picture()))]}, 400, "Too many files"
    ),
    "a foreign job": (
        {"content": b'--B\r\nContent-Disposition: form-data; name="job"\r\n\r\nxyz\r\n--B--\r\n',
             "headers": {"content-type": "multipart/form-data; boundary=B"}}, 404, "no such job"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("path", ["/v1/upscale", "/v1/jobs"])
def test_a_wrong_request_gets_one_sentence(api, case, path):
    given, status, part = WRONG[case]
    answer = api.post(path, **given)
    assert answer.status_code == status, answer.text
    assert part in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_damaged_image_fails_with_its_sentence(api):
    job = finished(api, data=picture(200, 200)[:30_000])
    assert job["state"] == "failed"
    assert "damaged" in job["error"]
    assert api.get(f"/v1/jobs/{job['id']}/result").status_code == 409


NAMES = ["../../etc/passwd", "..\\..\\boot.ini", "/etc/\0passwd", "a\r\nX-Evil: 1.png", "\u202egnp.exe", ".", ""]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_uploads_are_words_alone(api, name):
    answer = api.post(
        "/v1/upscale", content=picture(), params={"name": name}, headers={"content-type": "application/octet-stream"}
    )
    assert answer.status_code == 200
    given = answer.headers["content-disposition"]
    assert not set("/\\\r\n\0\u202e") & set(given.partition("filename=")[2])
    assert "x-evil" not in answer.headers


PATHS = ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/server.py"]


@pytest.mark.parametrize("path", PATHS)
def test_no_address_leads_to_other_files(api, path):
    answer = api.get(path)
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_the_page_and_its_strict_policy(api):
    page = api.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    for name in ("style.css", "page.js", "server.js", "compare.js", "queue.js", "api.js", "icon.svg"):
        answer = api.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in answer.text


HOSTS = {
    "127.0.0.1:8765": 200, "localhost": 200, "[::1]:8765": 200, "192.168.1.7:80": 200, "photos.example": 200,
    "evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:8765": 421, "": 421,
    "photos.example@evil.example": 421, "evil.example:8765": 421,
}  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_names_in_host(host):
    with client(names=["photos.example"]) as api:
        assert api.get("/v1/jobs", headers={"host": host}).status_code == HOSTS[host]


FOREIGN = {
    "its own page": ({"origin": "http://127.0.0.1:8765"}, 200),
    "another site": ({"origin": "http://evil.example"}, 403),
    "another port": ({"origin": "http://127.0.0.1:9999"}, 403),
    "a sandbox": ({"origin": "null"}, 403),
    "an image of another site": ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
    "another port without Origin": ({"sec-fetch-site": "same-site"}, 403),
    "a link to the API": ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_requests_of_foreign_pages(api, case):
    headers, status = FOREIGN[case]
    assert api.get("/v1/jobs", headers=headers).status_code == status
    posted = api.post("/v1/jobs", files={"image": ("a.png", picture())}, headers=headers)
    assert posted.status_code == (202 if status == 200 else 403)


def test_a_link_to_the_page_is_followed(api):
    assert api.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200


def test_a_token_is_asked_for():
    with client(token="0123456789abcdef") as api:
        assert api.get("/").status_code == 200
        assert api.get("/health").status_code == 200
        for path in ("/v1/jobs", "/v1/models", "/metrics"):
            assert api.get(path).status_code == 401
            assert api.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
            assert api.get(path, headers={"authorization": "Bearer 0123456789abcdef"}).status_code == 200
        assert api.post("/v1/session", headers={"authorization": "Bearer nö".encode()}).status_code == 401
        entered = api.post("/v1/session", headers={"authorization": "Bearer 0123456789abcdef"})
        assert "HttpOnly" in entered.headers["set-cookie"]
        assert "SameSite=strict" in entered.headers["set-cookie"]
        assert api.get("/v1/jobs").status_code == 200  # with the cookie


def test_too_many_bytes():
    with client(bytes=2000) as api:
        answer = api.post("/v1/upscale", files={"image": ("a.png", picture(100, 100))})
        assert answer.status_code == 413
        assert "2,000 bytes" in answer.json()["error"]
        huge = api.post("/v1/upscale", content=iter([bytes(1 << 20)] * 3), headers={"content-type": "image/png"})
        assert huge.status_code == 413


def test_too_many_images_wait_or_are_kept():
    with client(workers=1, queue=2, per_client=3, kept=3) as api:
        work = api.app.app.state.queue
        work._work = lambda job: (job.stopping.wait(20), job.ends("cancelled"))
        answers = [api.post("/v1/jobs", files={"image": ("a.png", picture())}) for _ in range(5)]
        codes = [answer.status_code for answer in answers]
        assert codes[:2] == [202, 202]
        assert codes[3:] == [429, 429]
        assert answers[-1].headers["retry-after"]
        assert "try again" in answers[-1].json()["error"] or "expire" in answers[-1].json()["error"]


def test_work_that_takes_too_long_ends():
    with client(seconds=0.0) as api:
        job = finished(api)
        assert job["state"] == "failed"
        assert "limit of 0 seconds" in job["error"]


def test_results_expire():
    with client(keep=0.0) as api:
        job = finished(api)
        api.app.app.state.queue.expire()
        time.sleep(0.01)
        assert api.get(f"/v1/jobs/{job['id']}").status_code == 404
