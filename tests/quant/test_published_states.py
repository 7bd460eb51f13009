"""State dicts of quantized networks as their authors save them open by `load`, `inspect` and `evaluate`."""

import json
import subprocess
import sys
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open

import sharpbit
from sharpbit.app.cli import app
from sharpbit.errors import ModelError, UsageError
from sharpbit.quant.qat.published_names import bits_in_name, published
from sharpbit.quant.qat.published_plans import AssumedBits

# golden file: bits, the name that its authors' programs would give the file, what the weights do not tell, and where
# its images are
CASES = {
    "edsr_pams_original": ("edsr_x4/{}bit/model/model_best.pth.tar", (8, 4), {}, "b{}/eval_sr"),
    "edsr_pams_cadyq": ("edsr_x4_pams_w{0}a{0}.pt", (8, 4), {}, "b{}/eval_sr"),
    "srresnet_pams": ("{}bit_srresnet_x4.pt", (8, 4), {}, "b{}/eval_sr_before_calibration"),
    "carn_pams": ("carn_x4_pams_{}bit.pt", (8, 4), {}, "b{}/eval_sr"),
    "idn_pams": ("idn_x4_pams_{}_bits.pt", (8, 4), {"scale": 4}, "b{}/eval_sr"),
    "ddtb_edsr": ("edsrx4/{}bit/model_best.pth.tar", (4,), {}, "eval/sr"),
    "ddtb_srresnet": ("bnsrresnetx2/{}bit/model_best.pth.tar", (2,), {}, "eval/sr"),
    "edsr_cadyq": ("edsrbaseline_cadyq_x4/model_best.pth.tar", (8,), {}, "eval/sr"),
    "srresnet_cadyq": ("srresnet_cadyq_x4/model_best.pth.tar", (8,), {}, "eval/sr"),
    "carn_cadyq": ("carn_cadyq_x4/model_best.pth.tar", (8,), {}, "eval/sr"),
    "idn_cadyq": ("idn_cadyq_x4/model_best.pth.tar", (8,), {"scale": 4}, "eval/sr"),
}


def golden(path):
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def state_of(tensors):
    floats = {key[6:]: value for key, value in tensors.items() if key.startswith("state/")}
    return OrderedDict((key, value.float() if value.dtype == torch.float16 else value) for key, value in floats.items())


def save(state, path):
    """As the authors' programs do: the state dict beside the optimizer's and the scheduler's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weight = torch.nn.Parameter(torch.zeros(3))
    adam = torch.optim.Adam([{"params": [weight]}], 1e-4, (0.9, 0.999))
    weight.sum().backward()
    adam.step()
    steps = torch.optim.lr_scheduler.StepLR(adam, 10, 0.5)
    table = {"epoch": 30, "state_dict": state, "optimizer": adam.state_dict(), "scheduler": steps.state_dict()}
    torch.save(table, path)
    return path


@pytest.mark.parametrize(("name", "bits"), [(name, bits) for name, case in CASES.items() for bits in case[1]])
def test_as_their_authors_save_them(golden_path, tmp_path, name, bits):
    file, _, config, output = CASES[name]
    path = golden_path(name)
    tensors = golden(path)
    with safe_open(path, "pt") as opened:
        about = opened.metadata()
    expected, state = tensors[f"output/{output.format(bits)}"], state_of(tensors)
    shrink = json.loads(about["args"]).get("alpha_shrink", 1.0)
    for key in state:  # a trained network has clipping ranges that saw images
        if output.endswith("eval_sr") and (seen := tensors.get(f"output/b{bits}/calibrated/{key}")) is not None:
            state[key] = seen * shrink
    model = sharpbit.load(save(state, tmp_path / file.format(bits)), **config)
    assert [entry.verb for entry in model.history] == ["quantize"]
    net, white = model.net.double(), 1.0 if model.arch.name == "carn" else 255.0
    shift = state.get("add_mean.bias", state.get("add_mean.shifter.bias"))
    if hasattr(net, "mean"):  # divided in float32 it would be off by up to 3e-8
        net.mean.copy_(shift.double().view(1, 3, 1, 1) / white)
    with torch.no_grad():
        found = net(tensors["input/x"].double() / 255) * white
    assert float((found - expected).abs().max()) <= 1e-6 * float(expected.abs().max())


@pytest.mark.parametrize("wrapped", ["bare", "module", "model"])
def test_other_ways_to_save_them(golden_path, tmp_path, wrapped):
    state = state_of(golden(golden_path("edsr_pams_original")))
    if wrapped == "module":
        state = {f"module.{key}": value for key, value in state.items()}
    torch.save({"model": state} if wrapped == "model" else state, tmp_path / "4bit_edsr_x4.pt")
    model = sharpbit.load(tmp_path / "4bit_edsr_x4.pt")
    assert (model.arch.name, model.scale) == ("edsr", 4)
    assert {part.bits for part in model.net.modules() if hasattr(part, "bits")} == {4}


def test_bits_that_no_name_tells_are_assumed_with_a_warning(golden_path, tmp_path):
    path = tmp_path / "best.pth"
    torch.save(state_of(golden(golden_path("edsr_pams_original"))), path)
    with pytest.warns(AssumedBits, match=r"best\.pth holds edsr with the quantizers of PAMS.*8 are taken.*give bits=4"):
        model = sharpbit.load(path)
    assert {part.bits for part in model.net.modules() if hasattr(part, "bits")} == {8}
    model = sharpbit.load(path, bits=3, weight_bits=5)
    assert {part.bits for part in model.net.modules() if hasattr(part, "bits")} == {3, 5}
    sharpbit.save(model, tmp_path / "ours.safetensors")
    again = sharpbit.load(tmp_path / "ours.safetensors")
    x = torch.rand(1, 3, 12, 10)
    assert torch.equal(again.net(x), model.net(x))


@pytest.mark.parametrize(
    ("path", "bits"),
    [
        ("output/edsr_x4/8bit/model/model_best.pth.tar", (8, 8)),
        ("pretrained/4bit_rdn_x4.pt", (4, 4)),
        ("edsr_x4_pams_w8a4.pt", (4, 8)),
        ("8bit/edsr_3bits.pt", (3, 3)),
        ("habits/model_best.pth.tar", None),
        ("x4/orbit.pth", None),
        ("64bitmap/a.pth", None),
    ],
)
def test_bits_in_names(path, bits):
    assert bits_in_name(path) == bits


def test_float_weights_are_not_taken_for_quantized_ones(golden_path):
    for name in ("edsr_fp_x4", "srresnet_fp_cadyq", "carn_m_fp"):
        assert published(state_of(golden(golden_path(name)))) is None


def test_a_table_makes_it_cabm(golden_path, tmp_path):
    tensors = golden(golden_path("edsr_cabm"))
    path = save(state_of(tensors), tmp_path / "cabm" / "model_best.pth.tar")
    table = {"3.25": [{"bit_config": [0, 1, 2, 1], "FAB": 6.0}], "9.5": [{"bit_config": [2, 2, 2, 2], "FAB": 8.0}]}
    (tmp_path / "table.json").write_text(json.dumps(table))
    model = sharpbit.load(path, table=tmp_path / "table.json")
    assert [entry.verb for entry in model.history] == ["quantize", "tabulate"]
    assert model.history[0].method == "cabm"
    assert bool(model.net.context.legacy_edge)
    assert model.net.context.options.tolist() == [[0, 1, 2, 1], [2, 2, 2, 2]]
    assert torch.isfinite(model.net(torch.rand(1, 3, 24, 24))).all()
    with pytest.raises(ModelError, match=r"the table .*none\.json cannot be read"):
        sharpbit.load(path, table=tmp_path / "none.json")


def test_what_does_not_fit_is_one_sentence(golden_path, tmp_path):
    def fails(error, match, **given):
        with pytest.raises(error, match=match) as caught:
            sharpbit.load(path, **given)
        assert "\n" not in str(caught.value)

    state = state_of(golden(golden_path("edsr_pams_original")))
    path = save(state, tmp_path / "4bit.pth")
    fails(UsageError, "sizes of edsr are scale, blocks, width, res_scale; given was heads", heads=3)
    fails(UsageError, "one width for all patches", bits=(4, 6, 8))
    fails(UsageError, "leave table out", table="a.json")
    fails(UsageError, "rounded to 2 to 16 bits", bits=1)
    fails(ModelError, "looks like fsrcnn", arch="fsrcnn", scale=2)
    del state["body.1.quant_act3.alpha"]
    path = save(state, tmp_path / "4bit.pth")
    fails(ModelError, r"4bit\.pth holds no weights of such a quantized edsr")
    path = save(state_of(golden(golden_path("edsr_cadyq"))), tmp_path / "cadyq.pth")
    fails(UsageError, "chooses from 3 widths", bits=8)


def test_sizes_that_weights_do_not_tell_can_be_given(tmp_path):
    fresh = sharpbit.build("fsrcnn", scale=3)
    torch.save(fresh.net.state_dict(), tmp_path / "a.pth")
    assert sharpbit.load(tmp_path / "a.pth", arch="fsrcnn", scale=4).scale == 4
    sharpbit.save(fresh, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="has a header that says everything; leave scale out"):
        sharpbit.load(tmp_path / "a.safetensors", scale=4)


def test_the_commands_open_them(golden_path, tmp_path):
    path = save(state_of(golden(golden_path("edsr_pams_original"))), tmp_path / "4bit" / "model_best.pth.tar")
    (tmp_path / "Set").mkdir()
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "Set" / "a.png")

    def told(*given):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            done = CliRunner().invoke(app, [*map(str, given), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    facts = told("inspect", path)
    assert (facts["architecture"], facts["scale"]) == ("edsr", 4)
    rounded = [layer for layer in facts["layers"] if layer["weight"] == 4]
    assert len(rounded) == 4
    assert facts["history"][0]["method"] == "pams"
    scores = told("evaluate", path, "--data", tmp_path / "Set", "--quiet")
    assert "psnr" in json.dumps(scores)
    assert told(
        "upscale", path.parent.parent / "Set" / "a.png", "-n", path, "-o", tmp_path / "large.png", "--engine", "torch"
    )
    with Image.open(tmp_path / "large.png") as large:
        assert large.size == (192, 192)


def test_the_command_notes_what_it_assumed(golden_path, tmp_path):
    torch.save(state_of(golden(golden_path("edsr_pams_original"))), tmp_path / "best.pth")
    given = [sys.executable, "-m", "sharpbit", "inspect", str(tmp_path / "best.pth")]
    done = subprocess.run(given, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("note: ")
    assert done.stderr.count("\n") == 1
    assert "8 are taken" in done.stderr
