"""Six things people upscale, side by side: contact sheets at 100 % and 200 %, and a table.

    python evidence/real/situations.py --photos PHOTOS2K --fit TRAINING_PHOTOS --weights WEIGHTS --out OUT [MODEL...]

A photo as JPEG of quality 80 and of 60, a noisy photo from a phone, a screenshot, a drawing and a frame of a 480p video
are made here from photos that nothing was trained on and by drawing; the middle of each lies as a file in OUT, and
`sharpbit.upscale` makes what a user gets by default. More models can be named. The sheets are to be looked at; the
table says of each method PSNR (dB), SSIM and NIQE (`niqe.py`, fitted on `--fit`; less is better), and which model was
chosen.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import cases
import methods
import numpy as np
from niqe import fitted, niqe
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import sharpbit
from sharpbit.image import made_by
from sharpbit.measure.psnr import psnr
from sharpbit.measure.ssim import ssim

SIDE = 200  # of a detail in pixels of the result


def screenshot(scale: int) -> Image.Image:
    """A window with a menu, buttons, a list and a small photo's place."""
    width, height = 320 * scale, 240 * scale
    image = Image.new("RGB", (width, height), (246, 246, 248))
    pen = ImageDraw.Draw(image)
    small, bold = (
        ImageFont.truetype(str(cases.FONTS / name), 11 * scale) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
    )
    pen.rectangle((0, 0, width, 26 * scale), fill=(52, 58, 70))
    pen.text((10 * scale, 6 * scale), "Letters - Inbox (3)", fill="white", font=bold)
    for k, colour in enumerate([(237, 106, 94), (245, 191, 79), (98, 197, 84)]):
        x = width - (60 - 18 * k) * scale
        pen.ellipse((x, 8 * scale, x + 10 * scale, 18 * scale), fill=colour)
    pen.rectangle((0, 26 * scale, 110 * scale, height), fill=(232, 234, 240))
    for k, text in enumerate(["Inbox", "Drafts", "Sent", "Archive", "Spam"]):
        pen.text((14 * scale, (40 + 24 * k) * scale), text, fill=(40, 44, 52), font=bold if k == 0 else small)
    lines = ["Invoice 4711 for October", "Re: lunch on Friday?", "Your parcel is on its way", "Minutes of the meeting"]
    for k, text in enumerate(lines):
        top = (36 + 44 * k) * scale
        pen.line((110 * scale, top + 38 * scale, width, top + 38 * scale), fill=(214, 216, 222), width=scale)
        pen.text((122 * scale, top), text, fill=(20, 22, 26), font=bold if k < 3 else small)
        pen.text(
            (122 * scale, top + 17 * scale), "Please find attached ...  12:4" + str(k), fill=(110, 114, 122), font=small
        )
    box = (210 * scale, 206 * scale, 310 * scale, 232 * scale)
    pen.rounded_rectangle(box, 6 * scale, fill=(38, 112, 233))
    pen.text((240 * scale, 212 * scale), "Reply", fill="white", font=bold)
    return image


def made(photos: Path, scale: int) -> dict[str, tuple[bytes, str, Image.Image]]:
    """The name of each situation with its file, the ending of that, and the true image."""
    paths = sorted(photos.glob("*.jpg"))
    truth = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        factor = min(1, 480 * scale / image.height)  # as people see it: 480 pixels high before it is upscaled
        image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)
        width, height = 256 * scale, 192 * scale
        left, top = (image.width - width) // 2, (image.height - height) // 2
        truth.append(image.crop((left, top, left + width, top + height)))
    otters, ruin, city = (truth * 3)[:3]
    phone = cases._noise(cases._shrunk(city, scale), 9, 1).filter(ImageFilter.GaussianBlur(0.5))
    frame = cases._shrunk(ruin, scale).filter(ImageFilter.GaussianBlur(0.6))
    window, art = screenshot(scale), cases.drawing(1)  # 480 is a multiple of 2, 3 and 4
    return {
        "photo-jpeg80": (_saved(cases._shrunk(otters, scale), 80), ".jpg", otters),
        "photo-jpeg60": (_saved(cases._shrunk(ruin, scale), 60), ".jpg", ruin),
        "phone": (_saved(phone, 92), ".jpg", city),
        "screenshot": (_saved(cases._shrunk(window, scale), 0), ".png", window),
        "drawing": (_saved(cases._shrunk(art, scale), 85), ".jpg", art),
        "frame-480p": (_saved(frame, 50), ".jpg", ruin),
    }


def _saved(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG" if quality else "PNG", **({"quality": quality} if quality else {}))
    return buffer.getvalue()


def default(file: Path, scale: int) -> tuple[np.ndarray, str]:
    """What `sharpbit.upscale` makes of a file, and the model that it took."""
    out = sharpbit.upscale(file, file.with_suffix(".out.png"), scale=scale, overwrite=True, threads=1)
    pixels, model = np.asarray(Image.open(out).convert("RGB")), made_by(out) or ""
    out.unlink()
    return pixels, model.partition(" ")[0]


def sheet(path: Path, results: dict[str, np.ndarray], corner: tuple[int, int]) -> None:
    """A row of details at 100 %, and below each its middle at 200 %."""
    top, left = corner
    image = Image.new("RGB", (len(results) * (SIDE + 4), 2 * SIDE + 18), "white")
    for number, (name, pixels) in enumerate(results.items()):
        detail = Image.fromarray(np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE]))
        quarter = SIDE // 4
        closer = detail.crop((quarter, quarter, 3 * quarter, 3 * quarter)).resize(
            (SIDE, SIDE), Image.Resampling.NEAREST
        )
        x = number * (SIDE + 4)
        image.paste(detail, (x, 14))
        image.paste(closer, (x, SIDE + 18))
        ImageDraw.Draw(image).text((x + 2, 1), name[:34], fill="black")
    image.save(path, quality=93, method=6)


def detailed(image: np.ndarray) -> tuple[int, int]:
    """The corner of the detail in which neighbouring pixels differ most."""
    steps = np.abs(np.diff(image.astype(np.float32).mean(2)))
    corners = [(y, x) for y in range(0, image.shape[0] - SIDE + 1, 40) for x in range(0, image.shape[1] - SIDE + 1, 40)]
    return max(corners, key=lambda c: float(np.minimum(steps[c[0] : c[0] + SIDE, c[1] : c[1] + SIDE - 1], 60).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="embedded names or files to compare, beside the default")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--fit", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pristine, scale = fitted(args.fit), args.scale
    others = {k: v for k, v in methods.standard(scale, args.weights).items() if k in ("lanczos", methods.GENERAL)}
    others |= {Path(name).stem: methods.model(name, scale) for name in args.models}
    lines = [f"| x{scale} | default takes | method | PSNR | SSIM | NIQE |", "|---|---|---|---|---|---|"]
    for name, (data, ending, large) in made(args.photos, scale).items():
        file = args.out / f"{name}-x{scale}{ending}"
        file.write_bytes(data)
        small, truth = np.asarray(Image.open(file).convert("RGB")), np.asarray(large)
        pixels, model = default(file, scale)
        results = {"lanczos": others["lanczos"](small), "sharpbit": pixels}
        results |= {label: upscale(small) for label, upscale in others.items() if label not in results}
        sheet(args.out / f"{name}-x{scale}.webp", {**results, "truth": truth}, detailed(truth))
        for label, image in {**results, "truth": truth}.items():
            score = (
                ""
                if label == "truth"
                else f"{psnr(image, truth, border=scale):.2f} | {ssim(image, truth, border=scale):.4f}"
            )
            taken = model if label == "sharpbit" else ""
            lines.append(f"| {name} | {taken} | {label} | {score or ' | '} | {niqe(image, pristine):.2f} |")
            print(lines[-1], flush=True)
    (args.out / f"situations-x{scale}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
