"""A page that upscales on the visitor's own device: one file with the engine as WebAssembly and the models in it.

`engine.wasm` is what `scripts/build_wasm.py` makes of `native/`; `engine.json` says of which sources.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sharpbit
from sharpbit.deployment import native
from sharpbit.deployment.texts import fill
from sharpbit.errors import UsageError
from sharpbit.modelfile import Header, ModelFile
from sharpbit.modelfile.integer_file import halo, read

HERE = Path(__file__).parent
LOOK = Path(sharpbit.__file__).parent / "serve" / "page"  # what both pages have in common
WORDS = {
    "clean": "clean: sharp originals",
    "photo": "photo: compressed, noisy or soft photos",
    "art": "art: drawings, screenshots, text",
}
MOST_HALO = 256  # pixels around a tile; a tile has up to 256


def page(files: Sequence[ModelFile], folder: Path) -> None:
    """Write the page.

    Args:
        files: The models in integers, at most one of each family and scale.
        folder: The folder to write into.

    Raises:
        UsageError: a model is in float, or sees too much of an image for tiles.
    """
    headers, models = zip(*(_model(file) for file in files), strict=True)
    names = [header.name for header in headers]
    parts = {"engine": _text((HERE / "engine.wasm").read_bytes()), "models": models, "words": WORDS}
    style, compare = (LOOK / "style.css").read_text(), (LOOK / "compare.js").read_text()
    script = "\n".join(
        _bare(path) for path in (LOOK / "page.js", *(HERE / f"{n}.js" for n in ("crc32", "zip", "pool", "local")))
    )
    values = {
        "policy": policy(style, compare, script),
        "icon": _text((LOOK / "icon.svg").read_bytes()),
        "style": style,
        "parts": json.dumps(parts),
        "worker": worker(),
        "compare": compare,
        "page": script,
        "notices": (HERE / "NOTICES.txt").read_text(encoding="utf-8"),
    }
    template = (HERE / "index.html").read_text()
    text = re.sub(r"\{(\w+)\}", lambda found: values[found[1]], template)
    (folder / "index.html").write_text(text, encoding="utf-8")
    shutil.copyfile(native.licence(), folder / "LICENSE")
    licences = sorted({header.licence or "not known" for header in headers})
    size = f"{len(text.encode()) / 1e6:.1f} MB"
    fill("web/README.md", folder / "README.md", names=", ".join(names), size=size, licence=", ".join(licences))


def worker() -> str:
    """The script of the workers."""
    return "\n".join(_bare(HERE / f"{name}.js") for name in ("crc32", "choose", "png", "worker"))


def policy(style: str, *scripts: str) -> str:
    """A content policy under which nothing runs but these, and nothing is loaded or sent."""
    hashes = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'wasm-unsafe-eval'; style-src {_hash(style)}; img-src blob: data:;"
        " worker-src blob:; base-uri 'none'; form-action 'none'"
    )


def _model(file: ModelFile) -> tuple[Header, dict[str, Any]]:
    header, data = native.integers(file)
    network, _ = read(file.path)
    reach = halo(network)
    if reach is None or reach > MOST_HALO:
        sees = "the whole image" if reach is None else f"{reach} pixels around each"
        raise UsageError(f"{file.name} sees {sees}, and the page cuts images into tiles; --to c takes it as it is")
    scale, _, family = header.name.partition("-")
    embedded = scale == f"x{header.scale}" and family.partition("-")[0] in WORDS
    about = {
        "name": header.name,
        "family": family.removesuffix("-balanced") if embedded else header.name,
        "scale": header.scale,
        "halo": reach if header.halo is None else header.halo,
    }
    return header, {**about, "data": _text(data)}


def _bare(path: Path) -> str:
    """A module without what ties it to others: they stand in one script."""
    return re.sub(r"^(import .*\n|export (?=\w))", "", path.read_text(), flags=re.MULTILINE)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _hash(text: str) -> str:
    return f"'sha256-{_text(hashlib.sha256(text.encode()).digest())}'"
