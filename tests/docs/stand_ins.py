"""Small files under the names that the pages of the documentation use: images, sets of test images, weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from doc_pages import ROOT
from PIL import Image

import sharpbit
import video_clips

SETS = ("Set5", "Set14", "BSD100", "photos2k")
NETWORKS = {
    "ECBSR_M4C16_x2.pth": ("ecbsr", {"scale": 2, "blocks": 1, "width": 8}),
    "ETDS_M6C32_x3.pth": ("etds", {"scale": 3, "blocks": 1, "width": 12}),
    "ETDS_M6C32_x4.pth": ("etds", {"scale": 4, "blocks": 1, "width": 12}),
    "WEIGHTS/ETDS_M6C32_x4.pth": ("etds", {"scale": 4, "blocks": 1, "width": 12}),
    "large.pth": ("abpn", {"scale": 2, "blocks": 2, "width": 16}),
    "small.pth": ("abpn", {"scale": 2, "blocks": 1, "width": 8}),
    "imdn_x4.pth": ("abpn", {"scale": 2, "blocks": 1, "width": 8}),
    "craft_x4.pth": ("craft", {"scale": 2, "width": 24, "depths": (1,), "heads": 2}),
}
TRAINED = ("srresnet-cadyq-x4", "srresnet-pams8-x4")


def prepare(folder: Path) -> None:
    """Put all of them into `folder`."""
    image(folder / "photo.png", 256, 192)
    image(folder / "holiday" / "one.jpg", 160, 120)
    image(folder / "holiday" / "beach" / "two.jpg", 120, 160)
    image(folder / "FOLDER" / "large.png", 512, 512)
    image(folder / "DIV2K_train_HR" / "0001.png", 600, 504)
    for scale in (2, 3, 4):
        image(folder / "DIV2K_train_LR_bicubic" / f"X{scale}" / f"0001x{scale}.png", 600 // scale, 504 // scale)
    for number in range(3):
        image(folder / "PHOTOS" / f"{number:02}.png", 64, 64, seed=number)
    for name in SETS:
        for base in (folder, folder / "BENCHMARKS"):
            image(base / name / "HR" / "a.png", 96, 72)
            image(base / name / "HR" / "b.png", 72, 96, seed=1)
    video_clips.clip(folder / "clip.mp4", 9, size=(48, 64), audio=1)
    shutil.copytree(folder / "holiday", folder / "photos")
    for name in ("bench", "evidence", "recipes", "research", "scripts", "docs"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    for name, (arch, config) in NETWORKS.items():
        torch.manual_seed(0)
        (folder / name).parent.mkdir(exist_ok=True)
        state = sharpbit.build(arch, **config).net.state_dict()
        last = [key for key in state if key.endswith("weight")][-1]
        torch.save({**state, last: state[last] / 100}, folder / name)  # nearly the image itself, where it is added
    for name in TRAINED:
        (folder / "runs" / name).mkdir(parents=True)
        source = ROOT / "research" / f"{name.replace('srresnet', 'small').replace('x4', 'x2')}.safetensors"
        shutil.copy(source, folder / "runs" / name / "trained.safetensors")


def image(path: Path, width: int, height: int, seed: int = 0) -> None:
    """Write an image of smooth and of rough parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 5, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    rough = random.integers(-40, 40, smooth.shape) * (np.arange(width) > width // 2)[None, :, None]
    Image.fromarray((smooth + rough).clip(0, 255).astype(np.uint8)).save(path)
