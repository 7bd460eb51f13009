"""Make a pool whose HR tiles are what a teacher makes of the LR tiles of another pool.

    python research/training/teach.py POOL OUT --weights WEIGHTS/real --every 2

The teacher is realesr-general-x4v3, mixed half and half with its less denoising twin, as its authors do for a denoising
strength of 0.5 (BSD-3-Clause, Xintao Wang; the weights are not part of the project). Its colours are those of the HR
tile: what the two differ by after a wide blur is taken back, as the teacher shifts light greys to white.

With `--teacher FILE` it is any network that `sharpbit.load` reads, of the scale of the pool, and its results stay as
they are.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sharpbit

FLAG = 0x01306B47  # before weights in half precision in an ncnn file
SIGMA = 6.0  # of the blur, in HR pixels


def ncnn(path: Path) -> list[np.ndarray]:
    """The tensors of a chain of convolutions and PReLU in an ncnn file, in order: weight, bias, slope, weight..."""
    data, position, found = path.with_suffix(".bin").read_bytes(), 0, []
    for line in path.with_suffix(".param").read_text().splitlines()[2:]:
        kind, *rest = line.split()
        facts = dict(item.split("=", 1) for item in rest if "=" in item)
        if kind == "Convolution":
            count = int(facts["6"])
            if int.from_bytes(data[position : position + 4], "little") == FLAG:
                found.append(np.frombuffer(data, "<f2", count, position + 4).astype(np.float32))
                position += 4 + -(-2 * count // 4) * 4
            else:
                found.append(np.frombuffer(data, "<f4", count, position + 4))
                position += 4 + 4 * count
            found.append(np.frombuffer(data, "<f4", int(facts["0"]), position))
            position += 4 * int(facts["0"])
        elif kind == "PReLU":
            found.append(np.frombuffer(data, "<f4", int(facts["0"]), position))
            position += 4 * int(facts["0"])
    assert position == len(data), (position, len(data))
    return found


def teacher(folder: Path) -> nn.Sequential:
    """The chain of the mixed teacher, before the pixel shuffle."""
    state = torch.load(folder / "realesr-general-x4v3.pth", map_location="cpu", weights_only=True)
    state = state.get("params", state)
    other = ncnn(folder / "RealESRGAN_General_WDN_x4_v3")
    parts: list[nn.Module] = []
    last = 1 + max(int(key.split(".")[1]) for key in state)
    for number in range(last):
        weight = state[f"body.{number}.weight"]
        outputs, inputs = weight.shape[0], weight.shape[1] if weight.dim() == 4 else 0
        parts.append(nn.Conv2d(inputs, outputs, 3, padding=1) if inputs else nn.PReLU(outputs))
    body = nn.Sequential(*parts)
    body.load_state_dict({key.removeprefix("body."): value for key, value in state.items()})
    with torch.no_grad():
        for weight, twin in zip(body.parameters(), other, strict=True):
            weight.copy_(0.5 * weight + 0.5 * torch.from_numpy(twin.copy()).view_as(weight))
    return body.to(memory_format=torch.channels_last).eval()


def taught(body: nn.Sequential, low: Tensor, scale: int) -> Tensor:
    """What the teacher makes of LR images in `[0, 1]`, shrunk where less than four times is wanted."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inner = body(low.contiguous(memory_format=torch.channels_last))
    made = (F.pixel_shuffle(inner.float(), 4) + F.interpolate(low, scale_factor=4)).clamp(0, 1)
    if scale == 4:
        return made
    size = [side * scale for side in low.shape[2:]]
    return F.interpolate(made, size, mode="bicubic", antialias=True).clamp(0, 1)


def read(path: Path) -> Callable[[Tensor], Tensor]:
    """What a network in a file makes of LR images in `[0, 1]`, mirrored at their borders."""
    model = sharpbit.reparameterize(sharpbit.load(path))
    net, edge = model.net.to(memory_format=torch.channels_last).eval(), 10

    def upscale(low: Tensor) -> Tensor:
        with torch.inference_mode():
            made = net(F.pad(low, (edge, edge, edge, edge), mode="reflect")).clamp(0, 1)
        cut = slice(edge * model.scale, -edge * model.scale)
        return made[:, :, cut, cut]

    return upscale


def blurred(x: Tensor) -> Tensor:
    """A Gaussian blur of `SIGMA`."""
    reach = int(3 * SIGMA)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / SIGMA) ** 2)
    line = (line / line.sum()).view(1, 1, -1, 1).repeat(3, 1, 1, 1)
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, line, groups=3), line.transpose(2, 3), groups=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, help="folder of the realesr weights")
    parser.add_argument("--teacher", type=Path, help="another teacher")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="take each such tile")
    args = parser.parse_args()
    torch.set_num_threads(1)
    s, other = args.scale, read(args.teacher) if args.teacher else None
    body = None if other else teacher(args.weights)
    sizes = np.load(args.pool / "sizes.npy").astype(np.int64)
    areas = 3 * sizes.prod(1)
    starts = np.cumsum(areas) - areas
    small, large = (np.memmap(args.pool / f"{name}.bytes", np.uint8, "r") for name in ("small", "large"))
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "small.bytes").open("wb") as low_file, (args.out / "large.bytes").open("wb") as high_file:
        for k in range(0, len(sizes), args.every):
            height, width = sizes[k]
            low = small[starts[k] : starts[k] + areas[k]].reshape(height, width, 3)
            high = large[starts[k] * s * s : (starts[k] + areas[k]) * s * s].reshape(height * s, width * s, 3)
            x, truth = (torch.from_numpy(np.array(part)).permute(2, 0, 1)[None].float() / 255 for part in (low, high))
            if other:
                made = other(x)
            else:
                made = taught(body, x, s)
                made = (made + blurred(truth - made)).clamp(0, 1)
            low_file.write(low.tobytes())
            high_file.write((made[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy().tobytes())
    np.save(args.out / "sizes.npy", sizes[:: args.every])
    shutil.copy(args.pool / "pool.json", args.out / "pool.json")
    print(json.dumps({"tiles": len(sizes[:: args.every])}))


if __name__ == "__main__":
    main()
