"""The lowest versions that pyproject.toml allows, as constraints for pip.

python scripts/floors.py > floors.txt
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def floors(extras: tuple[str, ...] = ()) -> dict[str, str]:
    """The lowest version of each dependency of the core, and of the extras that are named.

    Raises:
        ValueError: A dependency has no lower bound, or one of another form than `name>=1.2`.
    """
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for name in extras for line in project["optional-dependencies"][name])]
    found = {}
    for line in wanted:
        parts = re.fullmatch(r"([\w.-]+)>=(\d[\w.]*)", line)
        if parts is None:
            raise ValueError(f"{line!r} has no lower bound of the form name>=1.2")
        found[parts[1]] = parts[2]
    return found


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in floors().items()))
