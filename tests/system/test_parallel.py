"""Two processes that `torchrun` starts train as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sharpbit import model as models
from sharpbit import recipe
from sharpbit.app.cli import main
from sharpbit.data.pairs import Pairs
from sharpbit.errors import UsageError
from sharpbit.model import load
from sharpbit.system import parallel
from sharpbit.training import Training, train
from small_recipes import images, small, written

RECIPE = small(
    "srresnet",
    "scale = 2, blocks = 1, width = 8",
    """
[[step]]
verb = "fake_quantize"
method = "cadyq"
act = [4, 6, 8]
batch = 2
patch = 8
[[step]]
verb = "train"
steps = 4
batch = 4
patch = 8
warmup = 0
rate = 1e-3
range_rate = 1e-2
epoch = 2
white = 255.0
clip = 10.0
precision = "float32"
""",
)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parallel")
    images(folder / "pictures", (40, 36), (40, 36))
    written(folder, RECIPE, "two")
    written(folder, RECIPE.replace("batch = 4", "batch = 5"), "odd")
    return folder


def arguments(folder, out, *more, name="two"):
    paths = [folder / f"{name}.toml", "--data", folder / "pictures", "--out", folder / out]
    return ["train", *map(str, paths), "--json", *more]


def torchrun(*given, **more):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "sharpbit"]
    return subprocess.run([*command, *arguments(*given, **more)], capture_output=True, text=True, check=False)


def one_of_two(rank, store, given, printed):
    """The command as one of two processes, as `torchrun` starts them, but with PyTorch loaded."""
    os.environ.update(WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank))
    init = torch.distributed.init_process_group
    torch.distributed.init_process_group = lambda backend, **more: init(
        backend, init_method=f"file://{store}", rank=rank, world_size=2, **more
    )
    with Path(f"{printed}.{rank}").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        main(given)


def two(tmp_path, *given, **more):
    """The command in two processes: their exit codes, and what the first has printed."""
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "sharpbit.app.cli", "sharpbit.recipe"])
    more = (str(tmp_path / "store"), arguments(*given, **more), str(tmp_path / "printed"))
    both = [context.Process(target=one_of_two, args=(rank, *more)) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    (tmp_path / "store").unlink(missing_ok=True)
    return [process.exitcode for process in both], (tmp_path / "printed.0").read_text()


def test_two_processes_are_one(given):
    done = torchrun(given, "whole")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)  # one process has printed
    assert [one["verb"] for one in told] == ["fake_quantize", "train"]
    assert len((given / "whole" / "log.jsonl").read_text().splitlines()) == 1
    recipe.run(given / "two.toml", data=str(given / "pictures"), out=str(given / "alone"), quiet=True)
    both, alone = (load(given / name / "trained.safetensors").net.state_dict() for name in ("whole", "alone"))
    begun = load(given / "alone" / "fake_quantized.safetensors").net.state_dict()
    moved = [name for name, value in alone.items() if not torch.equal(value, begun[name])]
    assert any("alpha" in name for name in moved)
    assert any("selector" in name for name in moved)
    assert any("running_var" in name for name in moved)
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_two_processes_resume_exactly(given, tmp_path):
    codes, printed = two(tmp_path, given, "parts", "--stop-after", "3")
    assert codes == [0, 0], printed
    assert "after 3 of 4 steps" in printed
    for out in ("parts", "entire"):
        codes, printed = two(tmp_path, given, out)
        assert codes == [0, 0], printed
    one, other = (load(given / name / "trained.safetensors").net.state_dict() for name in ("entire", "parts"))
    for name, value in one.items():
        assert torch.equal(other[name], value), name


def test_an_odd_batch_is_told(given, tmp_path):
    codes, printed = two(tmp_path, given, "odd", name="odd")
    assert 0 not in codes
    assert "a batch of 5 cannot be split evenly among 2 processes" in " ".join(printed.split())


def gradients(part):
    """Those of a part of a batch, or their mean over all processes, in float64: rounding is out of the way."""
    torch.manual_seed(2)
    net = models.build("etds", scale=2, blocks=1, width=8).net.double()
    images = np.random.default_rng(1).integers(0, 256, (2, 40, 36, 3), np.uint8)
    low, high = Pairs.from_images(list(images), 2).batch(4, 8, torch.Generator().manual_seed(3), part=part)
    (net(low.double()) - high.double()).abs().mean().backward()
    parallel.average_gradients(net)
    return [own.grad for own in net.parameters() if own.grad is not None]


def worker(rank, store, folder):
    """What one of two processes does; its results go to a file."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 6) + 3
    norm = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    parallel.share_statistics(norm)
    part = x[rank::2].clone().requires_grad_()
    (norm(part) ** 3).sum().backward()
    mine = torch.full((2,), float(rank))
    parallel.average([mine])
    torch.manual_seed(1)
    model = models.build("srresnet", scale=2, blocks=1, width=8)
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 36, 3), np.uint8)
    plan = Training(steps=2, batch=4, patch=8, precision="float32", ema=0.0)
    trained = train(model, Pairs.from_images(list(images), 2), plan, quiet=True).net.state_dict()
    exact = gradients(slice(rank, None, 2))
    torch.save([part.grad, norm[0].running_mean, norm[0].running_var, mine, trained, exact], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_share_statistics_and_weights(tmp_path):
    torch.multiprocessing.start_processes(worker, (tmp_path / "store", tmp_path), nprocs=2, start_method="forkserver")
    torch.manual_seed(0)
    x = (torch.randn(4, 3, 5, 6) + 3).requires_grad_()
    norm = torch.nn.BatchNorm2d(3)
    (norm(x) ** 3).sum().backward()
    weights = []
    for rank in (0, 1):
        grad, mean, variance, mine, trained, exact = torch.load(tmp_path / f"{rank}.pt")
        weights.append(trained)
        for own, whole in zip(exact, gradients(None), strict=True):  # crops, their order and the mean are right
            torch.testing.assert_close(own, whole, rtol=0, atol=1e-15)
        torch.testing.assert_close(grad, x.grad[rank::2], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mean, norm.running_mean)
        torch.testing.assert_close(variance, norm.running_var)
        assert mine.tolist() == [0.5, 0.5]
    for name, value in weights[0].items():
        assert torch.equal(weights[1][name], value), f"{name} differs between the processes"


def test_one_process_needs_nothing(monkeypatch):
    assert (parallel.count(), parallel.rank(), parallel.first()) == (1, 0, True)
    with parallel.joined("cpu") as device:
        assert device == "cpu"
    values = torch.ones(3)
    parallel.average([values])
    assert values.tolist() == [1, 1, 1]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="this machine has"), parallel.joined("cuda:1"):
        pass
