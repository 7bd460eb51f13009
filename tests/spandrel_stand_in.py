"""What of the interface of spandrel 0.4 is used, for tests that have it not: its loader and its descriptors."""

CODE = '''
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F


class Plain(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Conv2d(channels, 4 * channels, 3, padding=1)

    def forward(self, x):
        near = x.repeat_interleave(4, 1)
        return F.pixel_shuffle(F.gelu(self.body(x)) * 0.1 + near, 2)


class Tokens(nn.Module):
    """Attention among all pixels; sides must be multiples of 8 and at least 16."""

    def __init__(self, channels):
        super().__init__()
        self.inner, self.outer = nn.Linear(channels, 8), nn.Linear(8, channels)

    def forward(self, x):
        n, c, h, w = x.shape
        if h % 8 or w % 8 or min(h, w) < 16:
            raise ValueError("sides")
        tokens = self.inner(x.flatten(2).transpose(1, 2))
        tokens = torch.softmax(tokens @ tokens.transpose(1, 2), -1) @ tokens
        small = x + 0.1 * self.outer(tokens).transpose(1, 2).reshape(n, c, h, w)
        return F.interpolate(small, scale_factor=2, mode="nearest")


class UnsupportedModelError(Exception):
    pass


class ModelLoader:
    def __init__(self, device=None):
        assert device == "cpu"

    def load_from_file(self, path):
        state = torch.load(path, weights_only=True)
        for kind, key in ((Plain, "body.weight"), (Tokens, "inner.weight")):
            if key in state:
                channels = state[key].shape[1]
                net = kind(channels)
                net.load_state_dict(state)
                needs = {"minimum": 16, "multiple_of": 8} if kind is Tokens else {"minimum": 0, "multiple_of": 1}
                return SimpleNamespace(
                    model=net.eval(), scale=2, input_channels=channels, output_channels=channels,
                    architecture=SimpleNamespace(id=kind.__name__, name=kind.__name__),
                    size_requirements=SimpleNamespace(square="square" in str(path), **needs),
                )
        raise UnsupportedModelError("no architecture of mine\\nat all")
'''
