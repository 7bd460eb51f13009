"""Reading models: files of ours, and state dicts as authors publish them, in float or quantized."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from sharpbit import modelfile
from sharpbit.arch import ARCHITECTURES, Architecture
from sharpbit.arch.integer import of_chain as of_integer_chain
from sharpbit.errors import ModelError, UsageError
from sharpbit.graph import ncnn as ncnn_graph
from sharpbit.model.clipped import of_clipped
from sharpbit.model.core import Model, build, check_size, filled
from sharpbit.model.foreign import of_graph_file, of_onnx
from sharpbit.model.mixing import mixed, twin_of
from sharpbit.model.restricted import pickled_state
from sharpbit.modelfile import Header, ModelFile, integer_graph, ncnn
from sharpbit.modelfile import integer_chain as integer
from sharpbit.modelfile.container import ENDINGS
from sharpbit.modelfile.history import read_all
from sharpbit.nn import State
from sharpbit.quant import recorded
from sharpbit.quant.history import TabulateBits
from sharpbit.quant.method.cabm import OFF
from sharpbit.quant.ptq.published_clipping import clipped_of
from sharpbit.quant.qat.published_names import Published, load_published, published
from sharpbit.quant.qat.published_plans import fill_table, plan_of


def load(
    path: str | PathLike[str],
    *,
    arch: str | None = None,
    denoise: float | None = None,
    twin: str | PathLike[str] | None = None,
    **config: Any,
) -> Model:
    """Read a model of ours (`.safetensors`, `.onnx`, `.sharpbit`), published weights (`.pth`, `.pt`, `.tar`, ncnn), or
    an ONNX file of somebody else, whose operators become a model of the architecture `graph`.

    Weights that fit no architecture are opened by spandrel, where that is installed (the extra `spandrel`).

    Architecture and sizes come from the file. For published weights `arch` and `config` override what was inferred,
    since weights alone do not tell everything.

    Args:
        path: the file. Of a `.pth` file only tensors are read, never programs, of one that holds a whole network too;
            the tables around a state dict that authors save (`state_dict`, `params_ema` and the like, names that begin
            with `module.`) are looked through.
            Of the two files of ncnn either is given (`sharpbit.modelfile.ncnn`).
        arch: name of the architecture, such as `edsr`; by default the one that the weights fit.
        denoise: share of this network, from 0 to 1, in a mixture with its twin (`sharpbit.model.mixing`); None, the
            default, mixes nothing.
        twin: file of the twin; by default the one beside `path` with `wdn` in its name.
        config: sizes of the architecture, such as `scale=4`. For published quantized weights (PAMS, DDTB, CADyQ, CABM)
            also `bits` (an integer; for CADyQ and CABM the widths to choose from, by default `(4, 6, 8)`),
            `weight_bits`, `legacy_conv1_float` (`sharpbit.quant.qat.placement`), and for CABM `table`, the path of its
            table as JSON. By default bits come from the name of the file or of its folders, such as `8bit` or `w8a8`;
            where these are silent 8 are taken, with an `AssumedBits` warning. For ONNX and ncnn files of others
            `range`, the value that means white: 1, 255, or `(1, 255)` for that of the image and of the result; tried
            by default.

    Returns:
        The model on the CPU, in the mode of use, not of training.

    Raises:
        ModelError: the file is unreadable or damaged, holds no network that sharpbit knows, or holds more than tensors.
        UsageError: the architecture has no such size, or the file is one of ours, whose header says everything.

    Examples:
        >>> import sharpbit, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     header = sharpbit.save(sharpbit.build("espcn", scale=3), f"{folder}/espcn.safetensors")
        ...     model = sharpbit.load(f"{folder}/espcn.safetensors")
        >>> model.arch.name, model.scale
        ('espcn', 3)

    Source: the names of published weights are those of their authors' repositories, which the modules of
    `sharpbit.arch` name.
    """
    file = ModelFile.of(path)
    source = file.path
    if denoise is not None:
        other = Path(twin) if twin is not None else twin_of(source)
        ours, theirs = (load(one, arch=arch, **config) for one in (source, other))
        return mixed(ours, theirs, denoise, (source.name, other.name))
    if twin is not None:
        raise UsageError(f"{twin} is a twin to mix with; say with --denoise, from 0 to 1, what share {source.name} has")
    state: State
    if file.suffix == ".safetensors":
        header = file.verified
        state = safetensors.torch.load(file.data)
    elif (file.suffix == ".onnx" and file.verified is None) or (file.suffix in ncnn.SUFFIXES and "range" in config):
        return _of_others(file, arch, config)  # a chain of ncnn has the range of its architecture, a graph any
    elif file.suffix in (".onnx", ".sharpbit"):
        header, state = _exported(file)
    elif file.suffix in ncnn.SUFFIXES:
        try:
            header, state = None, {name: torch.from_numpy(array) for name, array in ncnn.read(source).items()}
        except ModelError:  # no chain, but perhaps another graph of known layers
            if arch not in (None, "graph"):
                raise
            return _of_others(file, arch, config)
    else:
        header, state = None, _unpickle(source)
    if header is None:
        try:
            return from_state(state, str(source), arch=arch, **config)
        except ModelError as error:
            if arch is not None or config or file.suffix in ncnn.SUFFIXES:
                raise
            from sharpbit.model.of_spandrel import opened  # which few need

            return opened(source, error)
    if arch is not None or config:
        given = ", ".join(["arch"] * (arch is not None) + list(config))
        raise UsageError(f"{source} has a header that says everything; leave {given} out")
    try:
        architecture = ARCHITECTURES[header.architecture]
        sizes = architecture.config(**header.config)
    except UsageError as error:
        raise ModelError(f"{source} holds another network: {error}") from None
    except TypeError as error:
        raise ModelError(
            f"{source}: its header gives sizes that {header.architecture} does not have ({error})"
        ) from None
    history = read_all(header.history, str(source))
    try:
        model = filled(architecture, sizes, state, str(source), history)
    except ModelError:
        if file.suffix != ".onnx":
            raise
        raise ModelError(
            f"{source} holds no weights that can be read back: exporting has folded or rounded them; take the file that"
            " it was exported from (.safetensors or .pth)"
        ) from None
    about = {key: getattr(header, key) for key in ("name", "data", "licence", "metrics", "precision")}
    return replace(model, history=history, about=about)


def from_state(state: State, source: str, *, arch: str | None = None, **config: Any) -> Model:
    """The model whose weights these are.

    Args:
        state: a state dict, with our names of tensors or published ones.
        source: the path of the file, or another text that names the weights in errors.
        arch: name of the architecture, see `load`.
        config: sizes of the architecture, see `load`.

    Raises:
        ModelError: these are the weights of no network that sharpbit knows.
        UsageError: the architecture has no such size.
    """
    if (found := clipped_of(state)) is not None and arch in (None, found[0]):
        return of_clipped(state, *found, source, config)
    if (quantized := published(state)) is not None and arch in (None, quantized.arch):
        return _of_published(state, quantized, source, config)
    for name in ARCHITECTURES if arch is None else (arch,):
        architecture = ARCHITECTURES[name]
        sizes = _inferred(architecture, state)
        if sizes is None and arch is not None:
            return filled(architecture, build(arch, **config).config, architecture.rename(state), source)
        if sizes is not None:
            return filled(architecture, _overridden(architecture, sizes, config), architecture.rename(state), source)
    first = [f"{key} {tuple(value.shape)}" for key, value in list(state.items())[:3]]
    seen = f"{len(state)} tensors, first {', '.join(first)}" if state else "no tensors"
    raise ModelError(
        f"{source} holds no network that sharpbit knows; seen: {seen};"
        f" expected: the weights of one of {', '.join(ARCHITECTURES)}"
    )


def _inferred(arch: Architecture, state: State) -> Any | None:
    try:
        return arch.infer(state)
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError):  # known names, other shapes
        return None


def _overridden(arch: Architecture, sizes: Any, config: Mapping[str, Any]) -> Any:
    known = list(arch.config.__dataclass_fields__)
    unknown = [key for key in config if key not in known]
    if unknown:
        raise UsageError(f"the sizes of {arch.name} are {', '.join(known)}; given was {', '.join(unknown)}")
    for key, value in config.items():
        check_size(arch, key, value, getattr(sizes, key))
    return replace(sizes, **config)


def _of_published(state: State, found: Published, source: str, given: Mapping[str, Any]) -> Model:
    """The model of a published quantized network: quantizers where its paper has them, and its weights and ranges."""
    options = {key: given[key] for key in ("bits", "weight_bits", "legacy_conv1_float", "table") if key in given}
    arch = ARCHITECTURES[found.arch]
    sizes = _inferred(arch, found.weights)
    if sizes is None:
        raise ModelError(f"{source} looks like a quantized {arch.name}, but its sizes cannot be told from its weights")
    sizes = _overridden(arch, sizes, {key: value for key, value in given.items() if key not in options})
    method, plan = plan_of(found, source, width=getattr(sizes, "width", 0), **options)
    model = recorded.insert_quantizers(Model(arch, sizes, arch.build(sizes).eval()), plan, method)
    load_published(model.net, state, arch.name, arch.rename, source)
    if "table" in options:
        entry = TabulateBits(fill_table(model.net, options["table"]), OFF, legacy_edge=True)
        model = replace(model, history=(*model.history, entry))
    return model


def _of_others(file: ModelFile, arch: str | None, config: Mapping[str, Any]) -> Model:
    """A graph of somebody else; its `range` may be stated."""
    if arch not in (None, "graph") or not set(config) <= {"range"}:
        given = ", ".join([*([] if arch is None else ["arch"]), *(key for key in config if key != "range")])
        raise UsageError(f"{file} is a graph that says what it is; leave {given} out (its range alone may be stated)")
    if file.suffix in ncnn.SUFFIXES:
        return of_graph_file(ncnn_graph.read(file.path), file, config.get("range"))
    return of_onnx(file, config.get("range"))


def _exported(path: ModelFile) -> tuple[Header, State]:
    """What a file for engines was written from, if we wrote it."""
    header = path.verified
    assert header is not None
    if modelfile.several(header.history) is not None:
        raise ModelError(f"{path} holds several graphs, which are not read back; take what it was made of")
    if header.architecture == integer_graph.ARCHITECTURE:
        raise ModelError(
            f"{path} is an integer graph, which runs on the native engine alone as it is; export or quantize the float"
            " network that it was made of"
        )
    if header.architecture == integer.ARCHITECTURE:
        net = of_integer_chain(integer.read(path)[0])
        return replace(header, config=asdict(net.config)), net.state_dict()
    try:
        arch = ARCHITECTURES[header.architecture]
        names = arch.build(arch.config(**header.config)).state_dict()
        arrays = {name: value for name, value in path.onnx_graph.constants.items() if name in names}
        if kinds := {value.dtype.name for value in arrays.values()} - {"float32", "int32", "int64"}:
            raise ValueError(f"tensors of {', '.join(sorted(kinds))}")
        for name, value in names.items():  # a bias of zeros is left out by the exporter
            if name.endswith(".bias") and name not in arrays and name.replace(".bias", ".weight") in arrays:
                arrays[name] = np.zeros(value.shape, np.float32)
    except (LookupError, ValueError, TypeError, UsageError) as error:
        raise ModelError(f"{path} holds no weights that can be read back ({error}); use the .safetensors") from None
    return header, {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _unpickle(path: Path) -> State:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickles; they load or they fail, and both is said below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # bytes that are no pickle run into whatever they happen to say
        if isinstance(error, pickle.UnpicklingError) and _is_pickle(path):
            if (found := pickled_state(path)) is not None:
                return found
            reason = "holds more than tensors and is not opened: such a file can run programs"
        elif path.suffix.lower() in (".pth", ".pt", ".tar", ".ckpt"):
            reason = "is not a complete file of weights (.pth); get it again"
        else:
            reason = f"is no model file; those end in {ENDINGS}"
        raise ModelError(f"{path} {reason}") from None
    for wrapper in ("params_ema", "params", "state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    table = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not table or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{path} holds no table of tensors")
    if state and all(key.startswith("module.") for key in state):  # saved while several GPUs trained it
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)


def _is_pickle(path: Path) -> bool:
    """Whether a file is a pickle by its first bytes: one of protocol 2 or later, alone or in a zip archive."""
    with path.open("rb") as file:
        return file.read(2).startswith((b"\x80", b"PK"))
