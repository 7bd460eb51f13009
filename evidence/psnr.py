"""PSNR and SSIM of models, as `sharpbit evaluate` measures them, and the way in for the embedded ones.

python evidence/psnr.py [MODEL ...] --data FOLDER      FOLDER/NAME/HR/*.png are the benchmarks
python evidence/psnr.py MODEL.onnx --data FOLDER --embed   also writes the numbers into its header and the file into
                                                        the folder of embedded models
python evidence/psnr.py --data FOLDER --again           measures embedded models again and compares their headers
python evidence/psnr.py --restamp                       writes the headers of embedded models again, in the newest
                                                        format; their weights stay
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import sharpbit
from sharpbit import modelfile, zoo
from sharpbit.measure.evaluate import SetScore
from sharpbit.modelfile import Metric
from sharpbit.modelfile.header import FORMAT
from sharpbit.system.atomic import open_atomic

BICUBIC = "bicubic-matlab"


def measured(model: str, scale: int, folders: list[Path]) -> tuple[SetScore, ...]:
    """Scores of a model file (or `BICUBIC`) on benchmarks, in the order of `folders`; LR images are always made."""
    own = {"scale": scale} if model == BICUBIC else {}
    return sharpbit.evaluate(model, list(folders), make_small=True, **own).sets


def metrics_of(scores: tuple[SetScore, ...]) -> list[Metric]:
    """What a header says of scores: PSNR to three digits, SSIM to four."""
    pairs = [(one, name, value) for one in scores for name, value in (("psnr", one.psnr), ("ssim", one.ssim))]
    return [
        Metric(name, round(value, 3 if name == "psnr" else 4), one.name, one.protocol) for one, name, value in pairs
    ]


def row(label: str, scores: tuple[SetScore, ...]) -> str:
    """A row of the table."""
    return f"| {label} | {' | '.join(f'{one.psnr:.2f} / {one.ssim:.4f}' for one in scores)} |"


def embed(path: Path, metrics: list[Metric]) -> Path:
    """Write `metrics` into the header of an ONNX file and put the result among the embedded models."""
    import onnx

    header = modelfile.read(path, verify=True)
    if header is None:
        sys.exit(f"{path} has no sharpbit header")
    proto = onnx.load(os.fspath(path))
    entry = next(item for item in proto.metadata_props if item.key == modelfile.KEY)
    entry.value = replace(header, metrics=tuple(metrics), format=FORMAT).to_json()
    target = zoo.FOLDER / path.name
    with open_atomic(target, overwrite=True) as file:
        file.write(proto.SerializeToString())
    modelfile.read(target, verify=True)
    return target


def restamp(names: list[str]) -> None:
    """Write the headers of models again among the embedded ones, in the newest format, with their metrics."""
    for name in names:
        path = zoo.path_of(name)
        header = modelfile.read(path)
        print(embed(path, list(header.metrics if header else ())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(zoo.models()), help="embedded names or ONNX files")
    parser.add_argument("--data", type=Path, help="folder of the benchmarks")
    parser.add_argument("--sets", nargs="+", default=["Set5", "Set14", "BSD100"])
    parser.add_argument("--embed", action="store_true")
    parser.add_argument("--again", action="store_true", help="exit with 1 where a header says something else")
    parser.add_argument(
        "--restamp", action="store_true", help="write headers again in the newest format, measure nothing"
    )
    given = parser.parse_args()
    if given.restamp:
        restamp(given.models)
        return
    if given.data is None:
        parser.error("--data is missing")
    wrong, begun = 0, set()
    folders = [given.data / data for data in given.sets]
    for name in given.models:
        path = zoo.path_of(name)
        header = modelfile.read(path)
        scale = header.scale if header else 1
        scores = measured(os.fspath(path), scale, folders)
        if not begun:
            print(f"PSNR (dB) / SSIM; {scores[0].protocol}\n")
            print(f"| model | {' | '.join(given.sets)} |\n|---|{'---|' * len(given.sets)}")
        if scale not in begun:
            begun.add(scale)
            print(row(f"bicubic x{scale}", measured(BICUBIC, scale, folders)))
        print(row(Path(name).stem, scores), flush=True)
        metrics = metrics_of(scores)
        if given.embed:
            print(f"written to {embed(path, metrics)}", file=sys.stderr)
        if given.again and header:
            differing = [one for one in header.metrics if one.data in given.sets and one not in metrics]
            wrong += len(differing)
            for one in differing:
                print(f"the header of {name} says {one.name} {one.value} on {one.data}", file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
