"""A network with what is known about it: built, written to a safetensors file, turned into a plain chain."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from sharpbit import modelfile
from sharpbit.arch import ARCHITECTURES, Architecture
from sharpbit.arch.plain import of_chain
from sharpbit.errors import ModelError, ReparameterizeError, UsageError
from sharpbit.modelfile import Header
from sharpbit.modelfile import integer_chain as integer
from sharpbit.modelfile.history import Carry, Reparameterize, Verb, read_all
from sharpbit.nn import State, receptive_field
from sharpbit.quant import order
from sharpbit.quant.freeze import weights
from sharpbit.quant.history import replay
from sharpbit.reparam.chain import chain
from sharpbit.reparam.receipt import LIMIT, receipt
from sharpbit.system.atomic import open_atomic


@dataclass(frozen=True)
class Model:
    """A network, its architecture and sizes, and what was done to it.

    Attributes:
        arch: the network family.
        config: its sizes.
        net: the network, RGB in `[0, 1]`.
        history: what was done, oldest first (`sharpbit.modelfile.history`, `sharpbit.quant.history`); entries may be
            given as the JSON objects that files hold.
        about: fields of the file header that weights cannot tell: name, data, licence, metrics.
    """

    arch: Architecture
    config: Any
    net: nn.Module
    history: tuple[Verb, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "history", read_all(self.history))

    @property
    def scale(self) -> int:
        """Upscaling factor."""
        return int(self.config.scale)

    @property
    def called(self) -> str:
        """What sentences call it: the name of its architecture, or that of the network of somebody else."""
        return str(self.about.get("name") or "the network") if self.arch.name == "graph" else self.arch.name

    @property
    def parameters(self) -> int:
        """Number of weights, however they are stored; ranges of quantizers are none.

        Of an integer chain, whose weights are no parameters, it is the number of stored values.
        """
        return weights(self.net) or sum(value.numel() for value in self.net.buffers())

    def header(self) -> Header:
        """What a file of this model says of it (without the sha256, which the file's writer adds)."""
        values = {"name": f"{self.arch.name}-x{self.scale}", **self.about}
        return Header(
            architecture=self.arch.name,
            config={key: value for key, value in json.loads(json.dumps(asdict(self.config))).items() if value != []},
            scale=self.scale,
            receptive_field=receptive_field(self.net, self.scale),
            parameters=self.parameters,
            history=tuple(entry.table() for entry in self.history),
            **values,
        )


def build(arch: str, **config: Any) -> Model:
    """A network of the named architecture with fresh weights, in the mode of use, not of training.

    Args:
        arch: name of the architecture catalog, such as `etds`.
        config: its sizes, of which `scale` has no default.

    Raises:
        UsageError: there is no such architecture, or it has no such size.

    Examples:
        >>> import sharpbit
        >>> sharpbit.build("etds", scale=3).scale
        3
    """
    architecture = ARCHITECTURES[arch]
    try:
        sizes = architecture.config(**config)
    except TypeError:
        known = ", ".join(architecture.config.__dataclass_fields__)
        raise UsageError(f"the sizes of {arch} are {known}; given were {', '.join(config) or 'none'}") from None
    return Model(architecture, sizes, architecture.build(sizes).eval())


def described(header: Header) -> Model:
    """The network that a header describes, with the structure that its history gave it; its weights mean nothing yet.

    Raises:
        UsageError: no such architecture, or sizes that it does not have.
    """
    model = build(header.architecture, **header.config)
    history = read_all(header.history, header.name)
    return replace(model, net=_structured(model.arch, model.net, history), history=history)


def save(model: Model | nn.Module, path: str | Path, *, overwrite: bool = False, half: bool = False) -> Header:
    """Write one safetensors file with weights and header; it appears complete or not at all.

    Args:
        model: the model to write; a bare network is traced first (`sharpbit.model.foreign`).
        path: the file to write, ending in `.safetensors`.
        overwrite: whether to replace a file of this name; False by default.
        half: whether kernels of convolutions are stored in float16, which `load` turns into float32 again; False by
            default. Matrices stay in float32, because those that choose bits would choose others.

    Returns:
        The header of the file, with the sha256 of its payload.

    Raises:
        UsageError: the path does not end in `.safetensors`.
        OutputExists: the file exists and `overwrite` is false.

    Examples:
        >>> import sharpbit, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     header = sharpbit.save(sharpbit.build("espcn", scale=2), f"{folder}/espcn.safetensors")
        >>> header.architecture, header.scale
        ('espcn', 2)

    Source: docs/format.md describes the file.
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise UsageError(f"a model is saved as .safetensors, not {path.name!r}")
    if not isinstance(model, Model):
        from sharpbit.model.foreign import of_module  # which needs this module

        model = of_module(model)
    if model.arch.name not in list(ARCHITECTURES):
        raise UsageError(f"{model.arch.name} is code that no .safetensors file holds; write the network as .onnx")
    state = {key: value.detach().cpu().contiguous() for key, value in model.net.state_dict().items()}
    if half:
        kernels = [key for key, value in model.net.named_parameters() if value.dim() > 2]
        state.update({key: state[key].half() for key in kernels})
    header = modelfile.stamp(model.header(), safetensors.torch.save(state), path)
    data = safetensors.torch.save(state, {modelfile.KEY: header.to_json()})
    with open_atomic(path, overwrite=overwrite) as file:
        file.write(data)
    return header


def reparameterize(model: Model | nn.Module, form: str = "plain") -> Model:
    """The same function as a plain chain of convolutions, the result clipped to `[0, 1]`.

    Args:
        model: a model, or any network of an image in `[0, 1]`, whose pieces the kernel algebra knows.
        form: `plain`, the default, keeps the addition of the image and clips with a clamp; `et` is convolution and ReLU
            (or PReLU) alone, as published.

    Returns:
        A model of the architecture `plain`, which was compared with the network on random images.

    Raises:
        ReparameterizeError: a piece of the network, which is named, has no exact form, or the two differ by more than
            1e-5.

    Examples:
        >>> import sharpbit
        >>> model = sharpbit.build("ecbsr", scale=2, blocks=1, width=4)
        >>> sharpbit.reparameterize(model, "plain").arch.name
        'plain'

    Source: `sharpbit.reparam` names the papers (ECBSR, ETDS, ABPN).
    """
    if isinstance(model, Model):
        before, name, history, about = model.net, model.arch.name, model.history, model.about
    else:
        before, name, history, about = model, type(model).__name__, (), {}
    order.check(before, "reparameterizing", name)
    net = of_chain(chain(before, form))
    apart = receipt(before, net, net.config.scale).double
    if not apart <= LIMIT:
        raise ReparameterizeError(
            f"{name} could not be followed: its {form} form differs by {apart:.2g}; does its forward change a tensor in"
            " place that it uses again?"
        )
    net.to(next((weight.device for weight in before.parameters()), None))
    return Model(ARCHITECTURES["plain"], net.config, net, (*history, Reparameterize(name, form)), about)


def reconfigured(model: Model, **options: Any) -> Model:
    """The float model with other options that leave its weights as they are, such as `mask=True` for CRAFT.

    Raises:
        UsageError: the architecture has no such option, or its weights change with it.
    """
    if not options:
        return model
    known = model.arch.config.__dataclass_fields__
    if unknown := [name for name in options if name not in known]:
        raise UsageError(f"{model.arch.name} has no option {', '.join(unknown)}; it has {', '.join(known)}")
    for name, value in options.items():
        check_size(model.arch, name, value, getattr(model.config, name))
    config = replace(model.config, **options)
    net = model.arch.build(config)
    state = model.net.state_dict()
    if {key: value.shape for key, value in net.state_dict().items()} != {k: v.shape for k, v in state.items()}:
        given = ", ".join(f"{key} {value}" for key, value in options.items())
        raise UsageError(f"this {model.arch.name} is float weights of another size than {given}; leave that out")
    net.load_state_dict(state)
    return replace(model, config=config, net=net.eval())


def check_size(arch: Architecture, name: str, value: Any, own: Any) -> None:
    """Refuse a value of another kind than the one that stands there.

    Args:
        arch: the architecture.
        name: field of its config.
        value: what is given for it.
        own: what it is without.

    Raises:
        UsageError: text in place of a number, anything but true or false in place of these, or no scale.
    """
    if (isinstance(value, str) and not isinstance(own, str)) or isinstance(value, bool) != isinstance(own, bool):
        raise UsageError(f"{name} of {arch.name} is something like {json.dumps(own)}, not {value!r}")
    if name == "scale" and not (isinstance(value, int) and value >= 1):
        raise UsageError(f"the scale of {arch.name} is a whole number of at least 1, not {value}")


def filled(arch: Architecture, config: Any, state: State, source: str, history: Iterable[Verb] = ()) -> Model:
    """The network with these sizes, the structure that `history` gave it, and exactly these weights."""
    net = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about layers without channels, in sizes of weights that mean nothing
            net = _structured(arch, arch.build(config), history)
        net.load_state_dict(state, strict=True)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        if net is not None:
            reason = _misfit(net.state_dict(), state) or reason
        sizes = ", ".join(f"{key} {value}" for key, value in asdict(config).items())
        raise ModelError(
            f"{source} looks like {arch.name} of {sizes}, but its weights do not fit: {reason}; if that is the wrong"
            " network or size, give the right one: --arch and --config, or load(path, arch=..., scale=...)"
        ) from None
    return Model(arch, config, net.eval())


def _misfit(own: State, given: State) -> str:
    """The first tensor in which weights differ from a network, in words; empty where none does."""
    for key, value in given.items():
        if key not in own:
            return f"the network has no {key}"
        if value.shape != own[key].shape:
            return f"{key} is {tuple(value.shape)}, the network has {tuple(own[key].shape)}"
    return next((f"{key} is missing" for key in own if key not in given), "")


def _structured(arch: Architecture, net: nn.Module, history: Iterable[Verb]) -> nn.Module:
    """The network as the verbs of its history left it; an integer chain has its structure by itself."""
    entries = tuple(history)
    carried = [number for number, entry in enumerate(entries) if isinstance(entry, Carry)]
    after = entries[carried[-1] :] if carried else entries  # what was quantized before is float again
    return net if arch.name == integer.ARCHITECTURE else replay(net, after)
