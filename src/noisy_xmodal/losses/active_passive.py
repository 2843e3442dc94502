"""Sums of classification losses by name, such as an active and a passive one.

Source: Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels", ICML 2020,
Section 4: an active loss ("nce", "ngce", "nfocal") only raises the probability of the target class;
a passive loss ("mae", "rce") also lowers those of the other classes. "ngce+mae" is Eq. 3 of Ding et
al., "Dual-Mix for Cross-Modal Retrieval with Noisy Labels" (DMCM).
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .classification import CLASSIFICATION_LOSSES


@dataclass(frozen=True)
class ClassificationLoss:
    """Weighted sum of the losses in `CLASSIFICATION_LOSSES`.

    Attributes:
        name: Losses to add, each with an optional weight in front: "1*nce+0.5*rce".
        options: Options of the losses, such as `rho`. An option goes to every loss that has it, or
            to one loss if its name is in front: `mae_form`.

    Raises:
        ValueError: If a name, a weight or an option is unknown or out of range.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    _terms: list[tuple[float, Callable[..., Tensor]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = _parse_sum(self.name)
        shared = {option for _, loss in parts for option in _options_of(loss)}
        prefixed = {f"{loss}_{option}" for _, loss in parts for option in _options_of(loss)}
        for option in self.options:
            if option not in shared | prefixed:
                raise ValueError(
                    f"no loss in {self.name!r} has an option {option!r}: choose from "
                    f"{', '.join(sorted(shared)) or 'none'}"
                )
        terms = [
            (weight, partial(CLASSIFICATION_LOSSES[loss], **self._loss_options(loss)))
            for weight, loss in parts
        ]
        object.__setattr__(self, "_terms", terms)
        self(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long))  # raises on values out of range

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Add up the losses.

        Args:
            logits: Score of each sample with each class, (n, K).
            targets: Class of each sample, (n,), or its distribution, (n, K).

        Returns:
            Loss of each sample, (n,).

        Raises:
            ValueError: If a shape or a target does not fit.
        """
        values = [weight * loss(logits, targets) for weight, loss in self._terms]
        return torch.stack(values).sum(dim=0)  # (n,)

    def _loss_options(self, loss: str) -> dict[str, Any]:
        """The options of one loss; an option with its name in front takes precedence."""
        return {
            option: self.options.get(f"{loss}_{option}", self.options.get(option))
            for option in _options_of(loss)
            if option in self.options or f"{loss}_{option}" in self.options
        }


def classification_loss(name: str, **options: Any) -> ClassificationLoss:
    """Build a loss by name: one of `CLASSIFICATION_LOSSES`, or a weighted sum of several.

    ```python
    classification_loss("ngce+mae", rho=0.7)
    classification_loss("ngce+mae", ngce_form="expected", mae_form="l1")  # as DMCM prints them
    classification_loss("1*nce+0.5*rce", log_zero=-6)
    ```

    Args:
        name: Losses to add, each with an optional weight in front.
        options: Options of the losses, see `ClassificationLoss`.

    Returns:
        The loss, a function of logits (n, K) and targets (n,) or (n, K) that returns (n,).

    Raises:
        ValueError: If a name, a weight or an option is unknown or out of range.
    """
    return ClassificationLoss(name, options)


def _parse_sum(name: str) -> list[tuple[float, str]]:
    """Weight and name of each loss in a sum."""
    parts = []
    for term in name.split("+"):
        weight, star, loss = term.rpartition("*")
        if loss.strip() not in CLASSIFICATION_LOSSES:
            raise ValueError(
                f"loss {loss.strip()!r} in {name!r} is unknown: choose from "
                f"{', '.join(CLASSIFICATION_LOSSES)}, joined by + and weighted as in 0.5*mae"
            )
        parts.append((_parse_weight(weight, name) if star else 1.0, loss.strip()))
    return parts


def _parse_weight(text: str, name: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight {text.strip()!r} in {name!r}: give a number of at least 0")
    return weight


def _options_of(loss: str) -> list[str]:
    """Names of the parameters of a loss after logits and targets."""
    return list(inspect.signature(CLASSIFICATION_LOSSES[loss]).parameters)[2:]
