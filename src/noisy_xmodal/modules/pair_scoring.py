"""The score of image i with text i alone, by any matching model, and the inputs for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .several import check_several

#: Heads without vectors score a square of which the diagonal is wanted, so it is kept small.
_SQUARE = 8


def image_inputs(processor: Any, images: Sequence[Any]) -> dict[str, Tensor]:
    """What a model reads of images.

    Args:
        processor: The model's processor.
        images: Whatever the processor reads; feature vectors for a model of feature vectors.
    """
    if _are_vectors(processor, images):
        return dict(processor(image_features=images))
    return dict(processor(images=images))


def text_inputs(processor: Any, texts: Sequence[Any]) -> dict[str, Tensor]:
    """What a model reads of texts.

    Args:
        processor: The model's processor.
        texts: Captions; feature vectors for a model of feature vectors.
    """
    check_several(texts, "texts")
    if _are_vectors(processor, texts):
        return dict(processor(text_features=texts))
    return dict(processor(text=list(texts)))


def _are_vectors(processor: Any, items: Sequence[Any]) -> bool:
    if not hasattr(processor, "reads_vectors_only"):
        return False
    kinds = list | tuple | np.ndarray | Tensor
    return all(isinstance(item, kinds) and np.ndim(item) == 1 for item in items)


def shown_scores(model: Any, scores: Tensor) -> Tensor:
    """What is reported of scores: RCAR's probability; those of other models as they are.

    Args:
        model: The model.
        scores: Its scores, of any shape.
    """
    return model.match_probability(scores) if hasattr(model, "match_probability") else scores


def paired_scores(model: Any, images: Mapping[str, Tensor], texts: Mapping[str, Tensor]) -> Tensor:
    """Score image i of a batch with text i.

    Args:
        model: Any matching model: one that scores single pairs by joint passes, a two-tower one,
            or one with another head.
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
        own = torch.arange(n_pairs)[:, None].expand(n_pairs, 2)  # (n, 2)
        image, text = model.encode_image(**images), model.encode_text(**texts)
        return model.score_pairs(image, text, own.to(model.device)).float()
    parts = []
    for start in range(0, n_pairs, _SQUARE):
        rows = slice(start, start + _SQUARE)
        image = model.encode_image(**{name: value[rows] for name, value in images.items()})
        text = model.encode_text(**{name: value[rows] for name, value in texts.items()})
        parts.append(model.score(image, text).diagonal().float())
    return torch.cat(parts)
