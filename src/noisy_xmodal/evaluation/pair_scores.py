"""Scores of given pairs, one a pair, where `score_matrix` would score all images with all texts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..modules.list_inputs import check_list
from ..modules.pair_scoring import diagonal_scores, image_inputs, text_inputs
from .scoring import ScoringModel, eval_mode


def pair_scores(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[Any],
    block_size: int = 64,
) -> np.ndarray:
    """Score image i with text i in eval mode.

    Args:
        model: The model; its mode is restored afterwards.
        processor: Its processor.
        images: Pictures, their paths, region features or vectors; anything that gives a list for a
            slice.
        texts: A caption an image, or a vector an image.
        block_size: Pairs that are read and encoded at once; bounds memory.

    Returns:
        Scores (n_pairs,), float32: the inner product of a two-tower model's vectors, RCAR's
        log-odds, or what another head gives the pair.

    Raises:
        ValueError: If there is no pair, or not one text an image.
    """
    check_list(images, "images")
    check_list(texts, "texts")
    if len(images) != len(texts) or not len(images):
        raise ValueError(f"found {len(images)} images and {len(texts)} texts: give a text an image")
    blocks = []
    with eval_mode(model):
        for start in range(0, len(images), block_size):
            rows = slice(start, start + block_size)
            sides = image_inputs(processor, images[rows]), text_inputs(processor, texts[rows])
            image, text = (
                {name: value.to(model.device) for name, value in side.items()} for side in sides
            )
            blocks.append(diagonal_scores(model, image, text).cpu().numpy())  # (n_rows,)
    return np.concatenate(blocks)
