"""The pairs of an audit: captions, images in the form that small models read, and their model."""

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
from ..data.grid_pairs import FeatureRows, GridPairs
from ..models.matching.configuration_matching import MatchingConfig
from ..models.matching.modeling_matching import MatchingModel
from ..models.matching.processing_matching import MatchingProcessor, RegionFeatureProcessor
from ..modules import train_word_tokenizer

#: Sizes of the small models; 64 pixels a side where they see the pictures themselves.
_HIDDEN, _PIXELS = 256, 64
#: Rarer words are <unk>.
_LEAST_WORDS = 2


@dataclass(frozen=True, eq=False)
class AuditedPairs:
    """What is audited.

    Attributes:
        dataset: Rows by the column contract.
        pairs: Its pairs; nothing of their images is read before it is asked for.
        features: Region features of the pictures, (n_images, n_regions, size), or None where the
            dataset has its own or pixels are to be learnt from.
        groups: Images of one group look alike and are never learnt from to judge each other,
            (n_images,).
        processor: What makes inputs of captions and of features or pictures.
        device: Where models run.
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
        """What the processor reads of every image, read when a slice is asked for."""
        return self.pairs.images if self.features is None else FeatureRows(self.features)

    def pairs_of_rows(self, rows: np.ndarray) -> NDArray[np.int64]:
        """Pair ids of some images, ascending."""
        return np.flatnonzero(np.isin(self.row_of_pair, rows))

    def of_rows(self, rows: np.ndarray) -> PairDataset:
        """The pairs of some images, ascending; their ids are counted anew."""
        if self.features is None:
            return PairDataset(self.dataset.select(rows))
        return GridPairs(self.dataset, self.features, rows)


def audited_pairs(
    dataset: datasets.Dataset,
    features: np.ndarray | None,
    groups: np.ndarray,
    device: torch.device | str = "cpu",
    max_length: int | None = None,
) -> AuditedPairs:
    """Make the pairs of a dataset ready for small models.

    Args:
        dataset: Rows by the column contract.
        features: See `AuditedPairs`.
        groups: See `AuditedPairs`.
        device: Where models run.
        max_length: Tokens that are read of a caption, see `train_word_tokenizer`.
    """
    pairs = PairDataset(dataset)
    if features is not None:
        images: Any = RegionFeatureProcessor(features.shape[-1])
    elif pairs.visual == REGIONS:
        images = RegionFeatureProcessor(pairs.images[0].shape[-1])
    else:
        images = ViTImageProcessorPil(size={"height": _PIXELS, "width": _PIXELS})
    captions = pairs.captions()
    # In a small set most words are rare.
    least = _LEAST_WORDS if len(captions) >= 10_000 else 1
    words = train_word_tokenizer(captions, min_frequency=least, max_length=max_length)
    processor = MatchingProcessor(images, words)
    return AuditedPairs(dataset, pairs, features, groups, processor, torch.device(device))


def small_model(pairs: AuditedPairs) -> MatchingModel:
    """A fresh two-tower model for the pairs: words and regions, pooled and compared by cosine."""
    of_pixels = pairs.features is None and pairs.pairs.visual == IMAGE
    vision = ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic"
    )
    return MatchingModel(
        MatchingConfig(
            vision_config=vision if of_pixels else None,
            region_size=getattr(pairs.processor.image_processor, "region_size", 2048),
            word_encoder="words",
            vocab_size=len(pairs.processor.tokenizer),
            word_size=_HIDDEN,
            hidden_size=_HIDDEN,
            dropout=0.5,
            image_dropout=0.0 if of_pixels else 0.3,
            normalize_tokens=False,
            similarity="cosine",
            similarity_options={"image_pooling": "attention", "projection": True},
        )
    )
