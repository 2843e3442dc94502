"""Co-divide: which pairs count as clean, and with what probability.

Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS 2021,
Section 3.1 and Algorithm 1, lines 6-7. Selection by rate: Ding et al., "Dual-Mix for Cross-Modal
Retrieval with Noisy Labels" (DMCM).

| symbol | in the code          |
|--------|----------------------|
| w_i    | clean_probability[i] |
| S_c    | pairs with is_clean  |
| S_n    | the other pairs      |
| r      | noise_rate           |
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .mixture import CleanPosterior, clean_posterior

#: Least clean probability of a clean pair.
_THRESHOLD = 0.5
#: What a mixture is never surer of than.
_DOUBT = 1e-3


@dataclass(frozen=True, eq=False)
class Division:
    """A clean and a noisy side ("co-divide").

    Attributes:
        clean_probability: Probability that each pair is clean, (n,).
        is_clean: True for pairs judged clean, (n,).
        threshold: Pairs of at least this probability count as clean, 0 to 1; None if a noise rate
            selected them.
        posterior: The fit behind the probabilities, if any.
    """

    clean_probability: NDArray[np.floating]
    is_clean: NDArray[np.bool_]
    threshold: float | None = None
    posterior: CleanPosterior | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None:
            _check_threshold(self.threshold)
        if self.is_clean.dtype != bool or self.is_clean.shape != self.clean_probability.shape:
            raise ValueError(
                f"is_clean has shape {self.is_clean.shape} and type {self.is_clean.dtype}: give a "
                f"truth value for each probability, shape {self.clean_probability.shape}"
            )

    @property
    def share_noisy(self) -> float:
        """Share of the pairs judged noisy, 0 to 1."""
        return float(1 - self.is_clean.mean()) if len(self.is_clean) else 0.0


def select_clean(
    losses: ArrayLike, clean_probability: ArrayLike, noise_rate: float
) -> NDArray[np.bool_]:
    """Select the round((1 - noise_rate) * n) most probably clean pairs, at least one.

    Ties are resolved by the smaller loss, then by the earlier pair. Probabilities that are NaN come
    last, in the order of their losses.

    Args:
        losses: One loss per pair, (n,).
        clean_probability: Probability that each pair is clean, (n,).
        noise_rate: Share of noisy pairs, 0 to 1; at 0 all pairs are clean.

    Returns:
        True for the selected pairs, (n,).

    Raises:
        ValueError: If losses and probabilities are not flat arrays of one length, or the rate is
            outside 0 to 1.
    """
    values = np.asarray(losses, dtype=np.float64)  # (n,)
    probability = np.asarray(clean_probability, dtype=np.float64)  # (n,)
    if values.ndim != 1 or values.shape != probability.shape:
        raise ValueError(
            f"losses has shape {values.shape} and clean_probability {probability.shape}: "
            "give flat arrays with one entry per pair"
        )
    _check_noise_rate(noise_rate)
    if not len(values):
        return np.zeros(0, dtype=bool)
    n_clean = max(1, round((1 - noise_rate) * len(values)))
    doubt = np.where(np.isnan(probability), np.inf, -probability)  # (n,)
    most = np.partition(doubt, n_clean - 1)[n_clean - 1]
    is_clean = doubt < most  # (n,)
    tied = np.flatnonzero(doubt == most)  # (n_tied,)
    by_loss = tied[np.argsort(values[tied], kind="stable")]  # (n_tied,)
    is_clean[by_loss[: n_clean - np.count_nonzero(is_clean)]] = True
    return is_clean


def divide(
    losses: ArrayLike,
    threshold: float = _THRESHOLD,
    seed: int = 0,
    *,
    mixture: Any | None = None,
    noise_rate: float | Literal["estimated"] | None = None,
    bounds: tuple[float, float] | None = None,
    monotone: bool = True,
) -> Division:
    """Divide pairs by a mixture over their losses.

    If the losses cannot be divided, because no mixture fits or no pair would be clean, all pairs
    count as clean, with a warning.

    With a monotone posterior and a known rate, the selected pairs are those with the smallest
    losses. With the raw posterior they are not: it can call the very lowest losses noisy.

    Args:
        losses: One loss per pair, (n,).
        threshold: Least clean probability of a clean pair, 0 to 1 (>=, as the paper prints; its
            code uses >). Not used with a noise rate.
        seed: Seed of the default mixture.
        mixture: Estimator instead of the default one, see `clean_posterior`.
        noise_rate: Share of noisy pairs, 0 to 1, to select pairs by `select_clean` instead of the
            threshold; "estimated" takes it from the weights of the mixture.
        bounds: Losses that normalisation maps to 0 and 1, see `clean_posterior`.
        monotone: Make the probability non-increasing in the loss, see `clean_posterior`.

    Returns:
        The division.

    Raises:
        ValueError: If the losses are not a flat array of finite numbers, the threshold or the rate
            is outside 0 to 1, or the bounds are out of order.
    """
    _check_threshold(threshold)
    if noise_rate is not None and noise_rate != "estimated":
        _check_noise_rate(noise_rate)
    used = threshold if noise_rate is None else None
    posterior = clean_posterior(losses, mixture, seed, bounds, monotone)
    probability, reason = posterior.probability, posterior.degenerate
    if reason is None:
        if noise_rate is None:
            is_clean = probability >= threshold  # (n,)
        else:
            rate = posterior.noise_rate if noise_rate == "estimated" else noise_rate
            is_clean = select_clean(losses, probability, rate)  # (n,)
        if is_clean.any():
            return Division(probability, is_clean, used, posterior)
        reason = (
            f"No pair reaches the clean probability {threshold:g} "
            f"(the highest is {probability.max():.3g})."
        )
    warnings.warn(f"{reason} All pairs count as clean in this division.", stacklevel=2)
    return Division(np.ones_like(probability), np.ones(len(probability), dtype=bool), used)


def with_prior(division: Division, prior: ArrayLike) -> Division:
    """Divide by what is known of the pairs from elsewhere, such as an audit, too.

    A clean probability is the mean of both; a prior of 0 or 1, such as the decision of a person,
    prevails. The prior divides alone where the division is not of a mixture, as with DECL, where no
    mixture fits, and where the mean would leave no clean pair.

    Args:
        division: A division of n pairs.
        prior: Clean probability of each pair from elsewhere, (n,).
    """
    known = np.asarray(prior, dtype=np.float64)  # (n,)
    threshold = _THRESHOLD if division.threshold is None else division.threshold
    if division.posterior is not None:
        own = np.clip(division.clean_probability, _DOUBT, 1 - _DOUBT)  # (n,)
        probability = (known + own) / 2
        is_clean = (known == 1) | ((known != 0) & (probability >= threshold))  # (n,)
        if is_clean.any():
            return Division(probability, is_clean, threshold, division.posterior)
    return Division(known, known >= threshold, threshold)


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}: give a probability between 0 and 1")


def _check_noise_rate(noise_rate: float | str) -> None:
    if isinstance(noise_rate, str) or not 0 <= noise_rate <= 1:
        raise ValueError(
            f"noise_rate is {noise_rate!r}: give a share between 0 and 1, such as 0.4 for 40 %"
        )
