"""How a batch of scores and one target per pair become one loss per pair.

A target is the rectified correspondence of a pair: 1 for a pair that is believed, 0 for one that is
not. Plain training is the same objective with all targets at 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..losses import (
    SOFT_MARGINS,
    hardest_triplet_loss,
    info_nce_loss,
    mean_triplet_loss,
    soft_info_nce_loss,
)


class ScoredBatch(Protocol):
    """The part of a model's output that objectives read."""

    scores: Tensor
    logits_per_image: Tensor


class Objective(Protocol):
    """The losses of one recipe. Each gives one value a pair, (n_pairs,)."""

    @property
    def prediction_ceiling(self) -> float | None:
        """Largest similarity margin that the loss still pushes for, None if there is none."""

    def warm_up(self, output: ScoredBatch, negatives: Tensor) -> Tensor:
        """Loss of the warm-up and of the loss pass."""

    def robust(self, output: ScoredBatch, targets: Tensor, negatives: Tensor) -> Tensor:
        """Loss after the warm-up, given targets (n_pairs,)."""


@dataclass(frozen=True)
class TripletObjective:
    """NCR's own: Eq. 2 in the warm-up, then the soft margins of Eq. 6-7.

    Args:
        margin: alpha.
        soft_margin: Name of the curve of Eq. 7.
        curve: m of Eq. 7.
        hardest: Whether the soft margin meets the hardest negative (Eq. 6) or all of them.
    """

    margin: float = 0.2
    soft_margin: str = "exponential"
    curve: float = 10.0
    hardest: bool = True

    @property
    def prediction_ceiling(self) -> float | None:
        """The margin: Theta of Eq. 5 clamps there."""
        return self.margin

    def warm_up(self, output: ScoredBatch, negatives: Tensor) -> Tensor:
        """Eq. 2, averaged over the negatives."""
        return mean_triplet_loss(output.scores, self.margin, negatives)

    def robust(self, output: ScoredBatch, targets: Tensor, negatives: Tensor) -> Tensor:
        """Eq. 6 with the margins of Eq. 7."""
        margins = bend(targets, self.margin, self.soft_margin, self.curve)
        loss = hardest_triplet_loss if self.hardest else mean_triplet_loss
        return loss(output.scores, margins, negatives)


@dataclass(frozen=True)
class InfoNceObjective:
    """Symmetric cross-entropy whose pairs are weighted by their bent targets.

    The weight is the curve of Eq. 7 with alpha = 1, for the reason that the paper gives for the
    margin: a half-believed pair should count for much less than half.

    Args:
        soft_margin: Name of the curve.
        curve: m of Eq. 7.
    """

    soft_margin: str = "exponential"
    curve: float = 10.0

    @property
    def prediction_ceiling(self) -> float | None:
        """None: the cross-entropy pushes similarity margins without end."""
        return None

    def warm_up(self, output: ScoredBatch, negatives: Tensor) -> Tensor:
        """Cross-entropy of every pair."""
        return info_nce_loss(output.logits_per_image, negatives)

    def robust(self, output: ScoredBatch, targets: Tensor, negatives: Tensor) -> Tensor:
        """Cross-entropy of every pair times its weight."""
        weights = bend(targets, 1.0, self.soft_margin, self.curve)
        return weights * info_nce_loss(output.logits_per_image, negatives)


@dataclass(frozen=True)
class SoftInfoNceObjective:
    """Symmetric cross-entropy against a distribution that gives a pair its target as mass."""

    @property
    def prediction_ceiling(self) -> float | None:
        """None: the cross-entropy pushes similarity margins without end."""
        return None

    def warm_up(self, output: ScoredBatch, negatives: Tensor) -> Tensor:
        """Cross-entropy of every pair."""
        return info_nce_loss(output.logits_per_image, negatives)

    def robust(self, output: ScoredBatch, targets: Tensor, negatives: Tensor) -> Tensor:
        """Cross-entropy of every pair against its soft distribution."""
        return soft_info_nce_loss(output.logits_per_image, targets, negatives)


def bend(targets: Tensor, margin: float, soft_margin: str, curve: float) -> Tensor:
    """Eq. 7 by the name of its curve; only the exponential one has a parameter."""
    function: Callable[..., Tensor] = SOFT_MARGINS[soft_margin]
    options = {"curve": curve} if soft_margin == "exponential" else {}
    return function(targets, margin, **options)


#: Recipes by the name that a config uses; each takes (margin, soft_margin, curve).
OBJECTIVES: dict[str, Callable[[float, str, float], Objective]] = {
    "triplet": lambda margin, soft, curve: TripletObjective(margin, soft, curve),
    "mean_triplet": lambda margin, soft, curve: TripletObjective(
        margin, soft, curve, hardest=False
    ),
    "infonce": lambda margin, soft, curve: InfoNceObjective(soft, curve),
    "soft_infonce": lambda margin, soft, curve: SoftInfoNceObjective(),
}
