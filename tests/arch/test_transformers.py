"""SwinIR and ESRT: published names and all published forms, the published arithmetic, and few bits after training."""

import math

import pytest
import torch
from torch.nn import functional as F

from sharpbit import model as models
from sharpbit.arch import _attention
from sharpbit.arch.esrt import HEADS, PARTS, Transformer
from sharpbit.arch.swinir import DIRECT, NEAREST, NONE, SHUFFLE, SwinIR, _distances
from sharpbit.errors import UsageError
from sharpbit.quant import recorded
from sharpbit.quant.core import METHODS
from sharpbit.quant.plan import Plan

SMALL = {"width": 16, "depths": (2, 1), "heads": 2, "window": 4}
FORMS = {
    "light": (3, DIRECT, False),
    "classical": (4, SHUFFLE, False),
    "classical x3": (3, SHUFFLE, False),
    "real": (4, NEAREST, True),
    "real x2": (2, NEAREST, False),
    "denoising": (1, NONE, False),
}


def published(net: SwinIR) -> dict[str, torch.Tensor]:
    """A state dict as its authors save it, with what depends on sizes alone."""
    state = dict(net.state_dict())
    window = net.config.window
    for name in list(state):
        if name.endswith("relative_position_bias_table"):
            block = name.removesuffix(".attn.relative_position_bias_table")
            state[f"{block}.attn.relative_position_index"] = _distances(window)
            if block.endswith("1"):
                state[f"{block}.attn_mask"] = torch.zeros((64 // window) ** 2, window**2, window**2)
    return state


@pytest.mark.parametrize("form", FORMS)
def test_swinir_in_all_published_forms(form):
    scale, upsampler, three = FORMS[form]
    torch.manual_seed(0)
    made = models.build("swinir", scale=scale, upsampler=upsampler, three=three, **SMALL)
    read = models.from_state(published(made.net), form)
    assert (read.arch.name, read.config) == ("swinir", made.config)
    x = torch.rand(1, 3, 6, 9)
    with torch.no_grad():
        assert torch.equal(read.net(x), made.net(x))
    assert read.net(x).shape == (1, 3, 6 * scale, 9 * scale)


def test_the_light_swinir_has_the_published_size():
    """Of the published weights; the paper's table 4 leaves the tables of positions out (878 and 897 thousand)."""
    for scale, count in ((2, 910152), (4, 929628)):
        net = models.build("swinir", scale=scale).net
        tables = sum(w.numel() for name, w in net.named_parameters() if "position_bias" in name)
        assert sum(weight.numel() for weight in net.parameters()) == count
        assert round((count - tables) / 1000) in (878, 897)


def test_swinir_against_jpeg_has_white_at_255():
    net = models.build("swinir", scale=1, upsampler=NONE, **{**SMALL, "window": 7}).net
    assert models.from_state(published(net), "jpeg").config.white == 255


def test_sizes_that_swinir_does_not_have():
    with pytest.raises(UsageError, match="not 3 times with 'nearest"):
        models.build("swinir", scale=3, upsampler=NEAREST)
    with pytest.raises(UsageError, match="multiple of its 6 heads"):
        models.build("swinir", scale=2, width=64)
    with pytest.raises(UsageError, match="a multiple of 16, not 24"):
        models.build("esrt", scale=2, width=24)


def test_the_transformer_of_esrt_is_the_published_one():
    """By unfolding, splitting into quarters, and folding, as its authors wrote it."""
    torch.manual_seed(0)
    part = Transformer(16).eval()
    x = torch.randn(1, 16, 4, 6)
    tokens = F.unfold(x, 3, padding=1).permute(0, 2, 1)
    y = part.atten.reduce(part.norm1(tokens))
    n, count, width = y.shape
    q, k, v = part.atten.qkv(y).reshape(n, count, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
    parts = []
    for a, b, c in zip(*(torch.split(z, math.ceil(count // 4), dim=-2) for z in (q, k, v)), strict=True):
        weight = (a @ b.transpose(-2, -1)) * (2 * width // HEADS) ** -0.5
        parts.append((weight.softmax(-1) @ c).transpose(1, 2))
    tokens = tokens + part.atten.proj(torch.cat(parts, 1).reshape(n, count, width))
    tokens = tokens + part.mlp(part.norm2(tokens))
    expected = F.fold(tokens.permute(0, 2, 1), (4, 6), 3, padding=1)
    torch.testing.assert_close(part(x), expected, atol=1e-5, rtol=1e-5)


def test_esrt_has_the_published_size_and_names():
    """677 and 751 thousand parameters at x2 and x4 (table 2 of the paper), cut and not rounded."""
    net = models.build("esrt", scale=4).net
    names = set(net.state_dict())
    assert {"body.0.encoder1.encoder.layer1.weight1.scale", "up.1.conv.weight", "tail.0.2.bias"} <= names
    assert {"body.0.attention.atten.qkv.weight", "body.0.encoder3.decoder_low.atten.conv_du.2.bias"} <= names
    for scale, count in ((2, 677), (4, 751)):
        net = models.build("esrt", scale=scale).net
        assert sum(weight.numel() for weight in net.parameters()) // 1000 == count


@pytest.mark.parametrize("bits", [8, 6, 4])
@pytest.mark.parametrize("name", ["swinir", "esrt"])
def test_few_bits_after_training(name, bits):
    """By adaptive dual clipping; fewer bits are further away."""
    sizes = SMALL if name == "swinir" else {"width": 16}
    torch.manual_seed(0)
    model = models.build(name, scale=2, **sizes)
    x = torch.rand(2, 3, 16, 16)
    plan = Plan.after_training(model.arch.rounding, bits, METHODS["adc"].maps)
    inserted = recorded.insert_quantizers(model, plan, "adc")
    after = recorded.calibrate(inserted, [x])
    names = [key for key, part in after.net.named_modules() if type(part).__name__ == "Fixed"]
    assert any("attn.q" in key or "atten.q" in key for key in names)
    with torch.no_grad():
        before = model.net(x)
        off = float((after.net(x) - before).abs().mean() / before.std())
    assert 0 < off < {8: 0.05, 6: 0.2, 4: 0.8}[bits]


@torch.no_grad()
def test_attention_that_is_rounded_takes_a_few_tokens_at_a_time(monkeypatch):
    """A whole image of ESRT has gigabytes of weights between its pixels; who calibrates sees all of a crop's."""
    torch.manual_seed(0)
    model = models.build("esrt", scale=2, width=16)
    plan = Plan.after_training(model.arch.rounding, 6, METHODS["minmax"].maps)
    x = torch.rand(1, 3, 12, 12)
    inserted = recorded.insert_quantizers(model, plan, "minmax")
    after = recorded.calibrate(inserted, [x])
    wholes = [made.net(x) for made in (after, recorded.freeze(after))]
    monkeypatch.setattr(_attention, "MOST", PARTS * HEADS * 36 * 5)  # five of the 36 tokens of each quarter
    again = recorded.calibrate(inserted, [x])
    for made, whole in zip((again, recorded.freeze(again)), wholes, strict=True):
        sizes = rounded_sizes(made.net.get_submodule("body.0.attention.atten.attention"), made.net, x, monkeypatch)
        assert sizes == [5] * 7 + [1]
        torch.testing.assert_close(made.net(x), whole, atol=1e-6, rtol=0)
    site = again.net.get_submodule("body.0.attention.atten.attention")
    assert site.separable
    site.act.register_forward_pre_hook(lambda *_: None)
    assert not site.separable


def rounded_sizes(site, net, x, monkeypatch):
    """How many tokens at a time a site rounds the weights of."""
    sizes, forward = [], type(site.act).forward

    def noted(self, part):
        if self is site.act:
            sizes.append(part.shape[-2])
        return forward(self, part)

    with monkeypatch.context() as patch:
        patch.setattr(type(site.act), "forward", noted)
        net(x)
    return sizes
