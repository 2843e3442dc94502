"""Pairs with captions as the trainer's samples: how they become batches."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import datasets
import torch
from torch import Tensor
from transformers import ProcessorMixin
from transformers.utils import logging

from ..data import DatasetError, PairCollator, PairDataset, validate_pairs
from ..data.columns import IMAGE, IMAGE_ROW, PAIR_ID, PARTNER, visual_column
from ..evaluation import RetrievalEvaluator, store_text_outputs
from ..evaluation.grids import with_grids
from ..modules.gathering import gather_batch
from ..modules.text_limits import TruncationCount, count_truncated, limit_tokens
from .samplers import PeerPairs

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class PairBatch:
    """The pairs of one network in a mini-batch.

    Attributes:
        peer: The network, 0 or 1.
        pair_id: (n_pairs,); of all processes where negatives are gathered, as all that follows
            from it.
        negatives: True where image i is a legitimate negative of text j, (n_pairs, n_pairs). The
            other captions of an image are not negatives of it, nor are those of other images with
            the same text as one of its own, nor any with the text that it is trained with.
        inputs: What the model reads.
    """

    peer: int
    pair_id: Tensor
    negatives: Tensor
    inputs: dict[str, Tensor]


class PairTask:
    """Image-caption pairs; see `Task`.

    Args:
        model: A model that reads images and captions.
        args: The training arguments.
        method: The method.
        processor: The model's processor.
    """

    least_batch = 2

    def __init__(self, model: Any, args: Any, method: Any, processor: ProcessorMixin) -> None:
        self.processor, self._model, self._args = processor, model, args
        self._length_limit = getattr(model, "text_length_limit", None)
        self.collator = PairCollator(processor)
        self.cut_texts: TruncationCount | None = None
        self.trainer_options = {"processing_class": processor}
        self._pairs: PairDataset | None = None

    def training_samples(self, dataset: datasets.Dataset | PairDataset) -> PairDataset:
        """Pairs of the training split; pictures are decoded once where they fit into memory.

        Raises:
            DatasetError: If a column breaks the contract, or all captions are of one image.
            ValueError: If an argument says how much memory pictures get, and there are none to
                decode.
        """
        self._check_picture_memory(dataset)
        pairs = self._as_pairs(dataset, "train", self._args.per_device_train_batch_size)
        if pairs.n_images < 2:
            raise DatasetError(
                "Split 'train' has one image: a wrong pair needs another image. Add data."
            )
        limit_tokens(self.processor.tokenizer, self._length_limit)
        self.cut_texts = count_truncated(self.processor, pairs.captions())
        if self.cut_texts.n_cut:
            logger.warning(self.cut_texts.message("training captions"))
        if pairs.visual == IMAGE:
            n_caches = max(1, self._args.dataloader_num_workers)  # every worker has its own
            memory = self._args.image_cache_mb * 2**20 // n_caches
            pairs = PairDataset(pairs.dataset, self.processor.image_processor, memory)
        self._pairs = pairs
        return pairs

    def _check_picture_memory(self, dataset: datasets.Dataset | PairDataset) -> None:
        """Refuse `image_cache_mb` where it would do nothing."""
        default = type(self._args).__dataclass_fields__["image_cache_mb"].default
        if self._args.image_cache_mb == default:
            return
        rows = dataset.dataset if isinstance(dataset, PairDataset) else dataset
        reason = ""
        if visual_column(rows) != IMAGE:
            reason = "the images are region features"
        elif getattr(self._model, "frozen_vision_encoder", None) is not None:
            reason = "a frozen vision model reads each picture once, before the training"
        elif self._args.dataloader_num_workers and not self._args.dataloader_persistent_workers:
            reason = (
                "without `dataloader_persistent_workers` each epoch has new workers, which have "
                "kept no pictures"
            )
        if reason:
            raise ValueError(
                f"`image_cache_mb` is {self._args.image_cache_mb} and does nothing here, because "
                f"{reason}: leave it out."
            )

    def _as_pairs(
        self, dataset: datasets.Dataset | PairDataset, split: str, minimum: int
    ) -> PairDataset:
        rows = dataset.dataset if isinstance(dataset, PairDataset) else dataset
        validate_pairs(rows, split=split, minimum_pairs=minimum)
        pairs = dataset if isinstance(dataset, PairDataset) else PairDataset(rows)
        progress = not self._args.disable_tqdm
        return with_grids(self._model, self.processor, pairs, self._args.device, progress=progress)

    def as_samples(self, dataset: datasets.Dataset | PairDataset, split: str) -> PairDataset:
        """Pairs of rows by the column contract; outputs of a frozen vision model are made once."""
        return dataset if isinstance(dataset, PairDataset) else self._as_pairs(dataset, split, 1)

    def evaluator(self) -> RetrievalEvaluator:
        """Retrieval among all images and captions of a split."""
        return RetrievalEvaluator(self.processor, block_size=self._args.score_block_size)

    def fit(self, samples: PairDataset) -> None:
        """Nothing: the model takes nothing from the training split as it is."""

    def begin(self, model: Any) -> None:
        """Store the outputs of a frozen text encoder for the training captions."""
        assert self._pairs is not None, "training samples come first"
        progress = not self._args.disable_tqdm
        store_text_outputs(model, self.processor, self._pairs.captions(), progress=progress)

    def by_peer(self, samples: PairDataset) -> PeerPairs:
        """The pairs, each with the network that it was dealt to and the caption of its partner."""
        return PeerPairs(samples)

    def make_batch(
        self, inputs: dict[str, Tensor], peer: int = 0, gather: bool = False
    ) -> PairBatch:
        """Separate ids and negatives of a network's pairs from what its model reads."""
        inputs = dict(inputs)
        has_partners = PARTNER in inputs
        names = (PAIR_ID, IMAGE_ROW, PARTNER if has_partners else PAIR_ID)
        ids = [inputs[name] for name in names]
        for name in set(names):
            del inputs[name]
        pair_id, image_row, partner = map(gather_batch, ids) if gather else ids
        negatives = image_row[:, None] != image_row[None, :]
        assert self._pairs is not None, "batches are made of training samples"
        if self._has_repeated_texts or has_partners:
            rows, texts = image_row.cpu().numpy(), partner.cpu().numpy()
            own = self._pairs.shared_texts.match(rows[:, None], texts[None, :])
            own |= self._pairs.shared_texts.are_equal(texts[:, None], texts[None, :])
            negatives &= ~torch.from_numpy(own).to(negatives.device)
        return PairBatch(peer, pair_id, negatives, inputs)

    @cached_property
    def _has_repeated_texts(self) -> bool:
        """Whether a training text is given to several images."""
        assert self._pairs is not None
        return bool(self._pairs.shared_texts.is_shared.any())
