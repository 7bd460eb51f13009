"""Our own engine against the integer reference, bit for bit, and what it does with callers of all kinds."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import integer_files
from sharpbit import modelfile
from sharpbit.errors import ModelError, UsageError
from sharpbit.modelfile import Header
from sharpbit.modelfile.integer_chain import IntegerChain, Layer, Slopes
from sharpbit.runtime import native
from sharpbit.runtime.native import NativeRuntime

pytestmark = pytest.mark.skipif(not native.available(), reason=native.why_not())


ALL_SETS = ("amx-int8", "avx512-vnni", "avx-vnni", "avx2", "neon-dotprod", "c")


def random_chain(widths, scale, seed=0, *, extreme=False, near=False, sloped=False, adds_image=False):
    """Layers of these widths and the last one.

    extreme: sums and products that saturate by far. near: the highest products lie on both sides of what 32 bits hold.
    """
    sloped |= adds_image
    rng = np.random.default_rng(seed)
    layers, channels = [], 3
    for outputs in [*widths, 3 * scale**2]:
        weight = rng.integers(-127, 128, (outputs, channels, 3, 3)).astype(np.int8)
        limit = 1 << 30 if extreme else 20000
        bias = rng.integers(-limit, limit, outputs, endpoint=True).astype(np.int32)
        multiplier = rng.uniform(0.2, 1.5, outputs) / (9 * channels) ** 0.5 / 60
        if extreme:
            multiplier = 2.0 ** rng.integers(-30, 21, outputs)
            multiplier[0] = 0
        if near:
            most = 255 * np.abs(weight.astype(np.int64)).sum((1, 2, 3)) + np.abs(bias)
            multiplier = 2.0 ** rng.integers(28, 32) / most
        slopes = None
        if sloped:
            zero = rng.integers(0, 256, outputs, np.uint8)
            if adds_image and len(layers) == len(widths):
                zero[:] = 0
            slopes = Slopes((multiplier * rng.uniform(-1, 1, outputs)).astype(np.float32), zero)
        layers.append(Layer(weight, bias, multiplier.astype(np.float32), slopes))
        channels = outputs
    return IntegerChain(tuple(layers), scale, adds_image)


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


SETS = native.instruction_sets()
CHAINS = {
    "no hidden layer x1": ([], 1),
    "no hidden layer x4": ([], 4),
    "16 x3": ([16] * 6, 3),
    "32 x2": ([32] * 5, 2),
    "48 x4": ([48] * 3, 4),
    "64 x3": ([64] * 2, 3),
    "odd widths": ([5, 17, 33, 64, 49, 1], 2),
    "deep": ([3] * 63, 1),
    "every pair of widths": ([16, 16, 32, 32, 48, 48, 64, 64, 16, 48, 16, 64, 32, 64, 48, 32, 16], 1),
}
SIZES = [(1, 1), (1, 50), (23, 1), (2, 2), (7, 13), (19, 61)]


def test_a_compiler_brings_the_engine():
    assert SETS[-1] == "c"
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        flags = Path("/proc/cpuinfo").read_text()
        known = {"amx_int8": "amx-int8", "avx512_vnni": "avx512-vnni", "avx_vnni": "avx-vnni", "avx2": "avx2"}
        assert set(SETS) - {"c"} <= {name for flag, name in known.items() if flag in flags}
        assert ("avx2" in flags) == ("avx2" in SETS)


@pytest.fixture(params=ALL_SETS)
def instruction_set(request):
    """Each instruction set that there is; those that this processor or build lacks are skipped."""
    if request.param not in SETS:
        pytest.skip(f"this processor or build has no {request.param}")
    return request.param


@pytest.mark.parametrize("kind", ["plain", "extreme", "near", "sloped", "adds the image", "extreme slopes"])
@pytest.mark.parametrize("name", CHAINS)
def test_exact(instruction_set, name, kind):
    chain = random_chain(
        *CHAINS[name],
        extreme=kind.startswith("extreme"),
        near=kind == "near",
        sloped="slope" in kind,
        adds_image=kind == "adds the image",
    )
    runtimes = [NativeRuntime(chain, threads=n, instruction_set=instruction_set) for n in (1, 2, 3)]
    for number, (height, width) in enumerate(SIZES):
        image = random_image(height, width, number)
        wanted = chain.run(image)
        for runtime in runtimes:
            assert np.array_equal(runtime.run(image), wanted), (height, width, runtime.threads)
    if "extreme" not in kind and kind != "near":
        assert len(np.unique(wanted)) > 20  # the case tells something


def test_halves_go_to_even(instruction_set):
    weight = np.zeros((3, 3, 3, 3), np.int8)
    weight[[0, 1, 2], [0, 1, 2], 1, 1] = 1
    chain = IntegerChain((Layer(weight, np.array([0, 1, -9], np.int32), np.full(3, 0.5, np.float32)),), 1)
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    out = NativeRuntime(chain, instruction_set=instruction_set).run(image)
    assert np.array_equal(out, chain.run(image))
    assert out[0, :6, 0].tolist() == [0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("width", [1000, 4099])
@pytest.mark.parametrize("adds_image", [False, True])
def test_strips_leave_no_trace(width, adds_image):
    # Its rows are too long for the cache: it is cut into strips.
    chain = random_chain([64] * 7, 2, adds_image=adds_image)
    image = random_image(9, width)
    wanted = chain.run(image)
    for threads in (1, 2, 5):
        assert np.array_equal(NativeRuntime(chain, threads=threads).run(image), wanted)


def test_what_it_says_of_itself():
    runtime = NativeRuntime(random_chain([16] * 6, 3), threads=2)
    assert (runtime.scale, runtime.halo, runtime.tile, runtime.threads) == (3, 7, None, 2)
    assert (runtime.precision, runtime.samples, runtime.notes) == ("int8", np.uint8, ())
    assert runtime.engine == "sharpbit native"
    assert {native._NAMES[name] for name in SETS} >= {runtime.instruction_set}
    tiles = [random_image(8, 9), random_image(3, 5)]
    assert [tile.shape for tile in runtime(iter(tiles))] == [(24, 27, 3), (9, 15, 3)]


def test_rows_that_lie_apart():
    chain = random_chain([16, 16], 2)
    runtime = NativeRuntime(chain, threads=2)
    large, frame = random_image(40, 50), np.full((60, 90, 3), 7, np.uint8)
    part = large[5:25, 10:40]
    wanted = chain.run(part)
    for image in (
        part,
        part[:1],
        part[::2],
        part[::-1],
        part[:, ::2],
        part.transpose(1, 0, 2),
        np.asfortranarray(part),
    ):
        assert np.array_equal(runtime.run(image), chain.run(image))
    out = frame[10:50, 20:80]
    assert runtime.run(part, out) is out
    assert np.array_equal(out, wanted)
    frame[10:50, 20:80] = 7
    assert (frame == 7).all()  # nothing beside it was written


def test_what_cannot_be_upscaled():
    runtime = NativeRuntime(random_chain([16], 2))
    image = random_image(8, 9)
    for wrong in (image.astype(np.float32), image[:, :, :2], image[0], image[:0]):
        with pytest.raises(UsageError, match="native engine takes"):
            runtime.run(wrong)
    with pytest.raises(UsageError, match="sides of 1 to 65535"):
        runtime.run(np.zeros((1, 65536, 3), np.uint8))
    out = np.zeros((16, 18, 3), np.uint8)
    locked = out.copy()
    locked.flags.writeable = False
    for wrong in (out[:15], out.astype(np.int8), out[:, ::-1], locked):
        with pytest.raises(UsageError, match="out must be"):
            runtime.run(image, wrong)
    with pytest.raises(UsageError, match="share memory"):
        runtime.run(out[::2, :9], out)
    for threads in (0, -1, 257):
        with pytest.raises(UsageError, match="1 to 256 threads"):
            NativeRuntime(random_chain([16], 2), threads=threads)
    with pytest.raises(UsageError, match=r"no instruction set 'mmx' here; there are: .*c$"):
        NativeRuntime(random_chain([16], 2), instruction_set="mmx")


def damaged():
    good = random_chain([16], 2).payload()
    first = 8 + 8 + 16 * 3 * 9  # the biases of the first layer

    def patched(at, data):
        return good[:at] + data + good[at + len(data) :]

    return {
        "empty": b"",
        "cut": good[:-1],
        "too long": good + b"\0",
        "no layer": patched(4, b"\0\0\0\0"),
        "65 layers": patched(4, b"\x41\0\0\0"),
        "scale": patched(0, b"\x05\0\0\0"),
        "another scale": patched(0, b"\x01\0\0\0"),
        "outputs": patched(8, b"\x41\0\0\0"),
        "many outputs": patched(8, b"\xff\xff\xff\xff"),
        "inputs": patched(12, b"\x04\0\0\0"),
        "weight": patched(16, b"\x80"),
        "bias": patched(first, b"\x01\0\0\x40"),
        "least bias": patched(first, b"\0\0\0\x80"),
        "not a number": patched(first + 64, b"\0\0\xc0\x7f"),
        "endless": patched(first + 64, b"\0\0\x80\x7f"),
        "negative": patched(first + 64, b"\0\0\x80\xbf"),
        "too much": patched(first + 64, b"\x01\0\x80\x49"),
    }


def damaged_slopes():
    good = random_chain([16], 2, sloped=True).payload()
    first = 8 + 8 + 16 * 3 * 9 + 2 * 16 * 4  # the slopes of the first layer

    def patched(at, data):
        return good[:at] + data + good[at + len(data) :]

    return {
        "cut slopes": good[:-1],
        "slopes too long": good + b"\0",
        "an endless slope": patched(first, b"\0\0\x80\xff"),
        "a slope beyond": patched(first, b"\x01\0\x80\xc9"),
        "without slopes": patched(1, b"\0"),
        "slopes that are none": b"\x02\x01" + random_chain([16], 2).payload()[2:],
        "an image without slopes": b"\x02\x02" + random_chain([16], 2).payload()[2:],
        "an image and zero points": patched(1, b"\x03"),
        "a flag of another time": patched(1, b"\x09"),
    }


@pytest.mark.parametrize("name", damaged() | damaged_slopes())
def test_it_refuses_what_the_reference_refuses(name):
    payload = (damaged() | damaged_slopes())[name]
    with pytest.raises(ModelError):
        IntegerChain.from_payload(payload, "x")
    with pytest.raises(ModelError, match="integer chain"):
        native._opened(native._library(), payload, None)


def test_limits_that_are_still_allowed():
    chain = random_chain([16], 1)
    layer = chain.layers[0]
    bias, multiplier = layer.bias.copy(), layer.multiplier.copy()
    bias[:2] = [1 << 30, -(1 << 30)]
    multiplier[:2] = [1 << 20, 0]
    chain = IntegerChain((Layer(layer.weight, bias, multiplier), chain.layers[1]), 1)
    image = random_image(5, 6)
    assert np.array_equal(NativeRuntime(chain).run(image), chain.run(image))


def test_several_callers_at_once():
    chain = random_chain([16] * 3, 2)
    images = [random_image(30 + i, 40, i) for i in range(4)]
    wanted = [chain.run(image) for image in images]
    shared, right = NativeRuntime(chain, threads=2), []

    def call(number):
        runtime = shared if number % 2 else NativeRuntime(chain, threads=3)
        right.extend(np.array_equal(runtime.run(p), w) for _ in range(20) for p, w in zip(images, wanted, strict=True))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert right == [True] * 320


def run_script(code, *, send=None, **environment):
    """Run `code` in a process of its own: its status, its two streams, and its seconds of CPU time.

    `send` is a signal for it after it has printed a line; then the seconds count from the signal on.
    """
    begin = children_worked()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        if send is not None:
            time.sleep(0.3)
            begin += process_worked(process.pid)
            process.send_signal(send)
        try:
            out, error = process.communicate(timeout=300)
        finally:
            process.kill()  # if it is still there
    return process.returncode, first + out, error, children_worked() - begin


def children_worked():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process_worked(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


PRELUDE = f"""
    import os, sys, time
    import numpy as np
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from test_native import random_chain, random_image
    from sharpbit.runtime.native import NativeRuntime
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_after_a_fork():
    code = (
        PRELUDE
        + """
    chain, image = random_chain([16], 2), random_image(20, 20)
    runtime, wanted = NativeRuntime(chain, threads=2), chain.run(image)
    assert np.array_equal(runtime.run(image), wanted)
    child = os.fork()
    right = np.array_equal(runtime.run(image), wanted)
    if not child:
        os._exit(0 if right else 1)
    print(right, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    )
    assert run_script(code)[:2] == (0, "True 0\n")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc that tells what a process used")
@pytest.mark.parametrize("threads", [1, 2])
def test_control_c_ends_it(threads):
    code = (
        PRELUDE
        + f"""
    runtime = NativeRuntime(random_chain([64] * 62, 1), threads={threads}, instruction_set="c")
    image = random_image(600, 600)
    print("begins", flush=True)
    runtime.run(image)  # minutes
    """
    )
    status, _, error, worked = run_script(code, send=signal.SIGINT)
    assert error.strip().endswith("KeyboardInterrupt")
    assert status == -signal.SIGINT
    assert worked < 10


def test_other_threads_of_python_go_on():
    chain = random_chain([64] * 8, 2)
    runtime, image, counted = NativeRuntime(chain, threads=1, instruction_set="c"), random_image(60, 100), 0
    caller = threading.Thread(target=runtime.run, args=(image,))
    caller.start()
    while caller.is_alive():
        counted += 1
        time.sleep(0.001)
    assert counted > 20


def test_it_needs_little_memory():
    code = (
        PRELUDE
        + """
    import resource
    runtime, image = NativeRuntime(random_chain([32] * 7, 3), threads=2), random_image(360, 640)
    out = np.ones((1080, 1920, 3), np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(5):
        runtime.run(image, out)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    )
    status, out, _, _ = run_script(code)
    assert status == 0
    assert int(out) < 10_000  # kilobytes


def test_peak(instruction_set):
    assert 0.5 < native.peak(1, 0.05, instruction_set) < 5000


@pytest.mark.skipif("amx-int8" not in SETS, reason="this processor, build or system has no AMX")
def test_a_system_that_refuses_tiles():
    """Linux does where a thread has a stack for signals that is too small for them; then AVX-512 runs."""
    code = """
    import ctypes
    class Stack(ctypes.Structure):
        _fields_ = [("memory", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
    memory = ctypes.create_string_buffer(8192)
    stack = Stack(ctypes.addressof(memory), 0, 8192)
    assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
    from sharpbit.runtime import native
    print(" ".join(native.instruction_sets()))
    """
    assert run_script(code)[1].split() == [name for name in SETS if name != "amx-int8"]


def test_the_environment_names_an_instruction_set(tmp_path, monkeypatch):
    path = integer_files.write(integer_files.chain(), tmp_path / "a.onnx")
    assert native.open_native(path).instruction_set == native.printed(None)
    monkeypatch.setenv("SHARPBIT_INSTRUCTION_SET", "c")
    assert native.open_native(path).instruction_set == "plain C++"
    monkeypatch.setenv("SHARPBIT_INSTRUCTION_SET", "mmx")
    with pytest.raises(UsageError, match="no instruction set 'mmx'"):
        native.open_native(path)


def test_names_of_instruction_sets():
    assert [native.named(native.printed(name)) for name in SETS] == list(SETS)
    assert native.named("avx512") is None
    assert native.printed(None) == native.printed(SETS[0])


def test_peak_of_the_fastest_is_the_highest():
    """The best of several tries of each in turn, as other processes take some of them away."""
    if len(SETS) > 2:
        slower = "avx2" if "avx2" in SETS else "c"
        tries = [(native.peak(1, 0.02), native.peak(1, 0.02, slower)) for _ in range(20)]
        assert max(first for first, _ in tries) > max(second for _, second in tries)
    assert native.peak(1, 0.05, "mmx") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of address space that holds")
def test_no_memory_for_threads():
    code = (
        PRELUDE
        + """
    import resource
    runtime, image = NativeRuntime(random_chain([16], 2)), random_image(20, 20)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))
    try:
        runtime.run(image)
    except MemoryError as error:
        print(error)
    """
    )
    assert run_script(code)[1] == "no memory to upscale 20x20 pixels\n"


WHY = "from sharpbit.runtime import native; print(native.available(), native.why_not(), native.instruction_sets())"


def test_switched_off():
    assert run_script(WHY, SHARPBIT_NATIVE="0")[1] == (
        "False the native engine is switched off (SHARPBIT_NATIVE=0) ()\n"
    )
    code = PRELUDE + "    NativeRuntime(random_chain([16], 2))"
    assert "UsageError: the native engine is switched off" in run_script(code, SHARPBIT_NATIVE="0")[2]


def test_a_file_that_is_no_library(tmp_path):
    path = tmp_path / "lib.so"
    path.write_bytes(b"nothing")
    assert "cannot be loaded" in run_script(WHY, SHARPBIT_NATIVE=str(path))[1]


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_library_of_another_version(tmp_path):
    (tmp_path / "old.cpp").write_text('extern "C" int sb_abi() { return 99; }')
    subprocess.run(["g++", "-shared", "-fPIC", "old.cpp", "-o", "old.so"], cwd=tmp_path, check=True)
    assert "of another version of sharpbit (99, not 2)" in run_script(WHY, SHARPBIT_NATIVE=str(tmp_path / "old.so"))[1]


def test_slopes_by_hand():
    """One pixel that is copied: sums from -9 on, of which negative ones count a quarter, around a zero point of 10."""
    weight = np.zeros((3, 3, 3, 3), np.int8)
    weight[[0, 1, 2], [0, 1, 2], 1, 1] = 1
    halves, quarters = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
    slopes = Slopes(quarters, np.full(3, 10, np.uint8))
    chain = IntegerChain((Layer(weight, np.full(3, -9, np.int32), halves, slopes),), 1)
    image = np.array([[[0, 3, 9]], [[10, 12, 255]]], np.uint8)
    wanted = [[[8, 8, 10]], [[10, 12, 133]]]  # -2.25, -1.5, 0; 0.5, 1.5, 123
    assert chain.run(image).tolist() == wanted
    assert NativeRuntime(chain).run(image).tolist() == wanted
    none = Slopes(quarters, np.zeros(3, np.uint8))
    added = IntegerChain((Layer(weight, np.full(3, -9, np.int32), halves, none),), 1, adds_image=True)
    wanted = [[[0, 1, 9]], [[10, 14, 255]]]
    assert added.run(image).tolist() == wanted
    assert NativeRuntime(added).run(image).tolist() == wanted


def test_a_file_with_slopes(tmp_path):
    chain = random_chain([16, 16], 2, adds_image=True)
    config = {"scale": 2, "hidden": [16, 16]}
    header = Header("sloped", "integer", config, 2, 7, chain.macs, precision="int8", range=(0.0, 255.0))
    path = tmp_path / "a.sharpbit"
    path.write_bytes(modelfile.native(header, chain.payload())[1])
    image = random_image(9, 11)
    assert np.array_equal(native.open_native(path).run(image), chain.run(image))
    models = pytest.importorskip("sharpbit.model")  # which needs PyTorch
    again = models.load(path)
    assert again.config.more == ("slopes", "image")
    assert pytest.importorskip("sharpbit.arch.integer").chain_of(again.net).payload() == chain.payload()


@pytest.mark.parametrize("adds_image", [False, True])
def test_chains_that_cannot_be(adds_image):
    good = random_chain([16], 2, sloped=True)
    first, last = good.layers
    bare = Layer(first.weight, first.bias, first.multiplier)
    with pytest.raises(ModelError, match=r"not alike|zero points of 0"):
        IntegerChain((bare, last) if not adds_image else good.layers, 2, adds_image)
