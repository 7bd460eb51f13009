"""Queries that skip work: what is lost if the body of CARN-M is not run for them, but made of their reference's.

    python evidence/skipping.py --weights carn_m_x234.pth --photos PHOTOS --data PHOTOS2K [--threshold 0.5]

References and isolated patches run whole. Queries run the first convolution and the pixel shuffles; the feature that
goes from the one to the other is made in one of these ways, without rounding anything:

    own reference       warped as below, but each query is its own reference: what finding places costs alone
    warped              the reference's feature, warped to the places that are alike after the first convolution
    warped, best        the same, to the places where the feature itself, which queries do not have, is most alike
    own                 a 3x3 convolution of what the first one made of the query, by least squares on PHOTOS
    own and warped      the same, and a 1x1 convolution of the warped feature

Prints PSNR (Y) on PHOTOS2K made four times smaller, and processor time of the image against the plain one: measured of
a patch in each role, one thread, least of five, and counted for the patches of the images, overlaps included.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit import model as models
from sharpbit.errors import SharpbitError
from sharpbit.image import read
from sharpbit.image.folder import in_folder, spread_over
from sharpbit.image.resize import shrink
from sharpbit.measure.benchmarks import find
from sharpbit.measure.evaluate import evaluate
from sharpbit.quant.refqsr.refer import CENTRED, compared, matched, upscaled, warped
from sharpbit.twopass.clustering import Clustered, clustered, upscale

SCALE, PATCH, SHARED = 4, 48, 6
RIDGE = 1e-3  # of the mean of squares, so that least squares stay defined
BATCH = 8  # queries of a photo
WAYS = ("own reference", "warped", "warped, best", "own", "own and warped")
Pixels = NDArray[np.uint8]
Example = tuple[Tensor, Tensor, Tensor]


class Linear(nn.Module):
    """A 3x3 convolution of the query's first feature, and a 1x1 convolution of the warped one if `both`."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.both = both
        self.weight = torch.zeros(0)

    def seen(self, own: Tensor, other: Tensor) -> Tensor:
        """`(N, places, numbers)`: what a place of the result depends on."""
        parts = [F.unfold(own, 3, padding=1), *([other.flatten(2)] if self.both else [])]
        return torch.cat([*parts, torch.ones_like(parts[0][:, :1])], 1).transpose(1, 2)

    def fit(self, patches: Sequence[Example]) -> None:
        """By least squares, to the feature itself."""
        square = product = torch.zeros(())
        for own, other, feature in patches:
            x, y = self.seen(own, other).flatten(0, 1), feature.flatten(2).transpose(1, 2).flatten(0, 1)
            square, product = square + x.T @ x, product + x.T @ y
        damped = square + RIDGE * square.diagonal().mean() / len(square) * torch.eye(len(square))
        self.weight = torch.linalg.solve(damped, product)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Two features `(N, C, h, w)` to the one that the pixel shuffles take."""
        return F.relu((self.seen(own, other) @ self.weight).transpose(1, 2).reshape(own.shape))


class Skipping:
    """CARN-M whose queries do not run its body.

    Args:
        net: the whole network.
        way: one of `WAYS`.
        made: what makes a feature of that of the query and the warped one; None takes the warped one.
    """

    def __init__(self, net: nn.Module, way: str = "", made: nn.Module | None = None) -> None:
        self.net, self.way, self.made = net, way, made

    def first(self, small: Pixels) -> Tensor:
        """The feature `(N, C, h, w)` after the first convolution of bytes `(N, h, w, 3)`."""
        x = torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255
        feature: Tensor = self.net.entry(x - self.net.mean)  # type: ignore[operator]
        return feature

    def last(self, feature: Tensor) -> Tensor:
        """The result `(N, 3, H, W)` of the feature that the pixel shuffles take."""
        y: Tensor = self.net.exit(self.net.upsamples[f"x{SCALE}"](feature)) + self.net.mean  # type: ignore
        return y

    @torch.no_grad()
    def reference(self, small: Pixels) -> tuple[Pixels, Sequence[Tensor]]:
        """A whole patch: its bytes, and the two features."""
        first = self.first(small)
        feature = self.net.body(first)  # type: ignore[operator]
        return _bytes(self.last(feature)), (first, feature)

    @torch.no_grad()
    def query(self, small: Pixels, features: Sequence[Tensor]) -> Pixels:
        """A patch with the features of its reference."""
        own = self.first(small)
        first, feature = (own, self.net.body(own)) if self.way == "own reference" else features  # type: ignore[operator]
        if self.made is not None and not self.made.both:
            return _bytes(self.last(self.made(own, torch.zeros_like(own))))
        best = self.way == "warped, best"
        alike = (self.net.body(own), feature) if best else (own, first)  # type: ignore[operator]
        other = brought(*alike, feature)
        return _bytes(self.last(self.made(own, other) if self.made else other))


def brought(own: Tensor, first: Tensor, feature: Tensor) -> Tensor:
    """The reference's feature at the places whose `first` is most like `own`, means taken off."""
    places = matched(*compared(own, first, CENTRED), first.shape, soft=False)
    return warped(feature, upscaled(places, own))


def _bytes(y: Tensor) -> Pixels:
    out: Pixels = (y.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return out


def image(way: Skipping, small: Pixels, threshold: float) -> Pixels:
    """An image in patches: those alike by the classifier skip work."""
    found = clustered(small, PATCH, SHARED, threshold)
    return upscale(small, found, SCALE, way.reference, way.query)  # type: ignore[arg-type]


@torch.no_grad()
def examples(net: nn.Module, photos: Path, count: int, threshold: float) -> list[Example]:
    """Of some queries of each photo: the feature after the first convolution, the warped one, and the true one."""
    whole, found = Skipping(net), []
    for path in spread_over(in_folder(photos), count):
        large = read(path).rgb8()
        height, width = (side // SCALE * SCALE for side in large.shape[:2])
        small = shrink(np.ascontiguousarray(large[:height, :width]), SCALE)
        patches = clustered(small, PATCH, SHARED, threshold)
        cuts = [patch.cut(small)[:PATCH, :PATCH] for patch in patches.patches]
        queries = patches.clusters.queries.tolist()[:: max(1, len(patches.clusters.queries) // BATCH)][:BATCH]
        if queries:
            own, other = (
                whole.first(np.stack([cuts[k] for k in numbers]))
                for numbers in (queries, patches.clusters.reference[queries])
            )
            feature, its = net.body(own), net.body(other)  # type: ignore[operator]
            found.append((own, brought(own, other, its), feature))
    return found


def seconds(way: Skipping, small: Pixels) -> tuple[float, float]:
    """Processor time of a reference and of a query, least of five."""
    best = [float("inf")] * 2
    features = way.reference(small)[1]
    for _ in range(5):
        for k, run in enumerate((lambda: way.reference(small), lambda: way.query(small, features))):
            began = time.process_time()
            run()
            best[k] = min(best[k], time.process_time() - began)
    return best[0], best[1]


def share(found: Sequence[Clustered], sizes: Sequence[int], cost: float) -> float:
    """Time of images in patches against whole ones, if a query costs `cost` of a reference."""
    taken = sum(
        one.patches[k].pixels * (cost if one.clusters.reference[k] >= 0 else 1)
        for one in found
        for k in range(len(one.patches))
    )
    return taken / sum(sizes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, type=Path, help="the published CARN-M, carn_m_x234.pth")
    parser.add_argument("--photos", required=True, type=Path, help="folder of photos to fit and train on")
    parser.add_argument("--data", required=True, type=Path, help="folder of large images to measure on")
    parser.add_argument("--count", type=int, default=16, help="photos that are taken")
    parser.add_argument("--threshold", type=float, default=0.5, help="cosine from which on patches are alike")
    given = parser.parse_args()
    torch.set_num_threads(1)
    net = models.load(given.weights, scale=SCALE).net.eval().requires_grad_(False)
    patches = examples(net, given.photos, given.count, given.threshold)
    if not patches:
        raise SystemExit(f"no patch of {PATCH} pixels of these photos is a query; give more of them, or larger ones")
    made: dict[str, nn.Module | None] = dict.fromkeys(WAYS)
    for way, both in (("own", False), ("own and warped", True)):
        made[way] = fitted = Linear(both)
        fitted.fit(patches)
    data = find(given.data)[0]
    smalls = [data.pair(path, SCALE)[0] for path in data.large]
    roles = [clustered(small, PATCH, SHARED, given.threshold) for small in smalls]
    sizes = [small.shape[0] * small.shape[1] for small in smalls]
    whole = evaluate(lambda small: image(Skipping(net), small, 2.0), data, SCALE).psnr
    print(f"{np.mean([one.queries for one in roles]):.3f} of the pixels in queries; whole patches: {whole:.3f} dB\n")
    print("| queries | PSNR | against whole patches | a query, of a reference | the image, of the plain one |")
    print("|---|---|---|---|---|")
    sample = np.stack([roles[0].patches[k].cut(smalls[0])[:PATCH, :PATCH] for k in range(4)])
    for way in WAYS:
        skipping = Skipping(net, way, made[way])
        psnr = evaluate(lambda small, skipping=skipping: image(skipping, small, given.threshold), data, SCALE).psnr
        reference, query = seconds(skipping, sample)
        cost, total = f"{query / reference:.2f}", f"{share(roles, sizes, query / reference):.2f}"
        if way in ("own reference", "warped, best"):
            cost = total = ""  # they run the body
        print(f"| {way} | {psnr:.3f} | {psnr - whole:+.3f} | {cost} | {total} |", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SharpbitError as error:
        sys.exit(f"skipping: {error}")
