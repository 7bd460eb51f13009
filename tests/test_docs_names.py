"""Every Python name of sharpbit that README and docs mention exists, under the name that it has today."""

import importlib
import re
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAME = re.compile(r"`(sharpbit(?:\.\w+)+)(?=[`(])")


def names():
    return sorted({(page.name, name) for page in PAGES for name in NAME.findall(page.read_text())})


def find(name):
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


@pytest.mark.parametrize(("page", "name"), names())
def test_it_exists(page, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # an old name that is kept for old programs is no name
        assert find(name) is not None


def test_a_name_that_does_not_exist_is_noticed():
    with pytest.raises(AttributeError):
        find("sharpbit.verbs.qat.enlarge")
