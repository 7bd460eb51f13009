"""`sharpbit models add` and `remove`: a model of somebody else under a name of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sharpbit import modelfile, zoo
from sharpbit.app import archive, dump
from sharpbit.errors import ModelError, UsageError
from sharpbit.modelfile import ncnn
from sharpbit.runtime import WEIGHTS
from sharpbit.system.extras import need
from sharpbit.zoo import added

UNKNOWN = "not known; give --licence with what its authors say"


def run_add(file: str, name: str | None, licence: str | None, *, overwrite: bool, as_json: bool) -> str:
    """Check a model, copy it, and print what it is; of an archive every model, or the one that `name` names.

    Raises:
        ModelError: There is no such file, or it is no model that sharpbit can run.
        UsageError: The name is taken by an embedded model, or is none.
        OutputExists: A model of this name was added before and `overwrite` is false.
    """
    path = Path(file)
    if not path.is_file():
        raise ModelError(f"there is no model file {file}")
    if path.suffix.lower() not in archive.SUFFIXES:
        known = [_added(path, name, licence or "", overwrite=overwrite)]
    else:
        with archive.unpacked(path) as (models, said):
            chosen = [model for model in models if name in (None, _name(model))]
            if not chosen and len(models) > 1:
                raise UsageError(f"{path} holds no model {name!r}; it has {', '.join(map(_name, models))}")
            known = [_added(model, name, licence or said, overwrite=overwrite) for model in chosen or models]
    if as_json:
        return dump(known[0] if len(known) == 1 else known)
    return "\n\n".join(map(card, known))


def _name(path: Path) -> str:
    return path.name.partition(".")[0]


def _added(path: Path, name: str | None, licence: str, *, overwrite: bool) -> dict[str, Any]:
    """One model, copied under a name."""
    files = ncnn.pair(path) if path.suffix.lower() in ncnn.SUFFIXES else (path,)
    name = name or _name(files[0])
    if name in zoo.names():
        raise UsageError(f"{name} is the name of an embedded model; give another one with --name")
    facts = _facts(files[0])
    facts["licence"] = licence or facts["licence"]
    return added.add(name, files, facts, overwrite=overwrite)


def run_remove(name: str, *, as_json: bool) -> str:
    """Remove a model that was added; what is printed."""
    place = added.remove(name)
    return dump({"removed": name, "folder": str(place)}) if as_json else f"removed {name} ({place})"


def card(known: dict[str, Any]) -> str:
    """What is known about an added model, for people."""
    shown = {**known, "licence": known.get("licence") or UNKNOWN, "files": ", ".join(known["files"])}
    shown["sha256"] = ", ".join(known["sha256"].values())
    return "\n".join(f"{key:<16}{value}" for key, value in shown.items() if value is not None)


def _facts(path: Path) -> dict[str, Any]:
    """What a model file tells; PyTorch reads weights, and files of our own are compared with their sha256."""
    if path.suffix.lower() in WEIGHTS and path.suffix.lower() != ".safetensors":
        need("train", "reading weights")
        from sharpbit.model import load

        model = load(path)
        return {"network": model.arch.name, "scale": model.scale, "parameters": model.parameters, "licence": ""}
    header = modelfile.read(path, verify=True)
    if header is None:
        modelfile.operators(path)  # it is a complete graph
        return {"network": None, "scale": None, "parameters": None, "licence": ""}
    return {
        "network": header.architecture,
        "scale": header.scale,
        "parameters": header.parameters,
        "licence": header.licence,
    }
