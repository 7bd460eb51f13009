"""Wide channels, which are kept in 16 bits: every instruction set against the reference, the reference against a sum by
hand, and what is refused."""

import struct
from dataclasses import replace

import numpy as np
import pytest

from sharpbit.errors import ModelError
from sharpbit.modelfile.integer_chain import IntegerChain, Layer, Slopes, Wide
from sharpbit.runtime import native
from sharpbit.runtime.native import NativeRuntime

engine = pytest.mark.skipif(not native.available(), reason=native.why_not())


def wide_chain(widths, scale, wide, seed=0, *, most=4, adds_image=True):
    """Random layers of these widths and the last one; `most` is the largest weight of wide channels."""
    rng = np.random.default_rng(seed)
    layers, channels, before = [], 3, 0
    for outputs, own in zip([*widths, 3 * scale**2], [*wide, 0], strict=True):
        weight = rng.integers(-127, 128, (outputs, channels, 3, 3)).astype(np.int8)
        bias = rng.integers(-20000, 20001, outputs).astype(np.int32)
        multiplier = (rng.uniform(0.2, 1.5, outputs) / (9 * channels) ** 0.5 / 60).astype(np.float32)
        zero = rng.integers(0, 256, outputs, np.uint8) * np.uint8(len(layers) < len(widths))
        slopes = Slopes((multiplier * rng.uniform(-1, 1, outputs)).astype(np.float32), zero)
        passed = Wide(own, rng.integers(-most, most + 1, before).astype(np.int32))
        layers.append(Layer(weight, bias, multiplier, slopes, passed))
        channels, before = outputs, own
    return IntegerChain(tuple(layers), scale, adds_image)


CHAINS = {
    "a block": ([32, 32, 32], 2, [16, 16, 0]),
    "all": ([64, 64, 64], 4, [64, 64, 0]),
    "odd numbers": ([5, 33, 17, 64, 49, 7], 3, [5, 17, 3, 0, 7, 0]),
    "none": ([16, 16], 1, [0, 0]),
    "more and fewer": ([48, 64, 48, 20, 16], 2, [1, 40, 16, 11, 0]),
    "no hidden layer": ([], 2, []),
}


@engine
@pytest.mark.parametrize("most", [4, 100, 8192])
@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("instruction_set", native.instruction_sets())
def test_every_instruction_set_gives_what_the_reference_gives(instruction_set, name, most):
    chain = wide_chain(*CHAINS[name], most=most, adds_image=name != "odd numbers")
    runtimes = [NativeRuntime(chain, threads=n, instruction_set=instruction_set) for n in (1, 3)]
    for number, (height, width) in enumerate([(1, 1), (2, 37), (19, 8)]):
        image = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        wanted = chain.run(image)
        for runtime in runtimes:
            assert np.array_equal(runtime.run(image), wanted), (height, width, runtime.threads)


@engine
def test_strips_leave_no_trace():
    """Its rows are too long for the cache: it is cut into strips."""
    chain = wide_chain([64] * 6, 2, [64, 30, 64, 16, 64, 0])
    image = np.random.default_rng(0).integers(0, 256, (9, 4099, 3), np.uint8)
    wanted = chain.run(image)
    for threads in (1, 5):
        assert np.array_equal(NativeRuntime(chain, threads=threads).run(image), wanted)


def copying(value, own, passed):
    """A layer that multiplies each of three channels by a weight of its centre, and a wide one by `passed`."""
    weight = np.zeros((3, 3, 3, 3), np.int8)
    weight[[0, 1, 2], [0, 1, 2], 1, 1] = value
    by = np.full(3, 1 / 64, np.float32)
    slopes = Slopes(by, np.full(3, 10 if own else 0, np.uint8))
    return Layer(weight, np.zeros(3, np.int32), by, slopes, Wide(own, np.full(passed, 1, np.int32)))


def test_a_wide_channel_keeps_what_a_byte_loses():
    """A quarter of the image, which bytes round, comes back but for the share of the second byte."""
    last = replace(copying(64, 0, 0), bias=np.full(3, -640, np.int32))
    middle = replace(copying(0, 0, 1), bias=np.full(3, -2560, np.int32), multiplier=np.full(3, 1 / 64, np.float32))
    middle = replace(middle, slopes=Slopes(middle.multiplier, np.full(3, 10, np.uint8)))
    chain = IntegerChain((copying(16, 1, 0), middle, last), 1)
    image = np.arange(0, 48, dtype=np.uint8).repeat(3).reshape(1, 48, 3)
    out = chain.run(image)
    assert np.array_equal(out[..., 0], image[..., 0])  # 256 * byte + fine is 64 times the image, and zero points go
    assert out[..., 1].max() == 0  # the second channel is not wide
    if native.available():
        assert np.array_equal(NativeRuntime(chain).run(image), out)


def test_payload_and_back():
    chain = wide_chain(*CHAINS["odd numbers"])
    again = IntegerChain.from_payload(chain.payload(), "x")
    assert again.payload() == chain.payload()
    assert again.wide == (5, 17, 3, 0, 7, 0)


def test_the_network_gives_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    from sharpbit.arch.integer import chain_of, of_chain

    chain = wide_chain(*CHAINS["more and fewer"])
    net = of_chain(chain)
    assert chain_of(net).payload() == chain.payload()
    image = np.random.default_rng(3).integers(0, 256, (9, 11, 3), np.uint8)
    with torch.no_grad():
        out = net(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
    assert np.array_equal((255 * out).round().to(torch.uint8).permute(1, 2, 0).numpy(), chain.run(image))


def test_what_cannot_be():
    good = wide_chain([16, 16], 1, [8, 0])
    first, middle, last = good.layers

    def refused(match, *layers):
        with pytest.raises(ModelError, match=match):
            IntegerChain(layers, 1, True)

    taking = replace(last, wide=Wide(0, np.ones(1, np.int32)))
    refused("last two layers", first, replace(middle, wide=Wide(1, middle.wide.weight)), taking)
    refused("8 weights for 7", replace(first, wide=Wide(7, first.wide.weight)), middle, last)
    refused("17 wide channels of 16", replace(first, wide=Wide(17, first.wide.weight)), middle, last)
    refused("not alike", first, replace(middle, wide=None), last)
    refused("beyond 2", first, replace(middle, wide=Wide(0, np.full(8, 8193, np.int32))), last)
    with pytest.raises(ModelError, match="needs slopes"):
        IntegerChain(tuple(replace(layer, slopes=None) for layer in good.layers), 1)


def damaged():
    """Payloads that both readers refuse."""
    good = wide_chain([16, 16], 1, [8, 0]).payload()
    count = 8 + 8 + 16 * 3 * 9 + 3 * 16 * 4 + 16  # of wide channels of the first layer
    weights = count + 4 + 8 + 16 * 16 * 9 + 3 * 16 * 4 + 16 + 4

    def patched(at, number):
        return good[:at] + struct.pack("<i", number) + good[at + 4 :]

    return {
        "cut": good[:-1],
        "too long": good + b"\0",
        "more than outputs": patched(count, 17),
        "many": patched(count, -1),
        "another number": patched(count, 7),
        "a large weight": patched(weights, 8193),
        "a small weight": patched(weights, -8193),
        "wide before the last": patched(weights - 4, 1),
        "without slopes": good[:1] + b"\x06" + good[2:],
        "without wide channels": good[:1] + b"\x03" + good[2:],
    }


@pytest.mark.parametrize("name", damaged())
def test_both_readers_refuse(name):
    with pytest.raises(ModelError):
        IntegerChain.from_payload(damaged()[name], "x")
    if native.available():
        with pytest.raises(ModelError, match="integer chain"):
            native._opened(native._library(), damaged()[name], None)
