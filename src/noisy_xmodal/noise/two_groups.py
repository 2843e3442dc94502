"""The share of wrong pairs if right pairs can look like random ones.

Ranks alone give an upper bound: a right pair that the judge does not recognise looks wrong. How
many there are follows from how well the judge recognises the others, because the right pairs of a
judge are alike: if most rank far before the random pairs, few rank among them; if most rank
slightly before, many do. In the two-groups model

    f(p) = pi + (1 - pi) g(p),    probit(p) ~ N(-d, s^2) under g

right and random pairs are binormal, as in ROC analysis. The posterior of pi over a grid of
(pi, d, s) is close to the share from ranks if d is large, and equals the prior if d is 0.

Measured on right pairs of Flickr8k, with small models that separate .56 to .90 of them from random
ones, s is .9 to 1.0. Estimates of wrong pairs in web collections are 3 to 20 % (Sharma et al., ACL
2018; Huang et al., NeurIPS 2021), hence the prior Beta(1, 4), whose mean is the upper end.

Sources: Efron, "Microarrays, empirical Bayes and the two-groups model", Statistical Science 2008;
Dorfman and Alf, "Maximum-likelihood estimation of parameters of signal-detection theory", J. Math.
Psychology 1969 (binormal ranks); Ribatet, Cooley and Davison, "Bayesian inference from composite
likelihoods", Statistica Sinica 2012 (pairs of an image are dependent: their likelihood is raised to
one over the design effect).

| symbol | in the code |
|--------|-------------|
| pi     | `_SHARES`   |
| d      | `_AHEAD`    |
| s      | `_SPREADS`  |
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

#: Parameters of the beta prior of the share, and its mean.
_PRIOR = (1.0, 4.0)
PRIOR_SHARE = _PRIOR[0] / sum(_PRIOR)
_USUAL_SPREAD, _SPREAD_ERROR = 1.0, 0.06

_SHARES = np.linspace(0, 1, 201)
_AHEAD = np.concatenate([np.linspace(0, 3, 31), np.linspace(3.25, 5, 8)])
_SPREADS = np.linspace(0.85, 1.15, 7)
#: Edges of the bins of pairs, in probits. The best pairs are one bin: their lead says nothing about
#: pairs that the judge hardly recognises.
_EDGES = np.concatenate([[-np.inf], np.linspace(-2, 2.5, 31), [np.inf]])
#: Largest number of pairs that count: right pairs are only approximately binormal.
_MOST_PAIRS = 5000.0


@dataclass(frozen=True)
class SharePosterior:
    """Posterior of the share of wrong pairs.

    Attributes:
        median: Posterior median.
        low: Lower end of the interval of highest density.
        high: Upper end.
    """

    median: float
    low: float
    high: float


def share_posterior(
    tail: NDArray[np.float64], groups: NDArray[np.int64], confidence: float
) -> SharePosterior:
    """Posterior of the share of wrong pairs.

    Args:
        tail: Rank of each pair among random ones, as a share, (n,).
        groups: Groups of dependent pairs, numbered from 0 without gaps, (n,).
        confidence: Level of the interval.
    """
    counts = np.histogram(norm.ppf(tail), _EDGES)[0] / design_effect(tail, groups)  # (n_bins,)
    counts *= min(1.0, _MOST_PAIRS / counts.sum())
    random = np.diff(norm.cdf(_EDGES))  # (n_bins,)
    scaled = (_EDGES + _AHEAD[:, None, None]) / _SPREADS[:, None]
    right = np.diff(norm.cdf(scaled), axis=-1)  # (n_ahead, n_spreads, n_bins)
    log_posterior = np.empty((len(_SHARES), len(_AHEAD), len(_SPREADS)))
    for at, share in enumerate(_SHARES):
        mixture = share * random + (1 - share) * right
        log_posterior[at] = np.log(np.maximum(mixture, 1e-300)) @ counts
    log_posterior += np.log(_prior())
    weights = np.exp(log_posterior - log_posterior.max()).sum(axis=(1, 2))  # (n_shares,)
    weights /= weights.sum()
    densest = np.argsort(-weights / _widths(), kind="stable")
    inside = _SHARES[densest[: 1 + np.searchsorted(np.cumsum(weights[densest]), confidence)]]
    median = float(np.interp(0.5, np.cumsum(weights) - weights / 2, _SHARES))
    return SharePosterior(median, float(inside.min()), float(inside.max()))


def design_effect(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Number of dependent values per independent one, at least 1 (Kish 1965).

    Args:
        values: (n,).
        groups: See `share_posterior`.
    """
    residual = values - values.mean()
    spread = float(residual @ residual)
    if spread == 0:
        return 1.0
    sums = np.bincount(groups, weights=residual)  # (n_groups,)
    return max(1.0, float(sums @ sums) / spread)


def _widths() -> NDArray[np.float64]:
    """Part of the unit interval that each share represents, (n_shares,)."""
    return np.diff(_between())


def _between() -> NDArray[np.float64]:
    return np.concatenate([[0.0], (_SHARES[1:] + _SHARES[:-1]) / 2, [1.0]])


def _prior() -> NDArray[np.float64]:
    """Mass of each point of the grid, (n_shares, n_ahead, n_spreads)."""
    share = np.diff(beta.cdf(_between(), *_PRIOR))
    spread = norm.pdf(_SPREADS, _USUAL_SPREAD, _SPREAD_ERROR)
    mass: NDArray[np.float64] = (
        np.maximum(share, 1e-300)[:, None, None] * np.gradient(_AHEAD)[:, None] * spread
    )
    return mass
