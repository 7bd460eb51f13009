"""A golden file of a quantized network: what the authors' code gave, and the network that it is of, in ours."""

from safetensors import safe_open

from sharpbit.arch import ARCHITECTURES
from sharpbit.quant.core import METHODS, insert_quantizers
from sharpbit.quant.qat.published_names import load_published, name_of


class GoldenCase:
    """The tensors of a file, and the network with its weights, in float64."""

    def __init__(self, path, arch, config, plan, method):
        with safe_open(path, "pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.about = file.metadata()
        self.arch = ARCHITECTURES[arch]
        self.white = 1.0 if arch == "carn" else 255.0
        net = self.arch.build(self.arch.config(**config))
        self.net = insert_quantizers(net, plan, METHODS[method]).double().eval()
        self.state = {key[6:]: value for key, value in self.tensors.items() if key.startswith("state/")}
        load_published(self.net, self.state, arch, self.arch.rename)
        shift = self.state.get("add_mean.bias", self.state.get("add_mean.shifter.bias"))
        if hasattr(self.net, "mean"):  # divided in float32 it would be off by up to 3e-8
            self.net.mean.copy_(shift.double().view(1, 3, 1, 1) / self.white)

    @property
    def names(self):
        """Published names of tensors to ours."""
        before = {key: name_of(key, self.arch.name, self.net) for key in self.state}
        values = {name: self.state[key] for key, name in before.items() if name}
        same = {id(value): name for name, value in self.arch.rename(values).items()}
        return {key: same[id(values[name])] for key, name in before.items() if name and id(values[name]) in same}

    def image(self, name="x"):
        return self.tensors[f"input/{name}"].double() / 255

    def near(self, value, key, limit=1e-6, tree="output"):
        expected = self.tensors[f"{tree}/{key}"].double().reshape(value.shape)
        apart, size = (float(tensor.detach().abs().max()) for tensor in (value - expected, expected))
        assert apart <= limit * max(size, 1e-12), key

    def gradients(self, tag):
        """All that the file has are near; tells how many there are."""
        parameters, names = dict(self.net.named_parameters()), self.names
        keys = [key.removeprefix(f"grad/{tag}/") for key in self.tensors if key.startswith(f"grad/{tag}/")]
        for key in keys:
            self.near(parameters[names[key]].grad, f"{tag}/{key}", tree="grad")
        return len(keys)
