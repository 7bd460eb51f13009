"""A narrow network for queries that is fed the features of their reference: does the reference help it?

    python evidence/narrow.py --weights carn_m_x234.pth --small x4-clean.safetensors --photos PHOTOS --data PHOTOS2K

References and isolated patches go through the published CARN-M x4, queries through a network of 32 channels, which
begins with the weights of an embedded model and is trained on queries of PHOTOS. Beside the image it sees, after its
first layer and through a 1x1 convolution that begins with 0, one of these:

    nothing         the narrow network alone
    reference       the feature of CARN-M's body of the reference, warped to the places that are most alike
    itself          the feature of CARN-M's body of the query: what no query has; the most that could be gained

All are trained for the same steps on the same patches. Without training they are equal. Prints PSNR (Y) on PHOTOS2K
made four times smaller, and processor time against CARN-M for whole images, measured as `skipping.py` does.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skipping import PATCH, SCALE, SHARED, Pixels, Skipping, brought, image, seconds, share
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from sharpbit import model as models
from sharpbit.arch.carry import Carry
from sharpbit.errors import SharpbitError
from sharpbit.image import read
from sharpbit.image.folder import in_folder, spread_over
from sharpbit.image.resize import shrink
from sharpbit.measure.benchmarks import find
from sharpbit.measure.evaluate import evaluate
from sharpbit.training.losses import with_luma
from sharpbit.twopass.clustering import clustered

SEEN = ("nothing", "reference", "itself")
QUERIES = 40  # of a photo, at the most
BATCH, CROP = 8, 32  # patches of a step, and small pixels of the side that is learned from
LUMA = 0.7  # share of the loss that is that of luma


class Narrow(nn.Module):
    """A Carry that adds features of another network to those of its first layer.

    Args:
        carry: its weights are copied.
        width: channels of the features; 0 adds none.
    """

    def __init__(self, carry: Carry, width: int) -> None:
        super().__init__()
        self.carry = copy.deepcopy(carry)
        self.mix = nn.Conv2d(width, len(carry.first.weight), 1, bias=False) if width else None
        if self.mix is not None:
            nn.init.zeros_(self.mix.weight)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """`(N, 3, h, w)` and `(N, C, h, w)` to `(N, 3, h * scale, w * scale)`."""
        net = self.carry
        features = net.first(x)
        if self.mix is not None and other is not None:
            features = features + self.mix(other)
        features = F.relu(features)
        for layer in net.inner:
            features = F.relu(layer(torch.cat([features, x], 1)))
        return F.pixel_shuffle(net.last(features) + net.interpolation(x), SCALE)


class Examples:
    """Queries of photos: small and large bytes, and the features that they may see.

    Args:
        whole: CARN-M.
        photos: folder of them.
        count: photos that are taken.
        threshold: cosine from which on patches are alike.
    """

    def __init__(self, whole: Skipping, photos: Path, count: int, threshold: float) -> None:
        self.small: list[Pixels] = []
        self.large: list[Pixels] = []
        self.features: dict[str, list[NDArray[np.float16]]] = {"reference": [], "itself": []}
        for path in tqdm(spread_over(in_folder(photos), count), desc="photos"):
            self._photo(whole, read(path).rgb8(), threshold)

    @torch.no_grad()
    def _photo(self, whole: Skipping, large: Pixels, threshold: float) -> None:
        height, width = (side // SCALE * SCALE for side in large.shape[:2])
        large = np.ascontiguousarray(large[:height, :width])
        small = shrink(large, SCALE)
        found = clustered(small, PATCH, SHARED, threshold)
        queries = found.clusters.queries.tolist()
        for number in queries[:: max(1, len(queries) // QUERIES)][:QUERIES]:
            patch, its = found.patches[number], found.patches[int(found.clusters.reference[number])]
            own, other = (one.cut(small)[:PATCH, :PATCH] for one in (patch, its))
            firsts = [whole.first(one[None]) for one in (own, other)]
            bodies = [whole.net.body(first) for first in firsts]  # type: ignore[operator]
            y, x = patch.rows.start * SCALE, patch.columns.start * SCALE
            self.small.append(own)
            self.large.append(large[y : y + PATCH * SCALE, x : x + PATCH * SCALE])
            for name, feature in (("reference", brought(*firsts, bodies[1])), ("itself", bodies[0])):
                self.features[name].append(feature[0].numpy().astype(np.float16))

    def batch(self, seen: str, rng: np.random.Generator) -> tuple[Tensor, Tensor | None, Tensor]:
        """Crops of some queries: small ones and large ones in `[0, 1]`, and what is seen beside them."""
        smalls, others, larges = [], [], []
        for k in rng.integers(len(self.small), size=BATCH):
            y, x = rng.integers(PATCH - CROP + 1, size=2)
            smalls.append(self.small[k][y : y + CROP, x : x + CROP])
            Y, X, side = y * SCALE, x * SCALE, CROP * SCALE
            larges.append(self.large[k][Y : Y + side, X : X + side])
            if seen != "nothing":
                others.append(self.features[seen][k][:, y : y + CROP, x : x + CROP])
        both = (torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).float() / 255 for parts in (smalls, larges))
        low, high = both
        return low, torch.from_numpy(np.stack(others)).float() if others else None, high


def trained(net: Narrow, examples: Examples, seen: str, steps: int, rate: float, seed: int) -> Narrow:
    """The same network after some steps of Adam, with averaged weights."""
    rng = np.random.default_rng(seed)
    mean = copy.deepcopy(net).requires_grad_(False)
    adam = torch.optim.Adam(net.parameters(), rate, betas=(0.9, 0.99))
    for step in tqdm(range(steps), desc=f"sees {seen}"):
        low, other, high = examples.batch(seen, rng)
        adam.param_groups[0]["lr"] = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        loss = with_luma(F.l1_loss, LUMA)(net(low, other), high)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        torch._foreach_lerp_(list(mean.parameters()), list(net.parameters()), 1 - min(0.99, (step + 1) / (step + 10)))
    return mean.eval()


class Fed(Skipping):
    """CARN-M whose queries go through a narrow network.

    Args:
        net: CARN-M.
        narrow: what queries go through.
        seen: one of `SEEN`.
    """

    def __init__(self, net: nn.Module, narrow: Narrow, seen: str) -> None:
        super().__init__(net, seen)
        self.narrow = narrow

    @torch.no_grad()
    def query(self, small: Pixels, features: Sequence[Tensor]) -> Pixels:
        """A patch with the features of its reference."""
        other = None
        if self.way == "reference":
            first, feature = features
            other = brought(self.first(small), first, feature)
        elif self.way == "itself":
            other = self.net.body(self.first(small))  # type: ignore[operator]
        x = torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255
        out: Tensor = (self.narrow(x, other).clamp(0, 1) * 255).round().to(torch.uint8)
        return out.permute(0, 2, 3, 1).contiguous().numpy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, type=Path, help="the published CARN-M, carn_m_x234.pth")
    parser.add_argument("--small", required=True, type=Path, help="weights of a carry at x4 to begin with")
    parser.add_argument("--photos", required=True, type=Path, help="folder of photos to train on")
    parser.add_argument("--data", required=True, type=Path, help="folder of large images to measure on")
    parser.add_argument("--count", type=int, default=16, help="photos that are taken")
    parser.add_argument("--threshold", type=float, default=0.5, help="cosine from which on patches are alike")
    parser.add_argument("--steps", type=int, default=2000, help="of training")
    parser.add_argument("--rate", type=float, default=3e-4, help="of learning, at first")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10], help="of the crops")
    given = parser.parse_args()
    torch.set_num_threads(1)
    net = models.load(given.weights, scale=SCALE).net.eval().requires_grad_(False)
    carry = models.load(given.small).net
    if not isinstance(carry, Carry):
        raise SystemExit(f"{given.small} is no carry; give weights of one, such as those of an embedded model")
    examples = Examples(Skipping(net), given.photos, given.count, given.threshold)
    if not examples.small:
        raise SystemExit(f"no patch of {PATCH} pixels of these photos is a query; give more of them, or larger ones")
    width = len(examples.features["itself"][0])
    data = find(given.data)[0]
    smalls = [data.pair(path, SCALE)[0] for path in data.large]
    roles = [clustered(small, PATCH, SHARED, given.threshold) for small in smalls]
    sizes = [small.shape[0] * small.shape[1] for small in smalls]

    def psnr(way: Skipping, threshold: float = given.threshold) -> float:
        return evaluate(lambda small: image(way, small, threshold), data, SCALE).psnr

    whole, trainable = psnr(Skipping(net), 2.0), len(examples.small)
    queries = float(np.mean([one.queries for one in roles]))
    print(f"{queries:.3f} of the pixels in queries, {trainable} queries to train on; CARN-M: {whole:.3f} dB\n")
    print("| see | seed | steps | PSNR | against CARN-M | a query, of a reference | the image, of the plain one |")
    print("|---|---|---|---|---|---|---|")
    sample = np.stack([roles[0].patches[k].cut(smalls[0])[:PATCH, :PATCH] for k in range(4)])
    rows = [(SEEN[0], 0, 0), *((seen, seed, given.steps) for seen in SEEN for seed in given.seeds)]
    for seen, seed, steps in rows:
        begun = Narrow(carry, 0 if seen == "nothing" else width)
        way = Fed(net, trained(begun, examples, seen, steps, given.rate, seed), seen)
        reference, query = seconds(way, sample)
        cost, total = f"{query / reference:.2f}", f"{share(roles, sizes, query / reference):.2f}"
        if seen == "itself":
            cost = total = ""  # it runs the body
        value = psnr(way)
        cells = (seen, str(seed) if steps else "", str(steps), f"{value:.3f}", f"{value - whole:+.3f}", cost, total)
        print(f"| {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SharpbitError as error:
        sys.exit(f"narrow: {error}")
