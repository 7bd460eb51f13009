"""Networks of ncnn as the ONNX files that ONNX Runtime runs: nothing is written to the disk, and PyTorch stays out."""

from __future__ import annotations

from functools import cached_property

from sharpbit.graph.ncnn import read
from sharpbit.graph.written import onnx_of
from sharpbit.modelfile import ModelFile, ncnn
from sharpbit.modelfile.header import Header

SUFFIXES = ncnn.SUFFIXES


class Converted(ModelFile):
    """The two files of an ncnn network, read as an ONNX file of the same operators.

    Args:
        file: Either of the two.
    """

    def __init__(self, file: ModelFile) -> None:
        super().__init__(file.path)
        self.white = file.white

    @cached_property
    def data(self) -> bytes:
        """All bytes of the ONNX file.

        Raises:
            ModelError: One of the two files is missing or damaged, or a layer is none that is understood; it is named.
        """
        return onnx_of(read(self.path))

    @property
    def header(self) -> Header | None:
        """None, as of any file of somebody else."""
        return None

    @property
    def verified(self) -> Header | None:
        """None, as of any file of somebody else."""
        return None
