"""docs/extend.md: its example is installed as another distribution, and passes its test and the contract."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extend.md").read_text()
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
SNIPPET = PAGE.split("## Reparameterize a network of your own")[1].split("```python\n")[1].split("```")[0]

METHOD_SNIPPET = PAGE.split("## Add a quantization method")[1].split("```python\n")[2].split("```")[0]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Where the example is installed, beside the sharpbit under test."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for name, text in FILES.items():
        (source / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--no-index", "--target", target, source], check=True, capture_output=True)
    (target / "test_twin.py").write_text(FILES["test_twin.py"])
    path = os.pathsep.join(filter(None, [str(target), str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return target, {**os.environ, "PYTHONPATH": path}


def run(environment, *arguments, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_the_files():
    assert set(FILES) == {"twin.py", "test_twin.py", "pyproject.toml", "sigma.py"}


def test_the_example_passes_its_test(environment):
    options = ["-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", "--rootdir", environment[0]]
    assert "1 passed" in run(environment, "-m", "pytest", *options, environment[0] / "test_twin.py")


def test_the_example_passes_the_contract(environment):
    told = run(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/arch/test_contract.py", "-k", "twin")
    assert re.search(r"\b2\d passed", told), told


def test_the_second_example_runs(environment, tmp_path):
    run(environment, "-W", "error", "-c", SNIPPET, cwd=tmp_path)
    assert (tmp_path / "plain.safetensors").exists()


def test_the_method_runs(environment, tmp_path):
    (tmp_path / "sigma.py").write_text(FILES["sigma.py"])
    assert run(environment, "-W", "error", "-c", METHOD_SNIPPET, cwd=tmp_path).startswith("tensor(")
