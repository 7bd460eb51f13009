"""The pages of the documentation, and the blocks in them that a reader would run.

A block in `sh` or `python` is run as it stands, after those before it on its page, in a folder with small files under
the names that the pages use (`stand_ins.py`). Marks in a comment right above a block change that:

- `<!-- not run: REASON -->`: it is not run, and the tests print why;
- `<!-- run with: A => B; C => D -->`: it is run with B in place of A and D in place of C, to be shorter;
- `` `NAME`: ``: it is the file NAME in that folder.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SHELL, PYTHON = "sh", "python"
OTHERS = ("bibtex", "c", "json", "text", "toml", "yaml")  # nothing to run
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\n(?P<body>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
NOT_RUN = re.compile(r"<!-- not run: ((?:(?!-->).)+?) -->\s*\Z", re.DOTALL)
RUN_WITH = re.compile(r"<!-- run with: ((?:(?!-->).)+?) -->\s*\Z", re.DOTALL)
FILE = re.compile(r"`([\w./-]+)`:\s*\Z")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the file that it is, or the reason why it is not run."""

    page: Path
    line: int
    language: str
    body: str
    file: str | None
    reason: str | None

    @property
    def name(self) -> str:
        """Where the block stands, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether a reader would run it."""
        return self.language in (SHELL, PYTHON) and self.file is None and self.reason is None


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        file, reason, with_ = FILE.search(before), NOT_RUN.search(before), RUN_WITH.search(before)
        found.append(
            Block(
                page,
                before.count("\n") + 1,
                match["language"],
                shorter(textwrap.dedent(match["body"]), with_[1] if with_ else ""),
                file and file[1],
                reason and " ".join(reason[1].split()),
            )
        )
    return found


def shorter(body: str, replacements: str) -> str:
    """The block with its replacements, each of which must find something to replace."""
    for pair in filter(None, (part.strip() for part in replacements.split(";"))):
        old, new = (side.strip() for side in pair.split("=>"))
        assert old in body, f"{old!r} is not in the block below its mark"
        body = body.replace(old, new)
    return body
