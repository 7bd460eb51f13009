"""Networks of others as models: plain ONNX files, and any network in PyTorch, which is traced into one."""

from __future__ import annotations

import copy
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sharpbit.arch import ARCHITECTURES
from sharpbit.arch.graph import Network, of_graph
from sharpbit.errors import ModelError, ResultWarning, UsageError
from sharpbit.graph import Graph
from sharpbit.graph.geometry import geometry, trial_side
from sharpbit.graph.network import network
from sharpbit.graph.onnx import UnknownOperator, read
from sharpbit.graph.values import Whites, smooth_image, stated, whites
from sharpbit.model.core import Model
from sharpbit.modelfile import ModelFile

OPSET = 18
TRACED = (64, 128)  # height and width of the image with which a network is traced: multiples of what networks want
APART = 1e-3  # how far a network and its graph may be apart, as a share of white

Range = str | float | tuple[float, float] | None


def of_onnx(file: ModelFile, white: Range = None) -> Model:
    """An ONNX file of somebody else as a model of the architecture `graph`.

    Args:
        file: The file.
        white: The value that means white: 1 or 255, or one for the image and one for the result; None tries.

    Raises:
        ModelError: An operator is not known, or it is no upscaler.
    """
    reading = read(file)
    return _model(reading.graph, reading.input.kind, file.path.stem, file.name, white)


def of_graph_file(graph: Graph, file: ModelFile, white: Range = None) -> Model:
    """The graph of a file as a model; `white` is as of `of_onnx`.

    Raises:
        ModelError: It is no upscaler.
    """
    return _model(graph, "", file.path.stem, file.name, white)


def of_module(net: nn.Module, *, scale: int | None = None, white: Range = None) -> Model:
    """Any network in PyTorch as a model of the architecture `graph`.

    Args:
        net: A network from `(N, C, H, W)`, C being 1 (Y), 3 (RGB) or 4 (RGBA), to the same, upscaled by a whole factor.
        scale: The upscaling factor, to be checked; None takes the one that is found.
        white: As of `of_onnx`.

    Raises:
        ModelError: It cannot be traced, has an operator that is not known, or is no upscaler.
        UsageError: It upscales by another factor.
    """
    return _of_module(copy.deepcopy(net).eval().cpu(), type(net).__name__, scale, white)


def _of_module(net: nn.Module, name: str, scale: int | None, white: Range) -> Model:
    image = torch.from_numpy(smooth_image(*TRACED)).permute(2, 0, 1)[None].contiguous()
    channels = _channels(net, image)
    image = torch.cat([image, torch.ones_like(image[:, :1])], 1)[:, :channels]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        path.write_bytes(_traced(net, image, name))
        try:
            reading = read(path)
            model = _model(reading.graph, reading.input.kind, name, name, white)
        except UnknownOperator as error:
            reason = str(error).partition("; the file runs")[0].removeprefix(f"{name}.onnx: ")
            raise ModelError(
                f"{name}: {reason}; export it with torch.onnx.export, and 'sharpbit upscale' runs the file as it is"
            ) from None
    _compare(net, of_graph(reading.graph, 1), image, name)
    if scale is not None and model.scale != scale:
        raise UsageError(f"{name} upscales {model.scale} times, and the scale that was stated is {scale}")
    return model


def _compare(net: nn.Module, graph: Network, image: Tensor, name: str) -> None:
    with torch.no_grad():
        before, after = net(image), graph.run(image)
    apart = float((before - after).abs().max() / before.abs().max().clamp(min=1))
    if not apart <= APART:
        raise ModelError(f"{name} could not be followed: its graph differs by {apart:.2g}; does it depend on chance?")


def _channels(net: nn.Module, image: Tensor) -> int:
    """How many channels a network takes."""
    reason = ""
    for channels in (3, 1, 4):
        given = torch.cat([image, image], 1)[:, :channels]
        try:
            with torch.no_grad():
                out = net(given)
        except Exception as error:  # whatever a network of somebody else raises
            reason = reason or f": {str(error).splitlines()[0][:160]}"
            continue
        if isinstance(out, Tensor) and out.dim() == 4:
            return channels
    raise ModelError(f"{type(net).__name__} turns no image (1, C, {TRACED[0]}, {TRACED[1]}) into one{reason}")


def _traced(net: nn.Module, image: Tensor, name: str) -> bytes:
    """The network as an ONNX file: by the exporter that traces, in less than a second, or else by the newer one."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    reason = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logger.setLevel(logging.CRITICAL)
            try:
                file = io.BytesIO()
                with _quiet():
                    torch.onnx.export(net, (image,), file, opset_version=OPSET, dynamo=False)  # type: ignore[arg-type]
                return file.getvalue()
            except Exception as error:  # what it does not know, the other one perhaps does
                reason = str(error).partition("\n")[0][:200]
            program = torch.onnx.export(net, (image,), opset_version=OPSET, dynamo=True, verbose=False)
    except Exception:  # the exporter's own types share no base class, and its text is a page
        raise ModelError(f"{name} cannot be traced: {reason}") from None
    finally:
        logger.setLevel(level)
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter that traces prints from C++ when it fails: all that it has seen of the network."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _model(graph: Graph, kind: str, name: str, source: str, white: Range) -> Model:
    try:
        sizes = geometry(graph)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None
    bare = of_graph(network(graph, sizes.cut, (1.0, 1.0)), sizes.scale, sizes.multiple)
    side = trial_side(graph, sizes.multiple)
    found = _whites(bare, source, sizes.scale, kind, white, side)
    both = found.image, found.result
    same = both == (1.0, 1.0)
    net = bare if same else of_graph(network(graph, sizes.cut, both), sizes.scale, sizes.multiple)
    if found.doubt:
        warnings.warn(found.doubt, ResultWarning, stacklevel=4)
    return Model(ARCHITECTURES["graph"], net.config, net, about={"name": name})


def _whites(net: nn.Module, name: str, scale: int, kind: str, white: Range, side: int) -> Whites:
    if white is not None:
        return Whites(*stated(white))
    if kind == "u1":
        return Whites(255.0, 255.0)

    def run(image: Any) -> Any:
        with torch.no_grad():
            y: Tensor = net(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None])
        return y[0].permute(1, 2, 0).numpy()

    return whites(run, name, smooth_image(side, side), scale)
