"""Roles of patches: what they mean, whatever the vectors."""

import numpy as np
import pytest

from sharpbit.errors import UsageError
from sharpbit.twopass.roles import cluster, similarity, threshold_for


def vectors(seed: int, patches: int = 20, classes: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (patches, classes))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9])
def test_no_query_refers_to_a_query(seed, threshold):
    found = cluster(vectors(seed), threshold)
    assert found.chosen.shape == found.cosine.shape == found.reference.shape == found.referred.shape == (20,)
    queries = found.queries
    assert not np.isin(found.reference[queries], queries).any()
    assert (found.reference[queries] == found.chosen[queries]).all()
    assert (found.cosine[queries] >= threshold).all()
    assert found.referred[found.reference[queries]].all()
    assert sorted([*queries, *found.whole]) == list(range(20))
    roles = [found.role(k) for k in range(20)]
    assert roles.count("query") == len(queries)
    assert roles.count("reference") == found.referred.sum()


def test_by_hand():
    """Two things to see, 0 and 1 best; 5 shows nothing in particular; 3 and 4 choose each other's kind."""
    v = np.array([[9.0, 0, 0], [0, 9, 0], [6, 0, 0], [0, 5, 0], [0, 0, 4], [0, 0, 3.9]])
    found = cluster(v)
    assert list(found.chosen) == [0, 1, 0, 1, 4, 4]
    assert list(found.reference) == [-1, -1, 0, 1, -1, 4]
    assert [found.role(k) for k in range(6)] == ["reference", "reference", "query", "query", "reference", "query"]
    assert found.query_fraction([1, 1, 1, 1, 1, 5]) == pytest.approx(0.7)


def test_a_patch_that_is_chosen_and_chooses_is_a_reference():
    for seed in range(200):
        found = cluster(vectors(seed, 8, 4), 0.2)
        near = (found.cosine >= 0.2) & (found.chosen != np.arange(8))
        chain = near & found.referred
        if chain.any():
            assert all(found.role(k) == "reference" for k in np.flatnonzero(chain))
            return
    pytest.fail("no chain among 200 random images")


def test_the_order_of_the_patches_does_not_matter():
    v, order = vectors(3), np.random.default_rng(5).permutation(20)
    a, b = cluster(v), cluster(v[order])
    assert [a.role(k) for k in order] == [b.role(k) for k in range(20)]
    assert (order[b.chosen] == a.chosen[order]).all()


def test_vectors_that_differ_by_a_constant_choose_alike():
    v = vectors(4)
    assert np.allclose(similarity(v), similarity(v + 7))
    assert (cluster(v).chosen == cluster(v + 7).chosen).all()


def test_a_threshold_that_nothing_reaches_isolates():
    found = cluster(vectors(1), 1.01)
    assert not len(found.queries)
    assert not found.referred.any()
    assert {found.role(k) for k in range(20)} == {"isolated"}


def test_one_patch_is_isolated():
    assert cluster(vectors(1, 1)).role(0) == "isolated"


def test_equal_patches_choose_the_first():
    found = cluster(np.ones((5, 3)))
    assert list(found.reference) == [-1, 0, 0, 0, 0]


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.zeros(3), np.full((2, 2), np.nan)])
def test_what_is_no_table_of_vectors(bad):
    with pytest.raises(UsageError, match="finite vector"):
        cluster(bad)


def test_a_threshold_is_found_for_a_share_of_queries():
    images = [(vectors(seed), [9] * 20) for seed in range(8)]

    def share(threshold):
        return np.mean([cluster(own, threshold).query_fraction(pixels) for own, pixels in images])

    for wanted in (0.2, 0.5):
        threshold, found = threshold_for(images, wanted)
        assert found == pytest.approx(share(threshold))
        assert abs(found - wanted) < 0.05
    most, ceiling = threshold_for(images, 1)
    assert ceiling < 1, "a reference is no query"
    assert share(most) == pytest.approx(max(share(k / 100) for k in range(101)))
    assert threshold_for(images, 0)[1] == 0


@pytest.mark.parametrize(("images", "share", "message"), [([], 0.5, "there was none"), ([], 1.5, "between 0 and 1")])
def test_a_share_of_queries_that_cannot_be_found(images, share, message):
    with pytest.raises(UsageError, match=message):
        threshold_for(images, share)
