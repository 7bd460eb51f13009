"""The command line: parse, call, print."""

from __future__ import annotations

import json
from typing import Any

INTERRUPTED = 130  # exit code, as shells give it for a program that a signal from the keyboard ended


def dump(value: Any) -> str:
    """JSON for `--json`; in ASCII, because the name of a file need not be text that the terminal can encode."""
    return json.dumps(value, indent=2)
