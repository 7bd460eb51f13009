"""The one way to run evidence: what holds of the published systems, measured here.

    python evidence/run.py                          list what there is
    python evidence/run.py craft_ptq --help         the options of one
    python evidence/run.py refqsr_tables            run it

Each name is a script of this folder; `evidence/README.md` has what they printed.
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def names() -> dict[str, str]:
    """The name of each script, and the first line of its description."""
    found = {}
    for path in sorted(FOLDER.glob("[!_]*.py")):
        if path != Path(__file__).resolve():
            text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            found[path.stem] = text.partition("\n")[0]
    return found


def main(arguments: list[str]) -> int:
    """Run the script that the first argument names with the others; without one, list them."""
    known = names()
    if not arguments or arguments[0] in ("-h", "--help", "list"):
        print(__doc__)
        print("\n".join(f"{name:<16} {text}" for name, text in known.items()))
        return 0
    name = arguments[0].removesuffix(".py")
    if name not in known:
        print(f"there is no evidence called {name!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    sys.argv = [f"evidence/run.py {name}", *arguments[1:]]
    sys.path.insert(0, str(FOLDER))
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
