"""What `sharpbit quantize` reports: facts for the terminal, and a page of Markdown or HTML that stands by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

from sharpbit._version import __version__
from sharpbit.report import svg
from sharpbit.report.markdown import table
from sharpbit.verbs.receipt import FAR, QuantizationReceipt

Scores = Mapping[str, tuple[float, float]]
Ranges = Sequence[tuple[str, float, float, float, float]]
WIDE = 300  # of a bar, in pixels
SENSITIVITY = (
    "Share of the mean square error that is gone where the layer is not rounded. Shares need not sum up to 100 %."
)
RANGES = "Light: values of the float network. Dark: what the grid of the quantized one reaches; the rest is clipped."
FLOAT = 32
PLACES = {"detail": "of ", "random": "at random places of ", "prepared": "prepared, of "}
STYLE = """
:root { color-scheme: light dark; --ink: #1c2526; --soft: #667; --line: #d6dde0; --all: #c3d2d4; --grid: #2f6d74;
  --paper: #fff; --worse: #b3482e }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8e8; --soft: #9aa5a8; --line: #38434a; --all: #475a60;
  --grid: #79c2c9; --paper: #14191c; --worse: #f0957d } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } p { color: var(--soft) }
table { border-collapse: collapse } td, th { padding: .15rem .9rem .15rem 0; text-align: left; vertical-align: middle }
tr { border-bottom: 1px solid var(--line) } th { color: var(--soft); font-weight: 500; white-space: nowrap }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.name { font: 12.5px ui-monospace, monospace; overflow-wrap: anywhere } .worse { color: var(--worse) }
.scroll { overflow-x: auto } svg { display: block } .all { fill: var(--all) } .grid { fill: var(--grid) }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .85rem }
"""


def bits_of(receipt: QuantizationReceipt) -> str:
    """The width, or how widths were chosen."""
    if isinstance(receipt.bits, int):
        return f"{receipt.bits} bits"
    budget = receipt.budget if isinstance(receipt.budget, str) else f"{receipt.budget:g} bits"
    return f"{', '.join(map(str, receipt.bits))} bits within a budget of {budget}"


def facts(receipt: QuantizationReceipt, scores: Scores) -> dict[str, str]:
    """What was done and what it cost, a line each."""
    refined = f", {receipt.refined} steps of refining" if receipt.refined else ""
    others = _some(receipt.held_out, "other crop") if receipt.held_out else "the same, as there are no others"
    lines = {
        "method": f"{receipt.method}, {bits_of(receipt)}{refined}, {receipt.seconds:g} s",
        "calibrated on": f"{_some(receipt.crops, 'crop')} of {receipt.side}x{receipt.side} pixels,"
        f" {PLACES[receipt.place]}{_some(receipt.images, 'image')}",
        "weights": "{:,} -> {:,} bytes".format(*receipt.bytes),
        "against float": f"{receipt.psnr:.2f} dB ({receipt.least:.2f} on the worst) on {others};"
        f" {100 * receipt.differing:.1f} % of samples differ, by at most {receipt.largest} of 255"
        if receipt.largest
        else f"the same bytes on {others}",
    }
    if receipt.texture is not None:
        lines["soft textures"] = f"{receipt.texture:.2f} dB from float on the worst of some that were drawn"
    if receipt.wide:
        wide = sum(count > 0 for count in receipt.wide)
        lines["wide channels"] = (
            f"{max(receipt.wide)} in {wide} of {len(receipt.wide) + 1} layers are kept in 16 bits,"
            f" for {receipt.gate:g} dB"
        )
    if receipt.both:
        count, total, pairs = receipt.both
        counted = f" ({pairs} of them second halves of weights of 16 bits)" if pairs else ""
        lines["in 16 bits"] = (
            f"what sums add, and what {count} of {total} convolutions{counted} read, which takes them twice the time,"
            f" for {receipt.gate:g} dB from float"
            if count
            else f"what sums add; convolutions (all {total}{counted}) read 8 bits, for {receipt.gate:g} dB from float"
        )
    least = receipt.least if receipt.texture is None else min(receipt.least, receipt.texture)
    if receipt.method in ("sloped", "graph") and receipt.psnr < receipt.gate:
        lines["warning"] = (
            f"below {receipt.gate:g} dB from float, where differences can be seen at high magnification; look at it"
        )
    elif receipt.method in ("sloped", "graph") and least < receipt.gate - FAR:
        lines["warning"] = (
            f"one image is only {least:.2f} dB from float, where a texture may be lost; look at your own images, or ask"
            " for more with --gate"
        )
    if receipt.images == 1:
        lines["note"] = "one image shows little of what the network will see; calibrate on some ten"
    if receipt.kept:
        lines["in float"] = ", ".join(receipt.kept)
    if receipt.bitops is not None:
        lines["cost"] = f"{receipt.bitops / 1e9:,.0f} GBitOPs for an image of 640x360"
    if not isinstance(receipt.bits, int):
        counts = Counter(min(act, weight) for _, act, weight in receipt.widths)
        lines["layers"] = ", ".join(f"{counts[bits]} in {bits} bits" for bits in sorted(counts, reverse=True))
    for name, (a, b) in scores.items():
        lines[name] = f"{a:.3f} -> {b:.3f} dB ({b - a:+.3f}), Y channel"
    return lines


def markdown(model: str, receipt: QuantizationReceipt, scores: Scores) -> str:
    """A page of Markdown, with its plot as SVG in it."""
    lines = [f"# {Path(model).name} in {bits_of(receipt)}", "", *table(["", ""], facts(receipt, scores).items())]
    if receipt.sensitivity:
        lines += ["", "## Sensitivity of each layer", "", SENSITIVITY, ""]
        lines += table(
            ["layer", "share"], [(f"`{name}`", f"{100 * share:.1f} %") for name, share in receipt.sensitivity]
        )
    if not isinstance(receipt.bits, int):
        lines += ["", "## Bits of each layer", ""]
        rows = [(f"`{name}`", _width(act), _width(weight)) for name, act, weight in receipt.widths]
        lines += table(["layer", "input", "weight"], rows)
    if receipt.ranges:
        lines += ["", "## Ranges of activations", "", RANGES, "", _plot(receipt.ranges)]
    return "\n".join(lines) + "\n"


def html(model: str, receipt: QuantizationReceipt, scores: Scores) -> str:
    """One page of HTML that needs no other file, and no script."""
    title = escape(f"{Path(model).name} in {bits_of(receipt)}")
    lines = {key: value for key, value in facts(receipt, scores).items() if key not in scores}
    parts = [f"<h1>{title}</h1>", cells([], [[escape(key), escape(value)] for key, value in lines.items()])]
    if scores:
        rows = [
            [
                escape(name),
                f"{a:.3f}",
                f"{b:.3f}",
                f'<span class="worse">{b - a:+.3f}</span>' if b < a else f"{b - a:+.3f}",
            ]
            for name, (a, b) in scores.items()
        ]
        parts += ["<h2>PSNR before and after</h2>", "<p>dB, Y channel, mean of the images of a set.</p>"]
        parts += [cells(["set", "float", "quantized", "difference"], rows, numbers=range(1, 4))]
    if receipt.sensitivity:
        most = max(share for _, share in receipt.sensitivity)
        rows = [
            [_code(name), f"{100 * share:.1f} %", _bar(0, max(share, 0) / most if most > 0 else 0)]
            for name, share in receipt.sensitivity
        ]
        parts += ["<h2>Sensitivity of each layer</h2>", f"<p>{SENSITIVITY}</p>"]
        parts += [cells(["layer", "share", ""], rows, numbers=(1,))]
    if receipt.widths and not isinstance(receipt.bits, int):
        rows = [[_code(name), _width(act), _width(weight)] for name, act, weight in receipt.widths]
        parts += ["<h2>Bits of each layer</h2>", cells(["layer", "input", "weight"], rows, numbers=(1, 2))]
    if receipt.ranges:
        rows = [
            [_code(name), f"{low:.3g} .. {high:.3g}", f"{lo:.3g} .. {hi:.3g}", _span(low, high, lo, hi)]
            for name, low, high, lo, hi in receipt.ranges
        ]
        parts += ["<h2>Ranges of activations, before and after</h2>", f"<p>{RANGES}</p>"]
        parts += [cells(["input of", "float", "grid", ""], rows, numbers=(1, 2))]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body>{chr(10).join(parts)}\n<footer>sharpbit {__version__}</footer></body></html>\n"
    )


PAGES: Mapping[str, Callable[[str, QuantizationReceipt, Scores], str]] = {".html": html, ".md": markdown}


def cells(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Cells are HTML already."""
    kinds = [' class="number"' if column in numbers else "" for column in range(len(rows[0]) if rows else 0)]
    top = "<tr>" + "".join(f"<th{kind}>{cell}</th>" for kind, cell in zip(kinds, head, strict=False)) + "</tr>\n"
    body = (
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>\n{top if head else ""}{chr(10).join(body)}\n</table></div>'


def _some(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _code(name: str) -> str:
    return f'<span class="name">{escape(name)}</span>'


def _width(bits: int) -> str:
    return "" if bits == FLOAT else str(bits)


def _bar(left: float, right: float, back: tuple[float, float] | None = None) -> str:
    """A bar from `left` to `right` of 0 to 1, before another one."""
    parts = [("all", back, 2, 12), ("grid", (left, right), 4, 8)]
    bars = "".join(
        svg.element("rect", **{"class": kind}, x=WIDE * span[0], y=y, width=WIDE * (span[1] - span[0]), height=height)
        for kind, span, y, height in parts
        if span
    )
    return f'<svg width="{WIDE}" height="16" role="img">{bars}</svg>'


def _places(low: float, high: float, lo: float, hi: float) -> tuple[float, float, float, float]:
    """Of all four, the place between the least and the most."""
    least = min(low, lo)
    span = max(max(high, hi) - least, 1e-12)
    a, b, c, d = ((value - least) / span for value in (low, high, lo, hi))
    return a, b, c, d


def _span(low: float, high: float, lo: float, hi: float) -> str:
    a, b, c, d = _places(low, high, lo, hi)
    return _bar(c, d, (a, b))


def _plot(ranges: Ranges) -> str:
    """The same bars as one drawing, which a page of Markdown may hold as it is."""
    row, left = 12, 460
    parts = []
    for number, (name, low, high, lo, hi) in enumerate(ranges):
        y = number * row
        a, b, c, d = (WIDE * place for place in _places(low, high, lo, hi))
        parts += [
            svg.text(0, y + 9, name),
            svg.rect(left + a, y + 1, b - a, 10, fill="#cdd"),
            svg.rect(left + c, y + 3, d - c, 6, fill="#366"),
            svg.text(left + WIDE + 8, y + 9, f"{low:.3g} .. {high:.3g} \u2192 {lo:.3g} .. {hi:.3g}"),
        ]
    return svg.drawing(left + WIDE + 260, row * len(ranges), parts, size=9, font="monospace")
