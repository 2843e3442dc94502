"""Training with a weight for every pair that somebody else has judged."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..data import PairDataset
from ..data.digests import Digests, array_digests
from .arguments import RobustTrainingArguments
from .matching_trainer import MatchingTrainer
from .objectives import Objective
from .pair_trainer import PairBatch


class WeightedTrainer(MatchingTrainer):
    """Trains one network on pairs that count as much as they are believed.

    A pair of weight 0 is a negative of others and nothing else.

    Args:
        model: A `MatchingModel`.
        args: Arguments, with `robust=False` and no warm-up: nothing is divided here.
        objective: The losses.
        train_dataset: The pairs.
        pair_weights: Weight of each pair, (n_pairs,), or None where all count alike.
        kwargs: See `MatchingTrainer`.

    Raises:
        ValueError: If there is not one weight a pair.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: RobustTrainingArguments,
        objective: Objective,
        train_dataset: PairDataset,
        pair_weights: np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        if pair_weights is not None and pair_weights.shape != (len(train_dataset),):
            raise ValueError(
                f"pair_weights has the shape {pair_weights.shape}: give one for each of "
                f"{len(train_dataset)} pairs"
            )
        self.pair_weights = pair_weights
        super().__init__(model, args, objective, train_dataset, **kwargs)

    def identity_of(self, samples: PairDataset) -> dict[str, Digests]:
        """The pairs with their weights."""
        found = super().identity_of(samples)
        if self.pair_weights is not None and samples is self.train_dataset:
            found["pair: weight"] = array_digests(self.pair_weights)
        return found

    def sample_weights(self, batch: PairBatch) -> Tensor | None:
        """The weights of the batch, (n_pairs,)."""
        if self.pair_weights is None:
            return None
        own = self.pair_weights[batch.pair_id.cpu().numpy()]
        return torch.as_tensor(own, dtype=torch.float32, device=batch.pair_id.device)
