"""The equivalent transformation of any network: equal in the whole frame, or an error that names the piece."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sharpbit
from sharpbit.arch.plain import of_chain
from sharpbit.errors import ReparameterizeError
from sharpbit.reparam.base import Reparameterizable
from sharpbit.reparam.chain import FORMS, chain, without_prelu
from sharpbit.reparam.receipt import receipt


def conv(inputs, outputs, side=3, **options):
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, **options)


def last(width, scale=2):
    return nn.Sequential(conv(width, 3 * scale**2), nn.PixelShuffle(scale))


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.body(x)


class Branches(nn.Module, Reparameterizable):
    """Three branches and normalisation, with a plain form of their own."""

    def __init__(self, width):
        super().__init__()
        self.wide, self.thin = conv(width, width), conv(width, width, 1)

    def forward(self, x):
        return self.wide(x) + self.thin(x)

    def reparameterize(self):
        single = conv(self.wide.in_channels, self.wide.out_channels)
        with torch.no_grad():
            single.weight.copy_(self.wide.weight + F.pad(self.thin.weight, (1, 1, 1, 1)))
            single.bias.copy_(self.wide.bias + self.thin.bias)
        return single


class Pair(nn.Module, Reparameterizable):
    """A module with a plain form inside another one, and twice the same."""

    def __init__(self):
        super().__init__()
        self.one = Branches(4)

    def forward(self, x):
        return self.one(F.relu(self.one(x)))

    def reparameterize(self):
        single = self.one.reparameterize()
        return nn.Sequential(single, nn.ReLU(), single)


class Inception(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.one, self.two, self.three = conv(width, 4, 1), conv(width, 5), conv(width, 3, 5)

    def forward(self, x):
        return F.leaky_relu(torch.cat([self.one(x), F.relu(self.two(x)), self.three(x)], dim=1), 0.2)


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([conv(3, 4), conv(7, 4), conv(11, 4)])

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat((x, F.relu(layer(x))), 1)
        return x


class Upscaler(nn.Module):
    """A global shortcut by nearest neighbours, arithmetic with numbers, a clamp."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(3, 6), nn.ReLU(inplace=True), last(6, 3))

    def forward(self, x):
        detail = self.body(2 * x - 1) / 2
        return torch.clamp(F.interpolate(x, scale_factor=3, mode="nearest") - detail + 0.01, 0, 1)


def edsr():
    block = lambda: Residual(conv(8, 8), nn.ReLU(), conv(8, 8))  # noqa: E731
    return nn.Sequential(conv(3, 8), Residual(block(), block(), conv(8, 8)), last(8))


NETS = {
    "sequential": lambda: nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8), nn.ReLU(), last(8)),
    "prelu, one slope": lambda: nn.Sequential(conv(3, 8), nn.PReLU(), conv(8, 6), nn.LeakyReLU(0.1), last(6)),
    "linear": lambda: last(3),
    "two linear layers": lambda: nn.Sequential(conv(3, 5), conv(5, 4), last(4)),
    "1x1 in a row": lambda: nn.Sequential(conv(3, 9, 1), conv(9, 4, 1), nn.ReLU(), conv(4, 4, 1), nn.ReLU(), last(4)),
    "batch norm": lambda: nn.Sequential(
        conv(3, 8, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8), conv(8, 6), nn.PReLU(6), last(6)
    ),
    "groups": lambda: nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8, groups=8), conv(8, 4, 1), nn.ReLU(), last(4)),
    "dilation": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=2, dilation=2), nn.ReLU(), nn.Dropout(), last(4)),
    "relu twice": lambda: nn.Sequential(nn.ReLU(), nn.PReLU(3), conv(3, 4), nn.ReLU(), nn.ReLU(), last(4)),
    "residual of relu": lambda: nn.Sequential(conv(3, 4), nn.ReLU(), Residual(conv(4, 4), nn.ReLU()), last(4)),
    "residual of prelu": lambda: nn.Sequential(conv(3, 4), nn.PReLU(4), Residual(conv(4, 4), nn.PReLU(4)), last(4)),
    "residual of a linear": lambda: nn.Sequential(conv(3, 4), Residual(conv(4, 4)), nn.ReLU(), last(4)),
    "edsr": edsr,
    "repvgg": lambda: nn.Sequential(conv(3, 4), nn.ReLU(), Branches(4), nn.ReLU(), last(4)),
    "shared": lambda: nn.Sequential(conv(3, 4), nn.ReLU(), Pair(), nn.ReLU(), *[Branches(4)] * 2, last(4)),
    "inception": lambda: nn.Sequential(Inception(3), Inception(12), last(12)),
    "dense": lambda: nn.Sequential(Dense(), last(15)),
    "shortcut": Upscaler,
    "clip": lambda: nn.Sequential(conv(3, 4), nn.Hardtanh(0, 1), conv(4, 4), nn.ReLU(), last(4), nn.Hardtanh(0, 1)),
    "transposed": lambda: nn.Sequential(conv(3, 4), nn.PReLU(4), nn.ConvTranspose2d(4, 3, 4, 2, 1)),
    "no upscaling": lambda: nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 3)),
    "nearest": lambda: nn.Sequential(conv(3, 3), nn.Upsample(scale_factor=2)),
}


def random(name):
    torch.manual_seed(len(name))
    net = NETS[name]()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight)
            nn.init.normal_(module.bias)
    return net


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETS)
def test_the_whole_frame_is_equal(name, form):
    net = random(name)
    model = sharpbit.reparameterize(net, form)
    proof = receipt(net, model.net, model.scale)
    assert proof.difference < 2e-6
    assert proof.double < 1e-6
    if form == "et":
        kinds = {type(module) for module in model.net.modules() if not list(module.children())}
        assert kinds <= {nn.Conv2d, nn.ReLU, nn.PReLU, nn.Identity}
        assert (model.config.clip == "relu" or model.config.chain[-1].act == "relu") and not model.config.skip


@pytest.mark.parametrize("name", NETS)
def test_a_saved_form_is_read_back(name, tmp_path):
    for form in FORMS:
        model = sharpbit.reparameterize(random(name), form)
        sharpbit.save(model, tmp_path / f"{form}.safetensors")
        again = sharpbit.load(tmp_path / f"{form}.safetensors")
        assert again.config == model.config
        x = torch.rand(1, 3, 5, 6)
        assert torch.equal(again.net(x), model.net(x))


@pytest.mark.parametrize("name", ["prelu, one slope", "edsr", "two linear layers", "inception", "residual of prelu"])
def test_relu_alone(name):
    net = random(name)
    source = chain(net)
    rectified = of_chain(without_prelu(source))
    assert {layer.act for layer in rectified.config.chain} <= {"relu", "none"}
    assert receipt(net, rectified, source.scale).difference < 2e-6


def test_the_smallest_chain_is_found():
    layers = {name: len(chain(random(name)).stages) for name in NETS}
    assert layers["linear"] == layers["nearest"] == layers["no upscaling"] - 1 == 1
    assert layers["1x1 in a row"] == 3
    assert layers["batch norm"] == 4  # the second one stands before zero padding, so it cannot go into the next layer
    assert layers["residual of a linear"] == 3
    assert layers["shortcut"] == 3  # as for `2 * x - 1`, which is not zero outside the image


def test_the_shortcut_of_the_image_stays_an_addition_in_the_plain_form():
    class Anchored(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 12))

        def forward(self, x):
            return F.pixel_shuffle(self.body(x) + x.repeat_interleave(4, dim=1), 2)

    model = sharpbit.reparameterize(Anchored())
    assert model.config.skip
    assert model.config.width == 8
    assert sharpbit.reparameterize(Anchored(), "et").config.width == 12


class Odd(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = conv(3, 4), last(4), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


class Deciding(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else -x


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


class Twice(nn.Module):
    def forward(self, x):
        return x, x


class InPlace(nn.Module):
    """The shortcut is rectified too, because the first layer changes the tensor that it reads."""

    def __init__(self):
        super().__init__()
        self.first, self.body, self.last = conv(3, 4), nn.Sequential(nn.ReLU(inplace=True), conv(4, 4)), last(4)

    def forward(self, x):
        x = self.first(x)
        return self.last(x + self.body(x))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(conv(3, 4), nn.Sigmoid(), nn.Tanh()), r"Sigmoid in '1' is not known.*Conv2d"),
        (nn.Sequential(conv(3, 4), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))), r"MaxPool2d in '1\.1'"),
        (nn.Sequential(conv(3, 4, stride=2), nn.Sigmoid()), r"Conv2d in '0' has no exact form.*stride \(2, 2\)"),
        (nn.Sequential(conv(3, 3), Odd(torch.sin)), r"sin in the forward of '1'"),
        (Odd(lambda x: x.mean((2, 3), keepdim=True)), r"mean in the forward of Odd"),
        (Odd(lambda x: x * x), r"mul in the forward of Odd is used in a way"),
        (Odd(lambda x: x.clamp(0, 6)), r"clamp in .* bounds 0 and 6"),
        (Odd(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")), "'bilinear'"),
        (Odd(lambda x: x[:, :, 1:]), r"getitem in .* something else than channels"),
        (Odd(lambda x: F.pixel_shuffle(x, 2)), r"Conv2d in 'last.0' has no exact form: a convolution after the pixel"),
        (nn.Sequential(conv(3, 8), nn.PixelShuffle(2)), "gives 8 channels .* needs 12"),
        (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), "depends on the whole batch"),
        (nn.Sequential(conv(4, 4)), "a convolution of 4 channels that gets 3"),
        (Deciding(), "the forward of Deciding cannot be followed"),
        (Two(), "more than one input; y is the second"),
        (InPlace(), "InPlace could not be followed.*in place that it uses again"),
        (Twice(), "gives tuple, not one image"),
    ],
)
def test_the_first_unknown_piece_is_named(net, message):
    with pytest.raises(ReparameterizeError, match=message) as caught:
        sharpbit.reparameterize(net)
    assert "\n" not in str(caught.value)


def test_a_published_form_goes_back_to_a_clamp():
    source = sharpbit.reparameterize(sharpbit.build("etds", scale=3, blocks=2, width=8), "et")
    assert source.config.clip == "relu"
    there = sharpbit.reparameterize(source)
    assert (there.config.clip, there.config.width, len(there.config.chain)) == ("clamp", 8, 4)
    back = sharpbit.reparameterize(there, "et")
    assert back.config == source.config
