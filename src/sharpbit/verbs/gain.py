"""What quantization gains on this machine: the same piece of an image through the file before and the file after."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from sharpbit.errors import SharpbitError
from sharpbit.graph.values import smooth_image, stated
from sharpbit.runtime import EngineOptions, Runtime, open_engine
from sharpbit.runtime._near import seconds

SIDE = 128
ROUNDS = 3
SLOWER = 1.1  # times that of before, beyond which it is said; less may be what else the machine does


@dataclass(frozen=True)
class Gain:
    """Processor time for a square of `side` pixels, of one thread.

    Attributes:
        before: What ran the file before, such as `float32 in ONNX Runtime 1.31.1`.
        after: What ran the file after.
        before_ms: Milliseconds before; the least of three.
        after_ms: Milliseconds after.
        side: The side of the square.
    """

    before: str
    after: str
    before_ms: float
    after_ms: float
    side: int = SIDE

    @property
    def words(self) -> str:
        """For people."""
        less = " or quantize with a lower --gate" if "native" in self.after else ""
        slower = f"; it is slower on this machine, so keep the float file here,{less}".rstrip(",")
        return (
            f"{self.before_ms / self.after_ms:.1f} times that of {self.before}: {self.before_ms:.1f} ms -> "
            f"{self.after_ms:.1f} ms of processor time for {self.side}x{self.side} pixels, 1 thread, {self.after}"
            f"{slower if self.after_ms > SLOWER * self.before_ms else ''}"
        )


def gain(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    white: str | float | tuple[float, float] | None = None,
) -> Gain | None:
    """Measure two files, each on the engine that `auto` takes for it.

    Args:
        before: The file of the float network.
        after: The file of the quantized one.
        white: What means white in the file before, if that was stated.

    Returns:
        None where one of them does not run as it is.
    """
    try:
        options = EngineOptions(threads=1, white=None if white is None else stated(white))
        found = [_measured(open_engine(before, options)), _measured(open_engine(after, threads=1))]
    except SharpbitError:
        return None
    (first, one), (second, two) = found
    return Gain(first, second, one, two)


def _measured(runtime: Runtime) -> tuple[str, float]:
    """What ran, and its milliseconds."""
    side = runtime.tile or SIDE
    image = smooth_image(side, side)
    tile = np.rint(image * 255).astype(np.uint8) if runtime.samples == np.uint8 else image

    def run() -> object:
        return [*runtime([tile])]

    run()
    spent = 1e3 * seconds(run, ROUNDS) * (SIDE / side) ** 2
    return f"{runtime.precision} in {runtime.engine}", round(spent, 2)
