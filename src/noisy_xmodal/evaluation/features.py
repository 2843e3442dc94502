"""Feature vectors of images and texts by a frozen backbone, cached on disk."""

import os
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from tqdm.auto import tqdm

from ..data import LabelDataset
from ..data.digests import combined_digest
from ..files import atomic_write
from .model_identity import model_parts

#: Incremented when the vectors of the same rows and models change.
_VERSION = "2"


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
    folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_features"
    path = folder / f"{_fingerprint(model, processor, pairs)}.safetensors"
    if path.is_file():
        arrays = load_file(str(path))
        return arrays["image_features"], arrays["text_features"]
    original_device, was_training = model.device, model.training
    model.eval().to(device)
    try:
        arrays = _compute_features(model, processor, pairs, split, block_size)
    finally:
        model.train(was_training).to(original_device)
    with atomic_write(path, shared=True) as aside:
        save_file(arrays, str(aside))
    return arrays["image_features"], arrays["text_features"]


@torch.inference_mode()
def _compute_features(
    model: Any, processor: Any, pairs: LabelDataset, split: str, block_size: int
) -> dict[str, np.ndarray]:
    features: dict[str, list[np.ndarray]] = {"image": [], "text": []}
    for start in tqdm(range(0, len(pairs), block_size), desc=f"features of {split}", leave=False):
        rows = range(len(pairs))[start : start + block_size]
        images = processor(images=pairs.pictures(rows)).to(model.device)
        texts = processor(text=pairs.texts(rows)).to(model.device)
        features["image"].append(model.image_features_of(**images).float().cpu().numpy())
        features["text"].append(model.text_features_of(**texts).float().cpu().numpy())
    return {f"{name}_features": np.concatenate(blocks) for name, blocks in features.items()}


def _fingerprint(model: Any, processor: Any, pairs: LabelDataset) -> str:
    """A hash of everything the features depend on: rows, processor, tokenizer and weights."""
    rows = pairs.without_features().identity()
    content = (rows["pair: picture"], rows["pair: text"])
    return combined_digest(_VERSION, *content, *model_parts(model, processor, model.backbone))
