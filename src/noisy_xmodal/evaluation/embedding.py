"""Vectors of many images or texts, written to a file in blocks; an interrupted run is resumed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..modules.list_inputs import check_list
from .scoring import ScoringModel, eval_mode
from .stored_rows import check_finite, stored_rows


def embed_images(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    path: Path,
    block_size: int = 64,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Embed images into a file, or read the vectors that an earlier call wrote.

    The file name must identify the model and the images. A file with another number of images is
    overwritten.

    Args:
        model: A two-tower model; its mode is restored afterwards.
        processor: Its processor.
        images: Images or region features; slicing must give a list.
        path: The `.npy` file, see `stored_rows`.
        block_size: Images per block.
        progress: Whether to show a progress bar.

    Returns:
        (n_images, size), read-only and memory-mapped.

    Raises:
        ValueError: If there are no images, `images` is not a list, or a vector is not finite.
    """

    def encode(block: Sequence[Any]) -> Tensor:
        return model.get_image_features(**_inputs(model, processor(images=block)))

    return _embed(model, encode, images, path, block_size, progress, "image")


def embed_texts(
    model: ScoringModel,
    processor: Any,
    texts: Sequence[str],
    path: Path,
    block_size: int = 64,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Embed texts into a file, as `embed_images` does.

    Args:
        model: A two-tower model; its mode is restored afterwards.
        processor: Its processor.
        texts: Captions.
        path: The `.npy` file, see `stored_rows`.
        block_size: Texts per block.
        progress: Whether to show a progress bar.

    Returns:
        (n_texts, size), read-only and memory-mapped.

    Raises:
        ValueError: If there are no texts, `texts` is not a list, or a vector is not finite.
    """

    def encode(block: Sequence[str]) -> Tensor:
        return model.get_text_features(**_inputs(model, processor(text=list(block))))

    return _embed(model, encode, texts, path, block_size, progress, "text")


def _inputs(model: ScoringModel, features: Any) -> dict[str, Tensor]:
    return {name: value.to(model.device) for name, value in features.items()}


def _embed(
    model: ScoringModel,
    encode: Callable[[Any], Tensor],
    items: Sequence[Any],
    path: Path,
    block_size: int,
    progress: bool,
    kind: str,
) -> NDArray[np.float32]:
    check_list(items, f"{kind}s")
    if len(items) == 0 or block_size < 1:
        raise ValueError(
            f"there are {len(items)} {kind}s to embed in blocks of {block_size}: give at least 1"
        )

    def make(start: int, end: int) -> NDArray[np.float32]:
        try:
            block = encode(items[start:end]).float().cpu().numpy()  # (n_block, size)
        except (OSError, ValueError) as error:
            error.add_note(f"The error occurred in the {kind}s {start} to {end - 1}.")
            raise
        check_finite(block, start, kind)
        return block

    with eval_mode(model):
        return stored_rows(path, len(items), make, block_size, f"{kind} vectors", progress)
