"""Rounding in blocks and compiled: the same values to the last bit, and the gradients of the formula in float64."""

import pytest
import torch

from sharpbit.errors import UsageError
from sharpbit.quant import kernels
from sharpbit.quant.grid import Grid, rounded
from sharpbit.quant.kernels import compiled

STEP, LEAST, MOST = 0.11, -6, 9
SHAPES = {"blocks": (2, 24, 64, 48), "channels last": (2, 24, 64, 48), "odd": (1, 3, 211, 209)}


def case(name):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(SHAPES[name], generator=generator)
    x[0, 0, 0, :4] = torch.tensor([LEAST - 0.5, LEAST, MOST, MOST + 0.5]) * STEP
    if name == "channels last":
        x = x.contiguous(memory_format=torch.channels_last)
    return x, torch.randn(SHAPES[name], generator=generator)


def results(x, given, inside, offset):
    x = x.clone().requires_grad_()
    step = torch.tensor(STEP, requires_grad=True)
    lo, hi = LEAST * step, MOST * step
    y = rounded(x, Grid(lo, hi, step, late=True, inside=inside, offset=offset))
    y.backward(given)
    return y.detach(), x.grad, step.grad


@pytest.fixture(scope="module", params=["as written", "by the compiler"])
def compiler(request):
    with pytest.MonkeyPatch.context() as context:
        if request.param == "as written":
            context.setattr(torch, "compile", lambda part, **_: part)
        try:
            with compiled():
                yield
        except UsageError as error:
            pytest.skip(str(error))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("inside", "offset"), [(True, True), (True, False), (False, False)])
def test_compiled_rounding_is_the_same(compiler, monkeypatch, name, inside, offset):
    x, given = case(name)
    own = results(x, given, inside, offset)
    with monkeypatch.context() as context:
        context.setattr(kernels, "_compiled", ())
        blocks = results(x, given, inside, offset)
    for a, b in zip(own[:2], blocks[:2], strict=True):
        assert torch.equal(a, b)
        assert a.stride() == b.stride()
    number = (x / torch.tensor(STEP) - (LEAST if offset else 0)).round() + (LEAST if offset else 0)
    within = (number >= LEAST) & (number <= MOST) if inside else (number > LEAST) & (number < MOST)
    share = number.clamp(LEAST, MOST).double() - torch.where(within, x / torch.tensor(STEP), 0).double()
    exact = float((given.double() * share).sum())
    assert 0.1 < float(within.float().mean()) < 0.9
    for found in (own[2], blocks[2]):
        assert float(found) == pytest.approx(exact, rel=1e-5)


def test_without_a_compiler_a_sentence_says_so(monkeypatch):
    def missing(*_, **__):
        raise RuntimeError("no C++ compiler\nand more")

    monkeypatch.setattr(torch, "compile", missing)
    monkeypatch.setattr(kernels, "_compiled", ())
    with pytest.raises(UsageError, match=r"rounding cannot be compiled here \(no C\+\+ compiler\)"), compiled():
        pass
    with compiled(False):
        assert not kernels._compiled
