"""Judging the pairs of a dataset by one pretrained model."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoProcessor

from ..arguments.audit import AuditOptions
from ..data import DatasetError, PairDataset
from ..data.columns import IMAGE, REGIONS
from ..entry.errors import load_part
from ..evaluation.collection import embed_pairs
from ..evaluation.pair_losses import (
    PairLosses,
    pair_losses_from_scores,
    pair_losses_from_vectors,
)
from ..models.two_towers import NotTwoTowersError, load_two_towers, logit_scale_of
from .judgement import Judgement, combine_losses


def load_judge(name: str, device: torch.device | str) -> tuple[Any, Any]:
    """Load a model that can judge pairs, and its processor.

    Args:
        name: Folder or Hub id of a model of this library, or of a two-tower transformers model.
        device: Device of the model.

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
    """Check that a model accepts the images of a dataset.

    Args:
        processor: The model's processor.
        pairs: The pairs to judge.
        name: Name of the model.

    Raises:
        DatasetError: If one has images and the other region features, or their sizes differ.
    """
    size = getattr(processor.image_processor, "region_size", None)
    if pairs.visual != (IMAGE if size is None else REGIONS):
        raise DatasetError(
            f"{name} takes {'images' if size is None else 'region features'}, but the dataset has "
            f"the column '{pairs.visual}'. Give a model that takes it, or none."
        )
    if size is not None and pairs.images[0].shape[-1] != size:
        raise DatasetError(
            f"{name} takes region features of size {size}, but those of the dataset have size "
            f"{pairs.images[0].shape[-1]}. Give a model that was trained on such features, or none."
        )


class ModelJudge:
    """One model that judges all pairs.

    Args:
        model: From `load_judge`.
        processor: Likewise.
        pairs: The pairs to judge.
        options: Seed of references and random pairs, and whether to show progress bars.
        work: Folder of the vectors; existing vectors are reused.
    """

    def __init__(
        self, model: Any, processor: Any, pairs: PairDataset, options: AuditOptions, work: Path
    ) -> None:
        self.model = model
        self.processor = processor
        self.pairs = pairs
        self.options = options
        self.work = work

    def model_of(self, fold: int) -> tuple[Any, Path]:
        """The model, and the folder of its vectors."""
        return self.model, self.work

    def judge(self) -> Judgement:
        """Judge all pairs.

        Raises:
            DatasetError: If there is only one image.
        """
        if self.pairs.n_images < 2:
            raise DatasetError(
                "There is only one image: an audit compares pairs of several images."
            )
        losses = judged_losses(self.model, self.processor, self.pairs, self.options, self.work)
        fold_of_row = np.zeros(self.pairs.n_images, np.int64)
        return combine_losses([losses], self.pairs.row_of_pair, fold_of_row, seed=self.options.seed)


def judged_losses(
    model: Any, processor: Any, pairs: PairDataset, options: AuditOptions, folder: Path
) -> PairLosses:
    """Losses of pairs by a model.

    Args:
        model: A model of pairs.
        processor: Its processor.
        pairs: The pairs.
        options: Seed of references and random pairs, and whether to show progress bars.
        folder: Folder of the vectors; existing vectors are reused.
    """
    rows, shared, seed = pairs.row_of_pair, pairs.shared_texts, options.seed
    progress = not options.disable_tqdm
    inputs = model, processor, pairs.images, pairs.captions()
    if model.is_two_tower:
        vectors = embed_pairs(*inputs, folder, progress)
        return pair_losses_from_vectors(*vectors, rows, logit_scale_of(model), seed, shared)
    # The scores of RCAR are log-odds, which have no temperature.
    scale = 1.0 if hasattr(model, "score_pairs") else logit_scale_of(model)
    return pair_losses_from_scores(*inputs, rows, scale, seed, shared, progress)
