"""Scores of pairs (image i, text i) by any matching model, and the model's inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .list_inputs import check_list

#: Size of the score matrices of which a cross-modal head returns the diagonal.
_BLOCK_SIZE = 8


def image_inputs(processor: Any, images: Sequence[Any]) -> dict[str, Tensor]:
    """Image inputs of a model.

    Args:
        processor: The model's processor.
        images: Images in any form that the processor accepts, or feature vectors.
    """
    if _are_vectors(processor, images):
        return dict(processor(image_features=images))
    return dict(processor(images=images))


def text_inputs(processor: Any, texts: Sequence[Any]) -> dict[str, Tensor]:
    """Text inputs of a model.

    Args:
        processor: The model's processor.
        texts: Captions, or feature vectors.
    """
    check_list(texts, "texts")
    if _are_vectors(processor, texts):
        return dict(processor(text_features=texts))
    return dict(processor(text=list(texts)))


def _are_vectors(processor: Any, items: Sequence[Any]) -> bool:
    if not hasattr(processor, "reads_vectors_only"):
        return False
    types = list | tuple | np.ndarray | Tensor
    return all(isinstance(item, types) and np.ndim(item) == 1 for item in items)


def output_scores(model: Any, scores: Tensor) -> Tensor:
    """Scores for users: match probabilities of a model that has them (RCAR), else the scores.

    Args:
        model: The model.
        scores: Its scores, of any shape.
    """
    return model.match_probability(scores) if hasattr(model, "match_probability") else scores


def diagonal_scores(
    model: Any, images: Mapping[str, Tensor], texts: Mapping[str, Tensor]
) -> Tensor:
    """Score image i of a batch with text i.

    Args:
        model: Any matching model: two-tower, single-stream or with a cross-modal head.
        images: Inputs of `encode_image`, n rows each.
        texts: Inputs of `encode_text`, n rows each.

    Returns:
        Scores (n,), float32.
    """
    if model.is_two_tower:
        vectors = model.get_image_features(**images), model.get_text_features(**texts)
        return (vectors[0].float() * vectors[1].float()).sum(dim=-1)  # (n,)
    n_pairs = len(next(iter(texts.values())))
    if hasattr(model, "score_pairs"):
        pairs = torch.arange(n_pairs)[:, None].expand(n_pairs, 2)  # (n, 2)
        image, text = model.encode_image(**images), model.encode_text(**texts)
        return model.score_pairs(image, text, pairs.to(model.device)).float()
    parts = []
    for start in range(0, n_pairs, _BLOCK_SIZE):
        rows = slice(start, start + _BLOCK_SIZE)
        image = model.encode_image(**{name: value[rows] for name, value in images.items()})
        text = model.encode_text(**{name: value[rows] for name, value in texts.items()})
        parts.append(model.score(image, text).diagonal().float())
    return torch.cat(parts)
