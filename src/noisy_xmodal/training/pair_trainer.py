"""Training on pairs with captions: what a batch is and what every method of theirs is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin, TrainerCallback
from transformers.utils import logging

from ..data import DatasetError, PairCollator, PairDataset, validate_pairs
from ..data.columns import IMAGE
from ..evaluation import RetrievalEvaluator
from ..modules.gathering import gather_batch
from ..modules.text_limits import count_truncated, limit_tokens
from .arguments import RobustTrainingArguments
from .trainer import RobustTrainer

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class PairBatch:
    """The pairs of one network in a mini-batch.

    Attributes:
        peer: The network, 0 or 1.
        pair_id: (n_pairs,); of all processes where negatives are gathered, as all that follows
            from it.
        negatives: True where image i is a legitimate negative of text j, (n_pairs, n_pairs). The
            other captions of an image are not negatives of it, nor are those of other images that
            have the very text of one of its own.
        inputs: What the model reads.
    """

    peer: int
    pair_id: Tensor
    negatives: Tensor
    inputs: dict[str, Tensor]


class PairTrainer(RobustTrainer):
    """Trains a model on image-caption pairs that cannot be trusted; the base of its family.

    Args:
        model: A model that reads images and captions.
        args: Arguments; `args.robust = False` is plain training.
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
        train_dataset: datasets.Dataset | PairDataset,
        *,
        processing_class: ProcessorMixin,
        eval_dataset: datasets.Dataset | PairDataset | None = None,
        evaluator: Any | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        **kwargs: Any,
    ) -> None:
        self.check_call(args, kwargs)
        pairs = self._as_pairs(train_dataset, "train", args.per_device_train_batch_size)
        if pairs.n_images < 2:
            raise DatasetError(
                "Split 'train' has one image: a wrong pair needs another image. Add data."
            )
        limit_tokens(processing_class.tokenizer, getattr(model, "text_length_limit", None))
        self.cut_texts = count_truncated(processing_class, pairs.captions())
        if self.cut_texts.n_cut:
            logger.warning(self.cut_texts.message("training captions"))
        if pairs.visual == IMAGE:
            pairs = PairDataset(
                pairs.dataset, processing_class.image_processor, args.image_cache_mb * 2**20
            )
        super().__init__(
            model,
            args,
            pairs,
            eval_dataset=self.as_parts(eval_dataset),
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

    def look_up(self, name: str, batch: PairBatch) -> Tensor:
        """A network's entries of the pair state for a batch, (n_pairs,)."""
        values = self.pair_state[name][batch.peer, batch.pair_id.cpu().numpy()]
        return torch.as_tensor(values.astype(np.float32), device=batch.pair_id.device)

    def make_batch(self, peer: int, inputs: dict[str, Tensor], gather: bool = False) -> PairBatch:
        """Separate what the trainer needs of a network's pairs from what its model reads.

        Args:
            peer: The network.
            inputs: The batch.
            gather: Whether ids and negatives are those of the whole batch of all processes.
        """
        inputs = dict(inputs)
        pair_id, image_row = inputs.pop("pair_id"), inputs.pop("image_row")
        if gather:
            pair_id, image_row = gather_batch(pair_id), gather_batch(image_row)
        negatives = image_row[:, None] != image_row[None, :]
        if self.has_repeated_texts:
            rows, pairs = image_row.cpu().numpy(), pair_id.cpu().numpy()
            given = self.train_dataset.shared_texts.match(rows[:, None], pairs[None, :])
            negatives &= ~torch.from_numpy(given).to(negatives.device)
        return PairBatch(peer, pair_id, negatives, inputs)

    @cached_property
    def has_repeated_texts(self) -> bool:
        """Whether a training text is given to several images."""
        return bool(self.train_dataset.shared_texts.is_shared.any())
