"""Images in patches: who runs when, with whose features, and what comes together."""

import numpy as np
import pytest
import torch

from sharpbit import model as models
from sharpbit.errors import UsageError
from sharpbit.quant.refqsr import TwoPass, published
from sharpbit.runtime import open_engine
from sharpbit.twopass import schedule as passes
from sharpbit.twopass.classifier import embedded
from sharpbit.twopass.clustering import Clustered, clustered, upscale
from sharpbit.verbs.qat import two_pass


def image(height: int = 60, width: int = 88, seed: int = 1) -> np.ndarray:
    """Stripes on the left, noise on the right: patches of two kinds."""
    rng = np.random.default_rng(seed)
    out = rng.integers(0, 256, (height, width, 3), np.uint8)
    out[:, : width // 2] = ((np.arange(width // 2) // 3) % 2 * 200)[None, :, None]
    return out


@pytest.fixture(scope="module")
def found():
    one = clustered(image(), 24, 4)
    assert len(one.clusters.queries), "the made up image has queries"
    return one


def test_every_patch_gets_its_role(found):
    assert sum(found.counts().values()) == len(found.patches)
    pixels = [patch.pixels for patch in found.patches]
    assert found.queries == pytest.approx(sum(pixels[q] for q in found.clusters.queries) / sum(pixels))
    vectors = embedded().vectors([patch.cut(image()) for patch in found.patches])
    assert len(vectors) == len(found.patches)


def test_the_threshold_isolates():
    assert clustered(image(), 24, 4, 1.01).counts()["query"] == 0


def test_queries_get_the_features_of_their_own_reference(found):
    """The passes are made up: the result of a reference is 0, that of a query the mean of its reference."""
    small = image().astype(np.float32)
    order = []

    def doubled(x, value):
        return np.broadcast_to(value, (*x.shape[:3], 3)).repeat(2, 1).repeat(2, 2)

    def reference(x):
        order.append(("reference", len(x), x.shape))
        return doubled(x, np.float32(0)), [x.mean((1, 2, 3))[:, None], x[:, :4, :4]]

    def query(x, features):
        means, corners = features
        assert len(means) == len(corners) == len(x)
        order.append(("query", len(x), x.shape))
        return doubled(x, means[:, :, None, None].astype(np.float32))

    large = upscale(small, found, 2, reference, query)
    assert large.shape == (120, 176, 3)
    for number, patch in enumerate(found.patches):
        of = found.clusters.reference[number]
        expected = found.patches[of].cut(small).mean() if of >= 0 else 0.0
        rows, columns = patch.rows, patch.columns
        kept = large[2 * rows.kept_from : 2 * rows.kept_to, 2 * columns.kept_from : 2 * columns.kept_to]
        assert kept == pytest.approx(np.full(kept.shape, expected), rel=1e-5)
    counts = found.counts()
    assert sum(n for role, n, _ in order if role == "query") == counts["query"]
    assert sum(n for role, n, _ in order if role == "reference") == counts["reference"] + counts["isolated"]


def test_patches_that_are_all_shared():
    with pytest.raises(UsageError, match="cannot share 24"):
        clustered(image(), 24, 24)


def in_two(threshold: float, form: str = "difference") -> models.Model:
    torch.manual_seed(1)
    base = models.build("srresnet", scale=2, blocks=4, width=8)
    how = published("srresnet", base.config, "pams", 8, 4, threshold=threshold, patch=24, form=form)
    x = torch.from_numpy(image()).permute(2, 0, 1)[None].float() / 255
    return two_pass(base, how, [torch.cat([x, x.flip(3)])], source=base)


def upscaled(model, small, folder):
    models.save(model, folder / "model.safetensors", overwrite=True)
    engine = open_engine(folder / "model.safetensors", threads=1)
    return passes.run(engine, small, patch=engine.patch, threshold=engine.threshold)


def test_a_model_upscales_images(tmp_path):
    small = image()
    model = in_two(0.5)
    large, found = upscaled(model, small, tmp_path)
    assert large.shape == (120, 176, 3)
    assert large.dtype == np.uint8
    assert found.counts()["query"] > 0
    assert np.array_equal(upscaled(model, small, tmp_path)[0], large)
    isolated, alone = upscaled(in_two(1.01), small, tmp_path)
    assert alone.counts()["query"] == 0
    assert not np.array_equal(isolated, large)
    assert isinstance(found, Clustered)


def test_without_queries_it_is_the_network_with_many_bits(tmp_path):
    small = image(40, 40)
    model = in_two(1.01)
    assert TwoPass.of(model.history).patch == 24
    large, found = upscaled(model, small, tmp_path)
    patch = found.patches[0]
    x = torch.from_numpy(patch.cut(small).copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        plain = (model.net(x)[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    kept = slice(0, 2 * patch.rows.kept_to)
    apart = np.abs(large[kept, kept] - plain[kept, kept])
    assert apart.max() <= 1  # sums in another order, as the memory lies otherwise
    assert (apart > 0).mean() < 1e-3
