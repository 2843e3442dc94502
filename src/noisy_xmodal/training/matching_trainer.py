"""Training on pairs with captions: what a batch of scores is, and how its pairs are judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin, TrainerCallback

from ..data import PairCollator, PairDataset, validate_pairs
from ..data.columns import IMAGE
from ..evaluation import RetrievalEvaluator
from .arguments import RobustTrainingArguments
from .objectives import Objective, ScoredBatch
from .trainer import RobustTrainer


@dataclass(frozen=True)
class PairBatch:
    """The pairs of one network in a mini-batch.

    Attributes:
        peer: The network, 0 or 1.
        pair_id: (n_pairs,).
        negatives: True where image i is a legitimate negative of text j, (n_pairs, n_pairs). The
            other captions of an image are not negatives of it.
        inputs: What the model reads.
    """

    peer: int
    pair_id: Tensor
    negatives: Tensor
    inputs: dict[str, Tensor]


class MatchingTrainer(RobustTrainer):
    """Trains a matching model on image-caption pairs that cannot be trusted.

    Args:
        model: A `MatchingModel`, or any model with its protocol.
        args: Arguments; `args.robust = False` is plain training.
        objective: The losses of the recipe.
        train_dataset: Rows by the column contract, or a `PairDataset`.
        processing_class: The model's processor.
        eval_dataset: The same for validation.
        evaluator: What computes the validation metrics; retrieval by default.
        callbacks: Further callbacks.
        kwargs: Passed on to `transformers.Trainer`.

    Raises:
        DatasetError: If a dataset breaks the column contract.
        ValueError: If the arguments contradict each other or the data.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: RobustTrainingArguments,
        objective: Objective,
        train_dataset: datasets.Dataset | PairDataset,
        *,
        processing_class: ProcessorMixin,
        eval_dataset: datasets.Dataset | PairDataset | None = None,
        evaluator: RetrievalEvaluator | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        **kwargs: Any,
    ) -> None:
        self.objective = objective
        pairs = self._as_pairs(train_dataset, "train", args.per_device_train_batch_size)
        if pairs.visual == IMAGE:
            pairs = PairDataset(
                pairs.dataset, processing_class.image_processor, args.image_cache_mb * 2**20
            )
        super().__init__(
            model,
            args,
            pairs,
            eval_dataset=eval_dataset and self._as_pairs(eval_dataset, "validation", 1),
            evaluator=evaluator
            or RetrievalEvaluator(processing_class, block_size=args.score_block_size),
            processing_class=processing_class,
            data_collator=PairCollator(processing_class),
            callbacks=callbacks,
            **kwargs,
        )

    @staticmethod
    def _as_pairs(dataset: datasets.Dataset | PairDataset, split: str, minimum: int) -> PairDataset:
        rows = dataset.dataset if isinstance(dataset, PairDataset) else dataset
        validate_pairs(rows, split=split, minimum_pairs=minimum)
        return dataset if isinstance(dataset, PairDataset) else PairDataset(rows)

    def as_samples(self, dataset: datasets.Dataset | PairDataset, split: str) -> PairDataset:
        """Pairs of rows by the column contract."""
        return dataset if isinstance(dataset, PairDataset) else self._as_pairs(dataset, split, 1)

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

    def look_up(self, name: str, batch: PairBatch) -> Tensor:
        """A network's entries of the pair state for a batch, (n_pairs,)."""
        values = self.pair_state[name][batch.peer, batch.pair_id.cpu().numpy()]
        return torch.as_tensor(values, dtype=torch.float32, device=batch.pair_id.device)

    # The forward pass

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
        batch = self.make_batch(0, inputs)
        return [model(**batch.inputs)], [batch]

    @staticmethod
    def make_batch(peer: int, inputs: dict[str, Tensor]) -> PairBatch:
        """Separate what the trainer needs of a network's pairs from what its model reads."""
        inputs = dict(inputs)
        pair_id, image_row = inputs.pop("pair_id"), inputs.pop("image_row")
        return PairBatch(peer, pair_id, image_row[:, None] != image_row[None, :], inputs)
