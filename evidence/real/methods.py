"""What is compared: interpolation, models of sharpbit, the published ETDS-M, realesr-general-x4v3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import sharpbit

Pixels = np.ndarray
Upscale = Callable[[Pixels], Pixels]
HALO = 16


def interpolation(resample: Image.Resampling, scale: int) -> Upscale:
    """Pillow's bicubic or Lanczos."""

    def upscale(small: Pixels) -> Pixels:
        image = Image.fromarray(small)
        return np.asarray(image.resize((image.width * scale, image.height * scale), resample))

    return upscale


def model(name: str, scale: int) -> Upscale:
    """A model by its embedded name or file; weights run in float32."""
    if Path(name).suffix in (".safetensors", ".pth"):
        return network(sharpbit.load(name).net)
    upscaler = sharpbit.Upscaler(name)
    return lambda small: np.asarray(sharpbit.upscale(np.ascontiguousarray(small), upscaler=upscaler))


def network(net: nn.Module) -> Upscale:
    """A network, in float32."""
    net.eval()

    def upscale(small: Pixels) -> Pixels:
        padded = np.pad(small, ((HALO, HALO), (HALO, HALO), (0, 0)), "symmetric")  # as the upscaler does
        x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            made = net(x)[0].clamp(0, 1) * 255
        scale = made.shape[1] // padded.shape[0]
        inner = made[:, HALO * scale : -HALO * scale, HALO * scale : -HALO * scale]
        return inner.round().byte().permute(1, 2, 0).numpy()

    return upscale


class Compact(nn.Module):
    """The network of realesr-general-x4v3 and realesr-animevideov3: convolutions and PReLU beside nearest neighbours.

    Source: `SRVGGNetCompact` of xinntao/Real-ESRGAN. Where less than four times is wanted, the result is shrunk.
    """

    def __init__(self, path: Path, scale: int) -> None:
        super().__init__()
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("params", state)
        parts: list[nn.Module] = []
        for number in range(1 + max(int(key.split(".")[1]) for key in state)):
            weight = state[f"body.{number}.weight"]
            if weight.dim() == 4:
                parts.append(nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1))
            else:
                parts.append(nn.PReLU(len(weight)))
        self.body, self.scale = nn.Sequential(*parts), scale
        self.load_state_dict(state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Computed in bf16 where that is quicker; the result differs by less than a level."""
        with torch.autocast("cpu", torch.bfloat16):
            inner = self.body(x)
        made = F.pixel_shuffle(inner.float(), 4) + F.interpolate(x, scale_factor=4)
        size = [side * self.scale for side in x.shape[2:]]
        if self.scale == 4:
            return made
        return F.interpolate(made.clamp(0, 1), size, mode="bicubic", antialias=True)


def standard(scale: int, weights: Path | None) -> dict[str, Upscale]:
    """What needs no model of ours."""
    found: dict[str, Upscale] = {
        "bicubic": interpolation(Image.Resampling.BICUBIC, scale),
        "lanczos": interpolation(Image.Resampling.LANCZOS, scale),
    }
    if weights:
        published = sorted(weights.glob(f"etds/ETDS/**/*M6C32_x{scale}*.pth"))
        if published:
            found["ETDS-M published"] = model(str(published[0]), scale)
        general = weights / "real" / "realesr-general-x4v3.pth"
        if general.exists():
            found["realesr-general-x4v3"] = network(Compact(general, scale))
    return found
