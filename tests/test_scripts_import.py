"""Scripts outside of the package import what the package has."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    path for folder in ("bench", "evidence", "research", "scripts") for path in (ROOT / folder).rglob("*.py")
)


def missing(path):
    """Names that a script takes from sharpbit, and that are not there."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sharpbit":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    try:
                        importlib.import_module(f"{node.module}.{alias.name}")
                    except ModuleNotFoundError:
                        yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_script_imports_is_there(path):
    assert not list(missing(path))


def test_what_is_not_there_is_found(tmp_path):
    path = tmp_path / "script.py"
    path.write_text("from sharpbit.errors import NothingOfTheKind, UsageError\n")
    assert list(missing(path)) == ["sharpbit.errors.NothingOfTheKind"]
