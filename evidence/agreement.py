"""How far a quantized network in PyTorch and the file exported from it, on ONNX Runtime, are apart, in grey levels.

    sharpbit quantize craft_x4.pth --method minmax --calibrate PHOTOS -o craft8.safetensors
    sharpbit export craft8.safetensors -o craft8.onnx
    python evidence/agreement.py craft8.safetensors craft8.onnx --data Set5 [--images N] [--threads N] [--itself]

Both get the same LR images; what they give is compared after rounding to bytes, all three channels, no border cut.
With `--itself` the second is PyTorch again, with kernels of its own instead of those of oneDNN.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from sharpbit import model as models
from sharpbit.measure.benchmarks import find
from sharpbit.measure.psnr import psnr
from sharpbit.runtime.onnx import open_onnx
from sharpbit.verbs.receipt import upscaled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("exported", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, help="only the first so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--itself", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, runtime = models.load(given.model), open_onnx(given.exported, threads=given.threads)
    (item,) = find(given.data)
    print(f"{given.exported.name}: {runtime.precision}, {runtime.engine}; PyTorch {torch.__version__}\n")
    print("| image | small | PSNR, PyTorch | PSNR, second | mean apart | differ | by > 1 | by > 2 | largest |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path in item.large[: given.images]:
        small, large = item.pair(path, model.scale)
        first = upscaled(model.net, small)
        if given.itself:
            with torch.backends.mkldnn.flags(enabled=False):
                second = upscaled(model.net, small)
        else:
            second = np.rint(255 * np.clip(runtime.run(small.astype(np.float32) / 255), 0, 1)).astype(np.uint8)
        apart = np.abs(first.astype(int) - second)
        scores = [f"{psnr(image, large, border=model.scale):.3f}" for image in (first, second)]
        shares = [f"{100 * (apart > level).mean():.3f} %" for level in (0, 1, 2)]
        print(
            f"| {path.stem} | {small.shape[1]}x{small.shape[0]} | {' | '.join(scores)} | {apart.mean():.4f} |"
            f" {' | '.join(shares)} | {apart.max()} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
