"""Objectives over the scores of a batch: one loss per pair from one target per pair.

A target is the correspondence of a pair: 1 for a pair that is believed, 0 for one that is not.
Plain training is the same objective with all targets at 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..losses import (
    SOFT_MARGINS,
    hardest_triplet_loss,
    info_nce_loss,
    mean_triplet_loss,
    soft_info_nce_loss,
    sum_triplet_loss,
)
from ..options import Rule
from ..training import Constant, Method


@dataclass(frozen=True)
class Objective(ABC):
    """The losses of a recipe, each of which gives one value per pair, (n_pairs,).

    Args:
        margin: alpha of the triplet losses.
        soft_margin: Name of the curve that bends a target, "exponential", "linear" or "sine".
        curve: m of the exponential curve.
    """

    margin: float = 0.2
    soft_margin: str = "exponential"
    curve: float = 10.0

    def __post_init__(self) -> None:
        """Refuse a curve that does not exist.

        Raises:
            ValueError: If there is no such curve.
        """
        bend(torch.ones(1), self.margin, self.soft_margin, self.curve)

    @property
    def prediction_ceiling(self) -> float | None:
        """Largest advantage over the negatives that the loss still pushes for; None for no limit.

        A cross-entropy pushes without end.
        """
        return None

    @property
    def has_few_pairs(self) -> bool:
        """Whether the gradient of `robust` reaches few pairs of images and texts."""
        return False

    @abstractmethod
    def warm_up(self, output: Any, negatives: Tensor) -> Tensor:
        """Loss of the warm-up and of the loss pass."""

    @abstractmethod
    def robust(self, output: Any, targets: Tensor, negatives: Tensor) -> Tensor:
        """Loss after the warm-up, with targets (n_pairs,)."""


class TripletObjective(Objective):
    """NCR's own: all negatives in the warm-up, then the hardest ones with soft margins."""

    @property
    def prediction_ceiling(self) -> float | None:
        """The margin: Theta of NCR's Eq. 5 clamps there."""
        return self.margin

    @property
    def has_few_pairs(self) -> bool:
        """Only the hardest negatives have a loss."""
        return True

    def warm_up(self, output: Any, negatives: Tensor) -> Tensor:
        """Eq. 2, averaged over the negatives."""
        return mean_triplet_loss(output.scores, self.margin, negatives)

    def robust(self, output: Any, targets: Tensor, negatives: Tensor) -> Tensor:
        """Eq. 6 with the margins of Eq. 7."""
        margins = bend(targets, self.margin, self.soft_margin, self.curve)
        return hardest_triplet_loss(output.scores, margins, negatives)


class MeanTripletObjective(TripletObjective):
    """The same with all negatives after the warm-up too, gentler on small models."""

    @property
    def has_few_pairs(self) -> bool:
        """All negatives have a loss."""
        return False

    def robust(self, output: Any, targets: Tensor, negatives: Tensor) -> Tensor:
        """The mean over the negatives with the margins of Eq. 7."""
        margins = bend(targets, self.margin, self.soft_margin, self.curve)
        return mean_triplet_loss(output.scores, margins, negatives)


class SumTripletObjective(MeanTripletObjective):
    """The same with sums over all negatives, in the warm-up and after it, as in VSE."""

    def warm_up(self, output: Any, negatives: Tensor) -> Tensor:
        """Eq. 2 as printed."""
        return sum_triplet_loss(output.scores, self.margin, negatives)

    def robust(self, output: Any, targets: Tensor, negatives: Tensor) -> Tensor:
        """The sum over the negatives with the margins of Eq. 7."""
        margins = bend(targets, self.margin, self.soft_margin, self.curve)
        return sum_triplet_loss(output.scores, margins, negatives)


class InfoNceObjective(Objective):
    """Symmetric cross-entropy whose pairs are weighted by their bent targets.

    The weight is the curve of Eq. 7 with alpha = 1, for the reason that the paper gives for the
    margin: a half-believed pair should count for much less than half.
    """

    def warm_up(self, output: Any, negatives: Tensor) -> Tensor:
        """Cross-entropy of every pair."""
        return info_nce_loss(output.logits_per_image, negatives)

    def robust(self, output: Any, targets: Tensor, negatives: Tensor) -> Tensor:
        """Cross-entropy of every pair times its weight."""
        weights = bend(targets, 1.0, self.soft_margin, self.curve)
        return weights * info_nce_loss(output.logits_per_image, negatives)


class SoftInfoNceObjective(InfoNceObjective):
    """Symmetric cross-entropy against a distribution that gives a pair its target as mass."""

    def robust(self, output: Any, targets: Tensor, negatives: Tensor) -> Tensor:
        """Cross-entropy of every pair against its soft distribution."""
        return soft_info_nce_loss(output.logits_per_image, targets, negatives)


def bend(targets: Tensor, margin: float, soft_margin: str, curve: float) -> Tensor:
    """Eq. 7 by the name of its curve; only the exponential one has a parameter."""
    function: Callable[..., Tensor] = SOFT_MARGINS[soft_margin]
    options = {"curve": curve} if soft_margin == "exponential" else {}
    return function(targets, margin, **options)


#: Objectives by the name that a config uses.
OBJECTIVES: dict[str, type[Objective]] = {
    "triplet": TripletObjective,
    "mean_triplet": MeanTripletObjective,
    "sum_triplet": SumTripletObjective,
    "infonce": InfoNceObjective,
    "soft_infonce": SoftInfoNceObjective,
}


#: The constant of the methods that have an objective and a margin.
MARGIN = Constant(
    0.2,
    1e-6,
    1e6,
    Rule(
        lambda options: options.objective not in ("infonce", "soft_infonce"),
        "only the triplet objectives have a margin. Leave it out.",
    ),
)


def objective_constant(default: str, choices: Collection[str] = tuple(OBJECTIVES)) -> Constant:
    """The constant `objective` of a method, by default any of `OBJECTIVES`."""
    return Constant(default, choices=choices)


class ObjectiveMethod(Method):
    """The base of methods whose loss is an objective over the scores.

    Its subclasses have the constants `objective` and `margin`, and may have those of the curve.
    """

    objective: Objective

    def attach(self, engine: Any, model: Any, args: Any, processor: Any) -> None:
        """Choose the objective by the constants."""
        super().attach(engine, model, args, processor)
        constants = self.constants
        names = ("margin", "soft_margin", "curve")
        options = {name: getattr(constants, name) for name in names if hasattr(constants, name)}
        self.objective = OBJECTIVES[constants.objective](**options)

    def model_options(self) -> dict[str, Any]:
        """Where the hardest negatives alone count, the model may leave the other pairs alone."""
        hardest = self.objective.has_few_pairs and self.engine.epoch >= self.args.warmup_epochs
        return {"few_pairs": True} if hardest and not self.args.torch_compile else {}
