"""Two networks of one shape mixed into one, such as a network that removes noise and its twin that keeps it.

Source: "Deep Network Interpolation for Continuous Imagery Effect Transition", Wang et al., CVPR 2019; Real-ESRGAN mixes
general-x4v3 and its twin `wdn` ("with denoising") so, which users know as the denoising strength.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch

from sharpbit.errors import UsageError
from sharpbit.model.core import Model
from sharpbit.modelfile.history import Mix

TWIN = "wdn"  # in the name of a file


def twin_of(path: Path) -> Path:
    """The file beside `path` whose name is the same but for `wdn`.

    Raises:
        UsageError: There is none, or more than one.
    """
    found = [
        other
        for other in sorted(path.parent.glob(f"*{path.suffix}"))
        if TWIN in other.stem.lower() and _plain(other.stem) == _plain(path.stem) and other != path
    ]
    if len(found) == 1:
        return found[0]
    lies = "lies no file" if not found else "is more than one file"
    raise UsageError(
        f"--denoise mixes {path.name} with its twin, and beside it {lies} with the same name and '{TWIN}' in it; name"
        " the twin with --twin FILE where there is that option, as in 'sharpbit export'"
    )


def _plain(name: str) -> str:
    """A name without `wdn` and what separates its parts."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace(TWIN, ""))


@torch.no_grad()
def mixed(model: Model, twin: Model, denoise: float, names: tuple[str, str] = ("the model", "its twin")) -> Model:
    """The network whose weights lie between those of two.

    Args:
        model: A float network.
        twin: Another of the same architecture and sizes.
        denoise: The share of `model`, from 0 to 1; the rest is that of `twin`.
        names: What errors call the two.

    Raises:
        UsageError: The two are not of one shape, are in integers, or the share is none.
    """
    if not 0 <= denoise <= 1:
        raise UsageError(f"--denoise is a share from 0 to 1, not {denoise:g}")
    states = [one.net.state_dict() for one in (model, twin)]
    shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in states]
    if model.arch.name != twin.arch.name or model.config != twin.config or shapes[0] != shapes[1]:
        about = [f"{name} is {one.arch.name} {one.config}" for name, one in zip(names, (model, twin), strict=True)]
        raise UsageError(f"only networks of one shape can be mixed: {', '.join(about)}; name another file with --twin")
    if not all(value.is_floating_point() for value in states[0].values()):
        raise UsageError(f"{names[0]} is in integers, and only float networks can be mixed; quantize the mixture")
    states[0] = {name: denoise * value + (1 - denoise) * states[1][name] for name, value in states[0].items()}
    model.net.load_state_dict(states[0])
    return replace(model, history=(*model.history, Mix(Path(names[1]).name, denoise)))
