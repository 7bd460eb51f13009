"""An encoder does not make the process that uses it more important than all others."""

import os
import subprocess
import sys

import pytest

from video_clips import clip

CODE = """
import os, sys, sharpbit
sharpbit.upscale_video(sys.argv[1], sys.argv[2], model="x2-photo-fast")
threads = [int(name) for name in os.listdir("/proc/self/task")]
print({os.sched_getscheduler(thread) for thread in threads}, os.sched_getscheduler(0))
"""
WATCHED = """
import os, sys
from sharpbit.video import writing
before = writing.opened
def opened(*given):
    before(*given)
    found.append({os.sched_getscheduler(int(name)) for name in os.listdir("/proc/self/task")})
found = []
writing.opened = opened
"""


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler") or os.geteuid() != 0, reason="only root may raise priorities")
def test_no_thread_has_real_time_priority(tmp_path):
    clip(tmp_path / "clip.mp4", 4, size=(64, 96))
    code = WATCHED + CODE + "print(found)"
    command = [sys.executable, "-c", code, str(tmp_path / "clip.mp4"), str(tmp_path / "out.mkv")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after, whiles = done.stdout.splitlines()
    assert after == "{0} 0"
    assert set(whiles[1:-1].split(", ")) == {"{0}"}, whiles
