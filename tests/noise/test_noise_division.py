"""Co-divide, its two ways out, and selection by rate."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisy_xmodal.noise import BetaMixture, Division, divide, select_clean, with_prior


class Given:
    """A mixture whose clean probabilities are given, in the order of the losses."""

    means_ = np.array([[0.2], [0.8]])

    def __init__(self, probability):
        self.probability = np.array(probability)

    def fit(self, losses):
        return self

    def predict_proba(self, losses):
        return np.stack([self.probability, 1 - self.probability], axis=1)


def select_by_hand(losses, probability, noise_rate):
    n = len(losses)
    known = [-p if p == p else np.inf for p in probability]
    order = sorted(range(n), key=lambda i: (known[i], losses[i], i))
    chosen = order[: max(1, round((1 - noise_rate) * n))]
    return [i in chosen for i in range(n)]


def test_the_threshold_itself_is_clean():
    mixture = Given([0.2, 0.5, 0.49, 1.0])
    division = divide([1.0, 2.0, 3.0, 4.0], mixture=mixture, monotone=False)
    assert division.is_clean.tolist() == [False, True, False, True]
    assert division.share_noisy == 0.5
    assert division.threshold == 0.5


def test_two_groups_are_divided_without_a_warning():
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.normal(1, 0.1, 300), rng.normal(3, 0.3, 100)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        division = divide(losses, 0.5, 0)
    assert division.share_noisy == pytest.approx(0.25, abs=0.01)
    assert division.is_clean[:300].all()


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_equal_losses_warn_and_are_all_clean(threshold):
    with pytest.warns(UserWarning, match=r"losses equal .* All pairs count as clean"):
        division = divide([1.0] * 5, threshold)
    assert division.is_clean.all()
    assert division.threshold == threshold


def test_an_empty_clean_side_warns_and_all_are_clean():
    mixture = Given([0.5] * 3)
    with pytest.warns(UserWarning, match=r"No pair reaches .* 0\.6 \(the highest is 0\.5\)"):
        division = divide([1.0, 2.0, 3.0], 0.6, mixture=mixture, monotone=False)
    assert division.is_clean.all()
    assert division.share_noisy == 0


@pytest.mark.parametrize("threshold", [50, -0.1, np.nan])
def test_threshold_is_a_probability(threshold):
    with pytest.raises(ValueError, match="threshold is"):
        Division(np.ones(2), np.ones(2, dtype=bool), threshold)
    with pytest.raises(ValueError, match="threshold is"):
        divide([1.0, 2.0], threshold)


@pytest.mark.parametrize("mask", [np.ones(3, dtype=bool), np.ones(2)])
def test_a_mask_has_a_truth_value_for_each_pair(mask):
    with pytest.raises(ValueError, match="give a truth value for each probability"):
        Division(np.ones(2), mask)


def test_no_pairs_have_no_noise():
    assert Division(np.ones(0), np.ones(0, dtype=bool)).share_noisy == 0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 2.0]), st.sampled_from([0.1, 0.5, 1.0, np.nan])),
        min_size=1,
        max_size=12,
    ),
    st.floats(0, 1),
)
def test_selection_follows_the_rule(pairs, noise_rate):
    losses, probability = zip(*pairs, strict=True)
    chosen = select_clean(losses, probability, noise_rate)
    assert chosen.tolist() == select_by_hand(losses, probability, noise_rate)


@pytest.mark.parametrize(
    ("n", "noise_rate", "n_clean"),
    [(100, 0.8, 20), (200, 0.8, 40), (10, 0.0, 10), (10, 1.0, 1), (3, 0.9, 1), (1, 0.5, 1)],
)
def test_the_number_selected_is_rounded(n, noise_rate, n_clean):
    losses = np.random.default_rng(0).random(n)
    chosen = select_clean(losses, np.zeros(n), noise_rate)
    assert chosen.sum() == n_clean
    assert set(np.flatnonzero(chosen)) == set(np.argsort(losses)[:n_clean])


def test_nothing_is_selected_from_nothing():
    assert select_clean([], [], 0.5).tolist() == []


@pytest.mark.parametrize("noise_rate", [-0.1, 1.5, np.nan, "half"])
def test_the_rate_is_a_share(noise_rate):
    with pytest.raises(ValueError, match="noise_rate is"):
        select_clean([1.0], [1.0], noise_rate)
    with pytest.raises(ValueError, match="noise_rate is"):
        divide([1.0, 2.0], noise_rate=noise_rate)


@pytest.mark.parametrize(
    ("losses", "probability"), [([1.0], [1.0, 0.5]), ([[1.0]], [[1.0]]), (1.0, 1.0)]
)
def test_selection_takes_flat_arrays_of_one_length(losses, probability):
    with pytest.raises(ValueError, match="one entry per pair"):
        select_clean(losses, probability, 0.5)


@pytest.mark.parametrize("mixture", [None, BetaMixture()])
@pytest.mark.parametrize("noise_rate", [0.0, 0.3, 0.8])
def test_a_known_rate_selects_the_smallest_losses(mixture, noise_rate):
    losses = np.random.default_rng(0).beta(2, 3, 100)
    division = divide(losses, mixture=mixture, noise_rate=noise_rate)
    smallest = np.argsort(losses)[: round(100 * (1 - noise_rate))]
    assert set(np.flatnonzero(division.is_clean)) == set(smallest)
    assert division.threshold is None
    assert division.posterior.degenerate is None


def test_a_raw_posterior_can_leave_out_the_smallest_loss():
    mixture = Given([0.1, 0.9, 0.8, 0.2])
    division = divide([1.0, 2.0, 3.0, 4.0], mixture=mixture, noise_rate=0.5, monotone=False)
    assert division.is_clean.tolist() == [False, True, True, False]


def test_an_estimated_rate_is_that_of_the_mixture():
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.beta(2, 12, 70), rng.beta(12, 3, 30)])
    division = divide(losses, mixture=BetaMixture(), noise_rate="estimated")
    assert division.share_noisy == pytest.approx(division.posterior.noise_rate, abs=0.005)
    assert division.share_noisy == pytest.approx(0.3, abs=0.03)


def test_bounds_reach_the_posterior():
    losses = np.random.default_rng(0).random(50)
    division = divide(losses, bounds=(-1.0, 2.0))
    assert division.posterior.lowest_loss == -1
    assert division.posterior.highest_loss == 2


@pytest.mark.parametrize("noise_rate", [0.4, "estimated"])
def test_equal_losses_cannot_be_divided_by_rate(noise_rate):
    with pytest.warns(UserWarning, match="All pairs count as clean"):
        division = divide([1.0] * 5, noise_rate=noise_rate)
    assert division.is_clean.all()
    assert division.threshold is None


# With what is known from elsewhere


def test_a_prior_and_a_posterior_are_averaged():
    own = [0.2, 0.9, 0.6, 0.4]
    division = divide([4.0, 1.0, 2.0, 3.0], mixture=Given(own), monotone=False, threshold=0.6)
    both = with_prior(division, [0.9, 0.2, 0.7, 0.9])
    np.testing.assert_allclose(both.clean_probability, [0.55, 0.55, 0.65, 0.65])
    assert both.is_clean.tolist() == [False, False, True, True]
    assert both.threshold == 0.6
    assert both.posterior is division.posterior


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_who_is_sure_prevails_over_a_posterior(threshold):
    division = divide([1.0, 2.0], mixture=Given([1.0, 0.0]), monotone=False, threshold=threshold)
    both = with_prior(division, [0, 1])
    assert both.is_clean.tolist() == [False, True]
    np.testing.assert_allclose(both.clean_probability, [0.4995, 0.5005])


def test_where_the_mean_leaves_no_clean_pair_the_prior_divides_alone():
    division = divide([1.0, 2.0], mixture=Given([0.6, 0.1]), monotone=False, threshold=0.5)
    both = with_prior(division, [0.3, 0.8])
    assert both.is_clean.tolist() == [False, True]
    np.testing.assert_array_equal(both.clean_probability, [0.3, 0.8])


def test_without_a_mixture_the_prior_divides_alone():
    prior = np.array([0.4, 0.5, 0.7])
    both = with_prior(Division(np.ones(3), np.ones(3, dtype=bool)), prior)
    assert both.is_clean.tolist() == [False, True, True]
    strict = with_prior(Division(np.ones(3), np.ones(3, dtype=bool), 0.6), prior)
    assert strict.is_clean.tolist() == [False, False, True]
    np.testing.assert_array_equal(both.clean_probability, prior)
