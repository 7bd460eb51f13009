"""The shared library of the native engine: where it lies, and what its functions take and give."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

ABI = 2  # SB_ABI of native/include/sharpbit.h


def _path() -> Path | str:
    """The library, or why there is none."""
    named = os.environ.get("SHARPBIT_NATIVE")
    if named == "0":
        return "the native engine is switched off (SHARPBIT_NATIVE=0)"
    if named:
        return Path(named)
    name = {"darwin": "libsharpbit.dylib", "win32": "sharpbit.dll"}.get(sys.platform, "libsharpbit.so")
    path = Path(__file__).with_name(name)
    if not path.exists():
        return (
            "this sharpbit was installed without its native engine; install a wheel, or a C++ compiler and CMake and"
            " then sharpbit again"
        )
    return path


@cache
def load() -> ctypes.CDLL | str:
    """The library, or why it cannot be used."""
    path = _path()
    if isinstance(path, str):
        return path
    try:
        library = ctypes.CDLL(os.fspath(path))
        library.sb_abi.restype = ctypes.c_int32
        abi = int(library.sb_abi())
    except (OSError, AttributeError) as error:
        return f"the native engine {path} cannot be loaded ({error}); install sharpbit again"
    if abi != ABI:
        return f"the native engine {path} is of another version of sharpbit ({abi}, not {ABI}); install sharpbit again"
    pointer, int32 = ctypes.c_void_p, ctypes.c_int32
    sizes = [int32] * 2 + [pointer] * 2 + [int32] + [pointer] * 2 + [int32]
    declarations = {
        "sb_instruction_sets": (ctypes.c_char_p, []),
        "sb_open": (
            int32,
            [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, pointer, ctypes.c_char_p, ctypes.c_size_t],
        ),
        "sb_close": (None, [pointer]),
        "sb_start": (
            int32,
            [pointer, pointer, ctypes.c_ssize_t, pointer, ctypes.c_ssize_t, int32, int32, int32, pointer],
        ),
        "sb_wait": (int32, [pointer, int32]),
        "sb_cancel": (None, [pointer]),
        "sb_free": (None, [pointer]),
        "sb_peak": (ctypes.c_double, [ctypes.c_char_p, int32, ctypes.c_double]),
        "sb_small_share": (ctypes.c_double, [pointer]),
        "sb_resize": (int32, [pointer, ctypes.c_ssize_t, int32, int32, pointer, *sizes]),
    }
    for name, (result, arguments) in declarations.items():
        if hasattr(library, name):  # some were added without a change of what was there
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    return library
