"""Our own engine for networks in integers (native/): bytes in, bytes out, exact to the last bit on every processor."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError, UsageError
from sharpbit.modelfile import integer_file as integer
from sharpbit.modelfile.integer_chain import Bytes
from sharpbit.modelfile.integer_file import IntegerNetwork
from sharpbit.modelfile.integer_pair import IntegerPair
from sharpbit.runtime import available_cpus, checked_device
from sharpbit.runtime._native_library import load as _load
from sharpbit.system.progress import Progress

MAX_SIDE, MAX_THREADS = 65535, 256
_DONE, _RUNNING, _ERROR_MEMORY = 0, 1, -3
_SLICE = 50  # milliseconds after which Python may look at signals

Weights = tuple[NDArray[np.int32], NDArray[np.float32]]

_NAMES = {
    "amx-int8": "AMX",
    "avx512-vnni": "AVX-512 VNNI",
    "avx-vnni": "AVX-VNNI",
    "avx2": "AVX2",
    "neon-dotprod": "NEON dot product",
    "c": "plain C++",
}


class NativeRuntime:
    """A chain, a graph or a pair in integers in our own engine. See `sharpbit.runtime.Runtime`.

    Args:
        network: what to run.
        threads: how many may work on one image, 1 to 256; None: every core that the process may use.
        halo: surroundings that a tile needs, in input pixels; None: as much as the network reaches.
        instruction_set: one of `instruction_sets()`; None: the fastest.

    Raises:
        UsageError: the engine is not available, or has no such instruction set, or the threads are too many.
        ModelError: the engine refuses the network.
    """

    cuts_itself: bool  # of a pair alone, see `sharpbit.runtime.SelfCutting`

    def __init__(
        self,
        network: IntegerNetwork,
        *,
        threads: int | None = None,
        halo: int | None = None,
        instruction_set: str | None = None,
    ) -> None:
        library = _library()
        names = instruction_sets()
        if instruction_set is not None and instruction_set not in names:
            raise UsageError(f"no instruction set '{instruction_set}' here; there are: {', '.join(names)}")
        self.threads = min(available_cpus(), MAX_THREADS) if threads is None else threads
        if not 1 <= self.threads <= MAX_THREADS:
            raise UsageError(f"the native engine takes 1 to {MAX_THREADS} threads, not {self.threads}")
        self.engine = "sharpbit native"
        self.instruction_set = _NAMES[instruction_set or names[0]]
        self.scale = network.scale
        reach = integer.halo(network)
        self._pair = isinstance(network, IntegerPair)
        if self._pair:  # its grid begins in the first pixel of an image, so it gets images whole
            self.cuts_itself, reach = True, None
        self.halo = reach if halo is None or reach is None else halo
        self.tile: int | None = None
        self.multiple = 1
        self.wide = not self._pair
        self.precision = "int8"
        self.samples = np.uint8
        self.device = "cpu"
        self._library = library
        self._chain = _opened(library, integer.payload(network), instruction_set)
        weakref.finalize(self, library.sb_close, self._chain)

    @property
    def notes(self) -> tuple[str, ...]:
        """Of a pair, which share of the pixels so far its small network upscaled."""
        if not self._pair:
            return ()
        return (f"{self._library.sb_small_share(self._chain):.3f} of the pixels through the small network",)

    def __call__(self, tiles: Iterable[Bytes]) -> Iterator[Bytes]:
        """`(h, w, 3)` bytes each in; `(h * scale, w * scale, 3)` bytes each out, in order."""
        for tile in tiles:
            yield self.run(tile)

    def run(
        self, image: Bytes, out: Bytes | None = None, *, side: int | None = None, progress: Progress | None = None
    ) -> Bytes:
        """Upscale one image; may be called from several threads at once.

        Args:
            image: `(h, w, 3)` uint8, sides up to 65535. Rows may lie apart from each other.
            out: `(h * scale, w * scale, 3)` uint8 to write into, with contiguous rows; None: a new array.
            side: nothing, as the file of a pair says how it is cut.
            progress: called with 1 at the end.

        Raises:
            UsageError: an image or an `out` that cannot work.
            MemoryError: no memory for what lies between the layers.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UsageError(f"the native engine takes (height, width, 3) uint8, not {image.shape} {image.dtype}")
        height, width = image.shape[:2]
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise UsageError(f"the native engine takes sides of 1 to {MAX_SIDE} pixels, not {width}x{height}")
        shape = (height * self.scale, width * self.scale, 3)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape or out.dtype != np.uint8 or not _rows(out) or not out.flags.writeable:
            raise UsageError(
                f"out must be {shape} uint8, writable, with contiguous rows; it is {out.shape} {out.dtype}"
            )
        elif np.may_share_memory(image, out):
            raise UsageError("out must not share memory with the image")
        if not _rows(image):
            image = np.ascontiguousarray(image)
        self._run(image, out)
        if progress:
            progress(1.0)
        return out

    def _run(self, image: Bytes, out: Bytes) -> None:
        library, job = self._library, ctypes.c_void_p()
        height, width = image.shape[:2]
        try:  # whatever happens: nobody may work on the arrays any more when this function ends
            state = library.sb_start(
                self._chain,
                image.ctypes.data,
                max(image.strides[0], 3 * width),  # numpy gives a single row any stride
                out.ctypes.data,
                max(out.strides[0], 3 * width * self.scale),
                height,
                width,
                self.threads,
                ctypes.byref(job),
            )
            while state in (_DONE, _RUNNING) and (state := library.sb_wait(job, _SLICE)) == _RUNNING:
                pass
        except BaseException:
            library.sb_cancel(job)
            raise
        finally:
            library.sb_free(job)
        if state == _ERROR_MEMORY:
            raise MemoryError(f"no memory to upscale {width}x{height} pixels")
        if state != _DONE:
            raise RuntimeError(f"the native engine answered {state}")


def available() -> bool:
    """Whether the engine can run here."""
    return not why_not()


def why_not() -> str:
    """Why the engine cannot run here, in one sentence; "" if it can."""
    found = _load()
    return found if isinstance(found, str) else ""


def instruction_sets() -> tuple[str, ...]:
    """What this processor and build can use, fastest first; "c" is always the last. Empty without the engine."""
    found = _load()
    return () if isinstance(found, str) else tuple(found.sb_instruction_sets().decode().split())


def named(printed_name: str) -> str | None:
    """The name in `instruction_sets()` of what a runtime prints as its instruction set; None: it is not one of them."""
    return next((name for name in instruction_sets() if _NAMES[name] == printed_name), None)


def printed(name: str | None) -> str:
    """How people read the name of an instruction set; None: the fastest."""
    return _NAMES[name or instruction_sets()[0]]


def peak(threads: int = 1, seconds: float = 0.5, instruction_set: str | None = None) -> float:
    """The most multiply-accumulate operations of bytes that `threads` cores can do, in 10^9 a second.

    Measured with the instruction that the kernels use, in registers only; 0 where it cannot be measured.
    """
    name = None if instruction_set is None else instruction_set.encode()
    return float(_library().sb_peak(name, threads, seconds)) / 1e9


def can_resize() -> bool:
    """Whether the engine is there and resizes."""
    return hasattr(_load(), "sb_resize")


def resize(pixels: Bytes, rows: Weights, columns: Weights) -> Bytes:
    """Bring RGB pixels `(h, w, 3)` of contiguous rows to another size; where `can_resize`.

    Args:
        pixels: The pixels.
        rows: For each row of the result the first of those that it is a sum of, and their weights in float32.
        columns: The same of columns.
    """
    out = np.empty((len(rows[0]), len(columns[0]), 3), np.uint8)
    sums = [x for first, weight in (rows, columns) for x in (first.ctypes.data, weight.ctypes.data, weight.shape[1])]
    places = pixels.ctypes.data, pixels.strides[0], *pixels.shape[:2], out.ctypes.data, *out.shape[:2]
    state = _library().sb_resize(*places, *sums)
    if state != _DONE:
        raise RuntimeError(f"the native engine answered {state}")
    return out


def open_native(
    path: str | os.PathLike[str], *, threads: int | None = None, device: str | None = None
) -> NativeRuntime:
    """Open a file that holds a network in integers. See `sharpbit.runtime.Opener`.

    The environment variable SHARPBIT_INSTRUCTION_SET names another instruction set than the fastest, for measuring.
    """
    checked_device("the native engine", device, ("cpu",))
    network, header = integer.read(path)
    named_set = os.environ.get("SHARPBIT_INSTRUCTION_SET") or None
    return NativeRuntime(network, threads=threads, halo=header.halo, instruction_set=named_set)


def _rows(array: NDArray[np.uint8]) -> bool:
    """Whether each row is contiguous and rows do not overlap."""
    height, width = array.shape[:2]
    pixels = array.strides[2] == 1 and (array.strides[1] == 3 or width == 1)
    return pixels and (array.strides[0] >= 3 * width or height == 1)


def _library() -> ctypes.CDLL:
    found = _load()
    if isinstance(found, str):
        raise UsageError(f"{found}; --engine auto takes another engine")
    return found


def _opened(library: ctypes.CDLL, payload: bytes, instruction_set: str | None) -> ctypes.c_void_p:
    chain, message = ctypes.c_void_p(), ctypes.create_string_buffer(512)
    name = None if instruction_set is None else instruction_set.encode()
    code = library.sb_open(payload, len(payload), name, ctypes.byref(chain), message, len(message))
    if code == _ERROR_MEMORY:
        raise MemoryError("no memory for the integer network")
    if code != _DONE:
        raise ModelError(message.value.decode())
    return chain


RUNTIME = open_native
