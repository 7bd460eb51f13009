"""The files of the page; `style.css` and `compare.js` know nothing of the server and may be part of other pages.

`compare.js` is a plain script that defines the element `<sharpbit-compare>`, so that it works from `file://` as well.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def files() -> dict[str, tuple[bytes, str]]:
    """Name to content and type of each file."""
    found = (path for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES)
    return {path.name: (path.read_bytes(), TYPES[path.suffix]) for path in found}
