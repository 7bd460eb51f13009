"""The file of a model is read once in a run, whatever asks for it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sharpbit import zoo
from sharpbit.errors import MissingExtra, UsageError
from sharpbit.modelfile import ModelFile
from sharpbit.runtime import RUNTIMES, open_engine

CODE = """
import sys

opened = []


def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith("x2-clean-balanced.onnx"):
        opened.append(str(arguments[0]))


sys.addaudithook(hook)
from sharpbit.app.cli import main

try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print("opened", len(opened))
"""


@pytest.mark.parametrize("engine", ["auto", "onnx"])
def test_upscale_reads_the_default_model_once(tmp_path, engine):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.png")
    command = [sys.executable, "-c", CODE, "upscale", str(tmp_path / "a.png"), "--engine", engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(tmp_path / "a_x2.png").exists()
    assert done.stdout.splitlines()[-1] == "opened 1"


@pytest.mark.parametrize("engine", ["native", "onnx", "openvino"])
def test_engines_run_what_was_read(tmp_path, engine):
    """Engines in C++ open files where no hook sees them, so the file is gone when they get it."""
    try:
        RUNTIMES[engine]
    except (MissingExtra, UsageError) as error:  # the native engine is not part of every installation
        pytest.skip(str(error))
    path = tmp_path / "a.onnx"
    path.write_bytes(zoo.open_file("x2-clean-balanced").data)
    file = ModelFile(path)
    assert file.verified
    path.unlink()
    if engine == "native" and (reason := sys.modules["sharpbit.runtime.native"].why_not()):
        pytest.skip(reason)
    runtime = open_engine(file, engine, threads=1)
    assert next(iter(runtime([np.zeros((8, 8, 3), np.uint8)]))).shape == (16, 16, 3)
