"""`export` shows on a terminal that it is at work, and nothing elsewhere."""

import os
import struct
import subprocess
import sys

import pytest

from sharpbit.model import build, save

SLOW = """if True:
    import sys, time
    from sharpbit.system import progress
    timed = progress.timed
    progress.timed = lambda *given, **more: timed(*given, **more, delay=0.01)
    from sharpbit.app.cli import main
    main(sys.argv[1:])
"""


@pytest.mark.parametrize(("flags", "seen"), [([], True), (["--quiet"], False), (["--json"], False)])
def test_the_time_that_it_takes_is_shown(tmp_path, flags, seen):
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    save(build("plain", scale=2, blocks=1, width=4), tmp_path / "net.safetensors")
    command = [sys.executable, "-c", SLOW, "export", tmp_path / "net.safetensors", "-o", tmp_path / "out.onnx", *flags]
    terminal, other = os.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=other, timeout=300)
    os.close(other)
    said = b""
    while chunk := _read(terminal):
        said += chunk
    os.close(terminal)
    assert done.returncode == 0, said
    assert (b"exporting out.onnx [00:0" in said) == seen
    assert b"Traceback" not in said


def _read(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # nobody writes any more
        return b""
