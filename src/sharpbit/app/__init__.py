"""The command line: parse, call, print."""

from __future__ import annotations

import json
from typing import Any


def dump(value: Any) -> str:
    """JSON for `--json`."""
    return json.dumps(value, indent=2, ensure_ascii=False)
