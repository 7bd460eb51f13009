"""CADyQ and CABM on whole networks: what the authors' code gave, and one step of its training."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from golden_case import GoldenCase
from sharpbit.errors import UsageError
from sharpbit.quant.adaptive import Mixed, chosen_bits, spent
from sharpbit.quant.distill import attention_transfer, reading, transfer
from sharpbit.quant.method import cadyq
from sharpbit.quant.method.cabm import Table
from sharpbit.quant.qat.placement import placement

WIDTHS = (4, 6, 8)
CASES = {
    "srresnet_cadyq": (
        "srresnet",
        {"scale": 4, "blocks": 2, "width": 8, "shared": True, "bias": True},
        {"legacy_conv1_float": True, "width": 8},
        "blocks.*.output",
    ),
    "edsr_cadyq": ("edsr", {"scale": 4, "blocks": 2, "width": 8}, {"width": 8}, "blocks.*.output"),
    "carn_cadyq": ("carn", {"scale": 4, "width": 8, "multi": True}, {}, "body.blocks.*.output"),
    "idn_cadyq": ("idn", {"scale": 4, "blocks": 2, "width": 16}, {"fixed": 8}, "blocks.*.output"),
    "edsr_cabm": ("edsr", {"scale": 4, "blocks": 2, "width": 8}, {"width": 8}, "blocks.*.output"),
}


class Case(GoldenCase):
    """Of CADyQ or CABM."""

    def __init__(self, path, method="cadyq"):
        arch, config, how, self.blocks = CASES[path.stem]
        super().__init__(path, arch, config, placement(arch, WIDTHS, 8, **how), method)

    def forward(self):
        """The image in the published range of values, and the features that distillation reads."""
        with reading(self.net, ["feature", self.blocks]) as seen:
            sr = self.net(self.image()) * self.white
        return sr, seen

    def check(self, tag, sr, seen):
        feature, *blocks = (seen[name] for name in ("feature", *(name for name in seen if name != "feature")))
        self.near(sr, f"{tag}/sr")
        self.near(feature, f"{tag}/feat")
        self.near(torch.stack(blocks), f"{tag}/block_features")
        bits = chosen_bits(self.net)
        self.near(bits.sum(1), f"{tag}/bits")
        if f"output/{tag}/bits_per_layer" in self.tensors:
            assert torch.equal(bits.T.int(), self.tensors[f"output/{tag}/bits_per_layer"])
            self.near(torch.stack([choice.share for choice in spent(self.net)]).sum(0), f"{tag}/weighted_bits")


NETWORKS = [name for name in CASES if "cadyq" in name]


@pytest.mark.parametrize("name", NETWORKS)
def test_choices_and_images(golden_path, name):
    case = Case(golden_path(name))
    logits = {}
    for part in case.net.modules():
        if isinstance(part, Mixed):
            note = lambda linear, args, out, place=part.place: logits.update({place: out})  # noqa: E731
            part.selector.linear.register_forward_hook(note)
    with torch.no_grad():
        case.check("eval", *case.forward())
    case.near(torch.stack([logits[place] for place in sorted(logits)]), "eval/logits")
    assert len(set(chosen_bits(case.net).flatten().tolist())) > 1


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_one_step_of_training(golden_path, name, epoch):
    case = Case(golden_path(name))
    net, tag = case.net, f"epoch{epoch}"
    cadyq.stage(net.train(), epoch)
    sr, seen = case.forward()
    case.check(tag, sr, seen)
    blocks = case.tensors["input/t_block_features"].double()
    names = [name for name in seen if name != "feature"]
    teacher = {"feature": case.tensors["input/t_feat"].double(), **dict(zip(names, blocks, strict=True))}
    bits, taught = cadyq.loss(net), transfer(seen, teacher, 1000, 100)
    case.near(bits, f"{tag}/bit_loss")
    case.near(taught, f"{tag}/kd_loss")
    loss = (sr * 255 / case.white - case.tensors["input/hr"].double()).abs().mean() + bits + taught
    case.near(loss, f"{tag}/loss")
    loss.backward()
    parameters, ours = dict(net.named_parameters()), case.names
    assert case.gradients(tag) > 10
    rates = {1e-2: "alpha", 1e-4: ""}
    groups = {rate: [own for key, own in parameters.items() if key.endswith("alpha") == (end == "alpha")]
              for rate, end in rates.items()}  # fmt: skip
    torch.optim.Adam([{"params": own, "lr": rate} for rate, own in groups.items()]).step()
    after = f"output/{tag}/after_step/"
    for key, value in case.tensors.items():
        if key.startswith(after):
            own = net.state_dict()[ours[key.removeprefix(after)]]
            torch.testing.assert_close(own, value.double().reshape(own.shape), rtol=0, atol=1e-6)


def test_attention_transfer(golden_path):
    with safe_open(golden_path("at_loss"), "pt") as file:
        case = {key: file.get_tensor(key).double() for key in file.keys()}  # noqa: SIM118
    student = case["input/student"].requires_grad_()
    loss = attention_transfer(student, case["input/teacher"])
    torch.testing.assert_close(loss, case["output/loss"], rtol=1e-9, atol=0)
    loss.backward()
    torch.testing.assert_close(student.grad, case["grad/student"], rtol=1e-9, atol=1e-15)


def test_bits_from_a_table(golden_path):
    case = Case(golden_path("edsr_cabm"), "cabm")
    net, flags = case.net, case.tensors["input/flags"].long()
    net._forward_pre_hooks.clear()
    net.context.give(flags)
    with torch.no_grad():
        case.check("eval", *case.forward())
    assert torch.equal(chosen_bits(net).int(), case.tensors["output/bits_per_selector"])
    net.train().context.now.spent = {}
    sr, seen = case.forward()
    case.check("train_epoch2", sr, seen)
    loss = sr.square().mean() / 2 + seen["feature"].square().mean() / 2
    case.near(loss, "train_epoch2/loss")
    loss.backward()
    parameters, ours, checked = dict(net.named_parameters()), case.names, 0
    for key, value in case.tensors.items():
        if key.startswith("grad/train_epoch2/"):
            own = parameters[ours[key.removeprefix("grad/train_epoch2/")]].grad
            if own is None:
                assert not value.any()
            else:
                case.near(own, key.removeprefix("grad/"), tree="grad")
            checked += 1
    assert checked == 16


@pytest.fixture(scope="module")
def published_table():
    return json.loads((Path(__file__).parents[1] / "golden" / "cabm_table.json").read_text())


def test_the_table_is_the_published_one(published_table):
    samples = [(one["raw_score"], one["bit_config"]) for one in published_table["samples"]]
    table = Table.build(samples, WIDTHS)
    assert json.loads(table.to_json()) == published_table["table"]
    assert Table.from_json(table.to_json()).entries == table.entries


def test_lookups_are_the_published_ones(published_table):
    """And end where the published ones do not: with the lowest score that will do."""
    table = Table.from_json(json.dumps(published_table["table"]))
    assert len(published_table["lookups"]) == 39
    for one in published_table["lookups"]:
        entry = table.at(one["raw_score"], one["calibration"])
        if one["result"]:
            assert list(entry.options) == one["result"]["bit_config"], one
        else:
            assert entry == next(iter(table.cheap(one["calibration"]).values()))


def test_a_table_of_something_else():
    with pytest.raises(UsageError, match="no table of CABM"):
        Table.from_json('{"1.0": 3}')
    with pytest.raises(UsageError, match="there was none"):
        Table.build([], WIDTHS)
