"""Train a network on pools of tiles: one process, resumable, averaged weights.

    python research/training/train.py PLAN.toml OUT

The plan is a table; see `Plan`. `OUT` gets `checkpoint.pt` every few minutes, `log.jsonl`, and `average.safetensors`,
the averaged weights, every time and at the end. Where the same command is given again it goes on. A step's crops depend
on the seed and the number of the step alone.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from begin import begun
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import ARCHITECTURES
from sharpbit.arch.carry import COLOURS, Carry
from sharpbit.model import Model, save
from sharpbit.modelfile.history import Start, Train, Verb
from sharpbit.nn import Constrained
from sharpbit.training import Training
from sharpbit.training.losses import with_luma
from sharpbit.training.soap import Soap


@dataclass
class Plan:
    """What is trained, how and on what.

    Attributes:
        arch: of the network.
        config: its sizes.
        pools: folders of tiles, each with its weight.
        start: a file of weights to begin with; tensors of another scale begin afresh, and a wider or deeper chain
            begins as the same function.
        after: what a recipe calls that.
        steps: in all.
        batch: crops of a step.
        patch: side of a crop, in small pixels.
        rate: of learning, at the most; it falls to `end` of it by a cosine.
        warmup: steps in which it rises.
        end: share of the rate at the end.
        finish: share of the steps, at the end, whose loss is L2 instead of L1.
        luma: share of the loss that is that of luma alone.
        average: decay of the averaged weights.
        flat: share of crops that are one constant colour.
        colours: whether colour channels are exchanged at random; lossy compression treats them differently.
        optimizer: `soap` or `adam`.
        fixed: whether normalizations keep the statistics that they begin with.
        precision: of products: `bfloat16` or `float32`, which is faster for kernels of 9x9.
        seed: of everything.
    """

    arch: str
    config: dict
    pools: dict[str, float]
    start: str = ""
    after: str = ""
    steps: int = 20000
    batch: int = 16
    patch: int = 64
    rate: float = 1e-3
    warmup: int = 200
    end: float = 0.01
    finish: float = 0.0
    luma: float = 0.0
    average: float = 0.999
    flat: float = 0.04
    colours: bool = False
    optimizer: str = "adam"
    fixed: bool = False
    precision: str = "bfloat16"
    seed: int = 1
    about: dict = field(default_factory=dict)

    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""
        warm = min(1.0, (step + 1) / max(self.warmup, 1))
        fallen = self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.rate * warm * fallen


class Pool:
    """A folder of tiles, mapped into memory."""

    def __init__(self, folder: Path, scale: int, patch: int) -> None:
        sizes = np.load(folder / "sizes.npy").astype(np.int64)
        areas = 3 * sizes.prod(1)
        self.starts = np.cumsum(areas) - areas
        self.small = np.memmap(folder / "small.bytes", np.uint8, "r")
        self.large = np.memmap(folder / "large.bytes", np.uint8, "r")
        self.sizes, self.scale, self.patch = sizes, scale, patch
        room = np.clip(sizes - patch + 1, 0, None).prod(1).astype(float)
        self.odds = np.cumsum(room / room.sum())

    def crop(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random crop, small and large."""
        k = int(np.searchsorted(self.odds, rng.random()))
        height, width = self.sizes[k]
        y, x = (int(rng.integers(side - self.patch + 1)) for side in (height, width))
        start, s, p = self.starts[k], self.scale, self.patch
        small = self.small[start : start + 3 * height * width].reshape(height, width, 3)
        large = self.large[start * s * s : (start + 3 * height * width) * s * s].reshape(height * s, width * s, 3)
        return small[y : y + p, x : x + p], large[y * s : (y + p) * s, x * s : (x + p) * s]


def batch_of(pools: list[tuple[Pool, float]], plan: Plan, step: int) -> tuple[Tensor, Tensor]:
    """The crops of a step, `(N, 3, h, w)` in `[0, 1]`, small and large."""
    rng = np.random.default_rng((plan.seed, step))
    odds = np.cumsum([weight for _, weight in pools])
    smalls, larges = [], []
    for _ in range(plan.batch):
        pool = pools[int(np.searchsorted(odds / odds[-1], rng.random()))][0]
        if rng.random() < plan.flat:
            colour = rng.integers(0, 256, 3).astype(np.uint8)
            if rng.random() < 0.4:
                colour = (rng.integers(0, 2, 3) * 255).astype(np.uint8)
            pair = tuple(np.broadcast_to(colour, (side, side, 3)) for side in (plan.patch, plan.patch * pool.scale))
        else:
            pair = pool.crop(rng)
        flips, order = rng.integers(0, 2, 3), rng.permutation(3) if plan.colours else np.arange(3)
        for part, kept in zip(pair, (smalls, larges), strict=True):
            part = part[::-1] if flips[0] else part
            part = part[:, ::-1] if flips[1] else part
            part = part.transpose(1, 0, 2) if flips[2] else part
            kept.append(part[:, :, order] if plan.colours else part)
    both = (torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).float() / 255 for parts in (smalls, larges))
    low, high = both
    return low, high


def tangent(net: Carry) -> None:
    """Take from the gradients what `project` takes from the weights."""
    for layer in (net.first, *net.hidden()):
        assert layer.weight.grad is not None
        image = layer.weight.grad[:, -COLOURS:]
        image -= image.mean((2, 3), keepdim=True)
    grad = net.interpolation.weight.grad
    assert grad is not None
    grad -= grad.mean((2, 3), keepdim=True)


def write(out: Path, plan: Plan, ema: nn.Module, step: int) -> None:
    """The averaged weights as a model."""
    net = copy.deepcopy(ema).to(memory_format=torch.contiguous_format).eval()
    if isinstance(net, Constrained):
        net.settle()
    how = Training(
        step,
        plan.batch,
        plan.patch,
        plan.rate,
        plan.rate * plan.end,
        plan.warmup,
        clip=0.5,
        finish=plan.finish,
        luma=plan.luma,
        colours=plan.colours,
        ema=plan.average,
        seed=plan.seed,
        optimizer=plan.optimizer,
        precision="bf16" if plan.precision == "bfloat16" else plan.precision,
    )
    settings = {key: value for key, value in asdict(how).items() if key != "steps"}
    history: tuple[Verb, ...] = (Train(step, settings),)
    if plan.after:
        count = len(ema.state_dict())
        history = (Start(plan.after, count, count), *history)
    save(
        Model(ARCHITECTURES[plan.arch], net.config, net, history, plan.about),
        out / "average.safetensors",
        overwrite=True,
    )


def read(path: Path) -> Plan:
    """The plan that a file holds."""
    return Plan(**tomllib.loads(path.read_text()))


def main() -> None:
    plan, out = read(Path(sys.argv[1])), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    torch.set_num_threads(1)
    arch = ARCHITECTURES[plan.arch]
    net = arch.build(arch.config(**plan.config))
    pools = [(Pool(Path(folder), net.config.scale, plan.patch), weight) for folder, weight in plan.pools.items()]
    if plan.start:
        begun(net, plan.start)
    net = net.to(memory_format=torch.channels_last).train()
    for module in net.modules() if plan.fixed else ():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    ema = copy.deepcopy(net).requires_grad_(False)
    parameters = list(net.parameters())
    optimizer = Soap(parameters) if plan.optimizer == "soap" else torch.optim.Adam(parameters, betas=(0.9, 0.99))
    start, path = 0, out / "checkpoint.pt"
    if path.exists():
        state = torch.load(path, weights_only=True)
        net.load_state_dict(state["net"])
        ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
        print("goes on at step", start, flush=True)
    if start >= plan.steps:
        write(out, plan, ema, start)
    saved, mean, counted, clock = time.monotonic(), 0.0, 0, time.monotonic()
    for step in range(start, plan.steps):
        low, high = batch_of(pools, plan, step)
        low = low.contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.precision == "bfloat16"):
            made = net(low).float()
        late = step >= plan.steps * (1 - plan.finish)
        loss = with_luma(F.mse_loss if late else F.l1_loss, plan.luma)(made, high) * (20 if late else 1)
        net.zero_grad(set_to_none=True)
        loss.backward()
        if isinstance(net, Carry):
            tangent(net)
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        if isinstance(net, Constrained):
            net.project()
        decay = min(plan.average, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - decay)
        for kept, now in zip(ema.buffers(), net.buffers(), strict=True):  # statistics of normalizations
            kept.copy_(now)
        mean, counted = mean + F.mse_loss(made.detach().clamp(0, 1), high).item(), counted + 1
        if counted == 200 or step + 1 == plan.steps:
            psnr, speed = -10 * math.log10(mean / counted), 1000 * (time.monotonic() - clock) / counted
            line = {"step": step + 1, "psnr": round(psnr, 3), "rate": plan.rate_at(step), "ms": round(speed, 1)}
            with (out / "log.jsonl").open("a") as file:
                file.write(json.dumps({**line, "time": round(time.time())}) + "\n")
            print(json.dumps(line), flush=True)
            if not math.isfinite(psnr):
                raise SystemExit("the loss is not a number any more")
            mean, counted, clock = 0.0, 0, time.monotonic()
        if time.monotonic() - saved > 180 or step + 1 == plan.steps:
            whole = {"step": step + 1, "net": net.state_dict(), "ema": ema.state_dict()}
            torch.save({**whole, "optimizer": optimizer.state_dict()}, out / "checkpoint.tmp")
            (out / "checkpoint.tmp").rename(path)
            write(out, plan, ema, step + 1)
            saved = time.monotonic()


if __name__ == "__main__":
    main()
