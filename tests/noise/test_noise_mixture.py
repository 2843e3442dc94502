"""Clean posterior: Eq. 3, normalisation, monotonicity and degenerate losses."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

from noisy_xmodal.noise import BetaMixture, clean_posterior


class KnownMixture:
    """Two Gaussians that are given, not fitted; the clean one need not come first."""

    def __init__(self, weights, means, deviations):
        self.weights, self.means_, self.deviations = weights, np.array(means), deviations

    def fit(self, losses):
        assert losses.shape[1] == 1
        assert losses.min() == 0
        assert losses.max() == 1
        return self

    def predict_proba(self, losses):
        density = np.array(self.weights) * norm.pdf(losses, self.means_.ravel(), self.deviations)
        return density / density.sum(axis=1, keepdims=True)


def two_groups(n=2000, share=0.4, seed=0):
    rng = np.random.default_rng(seed)
    is_noisy = rng.random(n) < share
    return np.where(is_noisy, rng.normal(5, 0.8, n), rng.normal(2, 0.5, n)), is_noisy


def monotone_by_hand(losses, mixture, clean):
    """The rule as slow loops."""
    scaled = (losses - losses.min()) / (losses.max() - losses.min())
    mean = mixture.means_.ravel()[clean]

    def raw(value):
        return mixture.predict_proba(np.array([[value]]))[0, clean]

    def passed(value):
        between = [v for v in scaled if min(value, mean) <= v <= max(value, mean)]
        return [raw(v) for v in [*between, mean]]

    return [max(passed(v)) if v < mean else min(passed(v)) for v in scaled]


def test_low_losses_are_clean():
    losses, is_noisy = two_groups()
    posterior = clean_posterior(losses)
    assert posterior.degenerate is None
    assert ((posterior.probability >= 0.5) == ~is_noisy).mean() > 0.98
    assert posterior.lowest_loss == losses.min()
    assert posterior.highest_loss == losses.max()


def test_scale_and_order_of_the_losses_do_not_matter():
    losses, _ = two_groups()
    posterior = clean_posterior(losses).probability
    moved = clean_posterior(1000 * losses - 7).probability
    assert moved == pytest.approx(posterior, abs=1e-6)


@pytest.mark.parametrize("deviations", [(0.05, 0.3), (0.3, 0.05), (0.1, 0.1)])
@pytest.mark.parametrize("flip", [False, True])
def test_posterior_follows_the_rule(deviations, flip):
    order = slice(None, None, -1 if flip else 1)
    mixture = KnownMixture([0.6, 0.4][order], [[0.3], [0.6]][order], deviations[order])
    losses = np.random.default_rng(1).permutation(np.linspace(2, 7, 60))
    losses[5] = losses[9]
    probability = clean_posterior(losses, mixture).probability
    assert (np.diff(probability[np.argsort(losses)]) <= 0).all()
    assert probability.tolist() == pytest.approx(monotone_by_hand(losses, mixture, int(flip)))
    assert probability[5] == probability[9]


def test_raw_posterior_is_kept_where_it_is_monotone():
    mixture = KnownMixture([0.6, 0.4], [[0.3], [0.6]], (0.1, 0.1))
    losses = np.linspace(0, 1, 50)
    raw = mixture.predict_proba(losses[:, None])[:, 0]
    assert clean_posterior(losses, mixture).probability == pytest.approx(raw)


@pytest.mark.parametrize("deviations", [(0.05, 0.3), (0.3, 0.05)])
def test_the_known_flip_is_there_without_the_rule(deviations):
    mixture = KnownMixture([0.6, 0.4], [[0.3], [0.6]], deviations)
    raw = mixture.predict_proba(np.linspace(0, 1, 60)[:, None])[:, 0]
    assert (np.diff(raw) > 1e-3).any()


def test_means_outside_the_losses_are_no_trouble():
    for means in ([[-1.0], [0.5]], [[2.0], [3.0]]):
        mixture = KnownMixture([0.5, 0.5], means, (0.5, 0.7))
        probability = clean_posterior(np.linspace(0, 1, 9), mixture).probability
        assert probability.shape == (9,)
        assert (np.diff(probability) <= 0).all()


def test_another_estimator_of_scikit_learn_works():
    losses, is_noisy = two_groups()
    mixture = BayesianGaussianMixture(n_components=2, random_state=0)
    posterior = clean_posterior(losses, mixture)
    assert posterior.mixture is mixture
    assert ((posterior.probability >= 0.5) == ~is_noisy).mean() > 0.95


def test_the_seed_decides():
    losses, _ = two_groups(200)
    assert (
        clean_posterior(losses, seed=1).probability == clean_posterior(losses, seed=1).probability
    ).all()


@pytest.mark.parametrize(
    ("losses", "reason"),
    [([], "got 0"), ([3.0], "got 1"), ([2.5] * 4, "All 4 losses equal 2.5")],
)
def test_degenerate_losses_make_all_pairs_clean(losses, reason):
    posterior = clean_posterior(losses)
    assert posterior.probability.tolist() == [1.0] * len(losses)
    assert posterior.mixture is None
    assert reason in posterior.degenerate
    assert posterior.degenerate.endswith(".")


def test_two_losses_are_enough():
    assert clean_posterior([1.0, 2.0]).probability.tolist() == pytest.approx([1, 0], abs=1e-3)


def test_losses_that_are_not_finite_are_counted():
    with pytest.raises(ValueError, match="3 values that are not finite, first at pairs 1, 3, 4"):
        clean_posterior([0.0, np.nan, 1.0, np.inf, -np.inf])


def test_losses_must_be_flat():
    with pytest.raises(ValueError, match=r"shape \(2, 1\)"):
        clean_posterior([[1.0], [2.0]])


def test_probabilities_that_are_not_numbers_are_refused():
    mixture = KnownMixture([0.0, 0.0], [[0.2], [0.8]], (0.1, 0.1))
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match="KnownMixture gives probabilities that are not numbers"),
    ):
        clean_posterior([0.0, 1.0], mixture)


@pytest.mark.parametrize("flip", [False, True])
def test_the_raw_posterior_is_that_of_the_lower_mean(flip):
    order = slice(None, None, -1 if flip else 1)
    mixture = KnownMixture([0.6, 0.4][order], [[0.3], [0.6]][order], (0.05, 0.3)[order])
    losses = np.random.default_rng(1).permutation(np.linspace(0, 1, 60))
    raw = mixture.predict_proba(losses[:, None])[:, int(flip)]
    probability = clean_posterior(losses, mixture, monotone=False).probability
    assert probability == pytest.approx(raw)
    assert (np.diff(probability[np.argsort(losses)]) > 1e-3).any()


def test_bounds_take_the_place_of_the_ends():
    losses, _ = two_groups(500)
    ends = (losses.min(), losses.max())
    given = clean_posterior(losses, bounds=ends)
    assert (given.probability == clean_posterior(losses).probability).all()
    wide = clean_posterior(losses, bounds=(-5.0, 15.0))
    assert (wide.lowest_loss, wide.highest_loss) == (-5.0, 15.0)
    mixture = GaussianMixture(2, max_iter=100, reg_covar=5e-4, random_state=0)
    by_hand = mixture.fit((losses[:, None] + 5) / 20)
    assert wide.mixture.means_ == pytest.approx(by_hand.means_)


def test_losses_beyond_the_bounds_are_clipped():
    losses = np.array([-9.0, 0.0, 0.1, 0.9, 1.0, 44.0])
    clipped = clean_posterior(np.clip(losses, 0, 1), BetaMixture()).probability
    assert clean_posterior(losses, BetaMixture(), bounds=(0, 1)).probability.tolist() == (
        clipped.tolist()
    )


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0, np.nan), (-np.inf, 1.0)])
def test_bounds_are_finite_and_in_order(bounds):
    with pytest.raises(ValueError, match="give two finite losses, the lower one first"):
        clean_posterior([0.1, 0.2], bounds=bounds)


@pytest.mark.parametrize("bounds", [(0.0, 0.5), (5.0, 5.0)])
def test_losses_equal_within_the_bounds_are_degenerate(bounds):
    posterior = clean_posterior([2.0, 3.0, 4.0], bounds=bounds)
    assert "All 3 losses are equal after clipping" in posterior.degenerate
    assert (posterior.lowest_loss, posterior.highest_loss) == bounds
    assert posterior.probability.tolist() == [1.0] * 3


@pytest.mark.parametrize("mixture", [BetaMixture(3), GaussianMixture(3)])
def test_fewer_losses_than_components_are_degenerate(mixture):
    posterior = clean_posterior([1.0, 2.0], mixture)
    assert "3 components needs as many losses and got 2" in posterior.degenerate
    assert posterior.mixture is None
    assert clean_posterior([1.0, 2.0, 4.0], mixture).degenerate is None


def test_the_noise_rate_is_what_the_clean_component_leaves():
    losses, is_noisy = two_groups()
    gaussian = clean_posterior(losses)
    assert gaussian.noise_rate == pytest.approx(is_noisy.mean(), abs=0.02)
    clean = gaussian.mixture.means_.ravel().argmin()
    assert gaussian.noise_rate == pytest.approx(1 - gaussian.mixture.weights_[clean])
    skewed = clean_posterior(losses, BetaMixture())
    assert skewed.noise_rate == pytest.approx(is_noisy.mean(), abs=0.05)


def test_there_is_no_noise_without_a_fit():
    assert clean_posterior([3.0]).noise_rate == 0


def test_a_mixture_without_weights_has_no_noise_rate():
    mixture = KnownMixture([0.5, 0.5], [[0.2], [0.8]], (0.1, 0.1))
    with pytest.raises(ValueError, match="KnownMixture has no weights_"):
        _ = clean_posterior([0.0, 1.0], mixture).noise_rate


def test_close_losses_keep_their_order():
    close = 0.5 + 1e-6 * np.random.default_rng(0).random(200)  # alike in their first 16 bits
    losses = np.concatenate([[0, 1], close, close[:50]])
    mixture = KnownMixture([0.5, 0.5], [[0.2], [0.8]], [0.1, 0.1])
    probability = clean_posterior(losses, mixture).probability
    assert probability == pytest.approx(mixture.predict_proba(losses[:, None])[:, 0], rel=1e-9)
    distinct, at = np.unique(losses, return_index=True)
    assert (np.diff(probability[at]) < 0).all()
    assert (probability == probability[at][np.searchsorted(distinct, losses)]).all()
