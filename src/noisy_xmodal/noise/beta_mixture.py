"""Mixture of beta distributions over losses in [0, 1], which may be skewed.

Source: Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction", ICML 2019,
Section 3.1; used by Ding et al., "Dual-Mix for Cross-Modal Retrieval with Noisy Labels" (DMCM).

| symbol       | in the code                                             |
|--------------|---------------------------------------------------------|
| l_i          | values[i], clipped to [margin, 1 - margin]              |
| K            | n_components                                            |
| lambda_k     | weights_[k]                                             |
| alpha_k      | alphas_[k]                                              |
| beta_k       | betas_[k]                                               |
| gamma_k(l_i) | share[k, i] in the fit, predict_proba(X)[i, k] after it |
| mean of k    | means_[k], alpha_k / (alpha_k + beta_k)                 |
| s_k^2        | variances_[k]                                           |

Many values are binned before the fit, see `BinnedValues`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted

from .binned_values import BinnedValues, blocks, k_means_cuts, weighted_powers

FloatArray = NDArray[np.float64]

# Added to every share, so that a component without values stays defined.
_LEAST_SHARE = 1e-12

_MANY = 2**15  # more values are binned


class BetaMixture(DensityMixin, BaseEstimator):
    """Mixture of beta distributions, an estimator with the interface of scikit-learn.

    Components are sorted by mean, so over losses component 0 is the clean one. The fit is
    deterministic: it starts from the groups of k-means, which start from equal slices of the range.
    Other starts can reach a higher likelihood with a component for a few values at an end of the
    range, and divide worse.

    The M step matches weighted means and variances. It has a closed form, and values at the ends
    have little influence, but it is not exact maximum likelihood, so the likelihood can fall from
    one iteration to the next. The fit has converged when no weight, mean or variance changes by
    more than `tol`; it keeps the parameters with the highest likelihood. More than 32,768 values
    are binned, which changes a parameter by about 1e-8 of its value.

    Args:
        n_components: Number of components.
        max_iter: Largest number of iterations.
        tol: Largest change of a weight, a mean or a variance in a fit that has converged.
        margin: Values are clipped to [margin, 1 - margin]: at 0 and 1 a beta density can be 0 or
            infinite.
        min_variance: Smallest variance of a component, in case it collapses to a point. For a mean
            m close to 0 or 1 it is at most m(1 - m) / 2, half the largest variance for m.

    Attributes:
        weights_: Weight of each component, (n_components,), sums to 1.
        alphas_: First shape parameter of each component, (n_components,).
        betas_: Second shape parameter of each component, (n_components,).
        means_: Mean of each component, (n_components, 1), ascending.
        variances_: Variance of each component, (n_components, 1).
        noise_rate_: Weight of all components but the first, 0 to 1.
        converged_: Whether the fit has converged.
        n_iter_: Number of iterations.
        n_features_in_: Always 1.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> losses = np.concatenate([rng.beta(2, 12, 600), rng.beta(8, 3, 400)])
        >>> round(BetaMixture().fit(losses).noise_rate_, 1)
        0.4
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        max_iter: int = 200,
        tol: float = 1e-4,
        margin: float = 1e-4,
        min_variance: float = 1e-4,
    ) -> None:
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.margin = margin
        self.min_variance = min_variance

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> "BetaMixture":
        """Fit the mixture by expectation and maximisation.

        Args:
            X: Values in [0, 1], (n, 1) or (n,).
            y: Ignored.
            sample_weight: Weight of each value, (n,): 2 counts a value twice, 0 ignores it.

        Returns:
            The mixture itself.

        Raises:
            ValueError: If a value is outside 0 to 1, fewer values than components have a weight,
                or a weight or parameter is invalid.
        """
        self._check_parameters()
        values, weight = _weighted(_unit_values(X), sample_weight)  # (n_weighted,)
        if len(values) < self.n_components:
            raise ValueError(
                f"X has n_samples={len(values)} with a weight, fewer than "
                f"n_components={self.n_components}: give more values or fewer components"
            )
        if len(values) > _MANY:
            bins = BinnedValues(values, weight, self.margin)
            values, weight = bins.points()
            powers = weighted_powers(values, weight)
            groups = bins.groups(self.n_components)
            start = self._moments(groups + _LEAST_SHARE * groups.sum(axis=0))
        else:
            order = np.argsort(values)
            values, weight = np.clip(values[order], self.margin, 1 - self.margin), weight[order]
            powers = weighted_powers(values, weight)
            start = self._match(_groups(values, powers, self.n_components), powers)
        self._store(self._iterate(start, _log_terms(values), powers))
        self.n_features_in_ = 1
        return self

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Posterior of each component.

        Args:
            X: Values in [0, 1], (n, 1) or (n,).

        Returns:
            Probabilities, (n, n_components), the component with the lowest mean first.
        """
        values = self._values(X)
        share = np.empty((len(self.weights_), len(values)))
        for rows, log_joint in self._log_joint(values):
            share[:, rows] = _posterior(log_joint)[1]
        return share.T

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """The most probable component.

        Args:
            X: Values in [0, 1], (n, 1) or (n,).

        Returns:
            Component of each value, (n,).
        """
        values = self._values(X)
        component = np.empty(len(values), dtype=np.int64)
        for rows, log_joint in self._log_joint(values):
            component[rows] = log_joint.argmax(axis=0)
        return component

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """Log density of each value; values within `margin` of 0 or 1 are clipped.

        Args:
            X: Values in [0, 1], (n, 1) or (n,).

        Returns:
            Log densities, (n,).
        """
        values = self._values(X)
        density = np.empty(len(values))
        for rows, log_joint in self._log_joint(values):
            density[rows] = _posterior(log_joint)[0]
        return density

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Mean log density.

        Args:
            X: Values in [0, 1], (n, 1) or (n,).
            y: Ignored.

        Returns:
            The mean over the values.
        """
        return float(self.score_samples(X).mean())

    def _check_parameters(self) -> None:
        for name in ("n_components", "max_iter"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least 1")
        for name in ("tol", "min_variance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give a positive number")
        if not 0 < self.margin < 0.5:
            raise ValueError(f"margin is {self.margin}: give a number between 0 and 0.5")

    def _match(self, share: FloatArray, powers: FloatArray) -> FloatArray:
        """The M step: weights, means and variances, (3, K), from shares of the values, (K, n)."""
        return self._moments((share + _LEAST_SHARE) @ powers)

    def _moments(self, sums: FloatArray) -> FloatArray:
        """Weights, means and variances, (3, K), from the sums over the components, (K, 3)."""
        weights, totals, squares = sums.T  # (K,) each
        means = totals / weights
        floor = np.minimum(self.min_variance, means * (1 - means) / 2)
        variances = np.maximum(squares / weights - means**2, floor)
        return np.array([weights / weights.sum(), means, variances])

    def _iterate(self, start: FloatArray, terms: FloatArray, powers: FloatArray) -> FloatArray:
        """Expectation and maximisation from a start, (3, K); returns the most likely moments."""
        moments = best = start
        highest, moved, n_iter = -np.inf, np.inf, 0
        while n_iter < self.max_iter and moved > self.tol:
            density, share = _posterior(_log_weighted_densities(moments, terms))
            likelihood = float(density @ powers[:, 0])
            if likelihood > highest:
                highest, best = likelihood, moments
            last, moments = moments, self._match(share, powers)
            moved, n_iter = float(np.abs(moments - last).max()), n_iter + 1
        self.converged_, self.n_iter_ = moved <= self.tol, n_iter
        return best

    def _store(self, moments: FloatArray) -> None:
        moments = moments[:, np.argsort(moments[1], kind="stable")]
        self.weights_ = moments[0]  # (K,)
        self.means_, self.variances_ = moments[1:, :, None]  # (K, 1) each
        self.alphas_, self.betas_ = _shapes(moments)  # (K,) each
        self.noise_rate_ = float(np.clip(1 - self.weights_[0], 0, 1))

    def _values(self, X: ArrayLike) -> FloatArray:
        check_is_fitted(self)
        return _unit_values(X)

    def _log_joint(self, values: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
        """Rows and log of the weighted densities, (K, n_rows), of a block of values at a time."""
        moments = np.stack([self.weights_, self.means_[:, 0], self.variances_[:, 0]])  # (3, K)
        for rows in blocks(len(values)):
            block = np.clip(values[rows], self.margin, 1 - self.margin)  # (n_rows,)
            yield rows, _log_weighted_densities(moments, _log_terms(block))


def _unit_values(X: ArrayLike) -> FloatArray:
    array = np.asarray(X, dtype=np.float64)
    if array.ndim != 1 and (array.ndim != 2 or array.shape[1] != 1):
        raise ValueError(f"X has shape {array.shape}: give one value per sample, (n, 1) or (n,)")
    values = array.ravel()  # (n,)
    if len(values) and not (values.min() >= 0 and values.max() <= 1):  # or NaN
        outside = np.flatnonzero(~((values >= 0) & (values <= 1)))
        raise ValueError(
            f"X holds {len(outside)} values outside 0 to 1, first {values[outside[0]]:g} at sample "
            f"{outside[0]}: scale finite values to [0, 1] first, for example by min and max"
        )
    return values


def _weighted(values: FloatArray, sample_weight: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """The values with a positive weight, and their weights, which sum to 1."""
    if sample_weight is None:
        return values, np.broadcast_to(1 / max(len(values), 1), values.shape)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != values.shape:
        raise ValueError(
            f"sample_weight has shape {weight.shape} for {len(values)} samples: give one each, (n,)"
        )
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError("sample_weight has a negative or not finite number: give 0 or more")
    used = weight > 0
    return values[used], weight[used] / weight[used].sum()


def _groups(values: FloatArray, powers: FloatArray, n_groups: int) -> FloatArray:
    """Shares, 0 or 1, (n_groups, n), of sorted values in the groups of k-means."""
    sums = np.insert(np.cumsum(powers, axis=0), 0, 0, axis=0)  # (n + 1, 3)

    def below(cut: float) -> FloatArray:
        return sums[np.searchsorted(values, cut)]

    cuts = k_means_cuts(below, sums[-1], values[0], values[-1], n_groups)
    group = np.searchsorted(cuts, values, side="right")  # (n,)
    return (group == np.arange(n_groups)[:, None]).astype(np.float64)


def _log_terms(values: FloatArray) -> FloatArray:
    return np.stack([np.log(values), np.log1p(-values)])  # (2, n)


def _shapes(moments: FloatArray) -> tuple[FloatArray, FloatArray]:
    _, means, variances = moments
    concentration = means * (1 - means) / variances - 1  # (K,), alpha + beta
    return means * concentration, (1 - means) * concentration


def _log_weighted_densities(moments: FloatArray, terms: FloatArray) -> FloatArray:
    """Log of the weighted component densities, (K, n), from the log terms of values, (2, n)."""
    alphas, betas = _shapes(moments)
    scale = np.log(moments[0]) - betaln(alphas, betas)  # (K,)
    return np.array([alphas - 1, betas - 1]).T @ terms + scale[:, None]


def _posterior(log_joint: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The E step: log density of each value, (n,), and shares of the components in it, (K, n)."""
    top = log_joint.max(axis=0)  # (n,)
    share = np.exp(log_joint - top)  # (K, n)
    total = share.sum(axis=0)  # (n,)
    return top + np.log(total), share / total
