"""A network with what is known about it, in memory and in one safetensors file."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from sharpbit import modelfile
from sharpbit.arch import ARCHITECTURES, Architecture
from sharpbit.arch.integer import of_chain as of_integer_chain
from sharpbit.arch.plain import of_chain
from sharpbit.errors import ModelError, ReparameterizeError, UsageError
from sharpbit.modelfile import Header
from sharpbit.modelfile import integer_chain as integer
from sharpbit.nn import State, receptive_field
from sharpbit.quant.freeze import weights
from sharpbit.quant.verbs import replay
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
        history: one entry a verb, oldest first; each has the key `verb`.
        about: fields of the file header that weights cannot tell: name, data, licence, metrics.
    """

    arch: Architecture
    config: Any
    net: nn.Module
    history: tuple[dict[str, Any], ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scale(self) -> int:
        """Upscaling factor."""
        return int(self.config.scale)

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
            history=self.history,
            **values,
        )


def build(arch: str, **config: Any) -> Model:
    """A network of the named architecture with fresh weights, in the mode of use, not of training.

    Raises:
        UsageError: no such architecture, or a size that it does not have.
    """
    architecture = ARCHITECTURES[arch]
    try:
        sizes = architecture.config(**config)
    except TypeError:
        known = ", ".join(architecture.config.__dataclass_fields__)
        raise UsageError(f"the sizes of {arch} are {known}; given were {', '.join(config) or 'none'}") from None
    return Model(architecture, sizes, architecture.build(sizes).eval())


def described(header: Header) -> Model:
    """The network that a header tells of, with the structure that its history gave it; its weights mean nothing yet.

    Raises:
        UsageError: no such architecture, or sizes that it does not have.
    """
    model = build(header.architecture, **header.config)
    return replace(model, net=_structured(model.arch, model.net, header.history))


def load(path: str | Path) -> Model:
    """Read a model of ours (`.safetensors`, `.onnx`, `.sharpbit`), or published weights (`.pth`).

    Sizes come from the file alone.

    Raises:
        ModelError: unreadable, damaged, not a network that sharpbit knows, or a pickle that holds more than tensors.
    """
    path = Path(path)
    state: State
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        header = modelfile.read(path, verify=True)
        state = safetensors.torch.load_file(path)
    elif suffix in (".onnx", ".sharpbit"):
        header, state = _exported(path)
    else:
        header, state = None, _unpickle(path)
    if header is None:
        return from_state(state, str(path))
    try:
        arch = ARCHITECTURES[header.architecture]
        config = arch.config(**header.config)
    except UsageError as error:
        raise ModelError(f"{path} holds another network: {error}") from None
    except TypeError as error:
        raise ModelError(f"{path}: its header gives sizes that {header.architecture} does not have ({error})") from None
    model = _filled(arch, config, state, str(path), header.history)
    about = {key: getattr(header, key) for key in ("name", "data", "licence", "metrics", "precision")}
    return replace(model, history=header.history, about=about)


def from_state(state: State, source: str) -> Model:
    """The model whose weights these are; `source` names them in errors."""
    for name in ARCHITECTURES:
        arch = ARCHITECTURES[name]
        try:
            config = arch.infer(state)
        except (LookupError, TypeError, ValueError, RuntimeError):  # names that it knows, and tensors of another shape
            continue
        if config is not None:
            return _filled(arch, config, arch.rename(state), source)
    first = [f"{key} {tuple(value.shape)}" for key, value in list(state.items())[:3]]
    seen = f"{len(state)} tensors, first {', '.join(first)}" if state else "no tensors"
    raise ModelError(
        f"{source} holds no network that sharpbit knows; seen: {seen};"
        f" expected: the weights of one of {', '.join(ARCHITECTURES)}"
    )


def save(model: Model, path: str | Path, *, overwrite: bool = False, half: bool = False) -> Header:
    """Write one safetensors file with weights and header; it appears complete or not at all.

    Args:
        model: what is written.
        path: of the file.
        overwrite: replace a file of this name.
        half: kernels of convolutions in float16, which `load` turns into float32 again. (Not matrices: those that
            choose bits would choose others.)
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise UsageError(f"a model is saved as .safetensors, not {path.name!r}")
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
        form: `plain` keeps the addition of the image and clips with a clamp; `et` is convolution and ReLU (or PReLU)
            alone, as published.

    Raises:
        ReparameterizeError: names the first piece of the network that has no exact form. Nothing is returned that was
            not compared with the network.
    """
    if isinstance(model, Model):
        before, name, history, about = model.net, model.arch.name, model.history, model.about
    else:
        before, name, history, about = model, type(model).__name__, (), {}
    net = of_chain(chain(before, form))
    apart = receipt(before, net, net.config.scale).double
    if not apart <= LIMIT:
        raise ReparameterizeError(
            f"{name} could not be followed: its {form} form differs by {apart:.2g}; does its forward change a tensor in"
            " place that it uses again?"
        )
    net.to(next((weight.device for weight in before.parameters()), None))
    entry = {"verb": "reparameterize", "from": name, "form": form}
    return Model(ARCHITECTURES["plain"], net.config, net, (*history, entry), about)


def _filled(
    arch: Architecture, config: Any, state: State, source: str, history: Iterable[Mapping[str, Any]] = ()
) -> Model:
    """The network with these sizes, the structure that `history` gave it, and exactly these weights."""
    try:
        net = _structured(arch, arch.build(config), history)
        net.load_state_dict(state, strict=True)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{source} looks like {arch.name} {config}, but its weights do not fit: {reason}") from None
    return Model(arch, config, net.eval())


def _structured(arch: Architecture, net: nn.Module, history: Iterable[Mapping[str, Any]]) -> nn.Module:
    """The network as the verbs of its history left it; an integer chain has its structure by itself."""
    entries = tuple(history)
    carried = [number for number, entry in enumerate(entries) if entry["verb"] == "carry"]
    after = entries[carried[-1] :] if carried else entries  # what was quantized before is float again
    return net if arch.name == integer.ARCHITECTURE else replay(net, after)


def _exported(path: Path) -> tuple[Header, State]:
    """What a file for engines was written from, if we wrote it."""
    header = modelfile.read(path, verify=True)
    if header is None:
        raise ModelError(
            f"{path} is a graph of somebody else; weights are read from .safetensors, .pth or files of ours"
        )
    if modelfile.several(header.history) is not None:
        raise ModelError(f"{path} holds several graphs, which are not read back; take what it was made of")
    if header.architecture == integer.ARCHITECTURE:
        return header, of_integer_chain(integer.read(path)[0]).state_dict()
    kinds = {1: np.float32, 6: np.int32, 7: np.int64}  # numbers of TensorProto.DataType
    tensors = modelfile.initializers(path)
    try:
        arch = ARCHITECTURES[header.architecture]
        names = arch.build(arch.config(**header.config)).state_dict()
        arrays = {
            name: np.frombuffer(t.data, kinds[t.kind]).reshape(t.shape) for name, t in tensors.items() if name in names
        }
    except (LookupError, ValueError, TypeError, UsageError) as error:
        raise ModelError(f"{path} holds no weights that can be read back ({error}); use the .safetensors") from None
    return header, {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _unpickle(path: Path) -> State:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickles; they load or they fail, and both is said below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(f"{path} holds more than tensors and is not opened: such a file can run programs") from None
    except (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be read as weights: {' '.join(str(error).split())[:160]}") from None
    for wrapper in ("params_ema", "params", "state_dict", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    table = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not table or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{path} holds no table of tensors")
    if state and all(key.startswith("module.") for key in state):  # saved while several GPUs trained it
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)
