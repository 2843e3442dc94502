"""The score matrix of any matching model, block by block.

Every image and every text is encoded once. A two-tower model needs one matrix product a block;
other heads compare the encodings of a block of images with those of a block of texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm


class ScoringModel(Protocol):
    """What evaluation asks of a model; `MatchingModel` and `NcrModel` have it."""

    @property
    def is_two_tower(self) -> bool:
        """Whether a score is the inner product of an image vector and a text vector."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    training: bool

    def train(self, mode: bool = True) -> Any:
        """Switch between training and eval mode."""

    def encode_image(self, **inputs: Tensor) -> Any:
        """Encode a block of images."""

    def encode_text(self, **inputs: Tensor) -> Any:
        """Encode a block of texts."""

    def score(self, image: Any, text: Any) -> Tensor:
        """Compare two blocks of encodings, (n_images, n_texts)."""

    def get_image_features(self, **inputs: Tensor) -> Tensor:
        """Image vectors of a two-tower model."""

    def get_text_features(self, **inputs: Tensor) -> Tensor:
        """Text vectors of a two-tower model."""


@torch.inference_mode()
def score_matrix(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[str],
    block_size: int = 64,
    progress: bool = False,
) -> np.ndarray:
    """Score all images against all texts in eval mode.

    Args:
        model: The model; its mode is restored afterwards.
        processor: Its processor.
        images: Pictures or region features; anything that gives a list for a slice.
        texts: Captions.
        block_size: Images and texts that are encoded and scored at once; bounds memory.
        progress: Whether to show a progress bar.

    Returns:
        Scores (n_images, n_texts), float32.
    """
    was_training = model.training
    model.train(False)
    try:
        return _score_blocks(model, processor, images, texts, block_size, progress)
    finally:
        model.train(was_training)


def _score_blocks(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[str],
    block_size: int,
    progress: bool,
) -> np.ndarray:
    two_tower = model.is_two_tower

    def encode_images(block: Sequence[Any]) -> Any:
        inputs = _to(model.device, processor(images=block))
        return model.get_image_features(**inputs) if two_tower else model.encode_image(**inputs)

    def encode_texts(block: Sequence[str]) -> Any:
        inputs = _to(model.device, processor(text=block))
        return model.get_text_features(**inputs) if two_tower else model.encode_text(**inputs)

    scores = np.empty((len(images), len(texts)), dtype=np.float32)
    text_starts = range(0, len(texts), block_size)
    encoded_texts = [encode_texts(texts[start : start + block_size]) for start in text_starts]
    starts = range(0, len(images), block_size)
    for start in tqdm(starts, desc="scoring", leave=False, disable=not progress):
        block = encode_images(images[start : start + block_size])
        for text_start, encoded in zip(text_starts, encoded_texts, strict=True):
            part = block @ encoded.T if two_tower else model.score(block, encoded)
            rows, columns = part.shape
            scores[start : start + rows, text_start : text_start + columns] = (
                part.float().cpu().numpy()
            )
    return scores


def _to(device: torch.device, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in inputs.items()}
