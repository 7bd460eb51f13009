"""ONNX operators in which pixels meet: convolutions, pooling, resizing, edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.graph import IMAGE
from sharpbit.graph.constants import axes_of
from sharpbit.graph.onnx import NotRead, Tracer, Value
from sharpbit.graph.view import View
from sharpbit.modelfile.onnx_graph import Operator

Array = NDArray[Any]
Sides = tuple[int, int, int, int]  # top, left, bottom, right


def _sides(operator: Operator, kernel: tuple[int, int], dilation: tuple[int, int]) -> Sides:
    """How much is put around an image."""
    automatic = operator.attributes.get("auto_pad", "NOTSET")
    if automatic in ("NOTSET", ""):
        top, left, bottom, right = operator.attributes.get("pads", (0, 0, 0, 0))
        return top, left, bottom, right
    if automatic == "VALID":
        return 0, 0, 0, 0
    if any(step != 1 for step in operator.attributes.get("strides", (1, 1))):
        raise NotRead("its padding depends on the size of the image")
    total = [(side - 1) * step for side, step in zip(kernel, dilation, strict=True)]
    less, more = [side // 2 for side in total], [side - side // 2 for side in total]
    first, last = (less, more) if automatic == "SAME_UPPER" else (more, less)
    return first[0], first[1], last[0], last[1]


def padded(tracer: Tracer, value: str, sides: Sides, mode: str = "constant") -> str:
    """A map with so much around it."""
    if not any(sides):
        return value
    n, c, h, w = tracer.shapes[value]
    top, left, bottom, right = sides
    settings = {"sides": sides, "mode": mode}
    return tracer.emit("pad", [value], (n, c, h + top + bottom, w + left + right), settings)


def _two(operator: Operator, key: str) -> tuple[int, int]:
    high, wide = operator.attributes.get(key, (1, 1))
    return high, wide


def _sizes(inputs: int, outputs: int, kernel: list[int], groups: int) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": outputs, "kernel": kernel, "groups": groups}


def conv(tracer: Tracer, operator: Operator, x: Value, weight: Value, bias: Value | None = None) -> View:
    """A convolution."""
    if not isinstance(x, View) or isinstance(weight, View) or isinstance(bias, View) or weight.ndim != 4:
        raise NotRead("its weights are not stored")
    value, layout = tracer.map_of(x)
    if layout != "nchw":
        raise NotRead("its channels do not come first")
    outputs, inputs, *kernel = weight.shape
    groups = operator.attributes.get("group", 1)
    stride, dilation = _two(operator, "strides"), _two(operator, "dilations")
    top, left, bottom, right = _sides(operator, (kernel[0], kernel[1]), dilation)
    if (top, left) != (bottom, right):
        value, top, left = padded(tracer, value, (top, left, bottom, right)), 0, 0
    n, _, h, w = tracer.shapes[value]
    size = [
        (side + 2 * pad - step * (across - 1) - 1) // each + 1
        for side, pad, step, across, each in zip((h, w), (top, left), dilation, kernel, stride, strict=True)
    ]
    settings = {
        **_sizes(inputs * groups, outputs, kernel, groups),
        "stride": stride,
        "padding": (top, left),
        "dilation": dilation,
        "bias": bias is not None,
    }
    if tracer.shapes[value][1] != inputs * groups:
        raise NotRead(f"it takes {inputs * groups} channels and gets {tracer.shapes[value][1]}")
    weights = {"weight": weight} | ({} if bias is None else {"bias": bias})
    return tracer.view(tracer.emit("conv", [value], (n, outputs, *size), settings, weights))


def deconv(tracer: Tracer, operator: Operator, x: Value, weight: Value, bias: Value | None = None) -> View:
    """A transposed convolution."""
    if not isinstance(x, View) or isinstance(weight, View) or isinstance(bias, View) or weight.ndim != 4:
        raise NotRead("its weights are not stored")
    if operator.attributes.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in operator.attributes:
        raise NotRead("its padding depends on the size of the image")
    value, layout = tracer.map_of(x)
    inputs, outputs, *kernel = weight.shape
    groups = operator.attributes.get("group", 1)
    stride, dilation = _two(operator, "strides"), _two(operator, "dilations")
    more = tuple(operator.attributes.get("output_padding", (0, 0)))
    top, left, bottom, right = operator.attributes.get("pads", (0, 0, 0, 0))
    n, _, h, w = tracer.shapes[value]
    if layout != "nchw":
        raise NotRead("its channels do not come first")
    same = (top, left) == (bottom, right)
    padding = (top, left) if same else (0, 0)
    size = [
        (side - 1) * each - 2 * pad + step * (across - 1) + extra + 1
        for side, each, pad, step, across, extra in zip((h, w), stride, padding, dilation, kernel, more, strict=True)
    ]
    settings = {
        **_sizes(inputs, outputs * groups, kernel, groups),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "bias": bias is not None,
        "more": more,
    }
    weights = {"weight": weight} | ({} if bias is None else {"bias": bias})
    name = tracer.emit("deconv", [value], (n, outputs * groups, *size), settings, weights)
    if not same:
        sides = {"sides": (top, left, bottom, right)}
        size = [size[0] - top - bottom, size[1] - left - right]
        name = tracer.emit("crop", [name], (n, outputs * groups, *size), sides)
    return tracer.view(name)


def pool(op: str) -> Callable[..., View]:
    """The largest or the mean number of a window."""

    def rule(tracer: Tracer, operator: Operator, x: View) -> View:
        value, layout = tracer.map_of(x)
        kernel, stride = _two(operator, "kernel_shape"), _two(operator, "strides")
        top, left, bottom, right = _sides(operator, kernel, (1, 1))
        odd = operator.attributes.get("ceil_mode") or set(operator.attributes.get("dilations", (1, 1))) != {1}
        partial = op == "avgpool" and (top or left) and not operator.attributes.get("count_include_pad")
        if layout != "nchw" or (top, left) != (bottom, right) or odd or partial:
            raise NotRead("it is used in a way that is not known")
        n, c, h, w = tracer.shapes[value]
        size = [(h + 2 * top - kernel[0]) // stride[0] + 1, (w + 2 * left - kernel[1]) // stride[1] + 1]
        settings = {"kernel": kernel, "stride": stride, "padding": (top, left)}
        return tracer.view(tracer.emit(op, [value], (n, c, *size), settings))

    return rule


def mean(tracer: Tracer, operator: Operator, x: View, axes: Array | None = None) -> View:
    """The mean of all pixels."""
    value, layout = tracer.map_of(x)
    wanted = axes_of(operator.attributes, axes) if operator.kind == "ReduceMean" else (2, 3)
    if wanted is None or sorted(axis % 4 for axis in wanted) != sorted(map(layout.index, "hw")):
        raise NotRead("a mean of something else than all pixels")
    n, c, *_ = tracer.shapes[value]
    view = tracer.view(tracer.emit("mean", [value], (n, c, 1, 1)), layout)
    if operator.kind == "ReduceMean" and not operator.attributes.get("keepdims", 1):
        return View(view.value, view.base, (view.base[0], view.base[1]))
    return view


def resize(tracer: Tracer, operator: Operator, x: View, *given: Array | None) -> View:
    """`Resize` and the older `Upsample`."""
    value, layout = tracer.map_of(x)
    roi_and_more: tuple[Array | None, ...] = (
        given if operator.kind == "Resize" and tracer.opset > 10 else (None, *given)
    )
    _, scales, sizes = (*roi_and_more, None, None, None)[:3]
    if scales is None and "scales" in operator.attributes:
        scales = np.asarray(operator.attributes["scales"])
    n, c, h, w = tracer.shapes[value]
    rows, columns = layout.index("h"), layout.index("w")
    if sizes is not None and sizes.size == 4:
        high, wide = int(sizes[rows]), int(sizes[columns])
        factor = (high / h, wide / w)
    elif scales is not None and scales.size == 4:
        factor = (float(scales[rows]), float(scales[columns]))
        high, wide = int(h * factor[0] + 1e-4), int(w * factor[1] + 1e-4)
    else:
        raise NotRead("its sizes are not those of four dimensions")
    if (high, wide) == (h, w):
        return x
    settings = {"factor": factor, **_way(tracer, operator, factor)}
    inputs = [value]
    if sizes is not None and any(number != int(number) for number in factor):
        inputs.append(_alike(tracer, value, (high, wide)))
    return tracer.view(tracer.emit("resize", inputs, (n, c, high, wide), settings), layout)


def _way(tracer: Tracer, operator: Operator, factor: tuple[float, float]) -> dict[str, Any]:
    """How pixels are interpolated."""
    mode = operator.attributes.get("mode", "nearest")
    old = operator.kind == "Upsample" or tracer.opset < 11
    place = operator.attributes.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    if operator.attributes.get("antialias") or operator.attributes.get("exclude_outside"):
        raise NotRead("it is used in a way that is not known")
    if mode == "nearest":
        whole = all(number == int(number) for number in factor)
        if not whole and (place, operator.attributes.get("nearest_mode", "floor" if old else "")) != (
            "asymmetric",
            "floor",
        ):
            raise NotRead("nearest neighbours by a factor that is not whole")
        return {"mode": "nearest", "aligned": False}
    if place not in ("half_pixel", "pytorch_half_pixel", "align_corners") or mode not in ("linear", "cubic"):
        raise NotRead(f"it interpolates in the mode {mode} with {place} coordinates")
    if mode == "cubic" and abs(operator.attributes.get("cubic_coeff_a", -0.75) + 0.75) > 1e-6:
        raise NotRead("its cubic curve is another one")
    return {"mode": "bilinear" if mode == "linear" else "bicubic", "aligned": place == "align_corners"}


def _alike(tracer: Tracer, value: str, size: tuple[int, int]) -> str:
    """A map of this size, after which another one is sized."""
    for name in (IMAGE, *(node.name for node in tracer.nodes)):
        if tracer.shapes[name][2:] == size and name != value:
            return name
    raise NotRead("it resizes by a factor that is not whole")


def pad(tracer: Tracer, operator: Operator, x: View, *given: Array | None) -> View:
    """Pixels around the image."""
    pads = np.asarray(operator.attributes["pads"]) if not given or given[0] is None else given[0].ravel()
    number = operator.attributes.get("value", 0.0) if len(given) < 2 or given[1] is None else float(given[1].ravel()[0])
    axes = (
        [*range(len(x.dims))] if len(given) < 3 or given[2] is None else [int(axis) % len(x.dims) for axis in given[2]]
    )
    if not pads.any():
        return x
    value, layout = tracer.map_of(x)
    ends = {layout[axis]: (int(pads[k]), int(pads[k + len(axes)])) for k, axis in enumerate(axes)}
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}.get(
        operator.attributes.get("mode", "constant")
    )
    if mode is None or number or any(any(ends.get(axis, ())) for axis in "nc"):
        raise NotRead("it is used in a way that is not known")
    (top, bottom), (left, right) = ends.get("h", (0, 0)), ends.get("w", (0, 0))
    if min(top, bottom, left, right) < 0:
        raise NotRead("it takes pixels away")
    return tracer.view(padded(tracer, value, (top, left, bottom, right), mode), layout)


PIXELS: Mapping[str, Callable[..., Value | list[Value]]] = {
    "Conv": conv,
    "ConvTranspose": deconv,
    "MaxPool": pool("maxpool"),
    "AveragePool": pool("avgpool"),
    "GlobalAveragePool": mean,
    "ReduceMean": mean,
    "Resize": resize,
    "Upsample": resize,
    "Pad": pad,
}
