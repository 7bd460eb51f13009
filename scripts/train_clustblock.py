"""Train the classifier of patches that RefQSR clusters with, and write the file that sharpbit embeds.

python scripts/train_clustblock.py TEXTURES -o src/sharpbit/twopass/textures.npz

TEXTURES holds one folder of images for each class, or is the Describable Textures Dataset (images/, labels/).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from sharpbit.data.textures import from_dtd, from_folders
from sharpbit.quant.refqsr import clustblock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("textures", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=800)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", default="54 classes of surfaces of ambientCG (previews, tiles of 128 pixels)")
    parser.add_argument("--licence", default="CC0-1.0")
    parser.add_argument("--overwrite", action="store_true")
    given = parser.parse_args()
    published = (given.textures / "labels").is_dir()
    train, test = from_dtd(given.textures) if published else from_folders(given.textures)
    split = "DTD split 1: train and val, test" if published else "by file: every fourth of a class is for the test"
    how = clustblock.Pretraining(epochs=given.epochs)
    with tqdm(desc="ClustBlock", unit="step", mininterval=5) as bar:

        def shown(step: int, steps: int, loss: float) -> None:
            bar.total = steps
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()

        net = clustblock.pretrain(train, how, device=given.device, log=shown)
    card = clustblock.card_of(
        how, train, test, clustblock.right(net, test), data=given.data, licence=given.licence, split=split
    )
    clustblock.write(net, train.classes, card, given.output, overwrite=given.overwrite)
    print(json.dumps(card, indent=1))


if __name__ == "__main__":
    main()
