"""Binned values: their sums, their points and the groups of k-means, against all values."""

import tracemalloc

import numpy as np
import pytest

from noisy_xmodal.noise import binned_values
from noisy_xmodal.noise.binned_values import BinnedValues, k_means_cuts, weighted_powers

MARGIN = 1e-4


def sample(kind, n=5000):
    rng = np.random.default_rng(0)
    values = {
        "apart": np.concatenate([rng.beta(2, 12, n), rng.beta(8, 3, n)]),
        "ends": np.concatenate([rng.beta(0.3, 6, n), rng.beta(7, 0.4, n), [0, 1]]),
        "ties": rng.choice([0.0, 0.1, 0.100001, 0.7, 1.0], 2 * n),
        "narrow": 0.5 + 1e-7 * rng.random(2 * n),
    }[kind]
    return np.clip(values, MARGIN, 1 - MARGIN), rng.random(len(values))


def sums_of(values, weight):
    return np.array([weight.sum(), weight @ values, weight @ values**2])


def groups_by_loops(values, weight, n_groups):
    centres = np.linspace(values.min(), values.max(), 2 * n_groups + 1)[1::2]
    for _ in range(100):
        cuts = (centres[1:] + centres[:-1]) / 2
        group = (values[:, None] >= cuts).sum(axis=1)
        for k in set(group):
            centres[k] = np.average(values[group == k], weights=weight[group == k])
    return np.array([sums_of(values[group == k], weight[group == k]) for k in range(n_groups)])


@pytest.mark.parametrize("block", [100, 2**15])
@pytest.mark.parametrize("kind", ["apart", "ends", "ties", "narrow"])
def test_points_have_the_sums_of_the_values(kind, block, monkeypatch):
    monkeypatch.setattr(binned_values, "_BLOCK", block)
    values, weight = sample(kind)
    points, point_weight = BinnedValues(values, weight, MARGIN).points()
    assert len(points) == len(point_weight) <= 2 * 2048
    assert points.min() >= 0.99 * MARGIN
    assert points.max() <= 1 - 0.99 * MARGIN
    expected = sums_of(values, weight)
    assert sums_of(points, point_weight) == pytest.approx(expected, rel=1e-9)
    assert point_weight @ np.log(points) == pytest.approx(weight @ np.log(values), rel=1e-6)


@pytest.mark.parametrize("n_groups", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", ["apart", "ends", "ties", "narrow"])
def test_groups_are_those_of_all_values(kind, n_groups):
    values, weight = sample(kind, 1000)
    groups = BinnedValues(values, weight, MARGIN).groups(n_groups)
    expected = groups_by_loops(values, weight, n_groups)
    assert groups == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_empty_groups_are_no_trouble(seed):
    rng = np.random.default_rng(seed)
    values = rng.choice([0.1, 0.15, 0.4, 0.5, 0.9], 3) + rng.choice([0, 0.001, 0.002], (20, 1))
    values, weight = values.ravel(), rng.random(60)
    groups = BinnedValues(values, weight, MARGIN).groups(6)
    assert groups == pytest.approx(groups_by_loops(values, weight, 6), rel=1e-9, abs=1e-9)


def test_what_rounding_leaves_is_no_group():
    below_cut = {0.2: [0.9, 0.09, 0.009], 0.5: [0.9 + 3e-16, 0.09 - 9e-16, 0.009]}
    cuts = k_means_cuts(
        lambda cut: np.array(below_cut[min(below_cut, key=lambda known: abs(known - cut))]),
        np.array([1, 0.18, 0.09]),
        low=0.1,
        high=0.9,
        n_groups=3,
    )
    assert cuts == pytest.approx([(0.1 + 0.5) / 2, (0.5 + 0.9) / 2])


def test_a_value_at_a_cut_belongs_above():
    groups = BinnedValues(np.array([0.25, 0.5, 0.75]), np.ones(3), MARGIN).groups(2)
    assert groups[:, 0].round(9).tolist() == [1, 2]


def test_cuts_lie_between_the_groups():
    values = np.array([0.1, 0.12, 0.5, 0.9, 0.92])
    sums = np.insert(np.cumsum(weighted_powers(values, np.ones(5)), axis=0), 0, 0, axis=0)
    cuts = k_means_cuts(lambda cut: sums[np.searchsorted(values, cut)], sums[-1], 0.1, 0.92, 3)
    assert cuts == pytest.approx([(0.11 + 0.5) / 2, (0.5 + 0.91) / 2])


@pytest.mark.parametrize("margin", [1e-15, 1e-12, 0.4, np.nextafter(0.5, 0)])
def test_extreme_margins_have_bins(margin):
    rng = np.random.default_rng(0)
    values = np.concatenate([np.zeros(50), np.ones(50), rng.random(100) ** 30])
    weight = rng.random(200)
    points, point_weight = BinnedValues(values, weight, margin).points()
    total = weight @ np.clip(values, margin, 1 - margin)
    assert point_weight @ points == pytest.approx(total, rel=1e-6)
    assert 0 < points.min() <= points.max() < 1


def test_values_beyond_the_margin_count_as_at_it():
    values, weight = np.array([0, 1e-5, 0.3, 1 - 1e-6, 1]), np.ones(5)
    points, point_weight = BinnedValues(values, weight, 0.01).points()
    assert point_weight @ points == pytest.approx(2 * 0.01 + 0.3 + 2 * 0.99)
    assert BinnedValues(values, weight, 0.01).groups(2)[0, 1] == pytest.approx(2 * 0.01 + 0.3)


def test_memory_is_bounded():
    values = np.random.default_rng(0).random(400_000)
    weight = np.broadcast_to(1 / len(values), values.shape)
    tracemalloc.start()
    BinnedValues(values, weight, MARGIN).groups(2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * values.nbytes  # some whole-length arrays of two bytes, and blocks
