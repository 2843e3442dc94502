"""Beta mixture: recovery, its steps by hand, extreme values and degenerate samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from noisy_xmodal.noise import BetaMixture, beta_mixture, binned_values, clean_posterior

FITTED = ("weights_", "alphas_", "betas_", "means_", "variances_")


def skewed(n=4000, share=0.3, seed=0):
    rng = np.random.default_rng(seed)
    is_noisy = rng.random(n) < share
    return np.where(is_noisy, rng.beta(9, 3, n), rng.beta(1.2, 9, n)), is_noisy


def density_by_hand(mixture, values):
    parts = zip(mixture.weights_, mixture.alphas_, mixture.betas_, strict=True)
    return np.stack([weight * beta.pdf(values, a, b) for weight, a, b in parts], axis=1)


def fit_by_hand(values, n_iter, margin=1e-4, floor=1e-4):
    """Expectation and maximisation over two components, in loops, from k-means."""
    values = [min(max(v, margin), 1 - margin) for v in values]
    low, high = min(values), max(values)
    centres = [low + (high - low) / 4, high - (high - low) / 4]
    for _ in range(100):
        group = [int(v >= sum(centres) / 2) for v in values]
        for k in range(2):
            centres[k] = np.mean([v for v, g in zip(values, group, strict=True) if g == k])
    share = [[1 - g, g] for g in group]
    seen = []
    for _ in range(n_iter):
        parts = []
        for k in range(2):
            mass = sum(s[k] for s in share)
            mean = sum(s[k] * v for s, v in zip(share, values, strict=True)) / mass
            spread = sum(s[k] * (v - mean) ** 2 for s, v in zip(share, values, strict=True)) / mass
            size = mean * (1 - mean) / max(spread, floor) - 1
            parts.append((mass / len(values), mean * size, (1 - mean) * size))
        joint = [[w * beta.pdf(v, a, b) for w, a, b in parts] for v in values]
        share = [[j / sum(row) for j in row] for row in joint]
        seen.append((np.mean([np.log(sum(row)) for row in joint]), parts))
    return max(seen, key=lambda entry: entry[0])[1]


def test_known_parameters_are_recovered():
    losses, is_noisy = skewed(40_000)
    mixture = BetaMixture().fit(losses[:, None])
    assert mixture.converged_
    assert mixture.weights_ == pytest.approx([0.7, 0.3], abs=0.01)
    assert mixture.alphas_ == pytest.approx([1.2, 9], rel=0.05)
    assert mixture.betas_ == pytest.approx([9, 3], rel=0.05)
    assert mixture.means_.ravel() == pytest.approx([1.2 / 10.2, 0.75], abs=0.01)
    assert mixture.variances_.ravel() == pytest.approx([beta.var(1.2, 9), beta.var(9, 3)], rel=0.05)
    assert mixture.noise_rate_ == pytest.approx(0.3, abs=0.01)
    assert (mixture.predict(losses) == is_noisy).mean() > 0.98


def test_three_components_are_recovered():
    rng = np.random.default_rng(0)
    parts = [rng.beta(30, 3, 3000), rng.beta(2, 40, 5000), rng.beta(20, 20, 2000)]
    mixture = BetaMixture(3).fit(np.concatenate(parts))
    assert mixture.weights_ == pytest.approx([0.5, 0.2, 0.3], abs=0.01)
    assert mixture.noise_rate_ == pytest.approx(0.5, abs=0.01)


def test_one_component_matches_the_moments():
    values = np.random.default_rng(0).beta(2, 3, 500)
    mixture = BetaMixture(1).fit(values)
    assert mixture.means_[0, 0] == pytest.approx(values.mean())
    assert mixture.variances_[0, 0] == pytest.approx(values.var())
    assert mixture.noise_rate_ == 0
    assert mixture.predict_proba(values).tolist() == [[1.0]] * 500


@pytest.mark.parametrize("n_iter", [1, 2, 7])
def test_iterations_follow_the_formulas(n_iter):
    values = np.append(skewed(80, seed=2)[0], [0, 1])
    mixture = BetaMixture(max_iter=n_iter, tol=1e-300).fit(values)
    by_hand = np.array(fit_by_hand(values, n_iter))
    assert mixture.n_iter_ == n_iter
    assert not mixture.converged_
    fitted = np.stack([mixture.weights_, mixture.alphas_, mixture.betas_], axis=1)
    assert fitted == pytest.approx(by_hand, rel=1e-6)


def test_densities_are_those_of_scipy():
    losses, _ = skewed(500)
    mixture = BetaMixture().fit(losses)
    values = np.linspace(0.001, 0.999, 50)
    parts = density_by_hand(mixture, values)
    assert mixture.score_samples(values) == pytest.approx(np.log(parts.sum(axis=1)))
    assert mixture.score(values) == pytest.approx(np.log(parts.sum(axis=1)).mean())
    posterior = parts / parts.sum(axis=1, keepdims=True)
    assert mixture.predict_proba(values) == pytest.approx(posterior)
    assert (mixture.predict(values) == posterior.argmax(axis=1)).all()


def test_a_converged_fit_stays_where_it_is():
    losses, _ = skewed(1000)
    mixture = BetaMixture(tol=1e-9, max_iter=1000).fit(losses)
    share = mixture.predict_proba(losses)
    means = (share * losses[:, None]).sum(axis=0) / share.sum(axis=0)
    assert mixture.converged_
    assert mixture.weights_ == pytest.approx(share.mean(axis=0), abs=1e-3)
    assert mixture.means_.ravel() == pytest.approx(means, abs=1e-3)


def test_components_are_sorted_by_mean():
    losses, _ = skewed()
    mixture = BetaMixture().fit(losses)
    mirror = BetaMixture().fit(1 - losses)
    assert (np.diff(mixture.means_.ravel()) > 0).all()
    assert mirror.means_.ravel() == pytest.approx(1 - mixture.means_.ravel()[::-1], abs=1e-3)
    assert mirror.noise_rate_ == pytest.approx(1 - mixture.noise_rate_, abs=1e-3)


def test_both_shapes_of_the_values_fit_alike():
    losses, _ = skewed(200)
    flat, column = BetaMixture().fit(losses), BetaMixture().fit(losses[:, None])
    assert (flat.weights_ == column.weights_).all()
    assert (flat.predict_proba(losses) == column.predict_proba(losses[:, None])).all()


def test_fits_repeat_whatever_the_order():
    losses, _ = skewed(300)
    shuffled = np.random.default_rng(1).permutation(losses)
    fits = [BetaMixture().fit(values) for values in (losses, losses, shuffled)]
    for name in FITTED:
        assert (getattr(fits[0], name) == getattr(fits[1], name)).all()
        assert (getattr(fits[0], name) == getattr(fits[2], name)).all()


def test_weights_count_as_repetition():
    losses, _ = skewed(150)
    counts = np.random.default_rng(3).integers(0, 4, 150)
    weighted = BetaMixture().fit(losses, sample_weight=counts)
    repeated = BetaMixture().fit(np.repeat(losses, counts))
    scaled = BetaMixture().fit(losses, sample_weight=counts / 7)
    assert weighted.n_iter_ == repeated.n_iter_
    for name in FITTED:
        expected = pytest.approx(getattr(repeated, name), rel=1e-6)
        assert getattr(weighted, name) == expected
        assert getattr(scaled, name) == expected


@pytest.mark.parametrize(
    "values",
    [
        [0.4] * 10,
        [0.0] * 10,
        [1.0] * 5,
        [0.0, 1e-5, 2e-5, 5e-5],
        [0.0, 1.0],
        [0.2, 0.2, 0.2, 0.7],
        [0.0] * 500 + [1.0],
        [0.5, np.nextafter(0.5, 1)],
        np.append(np.linspace(0.3, 0.4, 200), 1.0),
        np.linspace(0, 1, 64) ** 30,
    ],
)
@pytest.mark.parametrize("n_components", [1, 2])
@pytest.mark.parametrize("many", [0, 10**9])
def test_degenerate_samples_give_probabilities(values, n_components, many, monkeypatch):
    monkeypatch.setattr(beta_mixture, "_MANY", many)
    with np.errstate(all="raise", under="ignore"):
        mixture = BetaMixture(n_components).fit(values)
        posterior = mixture.predict_proba(np.linspace(0, 1, 1001))
    for name in FITTED:
        assert np.isfinite(getattr(mixture, name)).all()
    assert (mixture.alphas_ > 0).all()
    assert (mixture.betas_ > 0).all()
    assert np.isfinite(posterior).all()
    assert posterior.sum(axis=1) == pytest.approx(np.ones(1001))
    assert 0 <= mixture.noise_rate_ <= 1


def test_two_distinct_values_part():
    mixture = BetaMixture().fit([0.1] * 6 + [0.8] * 2)
    assert mixture.noise_rate_ == pytest.approx(0.25)
    assert mixture.predict_proba([0.1, 0.8]) == pytest.approx(np.eye(2), abs=1e-6)
    assert mixture.variances_.ravel() == pytest.approx([1e-4, 1e-4])


def test_more_components_than_groups_are_no_trouble():
    posterior = BetaMixture(4).fit([0.1] * 6 + [0.8] * 2).predict_proba([0, 0.1, 0.8, 1])
    assert posterior.sum(axis=1) == pytest.approx(np.ones(4))


@pytest.mark.parametrize("shapes", [(2, 12, 8, 3), (2, 5, 5, 3), (1.1, 25, 3, 4), (0.3, 6, 7, 0.4)])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_values_fit_in_bins_as_without(shapes, weighted, monkeypatch):
    a, b, c, d = shapes
    rng = np.random.default_rng(0)
    values = np.concatenate([[0, 1], rng.beta(a, b, 24_000), rng.beta(c, d, 16_000)])
    weight = rng.integers(1, 4, len(values)) if weighted else None
    binned = BetaMixture().fit(values, sample_weight=weight)
    monkeypatch.setattr(beta_mixture, "_MANY", 10**9)
    exact = BetaMixture().fit(values, sample_weight=weight)
    assert binned.n_iter_ == exact.n_iter_
    assert not np.array_equal(binned.means_, exact.means_)  # else there were no bins
    for name in FITTED:
        assert getattr(binned, name) == pytest.approx(getattr(exact, name), rel=1e-6)
    assert binned.score(values) == pytest.approx(exact.score(values), rel=1e-6)


def test_three_components_fit_in_bins_as_without(monkeypatch):
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.beta(30, 3, 3000), rng.beta(2, 40, 5000), rng.beta(20, 20, 2000)])
    exact = BetaMixture(3).fit(values)
    monkeypatch.setattr(beta_mixture, "_MANY", 1000)
    binned = BetaMixture(3).fit(values)
    for name in FITTED:
        assert getattr(binned, name) == pytest.approx(getattr(exact, name), rel=1e-6)


def test_values_are_judged_alike_in_any_block(monkeypatch):
    losses, _ = skewed(500)
    mixture = BetaMixture().fit(losses)
    whole = [judge(losses) for judge in (mixture.predict_proba, mixture.score_samples)]
    monkeypatch.setattr(binned_values, "_BLOCK", 7)
    assert mixture.predict_proba(losses) == pytest.approx(whole[0], rel=1e-12)
    assert mixture.score_samples(losses) == pytest.approx(whole[1], rel=1e-12)
    assert (mixture.predict(losses) == whole[0].argmax(axis=1)).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_any_values_give_probabilities(values):
    mixture = BetaMixture(max_iter=30).fit(values)
    posterior = mixture.predict_proba([*values, 0, 1])
    assert np.isfinite(posterior).all()
    assert posterior.sum(axis=1) == pytest.approx(np.ones(len(values) + 2))
    assert mixture.means_[0] <= mixture.means_[1]


def test_the_margin_and_the_smallest_variance_are_kept():
    mixture = BetaMixture(margin=0.01, min_variance=0.003).fit([0.0] * 5 + [0.5] * 5)
    assert mixture.means_.ravel() == pytest.approx([0.01, 0.5], abs=0.002)
    assert mixture.variances_.ravel() == pytest.approx([0.003, 0.003])
    assert mixture.score_samples([0.0]) == mixture.score_samples([0.01])


def test_parameters_follow_scikit_learn():
    mixture = BetaMixture(3, max_iter=7, tol=0.1, margin=0.2, min_variance=0.3)
    assert mixture.get_params() == {
        "n_components": 3,
        "max_iter": 7,
        "tol": 0.1,
        "margin": 0.2,
        "min_variance": 0.3,
    }
    copy = clone(mixture.set_params(n_components=2).fit(skewed(50)[0]))
    assert copy.get_params() == mixture.get_params()
    assert not hasattr(copy, "weights_")
    with pytest.raises(NotFittedError):
        copy.predict_proba([0.5])


def test_the_clean_posterior_takes_it():
    losses, is_noisy = skewed(2000)
    posterior = clean_posterior(10 * losses - 3, BetaMixture())
    assert ((posterior.probability >= 0.5) == ~is_noisy).mean() > 0.97
    assert posterior.noise_rate == posterior.mixture.noise_rate_


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.1, 1.2, -3.0], "2 values outside 0 to 1, first 1.2 at sample 1"),
        ([0.1, np.nan], "1 values outside 0 to 1, first nan at sample 1"),
        ([0.1, np.inf], "first inf at sample 1"),
        ([[0.1, 0.2]], r"shape \(1, 2\)"),
        (0.3, r"shape \(\)"),
        ([0.3], "n_samples=1 with a weight, fewer than n_components=2"),
        ([], "n_samples=0"),
    ],
)
def test_values_that_cannot_be_fitted_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        BetaMixture().fit(values)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, 1], r"shape \(2,\) for 3 samples"),
        ([1, 1, -1], "negative"),
        ([1, 1, np.nan], "negative or not finite"),
        ([1, 0, 0], "n_samples=1"),
        ([0, 0, 0], "n_samples=0"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weight, message):
    with pytest.raises(ValueError, match=message):
        BetaMixture().fit([0.1, 0.5, 0.9], sample_weight=weight)


@pytest.mark.parametrize(
    "parameter",
    [
        {"n_components": 0},
        {"max_iter": 0},
        {"tol": 0},
        {"min_variance": float("nan")},
        {"margin": 0},
        {"margin": 0.5},
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameter):
    with pytest.raises(ValueError, match=f"{next(iter(parameter))} is "):
        BetaMixture(**parameter).fit([0.1, 0.9])


def test_values_outside_are_refused_after_the_fit_too():
    mixture = BetaMixture().fit([0.1, 0.2, 0.8])
    with pytest.raises(ValueError, match="outside 0 to 1"):
        mixture.predict_proba([[1.5]])
