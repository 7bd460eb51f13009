"""The house rule: imports point down the table of docs/decisions/0001-layout.md only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "sharpbit"
PICTURES = {"errors", "atomic", "image"}
RUNNING = PICTURES | {
    "catalog",
    "check",
    "clusters",
    "integer",
    "modelfile",
    "passes",
    "patches",
    "runtime",
    "samples",
    "size",
    "tiles",
    "upscaler",
    "zoo",
}
MAKING = {"catalog", "errors", "nn", "reparam"}
ALLOWED = {
    "_version": set(),
    "__main__": {"app"},
    "errors": set(),
    "extras": {"errors"},
    "catalog": {"errors"},
    "atomic": {"errors"},
    "size": {"errors"},
    "check": {"errors"},
    "progress": set(),
    "samples": set(),
    "tiles": {"errors"},
    "patches": {"errors"},
    "clusters": {"errors", "patches"},
    "passes": {"clusters", "errors", "patches"},
    "clustblock": {"atomic", "clusters", "data"},
    "modelfile": {"errors"},
    "integer": {"errors", "modelfile"},
    "image": PICTURES,
    "zoo": {"errors", "modelfile"},
    "runtime": {"_version", "catalog", "clusters", "errors", "integer", "modelfile", "passes"},
    "upscaler": RUNNING,
    "upscaling": RUNNING,
    "measure": {"errors", "image", "patches", "tiles", "runtime"},
    "evaluation": RUNNING | {"measure"},
    "pairing": PICTURES | {"clusters", "measure", "patches", "runtime"},
    "benching": RUNNING | {"extras", "measure"},
    "parallel": {"errors"},
    "nn": {"errors"},
    "reparam": {"errors", "nn"},
    "receipt": {"measure"},
    "quantization": MAKING
    | PICTURES
    | {"arch", "cost", "data", "integer", "measure", "model", "progress", "quant", "receipt", "reparam"},
    "quant": MAKING | {"integer", "parallel", "progress"},
    "arch": MAKING | {"integer"},
    "data": PICTURES,
    "model": MAKING | {"arch", "atomic", "integer", "modelfile", "quant"},
    "cost": {"errors", "quant"},
    "inspection": {"cost", "errors", "integer", "model", "modelfile", "nn", "patches", "quant", "zoo"},
    "reproduction": {"errors", "evaluation", "inspection", "measure", "recipe", "zoo"},
    "training": {"atomic", "data", "errors", "measure", "model", "parallel", "quant"},
    "qat": {"errors", "model", "quant"},
    "export": {
        "arch",
        "atomic",
        "catalog",
        "clusters",
        "errors",
        "integer",
        "model",
        "modelfile",
        "passes",
        "quant",
    },
    "recipe": MAKING
    | {
        "arch",
        "atomic",
        "clustblock",
        "clusters",
        "data",
        "export",
        "model",
        "modelfile",
        "parallel",
        "progress",
        "qat",
        "quant",
        "quantization",
        "training",
    },
}
TORCH = {"torch", "onnx", "onnxscript", "safetensors"}
WITH_TORCH = {
    "nn",
    "parallel",
    "reparam",
    "quant",
    "quantization",
    "arch",
    "clustblock",
    "cost",
    "data",
    "model",
    "qat",
    "receipt",
    "training",
    "export",
    "recipe",
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
            names |= {f"{base}.{alias.name}" for alias in node.names} if base == "sharpbit" else {base}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    piece = piece_of(path)
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("sharpbit.")}
    if piece != "app":
        extra = {"cost", "model", "nn", "quant"} if path == MAKING_RUNTIME else set()
        assert ours - {piece} <= ALLOWED[piece] | extra
    third = {name.split(".")[0] for name in imported(path)} & TORCH
    assert not third or piece in WITH_TORCH or path == MAKING_RUNTIME


def test_every_piece_is_in_the_table():
    assert {piece_of(path) for path in modules()} - {"app"} == set(ALLOWED)
