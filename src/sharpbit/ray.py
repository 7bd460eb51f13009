"""sharpbit in programs of Ray Data; see `sharpbit.collection.step`."""

from sharpbit.collection.step import Upscale as Upscale
