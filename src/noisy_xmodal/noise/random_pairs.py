"""How many pairs are wrong, and which, by comparison with random pairs, which are wrong.

A wrong pair is an image with a caption of something else. Any number of such pairs can be made: an
image with the caption of another image. So the component of wrong pairs in the mixture of losses is
measured, not guessed as in a Gaussian or beta mixture; the rest are right pairs.

Sources: Storey, "A direct approach to false discovery rates", JRSS B 2002 (the share); Storey,
Taylor and Siegmund, JRSS B 2004 (the choice of lambda); Efron et al., "Empirical Bayes analysis of
a microarray experiment", JASA 2001 (the posterior); Grenander 1956 (the decreasing density);
Fisher 1932 (-log p, which has power both if all pairs rank slightly low and if few rank very low,
as in data that is mostly wrong); Cameron and Miller, "A practitioner's guide to
cluster-robust inference", J. Human Resources 2015 (the test over images).

| symbol | in the code                                                                   |
|--------|-------------------------------------------------------------------------------|
| p_i    | tail[i]: share of random pairs whose loss is no larger; uniform for a wrong pair |
| pi_0   | share: #{p_i > lambda} / (n (1 - lambda))                                     |
| lambda | cut                                                                           |
| f(p)   | density of all p_i, decreasing; that of wrong pairs is 1                      |
| fdr    | pi_0 / f(p_i): probability that pair i is wrong                               |

This assumes that wrong captions are random ones. pi_0 is an upper bound, and exact if no right pair
looks like a random one. A caption that fits its image in part looks right and counts as right.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, t
from sklearn.isotonic import IsotonicRegression

from .two_groups import PRIOR_SHARE, share_posterior

#: Probability that an uninformative judge passes the test.
LEVEL = 0.001
#: Below this separation too many right pairs look like random ones for an exact share.
LEAST_SEPARATION = 0.85

#: With fewer pairs above lambda Storey's estimate is often 0 by chance.
_FEW_ABOVE = 10
_CUTS = np.linspace(0.5, 0.95, 10)
_BINS = 400
_RESAMPLES = 1000


@dataclass(frozen=True)
class WrongShare:
    """Estimated share of wrong pairs.

    Attributes:
        share: The estimate, 0 to 1; None if the judge cannot tell.
        low: Lower end of its interval; 0 if the judge cannot tell.
        high: Upper end, also valid if the judge cannot tell.
        confidence: Level of the interval.
        separation: Probability that a right pair fits better than a random one, at this share; .5
            for an uninformative judge.
        p_value: Of the test whether the pairs fit better than random ones.
    """

    share: float | None
    low: float
    high: float
    confidence: float
    separation: float
    p_value: float

    @property
    def can_tell(self) -> bool:
        """Whether the judge distinguishes the pairs from random ones, beyond chance."""
        return self.p_value < LEVEL

    @property
    def is_weak(self) -> bool:
        """Whether the judge is too weak for an exact share."""
        return self.separation < LEAST_SEPARATION


def random_pair_tail(losses: ArrayLike, random_losses: ArrayLike) -> NDArray[np.float64]:
    """Share of random pairs that fit at least as well as each pair.

    Args:
        losses: Loss of each pair, (n,).
        random_losses: Losses of images with captions of other images, (n_random,), computed by the
            same model in the same way.

    Returns:
        (n,), above 0, at most 1; uniform over wrong pairs.

    Raises:
        ValueError: If there is no random loss, or a loss is not finite.
    """
    values, others = (np.asarray(array, dtype=np.float64) for array in (losses, random_losses))
    if not others.size:
        raise ValueError("random_losses is empty: give losses of at least one random pair")
    for name, array in (("losses", values), ("random_losses", others)):
        if not np.isfinite(array).all():
            at = int(np.flatnonzero(~np.isfinite(array))[0])
            raise ValueError(f"{name} is {array[at]} at {at}: look for a diverged model")
    others = np.sort(others)
    below = np.searchsorted(others, values, "left")  # (n,)
    ties = np.searchsorted(others, values, "right") - below  # (n,)
    # Equal losses are spread over the random pairs with the same loss, so they are uniform too.
    return (below + _place_among_equals(values) * ties + 0.5) / (len(others) + 1)


def _place_among_equals(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / 2m, 3 / 2m, ... for m equal values in their order, (n,)."""
    order = np.argsort(values, kind="stable")
    _, first, group, counts = np.unique(
        values[order], return_index=True, return_inverse=True, return_counts=True
    )
    place = np.empty(len(values))
    place[order] = (np.arange(len(values)) - first[group] + 0.5) / counts[group]
    return place


def estimate_wrong_share(
    tail: ArrayLike,
    n_random: int,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> WrongShare:
    """Estimate the share of wrong pairs, with an interval that allows for unrecognised right pairs.

    The estimate is the posterior median of the two-groups model, but at most Storey's estimate,
    which is an upper bound; where few pairs are above lambda, at most the upper end of its
    interval. The interval is the union of both: its lower end allows for right pairs that look
    random, its upper end comes from resampling whole groups.

    Args:
        tail: From `random_pair_tail`, (n,).
        n_random: Number of random pairs behind it: they are a sample, too.
        groups: Groups to resample as one, such as the image of each pair, (n,), integers; by
            default each pair is a group.
        confidence: Level of the interval.
        seed: Seed of the resampling.

    Raises:
        ValueError: If there are no pairs or no random pairs.
    """
    p = np.asarray(tail, dtype=np.float64)  # (n,)
    if not p.size or n_random < 1:
        raise ValueError(f"{p.size} pairs and {n_random} random pairs: give at least one of each")
    group = np.arange(len(p)) if groups is None else np.unique(groups, return_inverse=True)[1]
    bound, cut = _largest_share(p)
    low, high = _interval(p > cut, cut, n_random, group, confidence, seed)
    posterior = share_posterior(p, group, confidence)
    share = min(high if (p > cut).sum() < _FEW_ABOVE else bound, posterior.median)
    right = (float(p.mean()) - share / 2) / max(1 - share, 1e-12)  # mean p of the right pairs
    separation = float(np.clip(1 - right, 0.0, 1.0)) if share < 1 else 0.5
    p_value = _chance_of_such_fits(p, n_random, group)
    low, high = min(low, posterior.low, share), max(high, posterior.high, share)
    if p_value >= LEVEL:
        return WrongShare(None, 0.0, high, confidence, separation, p_value)
    return WrongShare(share, low, high, confidence, separation, p_value)


def _chance_of_such_fits(p: NDArray[np.float64], n_random: int, group: NDArray[np.int64]) -> float:
    """P-value of a one-sided test of mean -log p, which is 1 for random pairs, over groups."""
    n_groups = int(group.max()) + 1
    if n_groups < 2:
        return 1.0
    excess = -np.log(p) - 1  # (n,)
    sums = np.bincount(group, weights=excess - excess.mean())  # (n_groups,)
    variance = float(sums @ sums) * n_groups / (n_groups - 1) / len(p) ** 2 + 1 / n_random
    return float(t.sf(excess.mean() / np.sqrt(variance), n_groups - 1))


def _largest_share(p: NDArray[np.float64]) -> tuple[float, float]:
    """Storey's estimate, which assumes that no right pair looks random, and its lambda."""
    above = np.array([(p > cut).mean() for cut in _CUTS])  # (n_cuts,)
    shares = above / (1 - _CUTS)
    variance = above * (1 - above) / len(p) / (1 - _CUTS) ** 2
    best = int(np.argmin(variance + (shares - np.quantile(shares, 0.1)) ** 2))
    return float(min(shares[best], 1.0)), float(_CUTS[best])


def _interval(
    is_above: NDArray[np.bool_],
    cut: float,
    n_random: int,
    group: NDArray[np.int64],
    confidence: float,
    seed: int,
) -> tuple[float, float]:
    """Interval of Storey's estimate by resampling groups.

    The random pairs are drawn anew with each sample, which scipy's `bootstrap` does not do.
    """
    sizes = np.bincount(group)  # (n_groups,)
    counts = np.bincount(group, weights=is_above)  # (n_groups,)
    rng = np.random.default_rng(seed)
    shares = np.empty(_RESAMPLES)
    for draw in range(_RESAMPLES):
        sample = rng.integers(len(sizes), size=len(sizes))
        beyond = max(rng.binomial(n_random, 1 - cut), 1) / n_random
        shares[draw] = counts[sample].sum() / sizes[sample].sum() / beyond
    low, high = np.quantile(shares, [(1 - confidence) / 2, (1 + confidence) / 2])
    # With few pairs above the cut, or none, resampling understates the spread: use the exact
    # binomial interval if it is wider.
    exact = binomtest(int(is_above.sum()), len(is_above)).proportion_ci(confidence)
    low, high = min(low, exact.low / (1 - cut)), max(high, exact.high / (1 - cut))
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))


def clean_given_share(tail: ArrayLike, share: float | None) -> NDArray[np.float64]:
    """Probability that each pair is right: 1 - fdr, never rising with the loss.

    Args:
        tail: From `random_pair_tail`, (n,).
        share: Share of wrong pairs, 0 to 1; None if the judge cannot tell: then all pairs have the
            prior probability, 1 - `PRIOR_SHARE`.

    Returns:
        (n,), 0 to 1.
    """
    return clean_by_density(tail, tail_density(tail), share)


def tail_density(tail: ArrayLike) -> NDArray[np.float64]:
    """Decreasing density of the tails of pairs, in bins of equal width.

    Args:
        tail: From `random_pair_tail`, (n,).

    Returns:
        (n_bins,).
    """
    p = np.asarray(tail, dtype=np.float64)  # (n,)
    n_bins = int(np.clip(len(p) // 25, 1, _BINS))
    height = np.histogram(p, bins=n_bins, range=(0, 1), density=True)[0]  # (n_bins,)
    density = IsotonicRegression(increasing=False).fit_transform(np.arange(n_bins), height)
    return np.asarray(density, dtype=np.float64)


def clean_by_density(
    tail: ArrayLike, density: NDArray[np.float64], share: float | None
) -> NDArray[np.float64]:
    """As `clean_given_share`, by the density of a larger set of pairs.

    Args:
        tail: From `random_pair_tail`, (n,).
        density: From `tail_density`, (n_bins,).
        share: See `clean_given_share`.

    Returns:
        (n,), 0 to 1.
    """
    p = np.asarray(tail, dtype=np.float64)  # (n,)
    if share is None:
        return np.full(len(p), 1 - PRIOR_SHARE)
    own = np.minimum((p * len(density)).astype(np.int64), len(density) - 1)  # (n,)
    probability: NDArray[np.float64] = np.clip(
        1 - share / np.maximum(density[own], 1e-12), 0.0, 1.0
    )
    return probability
