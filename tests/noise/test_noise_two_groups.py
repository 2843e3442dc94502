"""The posterior of the share of wrong pairs, on ranks of which everything is known."""

import numpy as np
import pytest
from scipy.stats import norm

from noisy_xmodal.noise.two_groups import PRIOR_SHARE, design_effect, share_posterior


def ranks(share: float, ahead: float, spread: float = 1.0, n: int = 3000, seed: int = 0):
    """Ranks of pairs of which right ones are binormal to random ones."""
    rng = np.random.default_rng(seed)
    wrong = np.arange(n) < share * n
    scale = np.where(wrong, 1.0, spread)
    return norm.cdf(rng.normal(np.where(wrong, 0.0, -ahead), scale))


def alone(tail: np.ndarray) -> np.ndarray:
    return np.arange(len(tail))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.6])
@pytest.mark.parametrize(("ahead", "spread", "error"), [(1.5, 1.0, 0.05), (2.5, 0.9, 0.03)])
def test_the_share_is_found_though_right_pairs_look_random(
    share: float, ahead: float, spread: float, error: float
) -> None:
    tail = ranks(share, ahead, spread)
    found = share_posterior(tail, alone(tail), 0.95)
    assert found.median == pytest.approx(share, abs=error)
    assert found.low - 0.005 <= share <= found.high + 0.005
    assert found.high - found.low < 6 * error


@pytest.mark.parametrize("n", [1, 50, 3000])
def test_a_judge_that_knows_nothing_leaves_the_prior(n: int) -> None:
    tail = (np.arange(n) + 0.5) / n
    found = share_posterior(tail, alone(tail), 0.95)
    assert abs(found.median - PRIOR_SHARE) < 0.06
    assert found.low == 0
    assert found.high > 0.5


def test_the_posterior_goes_from_the_prior_to_the_truth_with_the_judge() -> None:
    off = []
    for ahead in (0.0, 0.7, 2.0):
        tails = [ranks(0.6, ahead, n=300, seed=seed) for seed in range(3)]
        off.append(np.mean([0.6 - share_posterior(t, alone(t), 0.95).median for t in tails]))
    assert off == sorted(off, reverse=True)
    assert off[0] > 0.25
    assert off[-1] < 0.08


def test_pairs_that_repeat_each_other_count_once() -> None:
    tail = ranks(0.3, 1.0, n=400)
    rows = np.repeat(np.arange(400), 5)
    once = share_posterior(tail, alone(tail), 0.95)
    repeated = share_posterior(tail[rows], rows, 0.95)
    assert repeated.median == pytest.approx(once.median, abs=1e-6)
    assert (repeated.low, repeated.high) == (once.low, once.high)


def test_the_design_effect_is_the_variance_of_sums_over_that_of_independent_pairs() -> None:
    values = np.random.default_rng(0).normal(size=60)
    rows = np.repeat(np.arange(60), 4)
    assert design_effect(values[rows], rows) == pytest.approx(4)
    assert design_effect(values, np.arange(60)) == pytest.approx(1)
    assert design_effect(np.array([1.0, -1, 1, -1]), np.array([0, 0, 1, 1])) == 1
    assert design_effect(np.ones(3), np.zeros(3, dtype=np.int64)) == 1


def test_the_interval_is_narrower_at_a_lower_level() -> None:
    tail = ranks(0.3, 1.5)
    wide, narrow = (share_posterior(tail, alone(tail), level) for level in (0.95, 0.5))
    assert wide.low < narrow.low <= narrow.median <= narrow.high < wide.high
