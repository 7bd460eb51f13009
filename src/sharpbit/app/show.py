"""What `models`, `doctor` and `train` print."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sharpbit import modelfile, zoo
from sharpbit._version import __version__
from sharpbit.app import aligned as _aligned
from sharpbit.app import dump, settings
from sharpbit.app import flat as _flat
from sharpbit.app.added import card
from sharpbit.errors import ModelError, SharpbitError
from sharpbit.modelfile import Header
from sharpbit.runtime import ENGINES, RUNTIMES, available_cpus
from sharpbit.system.extras import EXTRAS, versions
from sharpbit.zoo import added

_FLAGS = ("sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8")
_ARM_FLAGS = ("asimd", "asimddp", "i8mm", "bf16", "sve")


def table_of_models(as_json: bool) -> str:
    """All embedded models and those that were added, a line each."""
    own = [added.about(name) for name in added.names()]
    if as_json:
        return dump([*(_facts(zoo.path_of(name), header) for name, header in zoo.models().items()), *own])
    rows = [("model", "network", "scale", "parameters", "precision", "size", "PSNR")]
    for name, header in zoo.models().items():
        size = f"{zoo.path_of(name).stat().st_size / 1024:.0f} KiB"
        psnr = next((f"{m.value:.2f} dB {m.data}" for m in header.metrics if m.name == "psnr"), "")
        rows.append(
            (name, header.architecture, f"x{header.scale}", f"{header.parameters:,}", header.precision, size, psnr)
        )
    for known in own:
        size = sum((added.folder() / known["name"] / file).stat().st_size for file in known["files"])
        scale = f"x{known['scale']}" if known["scale"] else ""
        parameters = f"{known['parameters']:,}" if known["parameters"] else ""
        network = known["network"] or "not known"
        rows.append((known["name"], network, scale, parameters, "", f"{size / 1024:.0f} KiB", "added"))
    protocol = next((m.protocol for header in zoo.models().values() for m in header.metrics), "")
    return f"{_aligned(rows)}\n\nPSNR: {protocol}\n'sharpbit models NAME' shows the whole card."


def card_of(name: str, as_json: bool) -> str:
    """Everything that a model file says of itself."""
    path = zoo.path_of(name)
    if name in added.names() and not Path(name).exists():
        return dump(added.about(name)) if as_json else card(added.about(name))
    header = modelfile.read(path, verify=True)
    if header is None:
        raise ModelError(f"{path} has no sharpbit header, so there is no card of it")
    facts = _facts(path, header)
    if as_json:
        return dump(facts)
    lines = [f"{key:<16}{_flat(value)}" for key, value in facts.items() if key not in ("metrics", "history")]
    lines += [f"{'metric':<16}{m.name} {m.value:g} on {m.data} ({m.protocol})" for m in header.metrics]
    lines += [f"{'history':<16}{_flat(entry)}" for entry in header.history]
    return "\n".join(lines)


def doctor_report(as_json: bool) -> str:
    """Versions, engines, instruction sets, extras."""
    core = versions(("numpy", "pillow", "openimageio", "onnxruntime", "click", "tqdm"))
    facts: dict[str, Any] = {
        "sharpbit": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cores": available_cpus(),
        "instruction sets": _instruction_sets(),
        "engines": _engines(),
        "core": core,
        "extras": {extra: versions(packages) for extra, packages in EXTRAS.items()},
        "models": list(zoo.models()),
        "settings": [str(path.absolute()) for path in settings.files()] or ["none"],
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(settings.PREFIX)},
    }
    if as_json:
        return dump(facts)
    lines = [f"{key:<22}{_flat(value)}" for key, value in facts.items() if key not in ("engines", "extras")]
    lines += [f"{'engine ' + name:<22}{value}" for name, value in facts["engines"].items()]
    for extra, found in facts["extras"].items():
        missing = [name for name, number in found.items() if number is None]
        state = f"missing {', '.join(missing)}; run: pip install 'sharpbit[{extra}]'" if missing else _flat(found)
        lines.append(f"{'extra ' + extra:<22}{state}")
    return "\n".join(lines)


def bug_report() -> str:
    """What `doctor` prints, as a block that a bug report can hold; the home folder is a tilde there."""
    home = os.path.expanduser("~")  # noqa: PTH111 (there may be none)
    text = doctor_report(as_json=False)
    text = text.replace(home, "~") if len(home) > 1 else text
    asked = "What did you run, on what, what did you expect, and what came instead (the whole message)?"
    return f"{asked}\n\n```text\n{text}\n```"


def trained(results: Sequence[tuple[str, Path, dict[str, Any]]], as_json: bool) -> str:
    """What a recipe made: verb, file, and facts of it."""
    if as_json:
        return dump([{"verb": verb, "file": str(path), **facts} for verb, path, facts in results])
    return "\n".join(f"{verb}: {path} {_flat(facts)}".rstrip() for verb, path, facts in results)


def _facts(path: Path, header: Header) -> dict[str, Any]:
    facts = asdict(header)
    return {"name": facts.pop("name"), "file": str(path), "bytes": path.stat().st_size, **facts}


def _engines() -> dict[str, str]:
    """Each engine's version, or why it is not there."""
    found = {}
    for name in dict.fromkeys((*ENGINES, *RUNTIMES)):
        try:
            found[name] = "not part of this installation" if name not in RUNTIMES else _version(name)
        except (ImportError, SharpbitError) as error:
            found[name] = str(error)
    return found


def _version(name: str) -> str:
    """The version of an engine; opens nothing."""
    RUNTIMES[name]
    if name == "native":
        module = importlib.import_module("sharpbit.runtime.native")
        return ", ".join(module.instruction_sets()) if module.available() else str(module.why_not())
    package = {"onnx": "onnxruntime"}.get(name, name.removesuffix("_bf16"))
    return versions((package,))[package] or "installed"


def _instruction_sets() -> list[str]:
    info = Path("/proc/cpuinfo")
    words = set(info.read_text().split()) if info.exists() else set()
    return [flag for flag in (*_FLAGS, *_ARM_FLAGS) if flag in words] or [platform.machine()]
