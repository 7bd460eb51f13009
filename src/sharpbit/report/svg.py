"""The one writer of SVG: elements with their attributes, and a drawing of them."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def element(name: str, content: str | None = None, /, **attributes: object) -> str:
    """An SVG element.

    Args:
        name: name of the element, such as `rect`.
        content: text in it, which is escaped; None (default) makes an empty element.
        attributes: attributes in their order; `_` stands for `-`, fractions have one digit, None is left out.
    """
    given = "".join(f' {key.replace("_", "-")}="{_text(v)}"' for key, v in attributes.items() if v is not None)
    return f"<{name}{given}/>" if content is None else f"<{name}{given}>{escape(content)}</{name}>"


def text(x: float, y: float, content: str, **attributes: object) -> str:
    """A text that begins at (x, y), unless `text_anchor` says otherwise."""
    return element("text", content, x=x, y=y, **attributes)


def path(steps: str, **attributes: object) -> str:
    """A path along `steps`, such as `M0 0H10`."""
    return element("path", d=steps, **attributes)


def polyline(points: Iterable[tuple[float, float]], **attributes: object) -> str:
    """A line through points, not filled."""
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), fill="none", **attributes)


def rect(x: float, y: float, width: float, height: float, **attributes: object) -> str:
    """A rectangle."""
    return element("rect", x=x, y=y, width=width, height=height, **attributes)


def group(parts: Iterable[str], x: int, y: int) -> str:
    """Elements moved by (x, y)."""
    return "\n".join([f'<g transform="translate({x} {y})">', *parts, "</g>"])


def drawing(width: int, height: int, parts: Iterable[str], *, size: int, font: str = "sans-serif") -> str:
    """A drawing that stands by itself, on white.

    Args:
        width: width in pixels.
        height: height in pixels.
        parts: elements, those behind first.
        size: size of letters in pixels.
        font: family of letters; default: `sans-serif`.
    """
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' font-family="{font}" font-size="{size}">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def _text(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else escape(str(value))
