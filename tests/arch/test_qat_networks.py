"""SRResNet, EDSR, CARN, IDN and ELAN: the authors' own code, published names of tensors and numbers of parameters."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from sharpbit import model as models
from sharpbit.arch.carn import unroll
from sharpbit.errors import ModelError, UsageError
from sharpbit.model.reading import from_state
from sharpbit.quant import refqsr
from sharpbit.verbs.qat import two_pass

NETWORKS = {
    "srresnet_fp_cadyq": ("srresnet", {"scale": 4, "blocks": 3, "width": 16, "shared": True, "bias": False}),
    "srresnet_fp_ddtb": ("srresnet", {"scale": 4, "blocks": 2, "width": 64, "shared": False, "bias": False}),
    "edsr_fp_x2": ("edsr", {"scale": 2, "blocks": 3, "width": 16}),
    "edsr_fp_x3": ("edsr", {"scale": 3, "blocks": 3, "width": 16}),
    "edsr_fp_x4": ("edsr", {"scale": 4, "blocks": 3, "width": 16}),
    "carn_m_fp": ("carn", {"scale": 4, "width": 64, "groups": 4, "multi": False}),
    "idn_fp": ("idn", {"scale": 4, "blocks": 4, "width": 16}),
    "elan_light_fp": ("elan", {"scale": 4, "blocks": 12, "width": 60}),
}
PARAMETERS = [  # without the 24 frozen ones of the mean shift, and the frozen shifts of ELAN
    ("srresnet", {"scale": 4, "shared": True}, 1_546_755),
    ("srresnet", {"scale": 4}, 1_546_771),
    ("srresnet", {"scale": 2}, 1_546_771 - 147_457),
    ("srresnet", {"scale": 4, "shared": True, "bias": True}, 1_546_755 + 2_048),
    ("edsr", {"scale": 2}, 1_369_859),
    ("edsr", {"scale": 3}, 1_554_499),
    ("edsr", {"scale": 4}, 1_517_571),
    ("carn", {"scale": 4, "multi": True}, 1_591_939),
    ("carn", {"scale": 2}, 964_163),
    ("carn", {"scale": 3}, 1_148_803),
    ("carn", {"scale": 4}, 1_111_875),
    ("idn", {"scale": 2}, 590_915),
    ("idn", {"scale": 4}, 590_915),
    ("elan", {"scale": 2}, 582_012),
    ("elan", {"scale": 3}, 590_127),
    ("elan", {"scale": 4}, 601_488),
]


class Published:
    """What the authors' code gave, in its own range of values."""

    def __init__(self, path):
        with safe_open(path, "pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.tolerance = json.loads(file.metadata()["tolerance"])
            self.white = 1.0 if "CARN" in file.metadata()["source"] else 255.0

    @property
    def state(self):
        state = {key[6:]: value for key, value in self.tensors.items() if key.startswith("state/")}
        return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}

    def image(self, key="x", dtype=torch.float64):
        return self.tensors[f"input/{key}"].to(dtype) / self.white

    def check(self, value, key, white=1.0):
        expected = self.tensors[f"output/{key}"].double()
        limit = self.tolerance["float64_rel" if value.dtype == torch.float64 else "float32_rel"]
        assert value.shape == expected.shape
        assert float((value * white - expected).abs().max() / expected.abs().max()) < limit


@pytest.fixture
def published(golden_path):
    return lambda name: Published(golden_path(name))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NETWORKS)
def test_published_weights_give_the_published_image(published, name, dtype):
    case = published(name)
    arch, sizes = NETWORKS[name]
    model = models.from_state(case.state, name)
    assert (model.arch.name, model.config) == (arch, model.arch.config(**sizes))
    net = model.net.to(dtype)
    for key in [key for key in case.tensors if key.startswith("output/sr")]:
        x = case.image("x" + key[-1] if arch == "elan" else "x", dtype)
        with torch.no_grad():
            case.check(net(x), key.removeprefix("output/"), case.white)


def read(net, names, x):
    """What the modules of these names give."""
    seen = {}
    hooks = [net.get_submodule(name).register_forward_hook(lambda m, i, out, n=name: seen.update({n: out}))
             for name in names]  # fmt: skip
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return [seen[name] for name in names]


@pytest.mark.parametrize("name", ["srresnet_fp_cadyq", "srresnet_fp_ddtb", "edsr_fp_x4", "idn_fp"])
def test_the_site_feature_is_what_distillation_reads(published, name):
    case = published(name)
    (feature,) = read(models.from_state(case.state, name).net.double(), ["feature"], case.image())
    case.check(feature, "feat")


def test_the_outputs_of_the_blocks(published):
    case = published("idn_fp")
    sites = [f"blocks.{k}.output" for k in range(4)]
    case.check(
        torch.stack(read(models.from_state(case.state, "idn").net.double(), sites, case.image())), "block_features"
    )
    case = published("elan_light_fp")
    (body,) = read(models.from_state(case.state, "elan").net.double(), ["blocks"], case.image("x1"))
    case.check(body, "body_x1")


def test_statistics_of_normalization_in_training(published):
    case = published("srresnet_fp_cadyq")
    model = models.from_state(case.state, "srresnet")
    net = model.net.double().train()
    with torch.no_grad():
        case.check(net(case.image()), "train_sr", 255)
    after = {key[19:]: value for key, value in case.tensors.items() if key.startswith("output/after_train/")}
    assert len(after) == 14
    state = net.state_dict()
    for key, value in model.arch.rename({**case.state, **after}).items():
        if "running" in key:
            torch.testing.assert_close(state[key], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_one_carn_for_all_scales(published, scale):
    case = published("carn_fp")
    model = models.from_state(case.state, "carn")
    assert model.config == model.arch.config(scale=4, multi=True)
    net = model.arch.build(replace(model.config, scale=scale)).double()
    net.load_state_dict(model.net.state_dict())
    with torch.no_grad():
        case.check(net(case.image()), f"sr_x{scale}")


@pytest.mark.parametrize(("arch", "sizes", "number"), PARAMETERS)
def test_numbers_of_parameters(arch, sizes, number):
    assert models.build(arch, **sizes).parameters == number


def test_a_shared_prelu_is_one_tensor_of_the_file(tmp_path):
    model = models.build("srresnet", scale=2, blocks=2, width=8, shared=True)
    models.save(model, tmp_path / "a.safetensors")
    again = models.load(tmp_path / "a.safetensors").net
    assert [key for key in again.state_dict() if key.endswith("act.weight")] == ["act.weight"]
    assert all(block.act is again.act for block in again.blocks)
    with pytest.raises(RuntimeError, match=r"act\.weight"):
        again.load_state_dict({key: value for key, value in model.net.state_dict().items() if key != "act.weight"})


def test_a_checkpoint_of_the_authors_of_elan(published, tmp_path):
    """The weights lie beside other things, and their names begin as several GPUs leave them."""
    state = published("elan_light_fp").state
    torch.save({"epoch": 3, "model_state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "a.pt")
    model = models.load(tmp_path / "a.pt")
    assert (model.arch.name, model.scale) == ("elan", 4)
    key = "body.3.modules_gmsa.gmsa_1.project_out.weight"
    assert torch.equal(model.net.state_dict()["blocks.3.attention.1.project_out.weight"], state[key])


def test_loading_is_strict(published):
    case = published("edsr_fp_x2")
    with pytest.raises(ModelError, match="stray"):
        models.from_state({**case.state, "stray": torch.zeros(1)}, "weights")
    with pytest.raises(ModelError, match="no shift by a mean colour"):
        models.from_state({**case.state, "add_mean.bias": torch.zeros(3)}, "weights")
    case = published("elan_light_fp")
    key = "body.3.modules_lfe.lfe_1.conv0.shift_conv.weight"
    with pytest.raises(ModelError, match=f"{key} .* does not shift"):
        models.from_state({**case.state, key: case.state[key].flip(2)}, "weights")


@pytest.mark.parametrize(
    ("arch", "sizes", "message"),
    [
        ("edsr", {"scale": 5}, "2, 3, 4 or 8 times, not 5"),
        ("carn", {"scale": 2, "groups": 5}, "64 channels .* 5 groups"),
        ("carn", {"scale": 8, "multi": True}, "not 8"),
        ("idn", {"scale": 2, "width": 20}, "multiple of 16, not 20"),
        ("elan", {"scale": 2, "width": 20}, "multiple of 3, not 20"),
    ],
)
def test_sizes_that_cannot_be(arch, sizes, message):
    with pytest.raises(UsageError, match=message):
        models.build(arch, **sizes)


def test_the_scale_of_a_trained_idn_comes_from_grey():
    """With a last layer that gives nothing for grey, as training makes it, the largest scale that does so is right."""
    for scale in (2, 3, 4):
        model = models.build("idn", scale=scale, blocks=1, width=16)
        weight = model.net.deconv.weight.detach()
        for row in range(scale):
            for column in range(scale):
                phase = weight[:, :, row::scale, column::scale]
                phase -= phase.mean((2, 3), keepdim=True)
        state = model.net.state_dict()
        assert models.from_state(state, "weights").scale == scale


def test_a_carn_with_shared_blocks_is_unrolled():
    """Each use of a residual block gets weights of its own, and the result is the same."""
    shared = models.build("carn", scale=2, width=8, groups=4)
    apart = models.build("carn", scale=2, width=8, groups=4, unrolled=True)
    apart.net.load_state_dict(shared.net.state_dict())
    state = apart.net.state_dict()
    x = torch.rand(1, 3, 12, 15)
    with torch.no_grad():
        assert torch.equal(apart.net(x), shared.net(x))
    assert len({id(block) for cascade in apart.net.body.blocks for block in cascade.blocks}) == 9
    assert unroll(shared.net.state_dict()).keys() == unroll(state).keys() == state.keys()
    assert from_state(state, "unrolled", scale=2).config == apart.config


def test_an_unrolled_carn_in_two_passes_is_read_again(tmp_path):
    """Its first block has quantizers that the others do not have; nothing of it is copied to them."""
    torch.manual_seed(3)
    apart = models.build("carn", scale=2, width=8, groups=4, unrolled=True)
    how = refqsr.published("carn", apart.config, "ddtb", 8, 4, options={"gate": 8, "share": 0.5})
    two = two_pass(apart, how, [torch.rand(2, 3, 16, 16)], source=apart)
    models.save(two, tmp_path / "two.safetensors")
    again, state = models.load(tmp_path / "two.safetensors").net.state_dict(), two.net.state_dict()
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
