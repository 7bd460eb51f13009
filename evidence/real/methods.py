"""What is compared: interpolation, models of sharpbit, the published ETDS-M, realesr-general-x4v3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import sharpbit

Pixels = np.ndarray
Upscale = Callable[[Pixels], Pixels]
HALO = 16
GENERAL = "realesr-general-x4v3"


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


def network(net: nn.Module, *, half: bool = False) -> Upscale:
    """A network, in float32, or its convolutions in bf16, which is quicker and differs by less than a level."""
    net.eval()

    def upscale(small: Pixels) -> Pixels:
        padded = np.pad(small, ((HALO, HALO), (HALO, HALO), (0, 0)), "symmetric")  # as the upscaler does
        x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            made = net(x)[0].clamp(0, 1) * 255
        scale = made.shape[1] // padded.shape[0]
        inner = made[:, HALO * scale : -HALO * scale, HALO * scale : -HALO * scale]
        return inner.round().byte().permute(1, 2, 0).numpy()

    return upscale


def shrunk(upscale: Upscale, by: float) -> Upscale:
    """The results of a network of a larger scale, brought down by bicubic."""

    def both(small: Pixels) -> Pixels:
        image = Image.fromarray(upscale(small))
        return np.asarray(image.resize((round(image.width / by), round(image.height / by)), Image.Resampling.BICUBIC))

    return both


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
        general = weights / "real" / f"{GENERAL}.pth"
        if general.exists():
            large = network(sharpbit.load(general).net, half=True)
            found[GENERAL] = large if scale == 4 else shrunk(large, 4 / scale)
    return found
