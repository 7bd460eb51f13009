"""The typed history: old files keep theirs to the last character, new entries survive a file, old names are read."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

import sharpbit
from sharpbit import modelfile, zoo
from sharpbit.errors import ModelError
from sharpbit.modelfile import history
from sharpbit.modelfile.history import VERBS, Carry, Mix, Pair, Receipt, Reparameterize, Start, Train, read
from sharpbit.quant import history as quant_history
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.ptq.last_layer import LastLayerSettings
from sharpbit.quant.ptq.pixel_aware import PixelAware
from sharpbit.quant.refqsr import TwoPass

ROOT = Path(__file__).parents[1]
EMBEDDED = sorted(zoo.FOLDER.glob("*.onnx"))
RESEARCH = sorted((ROOT / "research").glob("*.safetensors"))
TWO_PASS = TwoPass("pams", tuple(Plan.uniform(8).tables()), 4, 6, ("blocks.1",), ("blocks.2",))
ENTRIES = [
    Start("small", 10, 14),
    Train(3, {"batch": 4, "betas": (0.9, 0.999), "loss": "l1"}),
    Reparameterize("ecbsr", "et"),
    Mix("net-wdn-x4.pth", 0.5),
    Carry("integer"),
    Pair({"patch": 48, "detail": 3.5}),
    Receipt("compress", steps=({"step": "float", "psnr": {"Set5": 30.5}, "size": [180, 320]},), chosen="float"),
    quant_history.Quantize("minmax", tuple(Plan.uniform((4, 6), 8).tables())),
    quant_history.QuantizeLossless("etds", crops=30),
    quant_history.QuantizeSloped("compact", crops=80),
    quant_history.QuantizeGraph("edsr", crops=72),
    quant_history.Calibrate(3),
    quant_history.Equalize(("a", "b")),
    quant_history.CompensateRounding(7),
    quant_history.Refine((0.5, 0.25), Refinement(3, weights=1e-4)),
    quant_history.RefinePixelAware((0.5, 0.25), PixelAware(4, features=("blocks.*",))),
    quant_history.ReconstructLastLayer(("tail",), (1.0, 0.5), LastLayerSettings(9)),
    quant_history.TabulateBits(100, 6.0, True),
    quant_history.InsertTwoPasses(TWO_PASS),
    quant_history.Freeze(),
]


def told(table):
    return json.dumps(table, sort_keys=True)


def fresh(entry):
    """The same entry without what the file said: its fields alone."""
    return type(entry)(**{item.name: getattr(entry, item.name) for item in fields(entry)})


@pytest.mark.parametrize("path", [*EMBEDDED, *RESEARCH], ids=lambda path: path.stem)
def test_histories_of_old_files_are_what_they_were(path):
    tables = modelfile.read(path).history
    entries = history.read_all(tables)
    assert entries
    assert [told(entry.table()) for entry in entries] == [told(table) for table in tables]
    for entry, table in zip(entries, tables, strict=True):  # defaults may stand beside what the fields hold
        assert told({key: fresh(entry).table()[key] for key in table}) == told(table)


@pytest.mark.parametrize("path", RESEARCH, ids=lambda path: path.stem)
def test_old_weights_are_saved_as_they_were(path, tmp_path):
    model = sharpbit.load(path)
    header = sharpbit.save(model, tmp_path / "again.safetensors")
    assert header == modelfile.read(tmp_path / "again.safetensors")
    assert told(header.history) == told(modelfile.read(path).history)
    again = sharpbit.load(tmp_path / "again.safetensors").net.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.net.state_dict().items())


def test_every_verb_is_tried_below():
    assert {type(entry) for entry in ENTRIES} == set(VERBS.values())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_survives_a_file(entry):
    table = json.loads(json.dumps(entry.table()))
    again = read(table)
    assert again == entry
    assert told(again.table()) == told(fresh(again).table()) == told(table)


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ({"verb": "balance", "layers": ["a"]}, quant_history.Equalize),
        ({"verb": "finish", "layers": [], "steps": 5}, quant_history.ReconstructLastLayer),
    ],
)
def test_verbs_of_older_files_are_read_and_kept(table, kind):
    entry = read(table)
    assert isinstance(entry, kind)
    assert entry.table() == table


def test_keys_of_other_versions_are_kept():
    table = {"verb": "calibrate", "batches": 3, "from another version": [1, 2]}
    assert read(table).table() == table
    assert read({"verb": "refine", "steps": 3}).how == Refinement(3)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"verb": "prune"}, r"a\.pth: its history has the verb 'prune', which this sharpbit does not know; update"),
        ({"verb": "quantize"}, r"a\.pth: the entry 'quantize' of its history lacks 'method', 'plan'"),
        ({"verb": "refqsr"}, r"a\.pth: the entry 'refqsr' of its history cannot be read"),
        ({"steps": 3}, "not an object with a verb"),
        ("train", "not an object with a verb"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(table, message):
    with pytest.raises(ModelError, match=message) as caught:
        read(table, "a.pth")
    assert "\n" not in str(caught.value)


def test_a_model_takes_entries_as_files_have_them():
    model = replace(sharpbit.build("plain", scale=2, blocks=1, width=4), history=({"verb": "train", "steps": 5},))
    assert model.history == (Train(5),)


def test_entries_can_still_be_read_as_objects():
    entry = Train(5, {"loss": "l1"})
    with pytest.warns(DeprecationWarning, match="use the fields of Train"):
        assert entry["loss"] == "l1"
    assert "loss" in entry
    assert entry.get("plan") is None


def test_a_verb_of_ones_own(monkeypatch):
    from dataclasses import dataclass

    monkeypatch.setattr(history, "VERBS", dict(VERBS))

    @dataclass(frozen=True)
    class Prune(history.Verb, verb="prune"):
        """Weights were removed."""

        share: float = 0.0

    assert read({"verb": "prune", "share": 0.5}) == Prune(0.5)
