"""Engines that would report to their makers are kept from it: they leave no identifier of the machine behind."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

# Where these are set, engines think that they are tested, and report nothing anyway.
TESTED = ("CI", "TF_BUILD", "JENKINS_URL", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "PYTEST_CURRENT_TEST")


def left_in(home, code):
    """The files that code leaves in the home folder of somebody who has none."""
    kept = {name: value for name, value in os.environ.items() if name not in TESTED and not name.startswith("XDG_")}
    done = subprocess.run([sys.executable, "-c", code], env=kept | {"HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [path.relative_to(home) for path in home.rglob("*") if path.is_file()]


@pytest.mark.skipif(os.name != "posix", reason="the home folder is that of POSIX systems")
@pytest.mark.parametrize("package", ["onnxruntime", "openvino"])
def test_no_identifier_is_left_at_home(package, tmp_path):
    if find_spec(package) is None:
        assert "CI" not in os.environ
        pytest.skip(f"{package} is not installed")
    code = f"from sharpbit.system.extras import loaded; loaded({package!r}, 'this')"
    assert left_in(tmp_path, code) == []


def test_what_somebody_has_set_stays(monkeypatch):
    code = (
        "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '0'; os.environ['CI'] = 'true'\n"
        "from sharpbit.system.extras import loaded; loaded('onnxruntime', 'this')\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '0'"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_reporter_of_openvino_is_hidden_only_meanwhile():
    if find_spec("openvino_telemetry") is None:
        assert "CI" not in os.environ
        pytest.skip("openvino_telemetry is not installed")
    code = (
        "from sharpbit.system.extras import loaded; loaded('openvino', 'this', 'openvino')\nimport openvino_telemetry"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | {"CI": "true"}).returncode == 0
