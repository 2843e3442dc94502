"""Clean probability of each pair, from a two-component mixture over the losses.

Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS 2021,
Section 3.1, Eq. 3.

| symbol | in the code                                             |
|--------|---------------------------------------------------------|
| l_i    | losses[i], min-max normalised before the fit            |
| K      | components of the mixture, 2 by default                 |
| beta_k | mixture.weights_[k]                                     |
| phi    | Gaussian density of a component                         |
| w_i    | probability[i], posterior of the component with the lowest mean |
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.mixture import GaussianMixture


@dataclass(frozen=True, eq=False)
class CleanPosterior:
    """Clean probabilities and the fit that they come from.

    Attributes:
        probability: Probability that each pair is clean, (n,), never rising with the loss.
        lowest_loss: Loss that normalisation maps to 0.
        highest_loss: Loss that normalisation maps to 1.
        mixture: The fitted estimator over normalised losses, or None without a fit.
        degenerate: Why no mixture could be fitted, a sentence for the user; None after a fit.
    """

    probability: NDArray[np.float64]
    lowest_loss: float
    highest_loss: float
    mixture: Any | None = None
    degenerate: str | None = None


def clean_posterior(losses: ArrayLike, mixture: Any | None = None, seed: int = 0) -> CleanPosterior:
    """Fit a mixture to the losses and take the posterior of its low-loss component.

    With unequal variances the raw posterior flips back at the ends: the wider component wins at a
    very low and at a very high loss. Here the probability never rises with the loss. Below the
    clean component's mean it is the highest posterior met on the way down from that mean, above
    it the lowest met on the way up.

    Args:
        losses: One loss per pair, (n,).
        mixture: Unfitted estimator with `fit` and `predict_proba` on (n, 1) arrays and, once
            fitted, `means_` with one mean per component; it is fitted in place. By default a
            Gaussian mixture of two components.
        seed: Seed of the default mixture; an estimator of your own carries its own.

    Returns:
        The posterior; all ones, with the reason in `degenerate`, where the losses have fewer than
        two distinct values.

    Raises:
        ValueError: If the losses are not a flat array of finite numbers, or if the mixture returns
            probabilities that are not numbers.
    """
    values = np.asarray(losses, dtype=np.float64)  # (n,)
    if values.ndim != 1:
        raise ValueError(f"losses has shape {values.shape}: give a flat array, one per pair")
    broken = np.flatnonzero(~np.isfinite(values))
    if len(broken):
        raise ValueError(
            f"losses holds {len(broken)} values that are not finite, first at pairs "
            f"{', '.join(map(str, broken[:5]))}: look for a diverged model or pairs never scored"
        )
    if len(values) < 2:
        low = float(values[0]) if len(values) else 0.0
        reason = f"A mixture needs at least two losses and got {len(values)}."
        return CleanPosterior(np.ones(len(values)), low, low, degenerate=reason)
    low, high = float(values.min()), float(values.max())
    if low == high:
        reason = f"All {len(values)} losses equal {low:g}, so they cannot tell pairs apart."
        return CleanPosterior(np.ones(len(values)), low, high, degenerate=reason)

    normalised = (values - low) / (high - low)  # (n,)
    if mixture is None:
        # The published code stops at max_iter=10 and tol=1e-2, converged or not.
        mixture = GaussianMixture(2, max_iter=100, reg_covar=5e-4, random_state=seed)
    mixture.fit(normalised[:, None])
    probability = _monotone_posterior(mixture, normalised)
    return CleanPosterior(probability, low, high, mixture=mixture)


def _monotone_posterior(mixture: Any, normalised: NDArray[np.float64]) -> NDArray[np.float64]:
    means = np.asarray(mixture.means_, dtype=np.float64).ravel()  # (n_components,)
    clean = int(means.argmin())
    order = np.argsort(normalised, kind="stable")  # (n,)
    ordered = normalised[order]  # (n,)
    n_below = int(np.searchsorted(ordered, means[clean]))
    path = np.insert(ordered, n_below, means[clean])  # (n + 1,), the losses and the mean
    posterior = np.asarray(mixture.predict_proba(path[:, None]))[:, clean]  # (n + 1,)
    if not np.isfinite(posterior).all():
        raise ValueError(
            f"{type(mixture).__name__} gives probabilities that are not numbers: "
            "check its fit on the min-max normalised losses"
        )
    below = np.maximum.accumulate(posterior[n_below::-1])[:0:-1]  # (n_below,)
    above = np.minimum.accumulate(posterior[n_below:])[1:]  # (n - n_below,)
    probability = np.empty_like(ordered)
    probability[order] = np.clip(np.concatenate([below, above]), 0.0, 1.0)
    return probability
