"""The index of the decisions has a row for each record: its title, and what was decided."""

import re

import pytest
from doc_pages import ROOT

FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
ROW = re.compile(r"^\| \[(?P<title>.+)\]\((?P<file>[\w.-]+)\) \| (?P<outcome>.+\.) \|$", re.MULTILINE)


def rows():
    return {row["file"]: row for row in ROW.finditer((FOLDER / "README.md").read_text())}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_every_decision_is_in_the_index(record):
    title = record.read_text().splitlines()[0].removeprefix("# ")
    assert int(title.split(".")[0]) == int(record.name[:4])
    assert rows()[record.name]["title"] == title


def test_the_index_names_records_alone_and_in_order():
    assert list(rows()) == [record.name for record in RECORDS]
