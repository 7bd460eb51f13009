"""Training networks in two passes: through the one loop, from base model to file, with each base method."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from sharpbit import model as models
from sharpbit import recipe
from sharpbit.data.matched import Matched
from sharpbit.data.pairs import Pairs
from sharpbit.errors import RecipeError, UsageError
from sharpbit.quant.method.cabm import TableContext
from sharpbit.quant.qat.placement import placement
from sharpbit.quant.refqsr import TwoPass, published, query, reference
from sharpbit.training import Training, train
from sharpbit.verbs.qat import fake_quantize, tabulate, two_pass, uncalibrated
from small_recipes import images, small, written

RECIPES = sorted((Path(__file__).parents[1] / "recipes" / "refqsr").glob("*.toml"))
SIZES = {"scale": 2, "blocks": 4, "width": 8}


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    return Pairs.from_images([rng.integers(0, 256, (40, 36, 3), np.uint8) for _ in range(2)], 2)


@pytest.fixture(scope="module")
def matched(pairs):
    return Matched(pairs, lambda x: x.mean((2, 3)), 0.5)


@pytest.fixture(scope="module")
def srresnet():
    torch.manual_seed(2)
    return models.build("srresnet", **SIZES)


def how(**change):
    base = {"steps": 3, "batch": 2, "patch": 12, "warmup": 0, "rate": 1e-3, "range_rate": 1e-2, "ema": 0.0}
    return Training(**base | {"precision": "float32", "white": 255.0, "epoch": 2, "first_epoch": 6} | change)


def in_two(srresnet, pairs, method, source=None, **change):
    high = (4, 6, 8) if method in ("cadyq", "cabm") else 8
    options = {"gate": 8, "share": 0.5} if method == "ddtb" else {}
    batches = [pairs.batch(4, 12, torch.Generator().manual_seed(5))[0]]
    if source is None:
        plan = placement("srresnet", high, 8, width=8, options=options)
        source = fake_quantize(srresnet, plan, method, batches, source=srresnet)
    passes = published("srresnet", srresnet.config, method, high, 3, options=options, **change)
    return two_pass(srresnet, passes, batches, source=source)


@pytest.mark.parametrize("method", ["pams", "ddtb", "cadyq"])
def test_three_steps_with_a_teacher_and_an_exact_resume(srresnet, pairs, matched, method, tmp_path):
    start = in_two(srresnet, pairs, method)
    plan = how(distill=1000.0, distill_blocks=100.0)
    done = train(start, matched, plan, teacher=srresnet, quiet=True)
    train(start, matched, plan, teacher=srresnet, out=tmp_path, stop_after=2, quiet=True)
    again = train(start, matched, plan, teacher=srresnet, out=tmp_path, quiet=True)
    state, before = done.net.state_dict(), start.net.state_dict()
    for name, value in again.net.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    moved = [name for name, value in state.items() if not torch.equal(value, before[name])]
    for part in ("options.0.", "options.1.range", "refer.residual.conv2.weight", "refer.query.range", "blocks.1.bn1"):
        assert any(part in name for name in moved), part
    models.save(done, tmp_path / "m.safetensors")
    assert TwoPass.of(models.load(tmp_path / "m.safetensors").history) == TwoPass.of(done.history)


def test_both_roles_are_in_the_loss(srresnet, pairs, matched):
    """What only queries use gets a gradient, and so does what only references use."""
    start = in_two(srresnet, pairs, "pams")
    done = train(start, matched, how(steps=1), quiet=True).net.state_dict()
    before = start.net.state_dict()
    for name in ("blocks.1.conv1.act.options.1.range.alpha", "blocks.3.refer.residual.conv1.weight"):
        assert not torch.equal(done[name], before[name]), name
    for name in ("blocks.1.conv1.act.options.0.range.alpha", "blocks.3.block.conv1.weight"):
        assert not torch.equal(done[name], before[name]), name


def test_trained_bounds_are_not_forgotten(srresnet, pairs, matched):
    start = in_two(srresnet, pairs, "pams")
    name = "blocks.1.conv1.act.options.1.range.alpha"
    near, far = (
        train(start, matched, how(steps=1, range_rate=1e-6, first_epoch=first), quiet=True).net.state_dict()[name]
        for first in (2, 1)
    )
    assert torch.allclose(near, start.net.state_dict()[name], atol=1e-4)
    assert not torch.allclose(far, near, atol=1e-2)  # follows the batch


def test_from_cadyq_to_a_table_of_both_passes(srresnet, pairs, matched, tmp_path):
    cadyq = train(in_two(srresnet, pairs, "cadyq"), matched, how(), quiet=True)
    crops = [matched.batch(2, 12, torch.Generator().manual_seed(4))[0]]
    cabm = tabulate(in_two(srresnet, pairs, "cabm", cadyq), cadyq, crops)
    context = cabm.net.context
    assert isinstance(context, TableContext)
    assert context.options.shape[1] == 10  # 4 blocks of 2, and 2 of the RefER
    cabm = train(cabm, matched, how(), quiet=True)
    models.save(cabm, tmp_path / "m.safetensors")
    again = models.load(tmp_path / "m.safetensors")
    x = crops[0][:1]
    with torch.no_grad():
        assert torch.equal(*(query(net, x, reference(net, x)[1]) for net in (cabm.net, again.net)))


def test_a_start_in_two_passes_keeps_its_corrections(srresnet, pairs):
    first = in_two(srresnet, pairs, "pams")
    with torch.no_grad():
        first.net.blocks[3].refer.residual.conv1.weight.add_(1)
    second = in_two(srresnet, pairs, "pams", first)
    assert not uncalibrated(second)
    for name, value in second.net.state_dict().items():
        assert torch.equal(value, first.net.state_dict()[name]), name


def test_pairs_go_with_two_passes(srresnet, pairs, matched):
    with pytest.raises(UsageError, match="crops that match in pairs"):
        train(in_two(srresnet, pairs, "pams"), pairs, how(), quiet=True)
    with pytest.raises(UsageError, match="crops that match in pairs"):
        train(srresnet, matched, how(), quiet=True)


def test_there_are_recipes_of_every_row_family():
    names = {path.stem for path in RECIPES}
    for net in ("srresnet", "carn", "elan"):
        for method in ("pams", "ddtb"):
            assert {f"{net}-{method}-{bits}-x4" for bits in ("8-5", "8-4", "8-3", "4-3", "4-2")} <= names
        for method in ("cadyq", "cabm"):
            assert {f"{net}-{method}-d-{low}-x4" for low in (4, 3)} <= names
    ablations = {"no-refer", "self", "no-pooling", "concat", "refers-1", "refers-3", "refers-4"}
    assert {f"srresnet-cadyq-d-3-{name}-x4" for name in ablations} <= names


@pytest.mark.parametrize(
    "path", [path for path in RECIPES if 'verb = "refqsr"' in path.read_text()], ids=lambda path: path.stem
)
def test_recipes_are_read_and_their_passes_fit(path):
    one = recipe.read(path)
    (step,) = (step for step in one.step if step.verb == "refqsr")
    known = recipe.RefQSR(**step.settings)
    table = tomllib.loads(path.read_text())
    sizes = models.ARCHITECTURES[one.start.arch].config(**one.start.config)
    passes = published(
        one.start.arch,
        sizes,
        known.method,
        known.high if isinstance(known.high, int) else tuple(known.high),
        known.low,
        refers=None if known.refers < 0 else known.refers,
        form=known.form,
        pooled=known.pooled,
    )
    assert passes.queries
    (training,) = (step for step in table["step"] if step["verb"] == "train")
    for needed in (one.start.after, training["teacher"]):
        folder = path.parent if (path.parent / f"{needed}.toml").exists() else path.parent.parent / "qat"
        assert (folder / f"{needed}.toml").exists(), needed


SMALL = small(
    "srresnet",
    "scale = 2, blocks = 4, width = 8",
    """
[[step]]
verb = "refqsr"
method = "pams"
low = 3
threshold = 2.0
batch = 2
crop = 16
[[step]]
verb = "train"
steps = 2
batch = 1
patch = 16
precision = "float32"
first_epoch = 2
""",
)


def test_a_recipe_is_carried_out(tmp_path):
    data = images(tmp_path / "data", (48, 48))
    path = written(tmp_path, SMALL)
    results = recipe.run(path, data=data, out=str(tmp_path / "out"), quiet=True)
    assert [verb for verb, _, _ in results] == ["refqsr", "train"]
    done = models.load(tmp_path / "out" / "trained.safetensors")
    passes = TwoPass.of(done.history)
    assert passes.low == 3
    assert passes.threshold == 2.0
    wrong = written(tmp_path, SMALL.replace("low = 3", "lo = 3"), "wrong")
    with pytest.raises(RecipeError, match="'lo' that is not known; nearest: 'low'"):
        recipe.read(wrong)
