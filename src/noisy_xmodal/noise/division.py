"""Co-divide: which pairs count as clean, and how surely.

Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS 2021,
Section 3.1 and Algorithm 1, lines 6-7.

| symbol | in the code          |
|--------|----------------------|
| w_i    | clean_probability[i] |
| S_c    | pairs with is_clean  |
| S_n    | the other pairs      |
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .mixture import CleanPosterior, clean_posterior


@dataclass(frozen=True, eq=False)
class Division:
    """A clean and a noisy side ("co-divide").

    Attributes:
        clean_probability: Probability that each pair is clean, (n,).
        threshold: Pairs of at least this probability count as clean, 0 to 1.
        posterior: The fit that the probabilities come from, if any.
    """

    clean_probability: NDArray[np.floating]
    threshold: float = 0.5
    posterior: CleanPosterior | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}: give a probability between 0 and 1")

    @property
    def is_clean(self) -> NDArray[np.bool_]:
        """True for pairs judged clean, (n,); at the threshold too, as printed (the code uses >)."""
        return self.clean_probability >= self.threshold

    @property
    def share_noisy(self) -> float:
        """Share of the pairs judged noisy, 0 to 1."""
        return float(1 - self.is_clean.mean()) if len(self.clean_probability) else 0.0


def divide(
    losses: ArrayLike, threshold: float = 0.5, seed: int = 0, *, mixture: Any | None = None
) -> Division:
    """Divide pairs by a mixture over their losses.

    Warns and takes all pairs for clean where the losses cannot be divided: no mixture fits them,
    or no pair would be left to learn from.

    Args:
        losses: One loss per pair, (n,).
        threshold: Clean probability from which a pair counts as clean, 0 to 1.
        seed: Seed of the default mixture.
        mixture: Estimator in place of the default one, see `clean_posterior`.

    Returns:
        The division.

    Raises:
        ValueError: If the losses are not a flat array of finite numbers or the threshold is no
            probability.
    """
    posterior = clean_posterior(losses, mixture=mixture, seed=seed)
    division = Division(posterior.probability, threshold, posterior)
    reason = posterior.degenerate
    if reason is None and not division.is_clean.any():
        reason = (
            f"No pair reaches the clean probability {threshold:g} "
            f"(the highest is {posterior.probability.max():.3g})."
        )
    if reason is None:
        return division
    warnings.warn(f"{reason} All pairs count as clean in this division.", stacklevel=2)
    return Division(np.ones_like(posterior.probability), threshold)
