"""The share of wrong pairs and who is wrong, on made-up losses of which everything is known."""

import numpy as np
import pytest
from scipy.stats import norm

from noisy_xmodal.noise import random_pairs as module
from noisy_xmodal.noise.random_pairs import (
    LEVEL,
    PRIOR_SHARE,
    WrongShare,
    clean_given_share,
    estimate_wrong_share,
    random_pair_tail,
)

N, N_RANDOM = 4000, 20_000


def made_up(share: float, seed: int = 0, n: int = N) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses of pairs, of random pairs, and which pairs are wrong (as random ones)."""
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(n) < round(share * n)
    losses = np.where(wrong, rng.normal(0, 1, n), rng.normal(-3, 1, n))
    return losses, rng.normal(0, 1, N_RANDOM), wrong


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.4, 0.6, 0.9, 0.95])
def test_the_share_is_found(share: float) -> None:
    losses, random, _ = made_up(share)
    found = estimate_wrong_share(random_pair_tail(losses, random), N_RANDOM)
    assert found.share == pytest.approx(share, abs=0.03)
    assert found.can_tell
    assert found.low - 0.01 <= share <= found.high + 0.01
    assert 0 <= found.low <= found.share <= found.high <= 1
    assert found.high - found.low < 0.15
    again = estimate_wrong_share(random_pair_tail(losses, random), N_RANDOM)
    assert again == found


def test_the_interval_covers_at_least_as_often_as_it_says() -> None:
    covered, widths = [], []
    for seed in range(20):
        losses, random, _ = made_up(0.2, seed, n=1000)
        tail = random_pair_tail(losses, random)
        found = estimate_wrong_share(tail, N_RANDOM, confidence=0.8, seed=seed)
        covered.append(found.low <= 0.2 <= found.high)
        widths.append(found.high - found.low)
    assert np.mean(covered) >= 0.7
    assert np.mean(widths) < 0.1


def test_pairs_of_one_image_are_resampled_together() -> None:
    losses, random, wrong = made_up(0.3, n=400)
    order = np.argsort(wrong, kind="stable")  # images of wrong captions alone
    tail = random_pair_tail(losses[order], random)
    alone = estimate_wrong_share(tail, N_RANDOM)
    # Any numbers name groups, in any order.
    together = estimate_wrong_share(tail, N_RANDOM, groups=np.repeat(np.arange(100), 4) * -7)
    assert together.share == pytest.approx(alone.share, abs=0.03)
    assert together.p_value > alone.p_value
    assert together.high - together.low > 1.2 * (alone.high - alone.low)


def test_the_tail_is_the_share_of_random_pairs_that_fit_as_well() -> None:
    rng = np.random.default_rng(0)
    losses, random = rng.normal(size=50), rng.normal(size=200)
    slow = [(np.sum(random < loss) + 0.5) / 201 for loss in losses]
    np.testing.assert_allclose(random_pair_tail(losses, random), slow)
    uniform = random_pair_tail(rng.normal(size=5000), rng.normal(size=5000))
    np.testing.assert_allclose(np.histogram(uniform, 10, (0, 1))[0], 500, atol=90)


def test_equal_losses_are_spread_evenly_over_their_ties() -> None:
    tail = random_pair_tail([1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 3.0])
    np.testing.assert_allclose(tail, np.array([1.5, 0.5, 2.5, 3.0]) / 5 + 0.5 / 5)
    rng = np.random.default_rng(0)
    coarse = random_pair_tail(rng.integers(0, 4, 2000), rng.integers(0, 4, 2000))
    assert estimate_wrong_share(coarse, 2000).share is None


@pytest.mark.parametrize("case", ["equal", "all wrong", "worse than random"])
@pytest.mark.parametrize("n", [1, 12, 500])
def test_a_judge_that_cannot_tell_judges_nothing_wrong(case: str, n: int) -> None:
    rng = np.random.default_rng(0)
    losses = np.ones(n) if case == "equal" else rng.normal(0.5 * (case[0] == "w"), 1, n)
    random = np.ones(300) if case == "equal" else rng.normal(size=300)
    tail = random_pair_tail(losses, random)
    found = estimate_wrong_share(tail, 300)
    assert (found.share, found.low, found.can_tell) == (None, 0, False)
    assert found.high > 0.7  # all the data allow for
    np.testing.assert_array_equal(clean_given_share(tail, found.share), 1 - PRIOR_SHARE)


def test_chance_passes_for_knowledge_as_rarely_as_told() -> None:
    """Pairs of an image are alike, and all are wrong."""
    rng, values = np.random.default_rng(0), []
    rows = np.repeat(np.arange(40), 5)
    for _ in range(400):
        alike = norm.cdf((rng.normal(size=40)[rows] + rng.normal(size=200)) / np.sqrt(2))
        values.append(estimate_p(alike, rows))
    assert np.mean(np.array(values) < 0.05) < 0.085
    assert min(values) > LEVEL / 10
    alone = [estimate_p(rng.random(200), np.arange(200)) for _ in range(400)]
    assert 0.02 < np.mean(np.array(alone) < 0.05) < 0.085


def estimate_p(tail: np.ndarray, rows: np.ndarray) -> float:
    return module._chance_of_such_fits(tail, 10**6, rows)


@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.parametrize("ahead", [0.3, 0.8, 1.5])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_weak_judge_convicts_few_right_pairs(n: int, ahead: float, share: float) -> None:
    convicted, covered = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        wrong = np.arange(n) < share * n
        tail = norm.cdf(rng.normal(np.where(wrong, 0.0, -ahead)))
        found = estimate_wrong_share(tail, 10**5)
        covered.append(found.low <= share <= found.high)
        convicted.append((clean_given_share(tail, found.share) < 0.5)[~wrong].mean())
    assert np.mean(convicted) < 0.05
    assert max(convicted) < 0.12
    assert sum(covered) >= 3


@pytest.mark.parametrize("share", [0.6, 0.8, 0.95])
def test_data_that_are_mostly_wrong_are_told_by_a_judge_that_can(share: float) -> None:
    losses, random, wrong = made_up(share, n=1000)
    tail = random_pair_tail(losses, random)
    found = estimate_wrong_share(tail, N_RANDOM)
    assert found.share == pytest.approx(share, abs=0.06)
    assert found.can_tell
    judged_wrong = clean_given_share(tail, found.share) < 0.5
    assert judged_wrong[wrong].mean() > 0.9
    assert judged_wrong[~wrong].mean() < 0.3


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_clean_probability_is_calibrated_and_never_rises_with_the_loss(share: float) -> None:
    losses, random, wrong = made_up(share, n=20_000)
    clean = clean_given_share(random_pair_tail(losses, random), share)
    assert (np.diff(clean[np.argsort(losses)]) <= 1e-12).all()
    assert clean.mean() == pytest.approx(1 - share, abs=0.02)
    # The separation is such that all chances occur.
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        own = (clean >= low) & (clean <= low + 0.2)
        if own.sum() > 200:
            assert 1 - wrong[own].mean() == pytest.approx(clean[own].mean(), abs=0.1)
    assert clean[wrong].mean() + 0.4 < clean[~wrong].mean()


def test_share_zero_and_one_are_the_ends() -> None:
    tail = random_pair_tail(*made_up(0.2)[:2])
    np.testing.assert_array_equal(clean_given_share(tail, 0.0), 1.0)
    assert clean_given_share(tail, 1.0).min() == 0.0


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_pairs(n: int) -> None:
    tail = random_pair_tail(np.arange(n), [0.5])
    found = estimate_wrong_share(tail, 1)
    assert 0 <= found.low <= found.high <= 1
    clean = clean_given_share(tail, found.share)
    assert clean.shape == (n,)
    assert ((clean >= 0) & (clean <= 1)).all()


@pytest.mark.parametrize("distance", [0.8, 1.5, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_separation_is_how_often_a_right_pair_fits_better(
    distance: float, share: float
) -> None:
    rng = np.random.default_rng(0)
    wrong = np.arange(N) < share * N
    losses = rng.normal(np.where(wrong, 0.0, -distance))
    random = norm.ppf((np.arange(5000) + 0.5) / 5000)
    slow = float(np.mean([(random > loss).mean() for loss in losses[~wrong]]))
    found = estimate_wrong_share(random_pair_tail(losses, random), 10**6)
    assert found.separation == pytest.approx(slow, abs=0.06 if distance == 0.8 else 0.03)
    assert found.is_weak == (distance == 0.8) or distance == 1.5  # about the limit
    assert found.share == pytest.approx(share, abs=0.16 if distance == 0.8 else 0.04)


@pytest.mark.parametrize(("separation", "weak"), [(0.84, True), (0.86, False)])
@pytest.mark.parametrize(("p_value", "tells"), [(2e-3, False), (1e-4, True)])
def test_a_share_says_what_the_judge_is_worth(
    separation: float, weak: bool, p_value: float, tells: bool
) -> None:
    found = WrongShare(0.2, 0.1, 0.3, 0.95, separation, p_value)
    assert (found.is_weak, found.can_tell) == (weak, tells)


@pytest.mark.parametrize("n", [20, 500])
def test_nothing_above_the_cut_does_not_say_that_nothing_is_wrong(n: int) -> None:
    found = estimate_wrong_share(np.linspace(0.001, 0.4, n), 10_000)
    assert found.can_tell == (n > 20)
    assert found.low == 0
    assert found.share is None if n == 20 else 0 < found.share < 0.01
    # None of n pairs above the cut, .5 to .95: (1 - above) ** n is .025 at the upper end.
    least = (1 - 0.025 ** (1 / n)) / 0.5
    assert least - 1e-9 <= found.high < 11 * least


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="random_losses is empty"):
        random_pair_tail([1.0], [])
    with pytest.raises(ValueError, match="losses is nan at 1"):
        random_pair_tail([1.0, np.nan], [1.0])
    with pytest.raises(ValueError, match="random_losses is inf at 0"):
        random_pair_tail([1.0], [np.inf])
    with pytest.raises(ValueError, match="0 pairs and 5 random pairs"):
        estimate_wrong_share([], 5)
    with pytest.raises(ValueError, match="1 pairs and 0 random pairs"):
        estimate_wrong_share([0.5], 0)


@pytest.mark.parametrize("rate", [0.1, 0.4])
@pytest.mark.parametrize("n", [60, 200])
def test_few_pairs_are_not_estimated_as_all_right(n: int, rate: float) -> None:
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n_wrong = round(rate * n)
        tail = np.concatenate([rng.random(n_wrong), rng.beta(0.3, 8, n - n_wrong)])
        shares.append(estimate_wrong_share(tail.clip(1e-4, 1 - 1e-4), 20 * n).share)
    assert min(shares) > 0
    assert np.mean(shares) == pytest.approx(rate, abs=0.25 * rate)
