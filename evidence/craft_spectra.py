"""Which frequencies the two branches of CRAFT carry: spectra of its features and results, as tables and a figure.

    python evidence/craft_spectra.py --weights craft_x4.pth --data BENCHMARKS [--sets Set5 Set14] -o FILE.svg

Each of the network's steps takes a map of features, sends it through two window attention blocks (SRWAB) and, beside
them, through a block of convolutions (HFERB), and joins both (HFB). Attention replaces the values at its pixels by
averages of values, so these are shown before and after, too. An amplitude is that of the Fourier transform under a Hann
window, averaged over channels, images and rings of equal frequency; curves of features show its logarithm relative to
zero frequency, as in "How Do Vision Transformers Work?" (Park and Kim, ICLR 2022), averaged over steps. The results are
compared with the HR images, frequency by frequency: of the network as it is, of the network whose HFERBs give what
they took, and of the one whose SRWABs do. Nothing is trained anew for that.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sharpbit import model as models
from sharpbit.image.resize import upscale
from sharpbit.measure import psnr
from sharpbit.measure.benchmarks import find
from sharpbit.report import svg
from sharpbit.runtime import available_cpus
from sharpbit.system.atomic import open_atomic

RINGS = 24  # from zero frequency to half a cycle for each pixel, the most that rows and columns can hold
HIGH = 0.25  # cycles for each pixel: the upper half of what they can hold
FEATURES = ("input", "after SRWAB", "after HFERB", "after HFB")
CHANGES = ("added by SRWAB", "added by HFERB", "values", "attended values")
PARTS = FEATURES + CHANGES
COLOURS = {
    "input": "#475569",
    "after SRWAB": "#0b6fb8",
    "after HFERB": "#c2410c",
    "after HFB": "#15803d",
    "added by SRWAB": "#0b6fb8",
    "added by HFERB": "#c2410c",
    "values": "#475569",
    "attended values": "#7e22ce",
    "CRAFT": "#15803d",
    "without HFERB": "#0b6fb8",
    "without SRWAB": "#c2410c",
    "bicubic": "#475569",
}
Curves = dict[str, np.ndarray]


def spectrum(maps: Tensor) -> tuple[np.ndarray, float]:
    """Of `(C, H, W)`: mean amplitude of each ring, zero frequency first; and the share of `HIGH` in the power.

    Zero frequency has no part in the share, nor what the window spreads of it: the mean is taken away first.
    """
    height, width = maps.shape[1:]
    window = torch.hann_window(height + 2)[1:-1, None] * torch.hann_window(width + 2)[1:-1]
    zero = (maps * window).sum((1, 2)).abs().mean()
    mean = (maps * window).sum((1, 2), keepdim=True) / window.sum()
    amplitude = torch.fft.fft2((maps - mean) * window).abs()
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width))
    ring = (radius * 2 * RINGS).ceil().long().clamp(1, RINGS)
    inside = (radius > 0) & (radius <= 0.5)
    over = amplitude.mean(0)
    total = torch.zeros(RINGS + 1).index_add_(0, ring[inside], over[inside])
    size = torch.zeros(RINGS + 1).index_add_(0, ring[inside], torch.ones(int(inside.sum())))
    power = amplitude.square().mean(0)
    share = power[inside & (radius > HIGH)].sum() / power[inside].sum()
    return torch.cat((zero[None], total[1:] / size[1:])).double().numpy(), float(share)


@contextmanager
def watched(net: nn.Module, size: tuple[int, int]) -> Iterator[list[dict[str, Tensor]]]:
    """The maps of each step, in order, cut to `size`: without what was added to fit windows."""
    steps: list[dict[str, Tensor]] = []
    values: list[tuple[Tensor, Tensor]] = []

    def attended(attention: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        del attention
        values.append((args[0][..., 2, :], out))  # (N, H, W, C) each

    def keep(high: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        del high
        before, after = (torch.cat(maps, -1).permute(0, 3, 1, 2) for maps in zip(*values, strict=True))
        values.clear()
        steps.append({"input": args[0], "after HFERB": out, "values": before, "attended values": after})

    def joined(join: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        del join
        step = steps[-1] | {"after SRWAB": args[0], "after HFB": out}
        for name in ("SRWAB", "HFERB"):
            step[f"added by {name}"] = step[f"after {name}"] - step["input"]
        steps[-1] = {name: x[0, :, : size[0], : size[1]] for name, x in step.items()}

    groups = [layer.residual_group for layer in net.layers]  # type: ignore[union-attr]
    handles = [block.register_forward_hook(keep) for group in groups for block in group.hfer_blocks]  # type: ignore[union-attr]
    attentions = [half for group in groups for block in group.srwa_blocks for half in block.attns]  # type: ignore[union-attr]
    handles += [half.register_forward_hook(attended) for half in attentions]
    handles += [block.register_forward_hook(joined) for group in groups for block in group.hf_blocks]  # type: ignore[union-attr]
    try:
        yield steps
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def idle(net: nn.Module, blocks: str) -> Iterator[None]:
    """Blocks of one kind give what they take."""
    parts = [part for layer in net.layers for part in getattr(layer.residual_group, blocks)]  # type: ignore[union-attr]
    handles = [part.register_forward_hook(lambda module, args, out: args[0]) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def draw(panels: list[tuple[str, str, str, Curves]]) -> str:
    """An SVG drawing of panels side by side: title, label of x, label of y, curves over 0 to 0.5."""
    width, height, left, top, bottom = 380, 330, 52, 40, 44
    whole = []
    for number, (title, across, up, curves) in enumerate(panels):
        values = np.concatenate(list(curves.values()))
        step = next(s for s in (0.1, 0.2, 0.5, 1.0) if np.ptp(values) / s <= 8)
        low, high = np.floor(values.min() / step) * step, np.ceil(values.max() / step) * step

        def x(f: float) -> float:
            return left + f * 2 * (width - left - 16)

        def y(v: float, low: float = low, high: float = high) -> float:
            return height - bottom - (v - low) / (high - low) * (height - top - bottom)

        parts = [svg.text(left, 20, title, font_size=13, font_weight="bold", fill="#111")]
        for value in np.arange(low, high + step / 2, step):
            parts.append(svg.path(f"M{left} {y(value):.1f}H{x(0.5):.1f}", stroke="#ddd"))
            parts.append(svg.text(left - 6, y(value) + 4, f"{round(value, 1):g}", text_anchor="end", fill="#444"))
        for value in (0, 0.125, 0.25, 0.375, 0.5):
            parts.append(svg.path(f"M{x(value):.1f} {top}V{height - bottom}", stroke="#eee"))
            parts.append(svg.text(x(value), height - bottom + 16, f"{value:g}", text_anchor="middle", fill="#444"))
        parts.append(svg.text(x(0.25), height - 8, across, text_anchor="middle", fill="#444"))
        parts.append(svg.text(left, top - 6, up, fill="#444"))
        for k, (name, curve) in enumerate(curves.items()):
            first = RINGS + 1 - len(curve)  # rings that are shown; a ring stands at its middle
            at = [0.0 if ring == 0 else (ring - 0.5) / RINGS / 2 for ring in range(first, RINGS + 1)]
            points = [(x(f), y(v)) for f, v in zip(at, curve, strict=True)]
            parts.append(svg.polyline(points, stroke=COLOURS[name], stroke_width=1.8))
            halo = {"stroke": "white", "stroke_width": 3, "paint_order": "stroke"}
            place = (x(0.5) - 4, top + 14 + 14 * k)
            parts.append(svg.text(*place, name, text_anchor="end", fill=COLOURS[name], **halo))
        whole.append(svg.group(parts, number * width, 0))
    return svg.drawing(width * len(panels), height, whole, size=11)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path, help="folder of the benchmarks")
    parser.add_argument("--sets", nargs="+", default=["Set5", "Set14"])
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("-o", "--output", required=True, type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = models.load(given.weights)
    net = model.net.eval().to(memory_format=torch.channels_last)
    amplitudes: dict[str, list[np.ndarray]] = defaultdict(list)  # (steps, rings) of each image
    shares: dict[str, list[list[float]]] = defaultdict(list)
    ratios: dict[str, list[np.ndarray]] = defaultdict(list)
    quality: dict[str, list[float]] = defaultdict(list)
    pairs = [
        benchmark.pair(path, model.scale)
        for name in given.sets
        for benchmark in find(given.data / name)
        for path in benchmark.large
    ]
    for done, (small, large) in enumerate(pairs, 1):
        source = small.astype(np.float32) / np.float32(255)
        x = torch.from_numpy(source).permute(2, 0, 1)[None]
        with torch.inference_mode():
            with watched(net, small.shape[:2]) as seen:
                results = {"CRAFT": net(x)}
            with idle(net, "hfer_blocks"):
                results["without HFERB"] = net(x)
            with idle(net, "srwa_blocks"):
                results["without SRWAB"] = net(x)
            results["bicubic"] = torch.from_numpy(
                np.stack([upscale(source[..., channel], model.scale) for channel in range(3)])
            )[None]
            for part in PARTS:
                rows = [spectrum(step[part]) for step in seen]
                amplitudes[part].append(np.stack([row[0] for row in rows]))
                shares[part].append([row[1] for row in rows])
            true = spectrum(torch.from_numpy(large.astype(np.float32) / 255).permute(2, 0, 1))[0]
        for name, result in results.items():
            ratios[name].append(spectrum(result[0].float())[0] / true)
            values = np.rint(result[0].permute(1, 2, 0).numpy().clip(0, 1) * 255).astype(np.uint8)
            quality[name].append(psnr.of_values(*psnr.compared(values, large, model.scale, "y")))
        print(f"\r{done} of {len(pairs)} images", end="", flush=True)
    print(f"\n\n{given.weights.name}, {' and '.join(given.sets)}: power above {HIGH} cycles for each pixel\n")
    print("| step | " + " | ".join(PARTS) + " |\n|---|" + "---|" * len(PARTS))
    table = {part: np.mean(shares[part], 0) for part in PARTS}
    for step in range(len(table["input"])):
        print(f"| {step + 1} | " + " | ".join(f"{100 * table[part][step]:.1f} %" for part in PARTS) + " |")
    print("| mean | " + " | ".join(f"{100 * table[part].mean():.1f} %" for part in PARTS) + " |")
    upper = np.arange(1, RINGS + 1) / RINGS / 2
    bands = [(0, 0.125), (0.125, 0.25), (0.25, 0.5)]
    print("\nPSNR (Y), and amplitude as a share of the true one, by cycles for each pixel of the result\n")
    print(
        "| result | PSNR | " + " | ".join(f"{low:g} to {high:g}" for low, high in bands) + " |\n|---|---|---|---|---|"
    )
    for name in ratios:
        curve = np.mean(ratios[name], 0)[1:]
        within = [curve[(upper > low) & (upper <= high)].mean() for low, high in bands]
        print(f"| {name} | {np.mean(quality[name]):.2f} | " + " | ".join(f"{value:.2f}" for value in within) + " |")

    def relative(part: str) -> np.ndarray:
        logs = np.log(np.stack(amplitudes[part]))  # images, steps, rings
        return np.asarray((logs - logs[..., :1]).mean((0, 1)))

    pixels, ends = "cycles for each pixel", "ln of amplitude relative to zero frequency"
    panels = [
        ("Features", f"{pixels} of the input", ends, {part: relative(part) for part in FEATURES}),
        (
            "What the branches add, and attention alone",
            f"{pixels} of the input",
            ends,
            {part: relative(part) for part in CHANGES},
        ),
        (
            "Results",
            f"{pixels} of the result",
            "amplitude as a share of the HR image's",
            {name: np.mean(values, 0)[1:] for name, values in ratios.items()},
        ),
    ]
    with open_atomic(given.output, overwrite=True) as file:
        file.write(draw(panels).encode())
    print(f"\n{given.output} written")


if __name__ == "__main__":
    main()
