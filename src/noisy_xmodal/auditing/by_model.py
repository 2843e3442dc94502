"""Judging the pairs of a dataset by one model that is there already."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoProcessor

from ..data import DatasetError, PairDataset
from ..data.columns import IMAGE, REGIONS
from ..entry.errors import load_part
from ..evaluation.embedding import embed_images, embed_texts
from ..evaluation.pair_losses import pair_losses_from_scores, pair_losses_from_vectors
from ..models.two_towers import NotTwoTowersError, load_two_towers, logit_scale_of
from .judgement import WHAT_A_LOSS_MEANS, Judgement, conclude


def load_judge(name: str, device: torch.device | str) -> tuple[Any, Any]:
    """Load a model that can judge pairs, with its processor.

    Args:
        name: Folder or Hub id of a model of this library, or of a two-tower model of transformers.
        device: Where to put it.

    Raises:
        ValueError: If it is another kind of model.
    """
    try:
        return load_two_towers(name, device)
    except NotTwoTowersError as error:
        try:
            model = load_part(AutoModel, name, use_safetensors=True)
        except (OSError, ValueError):
            raise error from None
        if not hasattr(model, "score") or not hasattr(model, "encode_image"):
            raise ValueError(f"{error}; or a model of pairs of this library") from error
        processor = load_part(AutoProcessor, name)
        if getattr(processor, "reads_vectors_only", False):
            raise
        return model.eval().to(device), processor


def check_judge(processor: Any, pairs: PairDataset, name: str) -> None:
    """Refuse a model that reads other images than the dataset has.

    Args:
        processor: The model's processor.
        pairs: What is to be judged.
        name: What the model is called.

    Raises:
        DatasetError: If one has pictures and the other region features, or their sizes differ.
    """
    size = getattr(processor.image_processor, "region_size", None)
    reads = IMAGE if size is None else REGIONS
    if reads != pairs.visual:
        raise DatasetError(
            f"{name} reads {'pictures' if size is None else 'region features'}, and the dataset "
            f"has the column '{pairs.visual}'. Give a model that reads it, or none."
        )
    if size is not None and pairs.images[0].shape[-1] != size:
        raise DatasetError(
            f"{name} reads region features of {size} numbers, and the dataset's have "
            f"{pairs.images[0].shape[-1]}. Give a model that was trained on such features, or none."
        )


def judge_by_model(
    model: Any,
    processor: Any,
    pairs: PairDataset,
    folder: Path,
    seed: int = 0,
    progress: bool = False,
) -> Judgement:
    """Judge all pairs by one model.

    Args:
        model: From `load_judge`.
        processor: Likewise.
        pairs: What to judge.
        folder: Where vectors are kept; what is there is used.
        seed: Seed of references and random pairs.
        progress: Whether to show progress bars.

    Raises:
        DatasetError: If there is one image alone.
    """
    if pairs.n_images < 2:
        raise DatasetError("There is one image: a pair is judged beside pairs of other images.")
    images, captions, rows = pairs.images, pairs.captions(), pairs.row_of_pair
    if model.is_two_tower:
        judged = pair_losses_from_vectors(
            embed_images(model, processor, images, folder / "images.npy", progress=progress),
            embed_texts(model, processor, captions, folder / "texts.npy", progress=progress),
            rows,
            logit_scale_of(model),
            seed,
            pairs.shared_texts,
        )
    else:
        # RCAR scores by log-odds, which have no temperature.
        scale = 1.0 if hasattr(model, "score_pairs") else logit_scale_of(model)
        judged = pair_losses_from_scores(
            model, processor, images, captions, rows, scale, seed, pairs.shared_texts, progress
        )
    fold_of_row = np.zeros(pairs.n_images, dtype=np.int64)
    return conclude([judged], [np.arange(len(rows))], rows, fold_of_row, seed=seed)


def how_by_model(name: str) -> tuple[str, str]:
    """Which model judged, and how far it can be trusted, for the report.

    Args:
        name: What the model is called.
    """
    return (
        f"Judged by {name}.",
        "One model judged all pairs. If it was trained on these very pairs, it may have learnt the "
        "wrong ones by heart; an audit that is given no model has none that could. "
        f"{WHAT_A_LOSS_MEANS}",
    )
