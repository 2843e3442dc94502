"""Feature vectors of pictures and texts by a frozen backbone, made once and kept on disk."""

import hashlib
import os
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from tqdm.auto import tqdm

from ..data import LabelledPairs


@torch.inference_mode()
def extract_features(
    model: Any,
    processor: Any,
    pairs: LabelledPairs,
    device: torch.device | str = "cpu",
    split: str = "train",
    block_size: int = 64,
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What the towers of a model with a backbone would read of every row.

    The vectors are kept in the cache of `datasets`, under a name made of the rows, the backbone's
    weights and the processor, so that another run or method reads them from there.

    Args:
        model: A `CommonSpaceModel` with a backbone.
        processor: Its processor.
        pairs: Rows of pictures and texts.
        device: Where to run the backbone.
        split: Name of the split, for the progress bar.
        block_size: Rows that are read at once.
        cache_dir: Where to keep them; the cache of `datasets` by default.

    Returns:
        Image vectors (n, image_size) and text vectors (n, text_size), float32.
    """
    folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_features"
    path = folder / f"{_fingerprint(model, processor, pairs)}.safetensors"
    if path.is_file():
        kept = load_file(str(path))
        return kept["image_features"], kept["text_features"]
    place = model.device
    was_training = model.training
    model.eval().to(device)
    found: dict[str, list[np.ndarray]] = {"image": [], "text": []}
    bar = tqdm(range(0, len(pairs), block_size), desc=f"features of {split}", leave=False)
    for start in bar:
        rows = list(range(start, min(start + block_size, len(pairs))))
        images = processor(images=pairs.pictures(rows)).to(device)
        texts = processor(text=pairs.texts(rows)).to(device)
        found["image"].append(model.image_features_of(**images).float().cpu().numpy())
        found["text"].append(model.text_features_of(**texts).float().cpu().numpy())
    model.train(was_training).to(place)
    arrays = {f"{name}_features": np.concatenate(blocks) for name, blocks in found.items()}
    folder.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.partial")
    save_file(arrays, str(aside))
    os.replace(aside, path)
    return arrays["image_features"], arrays["text_features"]


def _fingerprint(model: Any, processor: Any, pairs: LabelledPairs) -> str:
    digest = hashlib.sha256(pairs.dataset._fingerprint.encode())
    digest.update(processor.to_json_string().encode())
    digest.update(processor.tokenizer.backend_tokenizer.to_str().encode())
    for name, value in sorted(model.backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
