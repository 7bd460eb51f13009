"""The house rule: imports point down the table of docs/decisions/0023-second-layout.md only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "sharpbit"
BASE = {"errors", "system"}
RUNNING = BASE | {"graph", "image", "modelfile", "pipeline", "runtime", "twopass", "zoo"}
MAKING = BASE | {"arch", "data", "graph", "image", "model", "modelfile", "nn", "quant", "reparam"}
ALLOWED = {
    "_version": set(),
    "_moved": set(),
    "__main__": {"app"},
    "errors": set(),
    "system": {"errors"},
    "image": BASE | {"_version"},
    "modelfile": {"errors"},
    "graph": {"errors", "modelfile"},
    "zoo": {"errors", "modelfile", "system"},
    "twopass": BASE,
    "runtime": BASE | {"_version", "graph", "modelfile", "twopass"},
    "pipeline": RUNNING - {"modelfile", "twopass"},
    "video": BASE | {"_version", "image", "pipeline", "runtime", "zoo"},
    "measure": BASE | {"image", "pipeline", "runtime", "twopass"},
    "nn": {"errors"},
    "reparam": BASE | {"nn"},
    "data": BASE | {"image"},
    "quant": BASE | {"arch", "data", "graph", "modelfile", "nn", "reparam", "twopass"},
    "arch": BASE | {"graph", "modelfile", "nn", "reparam"},
    "model": MAKING - {"data", "image"},
    "cost": {"arch", "errors", "quant", "twopass"},
    "verbs": RUNNING | MAKING | {"_version", "cost", "deployment", "export", "measure", "video"},
    "deployment": BASE | {"export", "measure", "model", "modelfile"},
    "training": BASE | {"data", "measure", "model", "modelfile", "nn", "quant"},
    "export": BASE | {"arch", "model", "modelfile", "quant", "twopass"},
    "recipe": RUNNING | MAKING | {"export", "measure", "training", "verbs"},
    "report": {"_version", "verbs"},
    "collection": BASE | {"image", "pipeline", "runtime", "verbs", "zoo"},
    "ray": {"collection"},
    "serve": BASE | {"_version", "image", "pipeline", "runtime", "zoo"},
}
CORE = {
    "adaptive",
    "clipping",
    "context",
    "core",
    "digest",
    "distill",
    "freeze",
    "frozen",
    "grid",
    "kernels",
    "layers",
    "plan",
    "prefix_sums",
}
IN_QUANT = {
    **dict.fromkeys(CORE, CORE),
    "method": CORE,
    "ptq": CORE | {"method"},
    "qat": CORE | {"method"},
    "lossless": CORE,
    "sloped": CORE | {"lossless"},
    "graph": CORE | {"lossless", "sloped"},
    "refqsr": CORE | {"method", "qat"},
    "history": CORE | {"ptq", "refqsr"},
    "order": CORE | {"graph"},
    "recorded": CORE | {"order", "history", "method", "ptq", "refqsr"},
}
TORCH = {"torch", "onnx", "onnxscript", "safetensors"}
WITH_TORCH = {"arch", "cost", "data", "export", "model", "nn", "quant", "recipe", "reparam", "training"}
WITH_TORCH_TOO = {  # files that need torch in rooms that do not
    "runtime/torch.py",
    "system/devices.py",
    "system/parallel.py",
    "verbs/carry.py",
    "verbs/compare.py",
    "verbs/compress.py",
    "verbs/compression/ways.py",
    "verbs/inspect.py",
    "verbs/integer_methods.py",
    "verbs/matching.py",
    "verbs/post_training.py",
    "verbs/qat.py",
    "verbs/quantization_settings.py",
    "verbs/quantize.py",
    "verbs/quantize_graph.py",
    "verbs/receipt.py",
    "verbs/refine.py",
}
MAKING_RUNTIME = ROOT / "runtime" / "torch.py"  # the one runtime that may import the making world


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def piece_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            names |= (
                {f"{base}.{alias.name}" for alias in node.names} if base in ("sharpbit", "sharpbit.quant") else {base}
            )
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    piece = piece_of(path)
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("sharpbit.")}
    if piece != "app":
        extra = {"cost", "model", "nn", "quant"} if path == MAKING_RUNTIME else set()
        assert ours - {piece} <= ALLOWED[piece] | extra
    third = {name.split(".")[0] for name in imported(path)} & TORCH
    assert not third or piece in WITH_TORCH or path.relative_to(ROOT).as_posix() in WITH_TORCH_TOO


@pytest.mark.parametrize("path", sorted((ROOT / "quant").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_inside_quant(path):
    piece = path.relative_to(ROOT).parts[1].removesuffix(".py")
    ours = {name.split(".")[2] for name in imported(path) if name.startswith("sharpbit.quant.")}
    if piece != "__init__":
        assert ours - {piece} <= IN_QUANT[piece]


def test_at_most_ten_loose_modules():
    assert len(list(ROOT.glob("*.py"))) <= 10


def test_every_piece_is_in_the_table():
    assert {piece_of(path) for path in modules()} - {"app"} == set(ALLOWED)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_networks_name_networks(path):
    """What is special about one stands in its file. `plain`, `integer`, `graph` and `carry` are what others become."""
    if piece_of(path) == "arch":
        return
    names = {file.stem for file in (ROOT / "arch").glob("[a-z]*.py")} - {
        "bicubic",
        "carry",
        "graph",
        "integer",
        "plain",
    }
    constants = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    assert not names & constants
