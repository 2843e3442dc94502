"""Training on pairs with classes: what a batch of labels is, and what its methods are asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import PreTrainedModel, ProcessorMixin, TrainerCallback
from transformers.utils import logging

from ..data import DatasetError, LabelDataset, validate_label_pairs
from ..data.collator import LabelCollator
from ..evaluation import LabelRetrievalEvaluator, extract_features
from ..modules.gathering import gather_batch
from ..modules.text_limits import count_truncated, limit_tokens
from ..options import Rule, refuse_unread
from .arguments import LabelTrainingArguments
from .trainer import RobustTrainer

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class LabelBatch:
    """The pairs of a mini-batch.

    Attributes:
        pair_id: (n_pairs,); of all processes where batches are gathered, as the labels.
        image_label: Class that each image is given, (n_pairs,).
        text_label: Class that each text is given, (n_pairs,).
        inputs: What the model reads.
    """

    pair_id: Tensor
    image_label: Tensor
    text_label: Tensor
    inputs: dict[str, Tensor]


#: What images and texts aim at: class numbers (n_pairs,) or soft labels (n_pairs, n_classes).
LabelTargets = tuple[Tensor, Tensor]

#: Fields of a config or of arguments, by name.
Fields = Mapping[str, Any]
Ranges = Mapping[str, tuple[float, float]]


class LabelTrainer(RobustTrainer):
    """Trains a common-space model on pairs whose classes cannot be trusted; the base of its family.

    A method is a subclass: the parts of its model (`shape`), its constants (`options`), the
    arguments it trains by (`recipe`) and its `per_sample_loss`.

    Args:
        model: A `CommonSpaceModel`.
        args: Arguments.
        train_dataset: Rows by the column contract, or `LabelDataset`.
        processing_class: The model's processor.
        eval_dataset: The same for validation.
        evaluator: What computes the validation metrics; mean average precision by default.
        callbacks: Further callbacks.
        kwargs: Passed on to `transformers.Trainer`.

    Raises:
        DatasetError: If a dataset breaks the column contract, or has other classes or sizes than
            the model.
        ValueError: If the arguments contradict each other or the data.
    """

    arguments_class = LabelTrainingArguments
    least_batch = 1  # a pair learns by its own class
    row_kind = "modality"
    row_names = ("image", "text")

    #: Name for tables and cards, and where the method comes from.
    title: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    #: Fields of `CommonSpaceConfig` that make the method's model.
    shape: ClassVar[Fields] = {}
    #: The method's constants; `method_options` of the config changes them.
    options: ClassVar[Fields] = {}
    #: The least and the largest value of those that are numbers.
    ranges: ClassVar[Ranges] = {}
    #: When a constant is read, where it is not always.
    option_rules: ClassVar[Mapping[str, Rule]] = {}
    #: When `robust` and `warmup_epochs` are read, where they are not always.
    argument_rules: ClassVar[Mapping[str, Rule]] = {}
    #: Fields of `LabelTrainingArguments` that the method trains by. The trainer takes its warm-up
    #: from here; the rest are the defaults of `examples/train_dmcm.py`.
    recipe: ClassVar[Fields] = {}

    def __init__(
        self,
        model: PreTrainedModel,
        args: LabelTrainingArguments,
        train_dataset: datasets.Dataset | LabelDataset,
        *,
        processing_class: ProcessorMixin,
        eval_dataset: datasets.Dataset | LabelDataset | None = None,
        evaluator: LabelRetrievalEvaluator | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        **kwargs: Any,
    ) -> None:
        self.check_call(args, kwargs)
        self._check_parts(model.config)
        self.constants = self._constants(model.config)
        if args.warmup_epochs == -1:
            args.warmup_epochs = self.recipe.get("warmup_epochs", 0)
            args.check_epochs()
        refuse_unread(
            {"robust": args.robust, "warmup_epochs": args.warmup_epochs},
            {"robust": True, "warmup_epochs": 0},
            self.argument_rules,
        )
        self.class_names: list[str] | None = None
        self.processor = processing_class
        self._reader = (model, processing_class, args)
        pairs = self._as_label_dataset(train_dataset, "train", args.per_device_train_batch_size)
        self.class_names = pairs.class_names
        _warn_of_absent_classes(pairs)
        _ = pairs.is_noisy  # an oracle with gaps is refused now, not by the first report
        super().__init__(
            model,
            args,
            pairs,
            eval_dataset=self.as_parts(eval_dataset),
            evaluator=evaluator
            or LabelRetrievalEvaluator(processing_class, block_size=args.score_block_size),
            data_collator=LabelCollator(processing_class),
            callbacks=callbacks,
            **kwargs,
        )
        if args.feature_scaling == "standard" and pairs.has_features:
            _fit_scaling(model.image_scaling, pairs.image_features)
            _fit_scaling(model.text_scaling, pairs.text_features)

    @classmethod
    def _check_parts(cls, config: Any) -> None:
        """Refuse a model that lacks a part of the method's."""
        lacks = {
            "reconstructs": cls.shape.get("reconstructs") and not config.reconstructs,
            "canonical_size": cls.shape.get("canonical_size") and config.canonical_size is None,
            "classifier": cls.shape.get("classifier") != "none" and config.classifier == "none",
        }
        for name, missing in lacks.items():
            if missing:
                raise ValueError(
                    f"{cls.title} needs a model with `{name}`, and the config has "
                    f"{getattr(config, name)!r}: build it with `build_label_model`."
                )
        idle = {
            "reconstructs": config.reconstructs and not cls.shape.get("reconstructs"),
            "canonical_size": config.canonical_size and not cls.shape.get("canonical_size"),
        }
        for name, is_idle in idle.items():
            if is_idle:
                raise ValueError(
                    f"`{name}` is {getattr(config, name)!r}: {cls.title} does not train that part "
                    "of a model. Leave it out."
                )

    @classmethod
    def _constants(cls, config: Any) -> dict[str, Any]:
        given = getattr(config, "method_options", None) or {}
        unknown = sorted(set(given) - set(cls.options))
        if unknown:
            raise ValueError(
                f"{cls.title} has no option {unknown[0]!r} in `method_options`; it has: "
                f"{', '.join(cls.options) or 'none'}."
            )
        constants = dict(cls.options) | dict(given)
        refuse_unread(constants, cls.options, cls.option_rules, "`{}` in `method_options`")
        for name, (low, high) in cls.ranges.items():
            value = constants[name]
            if not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError(
                    f"{cls.title}: `{name}` in `method_options` must be a number in "
                    f"[{low:g}, {high:g}], found {value!r}."
                )
        return constants

    def _as_label_dataset(self, dataset: Any, split: str, minimum: int) -> LabelDataset:
        model, processor, args = self._reader
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
        known, config = self.class_names, self._reader[0].config
        if config.classifier == "none":
            return
        if known is None and pairs.n_classes != config.n_classes:
            raise DatasetError(
                f"Split '{split}' has {pairs.n_classes} classes and the model {config.n_classes}: "
                f"give `n_classes={pairs.n_classes}`, or the data that the model was made for."
            )
        if known is not None and pairs.class_names != known[: pairs.n_classes]:
            raise DatasetError(
                f"Split '{split}' numbers its classes otherwise than the training split: "
                f"{pairs.class_names[:5]} and {known[:5]} (the first 5). Bring both together with "
                "as_label_pairs(dataset) of a DatasetDict."
            )

    def saved_processor(self) -> ProcessorMixin:
        """The processor, whether it has a tokenizer or not."""
        return self.processor

    def as_samples(self, dataset: datasets.Dataset | LabelDataset, split: str) -> LabelDataset:
        """Pairs of rows by the column contract; features of a frozen backbone are made once."""
        return self._as_label_dataset(dataset, split, 1)

    def deal(self, samples: LabelDataset) -> "WholeBatches":
        """Whole batches: there is one network, which needs no dealing."""
        return WholeBatches(samples)

    # What a method says

    def per_sample_loss(self, output: Any, batch: LabelBatch, targets: LabelTargets) -> Tensor:
        """One loss a pair, (n_pairs,); `in_warm_up` tells of the warm-up."""
        raise NotImplementedError

    def training_targets(self, output: Any, batch: LabelBatch) -> LabelTargets:
        """The labels that the data gives."""
        return batch.image_label, batch.text_label

    def divides_at(self, epoch: int) -> bool:
        """Most methods of the family never divide."""
        return False

    # The forward pass

    def make_batch(self, inputs: dict[str, Tensor], gather: bool = False) -> LabelBatch:
        """Separate what the trainer needs of the pairs from what the model reads."""
        inputs = dict(inputs)
        known = [inputs.pop(name) for name in ("pair_id", "image_label", "text_label")]
        pair_id, image_label, text_label = map(gather_batch, known) if gather else known
        return LabelBatch(pair_id, image_label, text_label, inputs)

    def run_networks(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[list, list]:
        """One forward pass through the wrapper."""
        batch = self.make_batch(inputs, self.args.gather_negatives)
        return [model(**batch.inputs, **self.forward_options)], [batch]

    def _network_loss(self, output: Any, batch: LabelBatch) -> Tensor:
        losses = self.per_sample_loss(output, batch, self.training_targets(output, batch))
        weights = self.sample_weights(batch)
        return losses.mean() if weights is None else (weights * losses).mean()


class WholeBatches(Dataset):
    """Labelled pairs asked for as (pair id, peer); a batch comes in one piece.

    Args:
        pairs: The pairs.
    """

    def __init__(self, pairs: LabelDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitems__(self, dealt: Sequence[tuple[int, int]]) -> dict[str, Any]:
        return self.pairs.__getitems__([pair_id for pair_id, _ in dealt])


def _fit_scaling(scaling: Any, features: np.ndarray) -> None:
    """Fit a scaling to training features, unless the model came with one."""
    if scaling.is_identity:
        scaling.fit(torch.tensor(features))  # a copy: the array may be read-only


def _warn_of_absent_classes(pairs: LabelDataset) -> None:
    found = np.union1d(pairs.image_labels, pairs.text_labels)
    absent = sorted(set(range(pairs.n_classes)) - set(found.tolist()))
    if absent:
        names = ", ".join(pairs.class_names[label] for label in absent[:5])
        logger.warning(
            f"{len(absent)} of {pairs.n_classes} classes have no training pair ({names}"
            f"{', ...' if len(absent) > 5 else ''}): nothing is learnt of them."
        )
