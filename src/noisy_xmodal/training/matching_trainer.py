"""Training by a matrix of scores: how the pairs of a batch are judged by their rows and columns."""

import inspect
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..data import PairDataset
from .arguments import RobustTrainingArguments
from .objectives import Objective, ScoredBatch
from .pair_trainer import PairBatch, PairTrainer


class MatchingTrainer(PairTrainer):
    """Trains a matching model on image-caption pairs that cannot be trusted.

    Args:
        model: A `MatchingModel`, or any model with its protocol.
        args: Arguments; `args.robust = False` is plain training.
        objective: The losses of the recipe.
        train_dataset: Rows by the column contract, or a `PairDataset`.
        kwargs: See `PairTrainer`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: RobustTrainingArguments,
        objective: Objective,
        train_dataset: datasets.Dataset | PairDataset,
        **kwargs: Any,
    ) -> None:
        self.objective = objective
        super().__init__(model, args, train_dataset, **kwargs)

    # What a method says

    def per_sample_loss(
        self, output: ScoredBatch, batch: PairBatch, targets: Tensor | None
    ) -> Tensor:
        """One loss a pair, (n_pairs,); `targets` is None during the warm-up."""
        if targets is None:
            return self.objective.warm_up(output, batch.negatives)
        return self.objective.robust(output, targets, batch.negatives)

    def training_targets(self, output: ScoredBatch, batch: PairBatch) -> Tensor:
        """What each pair aims at after the warm-up, (n_pairs,)."""
        return torch.ones(len(batch.pair_id), device=batch.pair_id.device)

    def sample_weights(self, batch: PairBatch) -> Tensor | None:
        """By default the division alone decides: noisy pairs are negatives and nothing else."""
        mask = self.clean_mask(batch.peer)
        if mask is None:
            return None
        clean = torch.as_tensor(mask[batch.pair_id.cpu().numpy()], dtype=torch.float32)
        return clean.to(batch.pair_id.device)

    def assess(self, output: ScoredBatch, negatives: Tensor) -> dict[str, Tensor]:
        """What the loss pass keeps of a chunk, each (n_pairs,); "loss" feeds the mixture."""
        return {"loss": self.objective.warm_up(output, negatives)}

    def judge_of(self, peer: int) -> int:
        """The network whose division trains this one."""
        return peer

    # The division

    def clean_mask(self, peer: int) -> np.ndarray | None:
        """The division that trains a network, bool (n_pairs,), or None before there is one."""
        if "is_clean" not in self.pair_state:
            return None
        return self.pair_state["is_clean"][self.judge_of(peer)].astype(bool)

    def batch_mask(self, peer: int) -> np.ndarray | None:
        """Every mini-batch holds clean and noisy pairs as the division has them."""
        return self.clean_mask(peer)

    # The forward pass

    @property
    def forward_options(self) -> dict[str, Any]:
        """Where the hardest negatives alone count, the model may leave the other pairs alone."""
        hardest = getattr(self.objective, "hardest", False) and not self.in_warm_up
        model = self.accelerator.unwrap_model(self.model)
        knows = "few_pairs" in inspect.signature(model.forward).parameters
        few = hardest and knows and not self.args.torch_compile
        return super().forward_options | ({"few_pairs": True} if few else {})

    def assess_batch(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What `assess` keeps of each network, (n_peers, n_pairs) each."""
        batch = self.make_batch(0, inputs)
        found = []
        for network in self.networks():
            with self.accelerator.autocast():
                output = network(**batch.inputs)
            found.append(self.assess(output, batch.negatives))
        return {name: torch.stack([peer[name] for peer in found]) for name in found[0]}

    def run_networks(
        self, model: nn.Module, inputs: dict[str, Tensor]
    ) -> tuple[list[ScoredBatch], list[PairBatch]]:
        """One forward pass through the wrapper: an output and a batch for each network."""
        inputs.pop("peer", None)
        batch = self.make_batch(0, inputs, self.args.gather_negatives)
        return [model(**batch.inputs, **self.forward_options)], [batch]
