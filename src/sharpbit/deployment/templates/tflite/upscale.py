"""Upscales an image with LiteRT: python upscale.py MODEL IN OUT."""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image


def main() -> None:
    """Read, upscale, write."""
    if len(sys.argv) != 4:
        sys.exit("usage: python upscale.py MODEL IN OUT")
    model, source, target = sys.argv[1:]
    interpreter = Interpreter(model_path=model)
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    image = np.asarray(Image.open(source).convert("RGB"))
    interpreter.resize_tensor_input(given["index"], [1, *image.shape])
    interpreter.allocate_tensors()
    whole = given["dtype"] == np.int8  # bytes less 128; else floats from 0 to 1
    values = (image.astype(np.int16) - 128).astype(np.int8) if whole else image.astype(np.float32) / np.float32(255)
    interpreter.set_tensor(given["index"], values[None])
    interpreter.invoke()
    result = interpreter.get_tensor(made["index"])[0]
    pixels = result.astype(np.int16) + 128 if whole else np.rint(np.clip(result, 0, 1) * np.float32(255))
    Image.fromarray(pixels.astype(np.uint8)).save(target)


if __name__ == "__main__":
    main()
