"""A model file, read once."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from sharpbit.errors import ModelError
from sharpbit.modelfile import onnx_graph
from sharpbit.modelfile.container import contents, digest, split
from sharpbit.modelfile.header import Header


class ModelFile(os.PathLike[str]):
    """A model file that is read from the disk once and parsed once, however many ask for it.

    Nothing is read before something is asked for. It stands for its path where a path is expected.

    Args:
        path: The path of a `.onnx`, `.sharpbit` or `.safetensors` file; other files have a path alone.
        embedded: Whether it is part of sharpbit, so that what its header says need not be tried out.

    Attributes:
        white: What means white in the image and in the result, as somebody states of a file without a header; None
            where nobody does.
        denoise: The share of its weights, from 0 to 1, in a mixture with the twin that lies beside it; None mixes
            nothing.
        factor: The upscaling factor that is asked for, by which weights for several scales choose; None where nobody
            asks for one.

    Examples:
        >>> from sharpbit import zoo
        >>> zoo.open_file("x2-clean-balanced").header.scale
        2
    """

    def __init__(self, path: str | os.PathLike[str], *, embedded: bool = False) -> None:
        self.path = Path(path)
        self.embedded = embedded
        self.white: tuple[float, float] | None = None
        self.denoise: float | None = None
        self.factor: float | None = None

    @classmethod
    def of(cls, file: str | os.PathLike[str]) -> ModelFile:
        """`file` itself if it is one already, else the model file of that path."""
        return file if isinstance(file, ModelFile) else cls(file)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The name of the file without its folder."""
        return self.path.name

    @property
    def suffix(self) -> str:
        """The ending of the name, in small letters."""
        return self.path.suffix.lower()

    @cached_property
    def data(self) -> bytes:
        """All bytes of the file.

        Raises:
            ModelError: It cannot be read.
        """
        return contents(self.path)

    @cached_property
    def _parts(self) -> tuple[str | None, list[bytes | memoryview]]:
        return split(self.data, self.path)

    @cached_property
    def header(self) -> Header | None:
        """The header, which matches its own sha256, the payload not yet compared; None for a file of somebody else.

        Raises:
            ModelError: It is not such a file, its header is damaged, or it is of an unknown format version.
        """
        text = self._parts[0]
        return None if text is None else Header.from_json(text, str(self.path))

    @cached_property
    def verified(self) -> Header | None:
        """The header, once the payload was compared with its sha256; None for a file of somebody else.

        Raises:
            ModelError: It is not such a file, or its payload does not match.
        """
        if self.header is not None and self.header.sha256 != digest(self._parts[1]):
            raise ModelError(
                f"{self.path}: the payload does not match the sha256 of its header; the file is damaged, get it again"
            )
        return self.header

    @property
    def payload(self) -> bytes:
        """All that is not header, in one piece."""
        return b"".join(self._parts[1])

    @cached_property
    def onnx_graph(self) -> onnx_graph.OnnxGraph:
        """The graph of an ONNX file."""
        return onnx_graph.parsed(self.data, self.path)

    @cached_property
    def operators(self) -> dict[str, int]:
        """How often each operator occurs in an ONNX file, most frequent first."""
        return onnx_graph.operators(self.data, str(self.path))
