"""Networks that spandrel opens: weights of the community, of many architectures that are not in the catalog.

Those whose operators are known become the architecture `graph`, as any network in PyTorch; the others run as they are,
in PyTorch or exported to ONNX, and are quantized after training. Nothing else here needs spandrel, which needs
torchvision.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.arch._attention import pad
from sharpbit.errors import BrokenPackage, ModelError
from sharpbit.model.core import Model
from sharpbit.model.foreign import of_module

PACKAGE = "spandrel"
WAY = "spandrel knows more networks, and sharpbit takes what it opens: pip install 'sharpbit[spandrel]'"


@dataclass(frozen=True)
class Config:
    """What is known of a network that stays as it is.

    Attributes:
        scale: Upscaling factor.
        multiple: What the sides of an image are continued to multiples of.
        least: The least that its sides are continued to.
    """

    scale: int
    multiple: int = 1
    least: int = 0


class Whole(nn.Module):
    """A network as it is, for images of any size: they are continued by reflection, and the result is cut.

    Args:
        net: The network, from `(N, 3, H, W)` in `[0, 1]`.
        config: Its sizes.
    """

    def __init__(self, net: nn.Module, config: Config) -> None:
        super().__init__()
        self.net, self.config = net, config

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        height, width = x.shape[2:]
        low, right = (max(0, self.config.least - side) for side in (height, width))
        if low or right:
            x = F.pad(x, (0, right, 0, low), mode="replicate")
        if self.config.multiple > 1:
            x = pad(x, self.config.multiple, "reflect")
        y: Tensor = self.net(x)
        return y[..., : height * self.config.scale, : width * self.config.scale]


def opened(path: Path, unknown: ModelError) -> Model:
    """Weights that no architecture of the catalog fits, opened by spandrel.

    Args:
        path: The file of weights.
        unknown: Why sharpbit does not know them, for the error.

    Raises:
        ModelError: spandrel is not installed or does not know them either, or they are no upscaler of colour images.
        BrokenPackage: spandrel is installed and cannot be loaded.
    """
    if find_spec(PACKAGE) is None:
        raise ModelError(f"{unknown}; {WAY}") from None
    try:
        spandrel: Any = importlib.import_module(PACKAGE)
    except Exception as error:  # torchvision of another PyTorch raises what it likes
        raise BrokenPackage("opening networks that are not in the catalog", PACKAGE, error) from error
    try:
        found = spandrel.ModelLoader(device="cpu").load_from_file(path)
    except Exception as error:  # its own types, and those of whatever the weights do not fit
        reason = f"{type(error).__name__} {str(error).strip().splitlines()[0][:120]}" if str(error).strip() else ""
        raise ModelError(f"{unknown}; spandrel does not open it either ({reason or type(error).__name__})") from None
    return _model(found, path)


def _model(found: Any, path: Path) -> Model:
    name = str(found.architecture.id)
    wants = found.size_requirements
    channels = found.input_channels, found.output_channels
    if not hasattr(found, "scale") or not isinstance(found.model, nn.Module):
        raise ModelError(f"{path.name} is a network of spandrel ({name}) that takes more than one image")
    if channels[0] != channels[1] or channels[0] not in (1, 3, 4) or wants.square:
        square = " that are square" if wants.square else ""
        raise ModelError(
            f"{path.name} is a {name} from {channels[0]} to {channels[1]} channels, for images{square}; expected is an"
            " upscaler of RGB, Y or RGBA images of any shape"
        )
    about = {"name": path.stem}
    try:
        model = of_module(found.model, scale=int(found.scale), white=1.0)
    except ModelError as error:
        if channels[0] != 3:
            raise ModelError(f"{path.name} is a {name} of {channels[0]} channels; {error}") from None
    else:
        return Model(model.arch, model.config, model.net, model.history, about)
    config = Config(int(found.scale), max(1, int(wants.multiple_of)), int(wants.minimum))
    net = Whole(found.model.eval(), config)
    arch = Architecture(
        name=f"spandrel:{name}", config=Config, build=lambda sizes: Whole(found.model, sizes), infer=_no
    )
    return Model(arch, config, net, (), about)


def _no(state: Any) -> None:
    return None
