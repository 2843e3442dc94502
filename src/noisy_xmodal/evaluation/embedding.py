"""Vectors of many images or texts, written to a file block by block; a stopped run is taken up."""

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
    """Vectors of images, kept in a file; what an earlier call has left there is not made again.

    It is for the caller to name the file after the model and the images; another number of images
    begins it anew.

    Args:
        model: A two-tower model; its mode is restored afterwards.
        processor: Its processor.
        images: Pictures or region features; anything that gives a list for a slice.
        path: The `.npy` file, see `stored_rows`.
        block_size: Images that are encoded at once.
        progress: Whether to show a progress bar.

    Returns:
        (n_images, size), read-only and memory-mapped.

    Raises:
        ValueError: If there are no images, or one in place of a list, or a vector is not finite.
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
    """Vectors of texts, kept in a file as by `embed_images`, which see.

    Args:
        model: A two-tower model; its mode is restored afterwards.
        processor: Its processor.
        texts: Captions.
        path: The `.npy` file, see `stored_rows`.
        block_size: Texts that are encoded at once.
        progress: Whether to show a progress bar.

    Returns:
        (n_texts, size), read-only and memory-mapped.

    Raises:
        ValueError: If there are no texts, or one in place of a list, or a vector is not finite.
    """

    def encode(block: Sequence[str]) -> Tensor:
        return model.get_text_features(**_inputs(model, processor(text=list(block))))

    return _embed(model, encode, texts, path, block_size, progress, "text")


def _inputs(model: ScoringModel, given: Any) -> dict[str, Tensor]:
    return {name: value.to(model.device) for name, value in given.items()}


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
            error.add_note(f"It was met in the {kind}s {start} to {end - 1}.")
            raise
        check_finite(block, start, kind)
        return block

    with eval_mode(model):
        return stored_rows(path, len(items), make, block_size, f"{kind} vectors", progress)
