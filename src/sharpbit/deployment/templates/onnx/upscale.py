"""Upscales an image with ONNX Runtime: python upscale.py IN OUT."""

import os
import platform
import sys
from pathlib import Path

import numpy as np
from PIL import Image

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would report to its makers
import onnxruntime


def options() -> onnxruntime.SessionOptions:
    """Sums of products of bytes are exact, also on x86 without VNNI, where ONNX Runtime cuts them off at 16 bits."""
    made = onnxruntime.SessionOptions()
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    if platform.machine().lower() in ("x86_64", "amd64") and not {"avx512_vnni", "avx_vnni"} & set(flags):
        made.add_session_config_entry("session.x64quantprecision", "1")
    return made


def main() -> None:
    """Read, upscale, write."""
    if len(sys.argv) != 3:
        sys.exit("usage: python upscale.py IN OUT")
    session = onnxruntime.InferenceSession("model.onnx", options(), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    image = np.asarray(Image.open(sys.argv[1]).convert("RGB"))
    if given.type == "tensor(uint8)":  # (1, height, width, 3) bytes in and out
        result = session.run(None, {given.name: image[None]})[0][0]
    else:  # (1, 3, height, width) from 0 to 1 in and out
        planes = image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        values = session.run(None, {given.name: planes})[0][0].transpose(1, 2, 0)
        result = np.rint(np.clip(values, 0, 1) * np.float32(255)).astype(np.uint8)
    Image.fromarray(result).save(sys.argv[2])


if __name__ == "__main__":
    main()
