"""Write tests/nasty_manifest.json: what reading each file of the collection of difficult images must give.

    python scripts/make_nasty_manifest.py [FOLDER]      (default: ../shared/data/nasty)

The facts come from ImageMagick 6 (`identify`, `convert`) and ExifTool, never from sharpbit, so that a test against them
compares two programs. Where ImageMagick is wrong, or a broken file is read by one program and refused by another,
`DECIDED` below says what is expected and why; those reasons are in the manifest too.

Keys of the manifest: one per file (its path in the folder), each with

    outcome      "ok", or "error": one sentence and no image
    reason       why, where a person decided (optional)
    height, width   after the orientation was applied
    orientation  the tag in the file, 1 to 8 (1 if there is none)
    bits         8 or 16: the samples that reading must give
    channels     1 (grey) or 3 (RGB)
    alpha        whether there is any
    icc          size of the embedded colour profile in bytes, 0 if none, -1 if it must be a new one (sRGB)
    exif         whether there is an EXIF block (in TIFF: a directory of it, or a word such as Make or Software)
    frames       how many images the file holds, if more than one
    colours      means of 4 x 4 equal parts of the image, row by row, each [R, G, B, A] from 0 to 1; the colours are
                 weighted by alpha, and null where a part is wholly transparent; null if there is no witness
    tolerance    by how much a mean may differ (lossy formats are decoded with other inverse transforms elsewhere)
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PARTS = 4
WORDS = (  # in the first directory of a TIFF file these are about the image, the others about its samples
    *("ImageDescription", "Make", "Model", "Software", "ModifyDate", "Artist", "HostComputer", "Copyright", "Rating"),
    "RatingPercent",
)
SRGB = -1  # instead of a size: a profile of our own
LOSSY = {"JPEG", "WEBP", "JP2", "J2K", "JPC", "AVIF", "HEIC", "DDS"}

# file -> (what is expected, why). Expected is "error", or facts that replace those of ImageMagick, or those of another
# file, which "like" names.
DECIDED: dict[str, tuple[Any, str]] = {
    "libjxl/external_pngsuite_ct1n0g04.png": ({"channels": 1}, "its header says greyscale"),
    "libjxl/external_pngsuite_ctzn0g04.png": ({"channels": 1}, "its header says greyscale"),
    "pillow/00r0_gray_l.jp2": ("error", "its code stream is damaged: every reader sees another size, and no image"),
    "pillow/00r1_graya_la.jp2": ("error", "its code stream is damaged: every reader sees another size, and no image"),
    "pillow/16_bit_binary_pgm.tiff": ("error", "signed 32-bit samples are not supported, and say so"),
    "pillow/16bit.s.tif": ("error", "signed 16-bit samples are not supported, and say so"),
    "pillow/10ct_32bit_128.tiff": ("error", "floating-point samples are not supported, and say so"),
    "pillow/1_trns.png": (
        {"alpha": True, "colours": None},
        "the transparent sample is 255, of which PNG counts the lowest bit: white; ImageMagick ignores it",
    ),
    "pillow/DXGI_FORMAT_BC7_UNORM_SRGB.dds": (
        {"like": "pillow/DXGI_FORMAT_BC7_UNORM_SRGB.png"},
        "not read by ImageMagick",
    ),
    "pillow/DXGI_FORMAT_R8G8B8A8_UNORM_SRGB.dds": (
        {"like": "pillow/DXGI_FORMAT_R8G8B8A8_UNORM_SRGB.png"},
        "not read by ImageMagick",
    ),
    "pillow/bc4u.dds": ({"like": "pillow/bc4_unorm.png"}, "not read by ImageMagick"),
    "pillow/bc5_snorm.dds": ({"like": "pillow/bc5s.png"}, "not read by ImageMagick"),
    "pillow/bc5_unorm.dds": ({"like": "pillow/bc5_unorm.png"}, "not read by ImageMagick"),
    "pillow/bc5s.dds": ({"like": "pillow/bc5s.png"}, "not read by ImageMagick"),
    "pillow/bc5u.dds": ({"like": "pillow/bc5_unorm.png"}, "not read by ImageMagick"),
    "pillow/bc6h.dds": ({"like": "pillow/bc6h.png"}, "not read by ImageMagick"),
    "pillow/bc6h_sf.dds": ({"like": "pillow/bc6h_sf.png"}, "not read by ImageMagick"),
    "pillow/bc7-argb-8bpp_MipMaps-1.dds": ({"like": "pillow/bc7-argb-8bpp_MipMaps-1.png"}, "not read by ImageMagick"),
    "pillow/uncompressed_la.dds": (
        {"like": "pillow/uncompressed_l.dds", "alpha": True, "colours": None},
        "not read by ImageMagick; grey with alpha",
    ),
    "pillow/dxt1-rgb-4bbp-noalpha_MipMaps-1.dds": ({"alpha": True}, "DXT1 has one bit of alpha, here all opaque"),
    "pillow/hopper.psd": ({"exif": False}, "EXIF in the resources of a PSD file is not kept"),
    "pillow/negative_top_left_layer.psd": ({"exif": False}, "EXIF in the resources of a PSD file is not kept"),
    "pillow/hopper_long_name.im": ({"like": "pillow/hopper.png"}, "not read by ImageMagick; the same photograph"),
    "pillow/hopper_rle8_grayscale.bmp": ({"channels": 1}, "its palette is the ramp of greys"),
    "pillow/no_palette_with_transparency.gif": ({"channels": 1}, "it has no palette, so its samples are greys"),
    "pillow/icc-after-SOF.jpg": ({"icc": 0}, "the profile is 7 bytes of something else"),
    "pillow/icc_profile_none.png": ({"icc": 0}, "the profile does not inflate to its end"),
    "pillow/unknown_compression_method.png": ({"icc": 0}, "the profile has an unknown compression method"),
    "pillow/invalid_header_length.jp2": ("error", "a box of its header has an impossible length; refused as damaged"),
    "pillow/iss634.webp": ({"alpha": True}, "its header announces alpha, here all opaque"),
    "pillow/lab.tif": ({"icc": SRGB}, "converted from LAB to sRGB, whose profile is kept in its place"),
    "pillow/pil184.pcx": (
        {"channels": 1, "colours": None},
        "black ink on white by the palette in its header, which ImageMagick inverts",
    ),
    "pillow/rgb32rle_top_right.tga": (
        {"colours": None},
        "its header says 32 bits and no bits of alpha: what stands there is not alpha (as ImageMagick takes it)",
    ),
    "pillow/tiff_tiled_cmyk_jpeg.tif": (
        {"like": "pillow/pil_sample_cmyk.jpg"},
        "tiles are not read by ImageMagick; the same image as JPEG",
    ),
    "pillow/truncated_jpeg.jpg": ("error", "the last rows are missing, which ImageMagick fills in with a warning"),
}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data" / "nasty"
    tags = _tags(folder)
    manifest = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        facts = _facts(path, tags.get(name, {}))
        if name in DECIDED:
            decision, reason = DECIDED[name]
            if decision == "error":
                facts = {"outcome": "error"}
            else:
                other = decision.pop("like", None)
                facts = (_facts(folder / other, {}) | {"tolerance": 0.03} if other else facts) | decision
            facts["reason"] = reason
        manifest[name] = facts
    unknown = set(DECIDED) - set(manifest)
    assert not unknown, f"decided about files that are not there: {unknown}"
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(facts)}" for name, facts in manifest.items())
    (ROOT / "tests" / "nasty_manifest.json").write_text("{\n" + lines + "\n}\n")
    print(f"{len(manifest)} files, {sum(facts['outcome'] == 'error' for facts in manifest.values())} errors")


def _facts(path: Path, tags: dict[str, Any]) -> dict[str, Any]:
    asked = _run("identify", "-format", "%m|%w|%h|%z|%[colorspace]|%A|%W|%H\n", _first(path))
    lines = asked.stdout.decode("latin-1").splitlines()
    if not lines:
        return {"outcome": "error", "reason": _complaint(asked)}
    kind, width, height, depth, space, matte, canvas, tall = lines[0].split("|")
    width, height = (canvas, tall) if kind == "GIF" else (width, height)
    # -set colorspace: pixels as they are stored, whatever a gamma chunk says; the alpha is never applied
    form = ["-colorspace", "sRGB"] if space in ("CMYK", "CIELab") else ["-set", "colorspace", "sRGB"]
    form += ["-coalesce"] if kind == "GIF" else []  # the whole canvas, not only the part that the frame covers
    pixels = _run("convert", _first(path), "-auto-orient", *form, "-depth", "16", "-endian", "LSB", "rgba:-")
    orientation = int(tags.get("Orientation", 1) or 1)
    height, width = int(height), int(width)
    height, width = (width, height) if orientation >= 5 else (height, width)
    if pixels.returncode or len(pixels.stdout) != height * width * 8:
        return {"outcome": "error", "reason": _complaint(pixels)}
    frames = _run("identify", "-format", "%p\n", str(path)).stdout.count(b"\n")
    frames = max(frames, tags.get("frames", 1))  # ImageMagick knows no animated PNG and no second image of a JPEG
    return {
        "outcome": "ok",
        "height": height,
        "width": width,
        "orientation": orientation,
        "bits": 16 if int(depth) > 8 else 8,
        "channels": 1 if space == "Gray" else 3,
        "alpha": matte not in ("False", "Undefined"),
        "icc": int(tags.get("icc", 0)),
        "exif": bool(tags.get("exif", False)),
        **({"frames": frames} if frames > 1 and path.suffix not in (".ico", ".psd", ".dds") else {}),
        "colours": _colours(np.frombuffer(pixels.stdout, "<u2").reshape(height, width, 4)),
        "tolerance": 0.03 if kind in LOSSY else 0.004,
    }


def _colours(samples: np.ndarray) -> list[list[float | None]]:
    """The means of the parts; the first of n parts of a side of length s ends before s / n, and so on."""
    means: list[list[float | None]] = []
    for rows in np.array_split(samples, PARTS, axis=0):
        for part in np.array_split(rows, PARTS, axis=1):
            if part.size == 0:
                means.append([None] * 4)
                continue
            flat = part.reshape(-1, 4).astype(np.float64) / 65535
            weight = flat[:, 3].sum()
            colour = (flat[:, :3] * flat[:, 3:]).sum(axis=0) / weight if weight > 0 else None
            means.append(
                [*([None] * 3 if colour is None else [round(v, 4) for v in colour]), round(flat[:, 3].mean(), 4)]
            )
    return means


def _tags(folder: Path) -> dict[str, dict[str, Any]]:
    """What ExifTool finds: orientation, size of the colour profile, presence of EXIF."""
    asked = _run(
        "exiftool",
        "-r",
        "-j",
        "-n",
        "-G1",
        "-IFD0:all",
        "-ExifIFD:all",
        "-GPS:all",
        "-ICC_Profile",
        "-NumberOfImages",
        "-AnimationFrames",
        str(folder),
    )
    found = {}
    for entry in json.loads(asked.stdout):
        path = Path(entry["SourceFile"])
        tiff = path.suffix.lower() in (".tif", ".tiff")
        profile = _run("exiftool", "-b", "-ICC_Profile", str(path)).stdout
        groups = {key.split(":")[0] for key in entry}
        words = any(f"IFD0:{word}" in entry for word in WORDS)
        found[path.relative_to(folder).as_posix()] = {
            "Orientation": entry.get("IFD0:Orientation"),
            "icc": len(profile),
            "frames": entry.get("MPF0:NumberOfImages") or entry.get("PNG:AnimationFrames") or 1,
            "exif": words or bool(groups & ({"ExifIFD", "GPS"} if tiff else {"IFD0", "ExifIFD", "GPS"})),
        }
    return found


def _first(path: Path) -> str:
    return f"{path}[0]"


def _complaint(run: subprocess.CompletedProcess[bytes]) -> str:
    lines = run.stderr.decode("utf-8", "replace").splitlines()
    words = lines[0].split(": ", 1)[1].split(" `")[0].split("/")[0][:100].strip(" .:") if lines else ""
    return "ImageMagick: " + (words or "no image")


def _run(*command: str) -> subprocess.CompletedProcess[bytes]:
    program = "/usr/bin/" + command[0]
    return subprocess.run([program, *command[1:]], capture_output=True, timeout=120, check=False)


if __name__ == "__main__":
    main()
