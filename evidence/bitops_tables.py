"""Published BitOPs beside those that the published rule gives, with the operations counted from our networks.

python evidence/bitops_tables.py [--json]

`bitops_tables.csv` holds all rows without references of the tables of RefQSR (arXiv 2404.01690). A row of CADyQ or CABM
has the mean bits FQR of its activations; which bits a trained model takes is not computed here. Ends with 1 if a row
without a note is off by more than 0.01 G.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from sharpbit.cost.published import Bits, Counted, counted
from sharpbit.model import build
from sharpbit.twopass.patches import grid

NAMES = {"SRResNet": "srresnet", "CARN": "carn", "ELAN": "elan"}
SIZES = {"Urban100": (180, 320), "Test2K": (270, 512), "Test4K": (540, 1024)}  # height and width for which they count
SHARED = 6  # pixels that neighbouring patches have in common
WITHIN = 0.01  # G: values are printed with two digits, some of them cut off instead of rounded


@dataclass(frozen=True)
class Row:
    """A published number and ours, in 1e9 BitOPs."""

    table: int
    network: str
    method: str
    bits: str
    data: str
    patch: str
    published: float
    found: float
    note: str

    @property
    def residual(self) -> float:
        return self.found - self.published

    @property
    def holds(self) -> bool:
        return abs(self.residual) <= WITHIN


@cache
def network(name: str) -> Counted:
    return counted(NAMES[name], build(NAMES[name], scale=4).net)


def pixels(data: str, patch: str) -> int:
    """Small pixels that go through the network: those of all patches, or of the image."""
    height, width = SIZES[data]
    if patch == "full":
        return height * width
    side = int(patch)
    return sum(piece.pixels for piece in grid(height, width, side, side - SHARED))


def rows() -> list[Row]:
    found = []
    for line in csv.DictReader(Path(__file__).with_suffix(".csv").read_text().splitlines()):
        adaptive = line["bits"] == "delta"
        act = float(line["fqr"] if adaptive else line["bits"])
        bits = Bits(8.0 if adaptive else act, act)  # adaptive methods have weights of 8 bits
        bitops = network(line["network"]).bitops(
            bits, pixels(line["dataset"], line["patch"]), selectors=line["method"] == "CADyQ"
        )
        names = (line["network"], line["method"], line["bits"], line["dataset"], line["patch"])
        found.append(Row(int(line["table"]), *names, float(line["bitops_g"]), bitops / 1e9, line["note"]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = rows()
    if given.json:
        print(json.dumps([{**asdict(row), "residual": row.residual, "holds": row.holds} for row in found], indent=1))
    else:
        print("| table | network | method | bits | data | patch | published, G | here, G | residual |")
        print("|---|---|---|---|---|---|---|---|---|")
        for row in found:
            note = "" if row.holds else f" {row.note or 'OFF'}"
            cells = (row.table, row.network, row.method, row.bits, row.data, row.patch)
            print(
                f"| {' | '.join(map(str, cells))} | {row.published:.2f} | {row.found:.3f} | {row.residual:+.3f}{note} |"
            )
        print(f"\n{sum(row.holds for row in found)} of {len(found)} rows within {WITHIN} G.")
        macs = ", ".join(f"{name} {network(name).macs:,.0f}" for name in NAMES)
        print(f"Counted multiply-accumulate operations for a small pixel: {macs}.")
    return 0 if all(row.holds or row.note for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
