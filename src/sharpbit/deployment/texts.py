"""What folders have in common: the words of their README, the example image, templates."""

from __future__ import annotations

from pathlib import Path

from sharpbit.measure.probe import image
from sharpbit.modelfile import Header

TEMPLATES = Path(__file__).parent / "templates"


def facts(header: Header, size: int) -> str:
    """What the model is, in two sentences."""
    return (
        f"Upscales {header.scale} times; {header.architecture} with {header.parameters:,} parameters in"
        f" {header.precision}, {size:,} bytes. sha256 of its payload: `{header.sha256}`."
    )


def fill(template: str, target: Path, **values: str) -> None:
    """Write a template with `{name}` and the like replaced by values."""
    text = (TEMPLATES / template).read_text()
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", value)
    target.write_text(text)


def readme(template: str, target: Path, header: Header, size: int, **values: str) -> None:
    """Write the README of a folder."""
    licence = header.licence or "not known"
    fill(template, target, name=header.name, facts=facts(header, size), licence=licence, **values)


def example(target: Path) -> None:
    """Write the image that the example upscales, as PPM."""
    pixels = image()
    head = f"P6\n{pixels.shape[1]} {pixels.shape[0]}\n255\n"
    target.write_bytes(head.encode() + pixels.tobytes())
