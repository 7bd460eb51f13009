"""A real server in a process of its own: clients that are slow, leave or are many, and how it ends."""

import http.client
import json
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from serving import picture, server

from sharpbit.app.cli import app
from sharpbit.serve import protocol
from sharpbit.serve.server import listening

PNG = {"content-type": "image/png"}
pytestmark = pytest.mark.slow  # processes start


@pytest.fixture(scope="module")
def served():
    with server("--queue", "20", "--per-client", "20") as found:
        yield found


def ask(address, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def open_files(process):
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def metric(address, name):
    text = ask(address, "GET", "/metrics")[1].decode()
    return float(next(line for line in text.splitlines() if line.startswith(name)).split()[-1])


def test_fifty_at_once(served):
    """No failure but honest refusals, and those who come again get in; the memory is that of a few images."""
    address, process = served
    image, codes = picture(150, 100), Counter()
    before = metric(address, "sharpbit_resident_memory_bytes")

    def upload():
        while True:
            status, body, headers = ask(address, "POST", "/v1/upscale", image, PNG)
            codes[status] += 1
            if status == 200:
                return
            assert status == 429, body
            assert "error" in json.loads(body)
            time.sleep(float(headers["retry-after"]) / 4)

    threads = [threading.Thread(target=upload) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes[200] == 50
    assert set(codes) <= {200, 429}
    assert metric(address, "sharpbit_stored_bytes") == 0
    assert metric(address, "sharpbit_resident_memory_bytes") - before < 200 * 2**20
    assert process.poll() is None


def test_a_client_that_leaves_cancels_its_image(served):
    address, _ = served
    cancelled = metric(address, 'sharpbit_jobs_total{state="cancelled"}')
    image = picture(600, 600, "JPEG")
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)) as line:
        head = "POST /v1/upscale?scale=16 HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        line.sendall(f"{head}Content-Length: {len(image)}\r\n\r\n".encode() + image)
        while metric(address, "sharpbit_jobs_running") == 0:
            time.sleep(0.02)
    deadline = time.monotonic() + 60
    while metric(address, 'sharpbit_jobs_total{state="cancelled"}') == cancelled:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert metric(address, "sharpbit_stored_bytes") == 0


def test_an_upload_that_is_cut_off_leaves_nothing(served):
    address, process = served
    files = open_files(process)
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)) as line:
        line.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 90000\r\n\r\nxy"
        )
        time.sleep(0.2)
    deadline = time.monotonic() + 20
    while open_files(process) > files or metric(address, "sharpbit_uploads"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def raw(address, text):
    """What a server answers to some bytes until it closes the connection."""
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=30) as line:
        line.sendall(text)
        answer = b""
        while piece := line.recv(1 << 16):
            answer += piece
    return answer


def test_slow_clients_are_not_waited_for():
    code = "import functools; from sharpbit.serve import limits; from sharpbit.app.cli import main;"
    code += "limits.Limits = functools.partial(limits.Limits, patience=1.0); main()"
    with server(code=code) as (address, _):
        began = time.monotonic()
        assert raw(address, b"GET / HTTP/1.1\r\nHost: loc") == b""  # headers that never end
        head = b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\nab"
        answer = raw(address, head)  # a body that never ends
        assert b" 408 " in answer.split(b"\r\n", 1)[0]
        assert b"nothing came for 1 seconds" in answer
        assert time.monotonic() - began < 25


def test_headers_that_are_no_http(served):
    address, _ = served
    for text in (
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ):
        assert raw(address, text + b"\r\n").split(b" ", 2)[1] in (b"400", b"421")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_however_it_ends(tmp_path, number):
    with server(env={"TMPDIR": str(tmp_path)}) as (address, process):
        job = json.loads(ask(address, "POST", "/v1/jobs", picture(300, 300), PNG)[1])
        ask(address, "GET", f"/v1/jobs/{job['id']}?wait=20")
        assert metric(address, "sharpbit_stored_bytes") > 0
        process.send_signal(number)
        assert process.wait(30) == (-9 if number == signal.SIGKILL else 0)
        assert list(tmp_path.iterdir()) == []


def test_exposed_it_warns_and_has_a_token():
    with server("--host", "0.0.0.0") as (address, process):
        assert "WARNING" in process.said
        token = process.said.rpartition("#token=")[2].split()[0]
        assert len(token) == 32
        assert ask(address, "GET", "/v1/jobs")[0] == 401
        assert ask(address, "GET", "/v1/jobs", headers={"authorization": f"Bearer {token}"})[0] == 200


def test_a_port_that_is_taken_and_a_token_that_is_short(monkeypatch):
    with listening("127.0.0.1", 0) as taken:
        result = CliRunner().invoke(app, ["serve", "--port", str(taken.getsockname()[1])])
    assert result.exit_code == 2
    assert "cannot listen" in result.output
    assert "choose another --port" in result.output
    monkeypatch.setenv("SHARPBIT_TOKEN", "short")
    result = CliRunner().invoke(app, ["serve", "--port", "0"])
    assert result.exit_code == 2
    assert "at least 16" in result.output


def test_the_patient_protocol_is_still_that_of_uvicorn():
    """Its parts that are overridden are there; a version without them would wait for ever."""
    parent = protocol.PatientProtocol.__mro__[1]
    assert {"connection_made", "connection_lost"} <= set(vars(parent))
