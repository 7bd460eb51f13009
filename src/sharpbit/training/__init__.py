"""The training loop: one loop for CPU and CUDA, whole data set on the device, exact resume."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from sharpbit.data.matched import Matched
from sharpbit.data.pairs import Pairs
from sharpbit.errors import ModelError, UsageError
from sharpbit.model import Model
from sharpbit.modelfile.history import Train
from sharpbit.nn import Constrained
from sharpbit.quant import order
from sharpbit.quant.adaptive import Context, Selector
from sharpbit.quant.core import METHODS, Method
from sharpbit.quant.grid import Range
from sharpbit.quant.history import InsertTwoPasses, Quantize
from sharpbit.quant.refqsr import by_role, in_two_passes
from sharpbit.system import parallel
from sharpbit.system.interrupts import Held
from sharpbit.training.checkpoint import resume, write_checkpoint
from sharpbit.training.losses import LOSSES, edge_loss, image_loss, lesson
from sharpbit.training.settings import Training
from sharpbit.training.soap import Soap

__all__ = ["Training", "edge_loss", "train"]

_PRECISIONS = {"bf16": torch.bfloat16, "float32": torch.float32}


def train(
    model: Model,
    pairs: Pairs | Matched,
    how: Training,
    *,
    out: Path | None = None,
    teacher: Model | None = None,
    device: str = "cpu",
    checkpoint_seconds: float = 60.0,
    stop_after: int | None = None,
    quiet: bool = False,
    validate: Callable[[Model], Mapping[str, float]] | None = None,
    validate_every: int = 5000,
) -> Model:
    """Train a copy of `model` and return it with the averaged weights.

    Args:
        model: where to start.
        pairs: the images; moved nowhere, so they should be on `device`. A network in two passes takes `Matched` ones,
            `batch` pairs of a reference and a query a step, and the losses of both are added.
        how: the plan.
        out: folder of `checkpoint.pt` (written aside, then renamed) and `log.jsonl`; a checkpoint found there is gone
            on from, exactly: the weights at the end are those of an uninterrupted run. Ctrl-C and SIGTERM wait for the
            end of a step and its checkpoint, unless several processes train or this is not the main thread.
        teacher: what `distill` compares with; it stays as it is.
        device: `cpu`, `cuda` or `cuda:N`.
        checkpoint_seconds: time between checkpoints.
        stop_after: stop, with a checkpoint, after this many steps of this call.
        quiet: show no progress bar.
        validate: function of the model with the averaged weights so far, whose numbers (PSNR in dB by the name of a
            set) go into `log.jsonl` and behind the progress bar; by default nothing is measured. The weights at the
            end are the same with and without it.
        validate_every: number of steps from one call of `validate` to the next; the last step is always one.

    Started by `torchrun` (see `sharpbit.system.parallel`), each process computes its part of every batch and the first
    one writes; the result is that of one process, but for rounding.

    Raises:
        UsageError: a plan that cannot work, or a checkpoint of another plan or of other images.
        ModelError: the loss is not a number any more.

    Examples:
        Two steps on two images; their LR images are made from them (`Pairs.from_folder` reads those of a folder):

        >>> import numpy as np, sharpbit
        >>> from sharpbit.data.pairs import Pairs
        >>> model = sharpbit.build("plain", scale=2, blocks=1, width=4)
        >>> images = [np.random.default_rng(k).integers(0, 256, (64, 64, 3), np.uint8) for k in range(2)]
        >>> pairs = Pairs.from_images(images, scale=2)
        >>> how = sharpbit.Training(steps=2, batch=2, patch=16, precision="float32")
        >>> trained = sharpbit.train(model, pairs, how, quiet=True)
        >>> trained.scale, trained.parameters == model.parameters
        (2, True)
    """
    order.check(model.net, "training", model.arch.name)
    _check(model, pairs, how, teacher)
    method = _method(model)
    net = copy.deepcopy(model.net).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = copy.deepcopy(net.train())
    parallel.share_statistics(net)
    part = slice(parallel.rank(), None, parallel.count())
    first = parallel.first()
    staged = _staged(model, net)
    groups, shares = _groups(net, how)
    optimizer = _optimizer(groups, how, device)
    images = pairs.digest() if out else ""
    start = resume(out, how, net, ema, optimizer, images) if out else 0
    end = how.steps if stop_after is None else min(how.steps, start + stop_after)
    saved = time.monotonic()
    mean, counted = torch.zeros((), device=device), 0
    with ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(total=how.steps, initial=start, desc=model.arch.name, disable=quiet or not first, delay=2, unit="step")
        )
        taught = stack.enter_context(lesson(net, teacher, how, device))
        crops = pairs.batches(range(start, end), how.seed, how.batch, how.patch, colours=how.colours, part=part)
        stack.enter_context(closing(crops))
        held = stack.enter_context(Held(out is not None and parallel.count() == 1))

        def measure(steps: int) -> None:
            """Measure the averaged weights after that many steps; a signal ends it at once."""
            if validate and first:
                with held.let_through():
                    found = dict(validate(_averaged(model, ema, how, steps)))
                bar.set_postfix(found)
                _write(out, {"step": steps, "psnr": found})

        if start and (start % validate_every == 0 or start == how.steps) and not _was_measured(out, start):
            measure(start)  # this was interrupted
        for step in range(start, end):
            if method and method.stage and (step == start or step % how.epoch == 0):
                method.stage(net, step // how.epoch + how.first_epoch)
                _scale_bit_loss(net, parallel.count())
            for weight in staged:
                weight.requires_grad_(step >= how.frozen_steps)
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = share * how.rate_at(step)
            loss_of = LOSSES[how.loss_at(step)]
            small, large = next(crops)
            small = small.contiguous(memory_format=torch.channels_last)
            enabled = how.precision != "float32"
            with torch.autocast(torch.device(device).type, _PRECISIONS[how.precision], enabled=enabled):
                terms = []
                for run, (low, high) in by_role(net, small, large):
                    terms.append(image_loss(run, low, high, how, loss_of) + taught(low))
                    if method and method.loss:
                        terms.append(how.own_loss * method.loss(net))
                loss = torch.stack(terms).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            parallel.average_gradients(net)
            if how.clip:
                nn.utils.clip_grad_norm_(net.parameters(), how.clip)
            optimizer.step()
            if isinstance(net, Constrained):
                net.project()
            _average(ema, net, min(how.ema, (step + 1) / (step + 10)))
            mean, counted = mean + loss.detach(), counted + 1
            bar.update()
            if counted == 100 or step + 1 == end:
                parallel.average([mean])
                _log(out if first else None, step + 1, float(mean) / counted, how.rate_at(step), bar)
                mean, counted = torch.zeros((), device=device), 0
            measured = validate is not None and ((step + 1) % validate_every == 0 or step + 1 == end)
            late = time.monotonic() - saved > checkpoint_seconds or held.waiting is not None
            if out and first and (late or measured or step + 1 == end):
                write_checkpoint(out, step + 1, how, net, ema, optimizer, images)
                saved = time.monotonic()
            held.deliver()
            if measured:
                measure(step + 1)
    return _averaged(model, ema, how, end)


def _averaged(model: Model, ema: nn.Module, how: Training, steps: int) -> Model:
    """The model with a copy of the averaged weights after that many steps."""
    net = copy.deepcopy(ema).to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if isinstance(net, Constrained):
        net.settle()
    entry = Train(steps, {key: value for key, value in asdict(how).items() if key != "steps"})
    return replace(model, net=net.eval(), history=(*model.history, entry))


def _method(model: Model) -> Method | None:
    """What the model was last quantized by."""
    names = [entry.method for entry in model.history if isinstance(entry, Quantize | InsertTwoPasses)]
    return METHODS[names[-1]] if names else None


def _scale_bit_loss(net: nn.Module, times: int) -> None:
    """The loss of bits is a sum over the crops of a batch, and the means of gradients are taken over its parts."""
    for part in net.modules():
        if isinstance(part, Context):
            part.bit_weight *= times


def _optimizer(groups: list[dict[str, Any]], how: Training, device: str) -> torch.optim.Optimizer:
    if how.optimizer == "soap":
        return Soap(groups, lr=how.rate)
    return torch.optim.Adam(groups, lr=how.rate, betas=how.betas, fused=device.startswith("cuda"))


def _groups(net: nn.Module, how: Training) -> tuple[list[dict[str, Any]], list[float]]:
    """Parameters of the optimiser in groups, and their learning rates as multiples of the weights'."""
    ranges = [own for part in net.modules() if isinstance(part, Range) for own in part.parameters(recurse=False)]
    selectors = [own for part in net.modules() if isinstance(part, Selector) for own in part.parameters()]
    special = {id(own) for own in (*ranges, *selectors)}
    weights = [own for own in net.parameters() if id(own) not in special]
    rates = ((weights, how.rate), (ranges, how.range_rate or how.rate), (selectors, how.selector_rate or how.rate))
    found = [(group, rate / how.rate) for group, rate in rates if group]
    return [{"params": group} for group, _ in found], [share for _, share in found]


def _check(model: Model, pairs: Pairs | Matched, how: Training, teacher: Model | None) -> None:
    if how.loss not in LOSSES:
        raise UsageError(f"loss {how.loss!r} is not known; use one of {', '.join(LOSSES)}")
    if how.optimizer not in ("adam", "soap"):
        raise UsageError(f"optimizer {how.optimizer!r} is not known; use adam or soap")
    if how.precision not in _PRECISIONS:
        raise UsageError(f"precision {how.precision!r} is not known; use one of {', '.join(_PRECISIONS)}")
    if bool(how.distill or how.distill_blocks) != (teacher is not None):
        raise UsageError("distill and distill_blocks go with a teacher, and a teacher with one of them")
    if teacher is not None and teacher.arch.name != model.arch.name:
        raise UsageError(f"the teacher is a {teacher.arch.name}, and the network that learns a {model.arch.name}")
    if teacher is not None and teacher.scale != model.scale:
        raise UsageError(f"the teacher upscales {teacher.scale} times, and the network that learns {model.scale} times")
    ranges = [
        (name, own)
        for name, part in model.net.named_modules()
        if isinstance(part, Range)
        for own in part.parameters(recurse=False)
    ]
    bad = [name for name, own in ranges if not bool(torch.isfinite(own).all())]
    if bad:
        raise UsageError(f"{len(bad)} ranges, the first {bad[0]}, saw nothing yet; calibrate the network first")
    if how.batch % parallel.count():
        raise UsageError(
            f"a batch of {how.batch} cannot be split evenly among {parallel.count()} processes; change batch, or"
            " --nproc-per-node of torchrun"
        )
    if isinstance(pairs, Matched) != in_two_passes(model.net):
        raise UsageError("a network in two passes, and only such a one, is trained on crops that match in pairs")
    if pairs.scale != model.scale:
        raise UsageError(f"the images were prepared for x{pairs.scale} and the network is x{model.scale}")
    if how.low_weight and how.edge_weight:
        raise UsageError("edge_weight is for networks of one stream; leave out low_weight or edge_weight")
    if how.low_weight and not hasattr(model.net, "streams"):
        raise UsageError(f"low_weight is for networks of two streams, which {model.arch.name} is not; leave it out")


def _staged(model: Model, net: nn.Module) -> list[nn.Parameter]:
    """What the architecture freezes in the first steps, without what the caller froze for good."""
    return [
        weight
        for name, weight in net.named_parameters()
        if weight.requires_grad and any(fnmatchcase(name, glob) for glob in model.arch.frozen_first)
    ]


@torch.no_grad()
def _average(ema: nn.Module, net: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - decay)
    for mean, value in zip(ema.buffers(), net.buffers(), strict=True):  # statistics of normalization, averages already
        mean.copy_(value)


def _log(out: Path | None, step: int, loss: float, rate: float, bar: tqdm[Any]) -> None:
    bar.set_postfix(loss=f"{loss:.5f}", refresh=False)
    if not math.isfinite(loss):
        raise ModelError(f"the loss is {loss} at step {step}; lower the learning rate (rate = {rate:.2g})")
    _write(out, {"step": step, "loss": round(loss, 7), "rate": rate})


def _was_measured(out: Path | None, steps: int) -> bool:
    """Whether the log holds a measurement after that many steps."""
    if out is None or not (out / "log.jsonl").exists():
        return False
    begin = f'{{"step": {steps}, "psnr": '
    return any(line.startswith(begin) for line in (out / "log.jsonl").read_text().splitlines())


def _write(out: Path | None, line: Mapping[str, Any]) -> None:
    """Add a line to the log."""
    if out:
        out.mkdir(parents=True, exist_ok=True)
        with (out / "log.jsonl").open("a") as file:
            file.write(json.dumps({**line, "time": round(time.time(), 1)}) + "\n")
