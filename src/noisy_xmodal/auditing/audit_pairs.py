"""The pairs of an audit as inputs of small models, and the small model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import ResNetConfig, ViTImageProcessorPil

from ..data import PairDataset
from ..data.columns import IMAGE, REGIONS
from ..data.pair_dataset import GridPairs, LazyRows
from ..models.matching.configuration_matching import MatchingConfig
from ..models.matching.modeling_matching import MatchingModel
from ..models.matching.processing_matching import MatchingProcessor, RegionFeatureProcessor
from ..modules import train_word_tokenizer

#: Hidden size of the small models, and image size if they are trained on pixels.
_HIDDEN, _PIXELS = 256, 64
_MIN_FREQUENCY = 2  # of words; rarer words are <unk>


@dataclass(frozen=True, eq=False)
class AuditPairs:
    """The pairs of an audit.

    Attributes:
        dataset: Rows by the column contract.
        pairs: Its pairs; images are read on access.
        features: Region features of the images, (n_images, n_regions, size); None if the dataset
            has region features or the models are trained on pixels.
        groups: Group of each image, (n_images,). Images of a group look alike, so no model is
            trained on one of them and judges another.
        processor: Processor of captions and of features or images.
        device: Device of the models.
    """

    dataset: datasets.Dataset
    pairs: PairDataset
    features: np.ndarray | None
    groups: NDArray[np.int64]
    processor: MatchingProcessor
    device: torch.device

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def row_of_pair(self) -> NDArray[np.int64]:
        """Image of each pair, (n_pairs,)."""
        return self.pairs.row_of_pair

    @property
    def images(self) -> Sequence[Any]:
        """Inputs of the processor for every image, read on access."""
        features = self.features
        if features is None:
            return self.pairs.images
        return LazyRows(lambda rows: list(features[rows].astype(np.float32)), len(features))

    def pairs_of_rows(self, rows: np.ndarray) -> NDArray[np.int64]:
        """Pair ids of some images, ascending."""
        return np.flatnonzero(np.isin(self.row_of_pair, rows))

    def of_rows(self, rows: np.ndarray) -> PairDataset:
        """The pairs of some images, ascending, with new pair ids."""
        if self.features is None:
            return self.pairs.select(rows)
        return GridPairs(self.dataset, self.features).select(rows)


def prepare_pairs(
    dataset: datasets.Dataset,
    features: np.ndarray | None,
    groups: np.ndarray,
    device: torch.device | str = "cpu",
    max_length: int | None = None,
) -> AuditPairs:
    """Prepare the pairs of a dataset for small models.

    Args:
        dataset: Rows by the column contract.
        features: See `AuditPairs`.
        groups: See `AuditPairs`.
        device: Device of the models.
        max_length: Maximum number of tokens of a caption, see `train_word_tokenizer`.
    """
    pairs = PairDataset(dataset)
    if features is not None:
        images: Any = RegionFeatureProcessor(features.shape[-1])
    elif pairs.visual == REGIONS:
        images = RegionFeatureProcessor(pairs.images[0].shape[-1])
    else:
        images = ViTImageProcessorPil(size={"height": _PIXELS, "width": _PIXELS})
    captions = pairs.captions()
    # In a small dataset most words are rare.
    min_frequency = _MIN_FREQUENCY if len(captions) >= 10_000 else 1
    words = train_word_tokenizer(captions, min_frequency, max_length=max_length)
    processor = MatchingProcessor(images, words)
    return AuditPairs(dataset, pairs, features, groups, processor, torch.device(device))


def small_model(pairs: AuditPairs) -> MatchingModel:
    """A new two-tower model for the pairs: words and regions, pooled and compared by cosine."""
    uses_pixels = pairs.features is None and pairs.pairs.visual == IMAGE
    vision = ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic"
    )
    return MatchingModel(
        MatchingConfig(
            vision_config=vision if uses_pixels else None,
            region_size=getattr(pairs.processor.image_processor, "region_size", 2048),
            word_encoder="words",
            vocab_size=len(pairs.processor.tokenizer),
            word_size=_HIDDEN,
            hidden_size=_HIDDEN,
            dropout=0.5,
            image_dropout=0.0 if uses_pixels else 0.3,
            normalize_tokens=False,
            similarity="cosine",
            similarity_options={"image_pooling": "attention", "projection": True},
        )
    )
