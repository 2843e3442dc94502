"""Feature vectors of images and texts by a frozen backbone, cached on disk."""

import os
from typing import Any

import numpy as np
import torch

from ..data import LabelDataset
from .cache import cache_folder, cache_name, stored_rows
from .scoring import eval_mode, to_device


def extract_features(
    model: Any,
    processor: Any,
    pairs: LabelDataset,
    device: torch.device | str = "cpu",
    split: str = "train",
    block_size: int = 64,
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the inputs of a model's towers by its backbone, for every row.

    The vectors are cached under a hash of the rows, the backbone's weights and the processor, so
    that other runs and methods reuse them.

    Args:
        model: A `CommonSpaceModel` with a backbone.
        processor: Its processor.
        pairs: Rows of images and texts.
        device: Device of the backbone.
        split: Name of the split, for the progress bar.
        block_size: Rows per block.
        cache_dir: Folder of the cache; that of `datasets` by default.

    Returns:
        Image vectors (n, image_size) and text vectors (n, text_size), float32.
    """
    rows = pairs.without_features().identity()
    content = (rows["pair: picture"], rows["pair: text"])
    name = cache_name(model, processor, *content, network=model.backbone)
    folder, original_device = cache_folder(cache_dir), model.device

    def make_images(start: int, end: int) -> np.ndarray:
        inputs = processor(images=pairs.pictures(range(start, end)))
        return model.image_features_of(**to_device(inputs, model.device)).float().cpu().numpy()

    def make_texts(start: int, end: int) -> np.ndarray:
        inputs = processor(text=pairs.texts(range(start, end)))
        return model.text_features_of(**to_device(inputs, model.device)).float().cpu().numpy()

    try:
        with eval_mode(model.to(device)):
            images, texts = (
                np.array(
                    stored_rows(
                        folder / f"{name}-{side}.npy",
                        len(pairs),
                        make,
                        block_size,
                        f"{side} features of {split}",
                        progress=True,
                    )
                )
                for side, make in (("image", make_images), ("text", make_texts))
            )  # (n, image_size), (n, text_size)
    finally:
        model.to(original_device)
    return images, texts
