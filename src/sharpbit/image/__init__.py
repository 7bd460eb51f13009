"""Images: reading, writing, colour, metadata and MATLAB-compatible bicubic resizing.

`read` gives an `ImageData`; `open_writer` takes one strip by strip. Both speak in sentences (`ImageError`) when they
fail.
"""

from sharpbit.image.colour import from_pil, to_pil
from sharpbit.image.data import MAX_PIXELS, READ_FORMATS, WRITE_FORMATS, Choice, ImageData, Metadata, is_image_name
from sharpbit.image.encoding import WriteOptions
from sharpbit.image.mark import made_by
from sharpbit.image.newer import EXTRA_FORMATS, missing_extra
from sharpbit.image.read import probe, read
from sharpbit.image.write import ImageWriter, losses, open_writer

__all__ = [
    "EXTRA_FORMATS",
    "MAX_PIXELS",
    "READ_FORMATS",
    "WRITE_FORMATS",
    "Choice",
    "ImageData",
    "ImageWriter",
    "Metadata",
    "WriteOptions",
    "from_pil",
    "is_image_name",
    "losses",
    "made_by",
    "missing_extra",
    "open_writer",
    "probe",
    "read",
    "to_pil",
]
