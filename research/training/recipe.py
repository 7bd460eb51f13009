"""Write the recipe of an embedded model from the plan by which it was trained.

    python research/training/recipe.py PLAN.toml [EARLIER.toml...]

EARLIER are plans of the same network whose weights this one went on with; each is a step of the recipe. The recipe's
name is that of the plan's `[about]`; what it expects of Set5 is a tenth of a dB below the header of the embedded file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from train import Plan, read

from sharpbit import zoo

FAMILIES = {"clean": "what was only made smaller", "photo": "degraded photos", "art": "drawings, screenshots and text"}
SIZES = {
    "fast": "a plain chain of a fifth of the MACs of ETDS-M (Chao et al., CVPR 2023)",
    "balanced": "a plain chain of the size of ETDS-M (Chao et al., CVPR 2023)",
    "best": "a plain chain of four times the MACs of ETDS-M (Chao et al., CVPR 2023)",
}


def trained(plan: Plan) -> list[str]:
    """The lines of the step that trains as a plan says."""
    return [
        '\n[[step]]\nverb = "train"',
        f"steps = {plan.steps}",
        f"batch = {plan.batch}",
        f"patch = {plan.patch}",
        f'optimizer = "{plan.optimizer}"',
        f"rate = {plan.rate}",
        f"last_rate = {plan.rate * plan.end}",
        f"warmup = {plan.warmup}",
        "clip = 0.5",
        f"finish = {plan.finish}",
        *([f"luma = {plan.luma}"] if plan.luma else []),
        f"colours = {str(plan.colours).lower()}",
        f"ema = {plan.average}",
        f"seed = {plan.seed}",
    ]


def main() -> None:
    path = Path(sys.argv[1])
    plan, folder = read(path), Path(__file__).parents[2] / "recipes"
    name = plan.about["name"]
    scale, family, size = name.split("-")
    earlier = {Path(path).stem: read(Path(path)) for path in sys.argv[2:]}
    before = "".join(f"{stem}, {one.steps} steps, then " for stem, one in earlier.items())
    plans = [*earlier.values(), plan]
    begun = plans[0].after
    after = f"; begins with the weights of {begun.split('/')[0]}" if begun else ""
    floor = next(one.value for one in zoo.models()[name].metrics if (one.name, one.data) == ("psnr", "Set5")) - 0.1
    config = ", ".join(f"{key} = {value}" for key, value in plan.config.items())
    lines = [
        f"# Trained by research/training (plan {before}{path.stem}); see x2-photo-balanced.",
        f'title = "Carry {scale} on {FAMILIES[family]}: the embedded model {name}"',
        f'source = "{SIZES[size]} that keeps constant images constant{after}"',
        f'data = "{plan.about["data"]}"',
        f'licence = "{plan.about["licence"]}"',
        "\n[start]",
        f'arch = "{plan.arch}"',
        f"config = {{ {config} }}",
        f"seed = {plans[0].seed}",
        *([f'after = "{begun}"'] if begun else []),
        *(line for one in plans for line in trained(one)),
        '\n[[step]]\nverb = "reparameterize"',
    ]
    if size == "balanced":
        lines.append(f'\n[[step]]\nverb = "export"\nformat = "onnx"\nname = "{scale}-{family}-float"')
    lines += [
        '\n[[step]]\nverb = "quantize"\nmethod = "lossless"\nbits = 8',
        '\n[[step]]\nverb = "export"\nformat = "onnx"',
        f"\n[expect]\nSet5 = {int(floor * 10) / 10}",
    ]
    (folder / f"{name}.toml").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
