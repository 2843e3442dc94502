"""Pairs with classes as the trainer's samples: how they become batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import ProcessorMixin
from transformers.utils import logging

from ..data import DatasetError, LabelDataset, validate_label_pairs
from ..data.collator import LabelCollator
from ..evaluation import LabelRetrievalEvaluator, extract_features
from ..modules.gathering import gather_batch
from ..modules.text_limits import TruncationCount, count_truncated, limit_tokens

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class LabelBatch:
    """The pairs of a mini-batch.

    Attributes:
        peer: The network, 0.
        pair_id: (n_pairs,); of all processes where batches are gathered, as the labels.
        image_label: Class of each image in the data, (n_pairs,).
        text_label: Class of each text in the data, (n_pairs,).
        inputs: What the model reads.
    """

    peer: int
    pair_id: Tensor
    image_label: Tensor
    text_label: Tensor
    inputs: dict[str, Tensor]


class LabelTask:
    """Pairs with classes; see `Task`.

    Args:
        model: A `CommonSpaceModel`.
        args: The training arguments.
        method: The method; its `shape` says which parts of the model it trains.
        processor: The model's processor.

    Raises:
        ValueError: If the model lacks a part that the method trains, or has one that it does not.
    """

    least_batch = 1  # a pair learns by its own class

    def __init__(self, model: Any, args: Any, method: Any, processor: ProcessorMixin) -> None:
        _check_parts(model.config, method)
        self.processor = processor
        self.class_names: list[str] | None = None
        self.collator = LabelCollator(processor)
        self.cut_texts: TruncationCount | None = None
        self.trainer_options: dict[str, Any] = {}
        self._model, self._args = model, args

    def training_samples(self, dataset: datasets.Dataset | LabelDataset) -> LabelDataset:
        """Pairs of the training split, whose classes the other splits are numbered by.

        Raises:
            DatasetError: If the data has other classes or sizes than the model.
        """
        pairs = self._as_label_dataset(dataset, "train", self._args.per_device_train_batch_size)
        self.class_names = pairs.class_names
        _warn_of_absent_classes(pairs)
        _ = pairs.is_noisy  # an oracle with gaps is refused now, not by the first report
        return pairs

    def as_samples(self, dataset: datasets.Dataset | LabelDataset, split: str) -> LabelDataset:
        """Pairs of rows by the column contract; features of a frozen backbone are made once."""
        return self._as_label_dataset(dataset, split, 1)

    def evaluator(self) -> LabelRetrievalEvaluator:
        """Mean average precision of retrieving the query's class."""
        return LabelRetrievalEvaluator(self.processor, block_size=self._args.score_block_size)

    def fit(self, samples: LabelDataset) -> None:
        """Fit the scaling of feature vectors."""
        if self._args.feature_scaling == "standard" and samples.has_features:
            _fit_scaling(self._model.image_scaling, samples.image_features)
            _fit_scaling(self._model.text_scaling, samples.text_features)

    def begin(self, model: Any) -> None:
        """Nothing: a frozen backbone's vectors are the samples themselves."""

    def by_peer(self, samples: LabelDataset) -> "WholeBatches":
        """Whole batches: there is one network, which needs no dealing."""
        return WholeBatches(samples)

    def make_batch(
        self, inputs: dict[str, Tensor], peer: int = 0, gather: bool = False
    ) -> LabelBatch:
        """Separate ids and labels from what the model reads."""
        inputs = dict(inputs)
        ids = [inputs.pop(name) for name in ("pair_id", "image_label", "text_label")]
        pair_id, image_label, text_label = map(gather_batch, ids) if gather else ids
        return LabelBatch(peer, pair_id, image_label, text_label, inputs)

    def _as_label_dataset(self, dataset: Any, split: str, minimum: int) -> LabelDataset:
        model, processor, args = self._model, self.processor, self._args
        config = model.config
        reads_raw = config.backbone_config is not None
        if not isinstance(dataset, LabelDataset):
            validate_label_pairs(dataset, split=split, minimum_pairs=minimum)
            dataset = LabelDataset(dataset, split)
            dataset = dataset.without_features() if reads_raw else dataset
        self._check_classes(dataset, split)
        if not dataset.has_features and reads_raw and split == "train":
            texts = getattr(config.backbone_config, "text_config", None)
            limit_tokens(processor.tokenizer, getattr(texts, "max_position_embeddings", None))
            self.cut_texts = count_truncated(processor, dataset.texts(slice(None)))
            if self.cut_texts.n_cut:
                logger.warning(self.cut_texts.message("training texts"))
        if not dataset.has_features:
            if not reads_raw:
                raise DatasetError(
                    f"Split '{split}' has pictures and texts, and the model reads feature "
                    "vectors: give it a backbone that reads them, such as CLIP, or describe them "
                    "by noisy_xmodal.data.with_vectors(rows)."
                )
            if config.freeze_backbone:
                with args.main_process_first(desc="features"):
                    features = extract_features(model, processor, dataset, args.device, split)
                dataset = dataset.with_features(*features, derived=True)
            return dataset
        sizes = dataset.image_features.shape[1], dataset.text_features.shape[1]
        if sizes != (config.image_size, config.text_size):
            raise DatasetError(
                f"Split '{split}' has vectors of {sizes[0]} (image) and {sizes[1]} (text) "
                f"numbers, the model reads {config.image_size} and {config.text_size}."
            )
        return dataset

    def _check_classes(self, pairs: LabelDataset, split: str) -> None:
        names, config = self.class_names, self._model.config
        if config.classifier == "none":
            return
        if names is None and pairs.n_classes != config.n_classes:
            raise DatasetError(
                f"Split '{split}' has {pairs.n_classes} classes and the model {config.n_classes}: "
                f"give `n_classes={pairs.n_classes}`, or the data that the model was made for."
            )
        if names is not None and pairs.class_names != names[: pairs.n_classes]:
            raise DatasetError(
                f"Split '{split}' numbers its classes otherwise than the training split: "
                f"{pairs.class_names[:5]} and {names[:5]} (the first 5). Bring both together with "
                "as_label_pairs(dataset) of a DatasetDict."
            )


class WholeBatches(Dataset):
    """Labelled pairs indexed as the batch sampler does; a batch comes in one piece.

    Args:
        pairs: The pairs.
    """

    def __init__(self, pairs: LabelDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitems__(self, indices: Sequence[tuple[int, ...]]) -> dict[str, Any]:
        return self.pairs.__getitems__([pair_id for pair_id, *_ in indices])


def _fit_scaling(scaling: Any, features: np.ndarray) -> None:
    """Fit a scaling to training features, unless the model came with one."""
    if scaling.is_identity:
        scaling.fit(torch.tensor(features))  # a copy: the array may be read-only


def _warn_of_absent_classes(pairs: LabelDataset) -> None:
    present = np.union1d(pairs.image_labels, pairs.text_labels)
    absent = sorted(set(range(pairs.n_classes)) - set(present.tolist()))
    if absent:
        names = ", ".join(pairs.class_names[label] for label in absent[:5])
        logger.warning(
            f"{len(absent)} of {pairs.n_classes} classes have no training pair ({names}"
            f"{', ...' if len(absent) > 5 else ''}): nothing is learnt of them."
        )


def _check_parts(config: Any, method: Any) -> None:
    """Refuse a model that lacks a part that the method trains, or has one that it does not."""
    shape = method.shape
    lacks = {
        "reconstructs": shape.get("reconstructs") and not config.reconstructs,
        "canonical_size": shape.get("canonical_size") and config.canonical_size is None,
        "classifier": shape.get("classifier") != "none" and config.classifier == "none",
    }
    for name, missing in lacks.items():
        if missing:
            raise ValueError(
                f"{method.title} needs a model with `{name}`, and the config has "
                f"{getattr(config, name)!r}: build it with `build_label_model`."
            )
    idle = {
        "reconstructs": config.reconstructs and not shape.get("reconstructs"),
        "canonical_size": config.canonical_size and not shape.get("canonical_size"),
    }
    for name, is_idle in idle.items():
        if is_idle:
            raise ValueError(
                f"`{name}` is {getattr(config, name)!r}: {method.title} does not train that part "
                "of a model. Leave it out."
            )
