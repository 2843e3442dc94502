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

    def features(side: str) -> np.ndarray:
        def make(start: int, end: int) -> np.ndarray:
            rows = range(start, end)
            if side == "image":
                inputs, backbone = processor(images=pairs.pictures(rows)), model.image_features_of
            else:
                inputs, backbone = processor(text=pairs.texts(rows)), model.text_features_of
            return backbone(**to_device(inputs, model.device)).float().cpu().numpy()

        path, title = folder / f"{name}-{side}.npy", f"{side} features of {split}"
        return np.array(stored_rows(path, len(pairs), make, block_size, title, progress=True))

    try:
        with eval_mode(model.to(device)):
            return features("image"), features("text")
    finally:
        model.to(original_device)
