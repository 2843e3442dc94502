"""One score per pair; `score_matrix` scores all images with all texts."""

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
        images: Images, their paths, region features or vectors; slicing must give a list.
        texts: One caption or one vector per image.
        block_size: Pairs per block; bounds memory.

    Returns:
        Scores (n_pairs,), float32: the inner product of a two-tower model's vectors, RCAR's
        log-odds, or the score of another head.

    Raises:
        ValueError: If there is no pair, or the numbers of images and texts differ.
    """
    check_list(images, "images")
    check_list(texts, "texts")
    if len(images) != len(texts) or not len(images):
        raise ValueError(
            f"there are {len(images)} images and {len(texts)} texts: give one text per image"
        )
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
