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
    """Clean probabilities and the fit behind them.

    Attributes:
        probability: Probability that each pair is clean, (n,).
        lowest_loss: Loss that normalisation maps to 0.
        highest_loss: Loss that normalisation maps to 1.
        mixture: The fitted estimator over normalised losses, or None without a fit.
        degenerate: Why no mixture could be fitted, as a sentence; None after a fit.
    """

    probability: NDArray[np.float64]
    lowest_loss: float
    highest_loss: float
    mixture: Any | None = None
    degenerate: str | None = None

    @property
    def noise_rate(self) -> float:
        """Share of noisy pairs: the weight of all components but the clean one, 0 to 1.

        It is 0 without a fit.

        Raises:
            ValueError: If the mixture has no `weights_`.
        """
        if self.mixture is None:
            return 0.0
        if not hasattr(self.mixture, "weights_"):
            raise ValueError(
                f"{type(self.mixture).__name__} has no weights_ after its fit: "
                "use a mixture that has them, or give a noise rate"
            )
        weights = np.asarray(self.mixture.weights_, dtype=np.float64)  # (n_components,)
        return float(np.clip(1 - weights[_clean_component(self.mixture)], 0, 1))


def clean_posterior(
    losses: ArrayLike,
    mixture: Any | None = None,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
    monotone: bool = True,
) -> CleanPosterior:
    """Fit a mixture to the losses and take the posterior of its low-loss component.

    With unequal variances the raw posterior is not monotone: at very low and at very high losses
    the wider component has the larger density. The monotone probability never rises with the loss:
    below the mean of the clean component it is the running maximum of the posterior from that mean
    downwards, above it the running minimum upwards.

    Args:
        losses: One loss per pair, (n,).
        mixture: Unfitted estimator with `fit` and `predict_proba` on (n, 1) arrays and, after the
            fit, `means_` with one mean per component; it is fitted in place. By default a
            Gaussian mixture of two components. A `BetaMixture` suits skewed losses.
        seed: Seed of the default mixture; other estimators have their own.
        bounds: Losses that normalisation maps to 0 and 1, such as those of two modalities
            together; losses outside are clipped. By default the lowest and the highest loss.
        monotone: Make the probability non-increasing in the loss. False gives the raw posterior,
            as published.

    Returns:
        The posterior; all ones, with the reason in `degenerate`, if the losses have fewer than
        two distinct values or are fewer than the components.

    Raises:
        ValueError: If the losses are not a flat array of finite numbers, the bounds are not two
            finite numbers in order, or the mixture returns probabilities that are not numbers.
    """
    values = _flat_losses(losses)  # (n,)
    low, high = _bounds(values, bounds)
    normalised = np.zeros_like(values)  # (n,)
    if low < high:
        normalised = values - low
        normalised /= high - low
        np.clip(normalised, 0, 1, out=normalised)
    if mixture is None:
        # The published code stops at max_iter=10 and tol=1e-2, converged or not.
        mixture = GaussianMixture(2, max_iter=100, reg_covar=5e-4, random_state=seed)
    reason = _why_degenerate(values, normalised, mixture)
    if reason is not None:
        return CleanPosterior(np.ones_like(values), low, high, degenerate=reason)
    mixture.fit(normalised[:, None])
    if monotone:
        probability = _monotone_posterior(mixture, normalised)
    else:
        probability = _raw_posterior(mixture, normalised)
    return CleanPosterior(probability, low, high, mixture=mixture)


def _flat_losses(losses: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(losses, dtype=np.float64)  # (n,)
    if values.ndim != 1:
        raise ValueError(f"losses has shape {values.shape}: give a flat array, one per pair")
    broken = np.flatnonzero(~np.isfinite(values))
    if len(broken):
        raise ValueError(
            f"losses holds {len(broken)} values that are not finite, first at pairs "
            f"{', '.join(map(str, broken[:5]))}: look for a diverged model or pairs without a score"
        )
    return values


def _bounds(values: NDArray[np.float64], bounds: tuple[float, float] | None) -> tuple[float, float]:
    if bounds is None:
        return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    low, high = map(float, bounds)
    if not (np.isfinite([low, high]).all() and low <= high):
        raise ValueError(f"bounds is {bounds}: give two finite losses, the lower one first")
    return low, high


def _why_degenerate(
    values: NDArray[np.float64], normalised: NDArray[np.float64], mixture: Any
) -> str | None:
    needed = max(2, getattr(mixture, "n_components", 2))
    if len(values) < needed:
        return f"A mixture of {needed} components needs as many losses and got {len(values)}."
    if normalised.min() < normalised.max():
        return None
    if values.min() == values.max():
        return f"All {len(values)} losses equal {values[0]:g}, so they cannot tell pairs apart."
    return f"All {len(values)} losses are equal after clipping, so they cannot tell pairs apart."


def _clean_component(mixture: Any) -> int:
    return int(np.asarray(mixture.means_, dtype=np.float64).ravel().argmin())


def _raw_posterior(mixture: Any, normalised: NDArray[np.float64]) -> NDArray[np.float64]:
    posterior = np.asarray(mixture.predict_proba(normalised[:, None]), dtype=np.float64)
    clean = posterior[:, _clean_component(mixture)]  # (n,)
    if not np.isfinite(clean).all():
        raise ValueError(
            f"{type(mixture).__name__} gives probabilities that are not numbers: "
            "check its fit on the min-max normalised losses"
        )
    return np.clip(clean, 0.0, 1.0)


def _monotone_posterior(mixture: Any, normalised: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = float(np.min(mixture.means_))  # of the clean component
    order = _stable_order(normalised)  # (n,)
    ordered = normalised[order]  # (n,)
    n_below = int(np.searchsorted(ordered, mean))
    path = np.insert(ordered, n_below, mean)  # (n + 1,), the losses and the mean
    posterior = _raw_posterior(mixture, path)  # (n + 1,)
    below = np.maximum.accumulate(posterior[n_below::-1])[:0:-1]  # (n_below,)
    above = np.minimum.accumulate(posterior[n_below:])[1:]  # (n - n_below,)
    probability = np.empty_like(ordered)
    probability[order] = np.concatenate([below, above])
    return probability


def _stable_order(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Stable order of values from 0 to 1; sorting by 16 bits first halves the time."""
    roughly = np.argsort((values * 65535).astype(np.uint16), kind="stable")  # (n,)
    return roughly[np.argsort(values[roughly], kind="stable")]
