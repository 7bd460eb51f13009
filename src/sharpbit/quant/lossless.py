"""Eight bits without loss for chains of 3x3 convolutions and ReLU: from float layers to an `IntegerChain`.

Four ideas, in the order in which they are applied; `bench/lossless.py` prints what each of them buys.

1. A scale per channel. After a ReLU it is free: it is folded into the weights before and after.
2. The picture is carried, not filtered. Such networks pass the picture through all layers in three channels, and to
   round these again in every layer is nearly all that is lost. Here they hold the bytes themselves, copied exactly,
   and what the float network did to them on the way is left to the other weights.
3. Every layer is fitted by least squares to what the float layer gives, from the rounded inputs that it really gets;
   then all are tuned together to the result of the float network, with the activations rounded (straight-through
   estimator, Bengio et al., 2013) and in coordinates in which each layer's inputs are white.
4. Weights are rounded one after the other, each error made up by those that follow (OPTQ/GPTQ, Frantar et al., 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.errors import QuantizeError
from sharpbit.integer import MAX_BIAS, MAX_CHANNELS, MAX_LAYERS, IntegerChain
from sharpbit.integer import Layer as IntegerLayer
from sharpbit.nn import byte_layer
from sharpbit.reparam.chain import Chain

Progress = Callable[[str, int, int], object]
TOP = 255.0
LIMIT = 127  # of a weight
QUIET = 100.0  # the mean square of an input of ten bytes: weights of what is quieter must not grow
FEW = 100  # pictures that least squares see
WHITE = 3e-3  # the same where inputs are made white: directions with less than this are followed less
RIDGE = 1e-4  # how strongly least squares hold on to what they start from, of each input's own mean square


@dataclass(frozen=True)
class Settings:
    """How much work is done.

    Attributes:
        carry: whether the picture is carried as it is, where the network has channels for it.
        fit: whether layers are fitted by least squares before their weights are rounded.
        compensate: whether the rounding of a weight is made up by the following ones.
        steps: of tuning; 0 leaves it out.
        batch: pictures in one step.
        rate: of Adam (Kingma and Ba, 2015), in bytes of output that one white coordinate changes by one step.
        samples: places in the pictures that least squares see.
        seed: of what is drawn at random.
    """

    carry: bool = True
    fit: bool = True
    compensate: bool = True
    steps: int = 200
    batch: int = 8
    rate: float = 0.004
    samples: int = 20000
    seed: int = 0


@dataclass(frozen=True)
class Stage:
    """A layer that turns bytes into bytes, which are still to be rounded (float64).

    Attributes:
        kernel: `(out, in * 9 + 1)`: weights, then the bias divided by 255, as if its input were always white.
        carried: rows that hold the picture itself.
        moments: mean products of the inputs of `kernel`, `(in * 9 + 1, in * 9 + 1)`.
    """

    kernel: Tensor
    carried: tuple[int, ...]
    moments: Tensor

    @property
    def weight(self) -> Tensor:
        """`(out, in, 3, 3)`."""
        return self.kernel[:, :-1].reshape(len(self.kernel), -1, 3, 3)

    @property
    def bias(self) -> Tensor:
        """`(out,)`."""
        return self.kernel[:, -1] * TOP


@torch.no_grad()
def quantize_chain(
    chain: Chain, pictures: Tensor, settings: Settings | None = None, *, progress: Progress | None = None
) -> IntegerChain:
    """The integer chain that does what `chain` does with pictures like these.

    Args:
        chain: convolutions of at most 3x3 and ReLU, without a skip (`sharpbit.reparam.chain.relu_chain`); the result is
            clipped to `[0, 1]`.
        pictures: `(N, 3, h, w)` uint8, small pictures such as the network will get.
        settings: how much work is done.
        progress: called with a word, what is done of it, and how much there is.

    Raises:
        QuantizeError: a chain that eight bits cannot hold, or pictures that say nothing.
    """
    settings = settings or Settings()
    progress = progress or (lambda word, done, total: None)
    layers = _layers(chain)
    check_pictures(pictures)
    generator = torch.Generator().manual_seed(settings.seed)
    bytes_in = pictures.float()
    few = bytes_in[torch.randperm(len(bytes_in), generator=generator)[:FEW]]
    stages = _fitted(layers, few, _ranges(layers, bytes_in), settings, progress)
    if settings.steps:
        stages = _tuned(stages, layers, bytes_in, settings, progress)
    return _rounded(stages, few, chain.scale, settings, progress)


@torch.no_grad()
def run(chain: IntegerChain, x: Tensor) -> Tensor:
    """What `chain.run` gives before the pixel shuffle, in torch and quicker: `(N, 3, h, w)` bytes in float32."""
    for layer in chain.layers:
        x = _byte_layer(x, layer)
    return x


def _byte_layer(x: Tensor, layer: IntegerLayer) -> Tensor:
    return byte_layer(x, *(torch.from_numpy(part.copy()) for part in (layer.weight, layer.bias, layer.multiplier)))


def _layers(chain: Chain) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every layer in float64, 1x1 widened to 3x3."""
    if chain.skip:
        raise QuantizeError("the chain adds the picture at its end; write it as convolutions alone (relu_chain)")
    if not 1 <= len(chain.stages) <= MAX_LAYERS:
        raise QuantizeError(f"the chain has {len(chain.stages)} layers; an integer chain has 1 to {MAX_LAYERS}")
    layers = []
    for number, stage in enumerate(chain.stages):
        weight, bias = stage.kernel.weight.detach().double().cpu(), stage.kernel.bias.detach().double().cpu()
        where = f"layer {number} of the chain"
        if weight.shape[-1] > 3:
            raise QuantizeError(f"{where} has a kernel of {weight.shape[-1]}x{weight.shape[-1]}; eight bits take 3x3")
        if max(weight.shape[:2]) > MAX_CHANNELS:
            raise QuantizeError(
                f"{where} has {weight.shape[1]} channels in and {weight.shape[0]} out; an integer chain has at most"
                f" {MAX_CHANNELS}"
            )
        if not bool(torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            raise QuantizeError(
                f"{where} has weights that are not numbers; the model is damaged, get or train it again"
            )
        if number < len(chain.stages) - 1 and bool(stage.slope.any()):
            raise QuantizeError(f"{where} is followed by something else than a ReLU; make it one (relu_chain)")
        layers.append((F.pad(weight, (1, 1, 1, 1)) if weight.shape[-1] == 1 else weight, bias))
    return layers


def check_pictures(pictures: Tensor) -> None:
    """Refuse what nothing can be calibrated on.

    Raises:
        QuantizeError: not `(N, 3, h, w)` bytes, or flat.
    """
    if pictures.dtype != torch.uint8 or pictures.dim() != 4 or pictures.shape[1] != 3 or not len(pictures):
        raise QuantizeError(f"calibration takes (N, 3, h, w) bytes, not {tuple(pictures.shape)} {pictures.dtype}")
    if float(pictures.float().std()) < 1:
        raise QuantizeError(
            "the calibration pictures are flat, and tell nothing of what the network will see; give photographs"
        )


def _ranges(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> list[Tensor]:
    """The largest value of every channel after each hidden layer of the float network."""
    tops = [torch.zeros(len(bias), dtype=torch.float64) for _, bias in layers[:-1]]
    for part in torch.split(x, 8):
        y = part / TOP
        for top, (weight, bias) in zip(tops, layers, strict=False):
            y = F.relu(F.conv2d(y, weight.float(), bias.float(), padding=1))
            torch.maximum(top, y.amax((0, 2, 3)).double(), out=top)
    for top in tops:
        if not bool(torch.isfinite(top).all()):
            raise QuantizeError("the network gives values beyond all bounds for the calibration pictures")
        top.clamp_(min=max(float(top.max()) * 1e-3, 1e-6))  # a channel that never fires still needs a scale
    return tops


def _carriers(layers: list[tuple[Tensor, Tensor]]) -> list[tuple[int, ...]]:
    """The three channels of every hidden layer that hold the picture, if the network has such: they read no others."""
    reads = [(weight != 0).any(3).any(2) for weight, _ in layers[:-1]]
    none: list[tuple[int, ...]] = [()] * len(reads)
    found: list[tuple[int, ...]] = []
    for read in reads[1:]:
        few = read.sum(1)
        rows = ((few > 0) & (few <= 3)).nonzero().flatten()
        sources = tuple(read[rows].any(0).nonzero().flatten().tolist())
        found = found or [sources]
        if len(rows) != 3 or len(sources) != 3 or found[-1] != sources:
            return none
        found.append(tuple(rows.tolist()))
    return found or none


def _fitted(
    layers: list[tuple[Tensor, Tensor]], x: Tensor, tops: list[Tensor], settings: Settings, progress: Progress
) -> list[Stage]:
    """The layers in bytes, each fitted to the float layer from the rounded values that it gets."""
    generator = torch.Generator().manual_seed(settings.seed)
    carriers = [*(_carriers(layers) if settings.carry else [()] * len(tops)), ()]
    steps = [torch.full((3,), 1 / TOP, dtype=torch.float64), *(top / TOP for top in tops)]
    steps.append(torch.full((len(layers[-1][1]),), 1 / TOP, dtype=torch.float64))
    stages: list[Stage] = []
    real, rounded, before = x / TOP, x, ()
    for number, (weight, bias) in enumerate(layers):
        into, out, carried = steps[number], steps[number + 1], carriers[number]
        if before:  # these inputs are the picture now: what the float network has there, seen as a mixture of it
            weight = weight.clone()
            weight[:, before] = torch.einsum("ocyx,cd->odyx", weight[:, before], _mixture(real[:, before], x / TOP))
        out[list(carried)] = 1 / TOP
        real = F.conv2d(real, layers[number][0].float(), bias.float(), padding=1)
        places = _places(x, settings.samples, generator)
        inputs = _windows(rounded, places)
        target = real[places[0], :, places[1], places[2]].double() / out
        kernel = torch.cat([(weight * into[:, None, None]).flatten(1), bias[:, None] / TOP], 1) / out[:, None]
        moments = inputs.T @ inputs / len(inputs)
        if settings.fit:
            kernel = _nearest(kernel, moments, inputs.T @ target / len(inputs))
        stages.append(Stage(_copying(kernel, carried, before), carried, moments))
        real, rounded, before = F.relu(real), _bytes(stages[-1], rounded), carried or ()
        progress("fitting", number + 1, len(layers))
    return stages


def _mixture(real: Tensor, picture: Tensor) -> Tensor:
    """The 3x3 matrix by which three channels follow the colours of the picture best, a constant aside: `(3, 3)`."""
    y, x = (part.transpose(0, 1).flatten(1).double() for part in (real, picture))
    x = torch.cat([x, torch.ones(1, x.shape[1], dtype=x.dtype)])
    return _nearest(torch.zeros(3, 4, dtype=x.dtype), x @ x.T / x.shape[1], x @ y.T / x.shape[1])[:, :3]


def _nearest(kernel: Tensor, moments: Tensor, targets: Tensor) -> Tensor:
    """The kernel that comes nearest to the targets; where these leave it free, the one that is given."""
    damped = _damped(moments, RIDGE)
    fitted: Tensor = kernel + torch.linalg.solve(damped, targets - moments @ kernel.T).T
    return fitted


def _damped(moments: Tensor, share: float) -> Tensor:
    """Moments with a share of each input's mean square, and of `QUIET`, added to it."""
    return moments + torch.diag(share * (moments.diagonal() + QUIET))


def _copying(kernel: Tensor, carried: tuple[int, ...], before: tuple[int, ...]) -> Tensor:
    """The kernel with rows that copy the picture from the channels `before`, or from the picture."""
    kernel = kernel.clone()
    for row, source in zip(carried, before or range(3), strict=False):
        kernel[row] = 0
        kernel[row, source * 9 + 4] = 1
    return kernel


def _places(x: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random pixels: picture, row, column."""
    number, _, height, width = x.shape
    index = torch.randint(number * height * width, (count,), generator=generator)
    return index // (height * width), index // width % height, index % width


def _windows(x: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The 3x3 around each place and a constant one: `(count, channels * 9 + 1)` float64."""
    around = torch.arange(3)
    picture, row, column = places
    rows, columns = row[:, None, None] + around[:, None], column[:, None, None] + around
    cut = F.pad(x, (1, 1, 1, 1))[picture[:, None, None], :, rows, columns]  # (count, 3, 3, channels)
    flat = cut.permute(0, 3, 1, 2).flatten(1).double()
    return torch.cat([flat, torch.full((len(flat), 1), TOP, dtype=flat.dtype)], 1)


def _bytes(stage: Stage, x: Tensor) -> Tensor:
    return F.conv2d(x, stage.weight.float(), stage.bias.float(), padding=1).round_().clamp_(0, TOP)


def _tuned(
    stages: list[Stage], layers: list[tuple[Tensor, Tensor]], x: Tensor, settings: Settings, progress: Progress
) -> list[Stage]:
    """All layers together, nearer to the result of the float network."""
    generator = torch.Generator().manual_seed(settings.seed)
    white = [_whitening(stage.moments) for stage in stages]
    kernels = [stage.kernel.float() for stage in stages]
    moves = [torch.zeros_like(kernel, requires_grad=True) for kernel in kernels]
    free = [torch.ones(len(kernel), 1) for kernel in kernels]
    for mask, stage in zip(free, stages, strict=True):
        mask[list(stage.carried)] = 0
    adam = torch.optim.Adam(moves, settings.rate, betas=(0.9, 0.99))
    for step in range(settings.steps):
        warm = min(1.0, (step + 1) / 10)
        adam.param_groups[0]["lr"] = settings.rate * warm * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        batch = x[torch.randint(len(x), (settings.batch,), generator=generator)]
        target = _float(layers, batch).clamp_(-2, TOP + 2)  # beyond white and black nothing is to be seen
        with torch.enable_grad():
            y = batch
            for number, (kernel, move, basis, mask) in enumerate(zip(kernels, moves, white, free, strict=True)):
                moved = kernel + mask * (move @ basis)
                y = F.conv2d(y, moved[:, :-1].reshape(len(moved), -1, 3, 3), moved[:, -1] * TOP, padding=1)
                if number < len(kernels) - 1:
                    y = y.clamp(0, TOP)
                    y = y + (y.round() - y).detach()
            loss = (y.clamp(-2, TOP + 2) - target).square().mean()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        progress("tuning", step + 1, settings.steps)
    parts = zip(stages, kernels, moves, white, free, strict=True)
    return [replace(s, kernel=(k + mask * (move.detach() @ basis)).double()) for s, k, move, basis, mask in parts]


def _whitening(moments: Tensor) -> Tensor:
    """The matrix that makes inputs with these moments white: a step along each of its rows changes outputs alike."""
    damped = _damped(moments, WHITE)
    one = torch.eye(len(moments), dtype=moments.dtype)
    basis: Tensor = torch.linalg.solve_triangular(torch.linalg.cholesky(damped), one, upper=False)
    return basis.float()


def _float(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """What the float network gives, in bytes, before the pixel shuffle, not clipped."""
    y = x / TOP
    for number, (weight, bias) in enumerate(layers):
        y = F.conv2d(y, weight.float(), bias.float(), padding=1)
        if number < len(layers) - 1:
            y = F.relu_(y)
    return y * TOP


def _rounded(stages: list[Stage], x: Tensor, scale: int, settings: Settings, progress: Progress) -> IntegerChain:
    """The layers with integer weights, each fitted once more to what comes before weights are rounded."""
    generator = torch.Generator().manual_seed(settings.seed)
    done: list[IntegerLayer] = []
    exact = real = x
    before: tuple[int, ...] = ()
    for number, stage in enumerate(stages):
        places = _places(x, settings.samples, generator)
        inputs = _windows(real, places)
        moments = inputs.T @ inputs / len(inputs)
        kernel = stage.kernel
        if settings.fit:
            kernel = _nearest(kernel, moments, inputs.T @ (_windows(exact, places) @ kernel.T) / len(inputs))
        largest = kernel[:, :-1].abs().amax(1) / LIMIT
        step = torch.maximum(largest, kernel[:, -1].abs() * TOP / (MAX_BIAS >> 4)).clamp(min=1e-6)
        whole = _compensated(kernel, step, moments) if settings.compensate else _to_nearest(kernel, step)
        done.append(_layer(whole, step, stage.carried, before))
        exact, real, before = _bytes(stage, exact), _byte_layer(real, done[-1]), stage.carried
        progress("rounding", number + 1, len(stages))
    return IntegerChain(tuple(done), scale)


def _compensated(kernel: Tensor, step: Tensor, moments: Tensor) -> Tensor:
    """Whole weights, and a bias that is not; each rounding is made up by those after it (Frantar et al., section 3)."""
    damped = moments + torch.diag(torch.full_like(moments.diagonal(), RIDGE * float(moments.diagonal().mean())))
    upper = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    left, whole = (kernel / step[:, None]).clone(), torch.zeros_like(kernel)
    last = left.shape[1] - 1
    for column in range(last):
        whole[:, column] = left[:, column].round().clamp_(-LIMIT, LIMIT)
        error = (left[:, column] - whole[:, column]) / upper[column, column]
        left[:, column + 1 :] -= error[:, None] * upper[column, column + 1 :]
    whole[:, last] = left[:, last]
    return whole


def _to_nearest(kernel: Tensor, step: Tensor) -> Tensor:
    whole = kernel / step[:, None]
    whole[:, :-1] = whole[:, :-1].round().clamp_(-LIMIT, LIMIT)
    return whole


def _layer(whole: Tensor, step: Tensor, carried: tuple[int, ...], before: tuple[int, ...]) -> IntegerLayer:
    rows = list(carried)
    whole, step = _copying(whole, carried, before), step.clone()
    step[rows] = 1
    bias = (whole[:, -1] * TOP).round().clamp_(-MAX_BIAS, MAX_BIAS)
    return IntegerLayer(
        whole[:, :-1].reshape(len(whole), -1, 3, 3).to(torch.int8).numpy(),
        bias.to(torch.int32).numpy(),
        step.float().numpy(),
    )
