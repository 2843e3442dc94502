"""Judging the pairs of a dataset by small models that have not learnt them.

The images are dealt to folds, images that look alike to the same one. For every fold a model is
trained on the other folds and judges this one, so that no pair is judged by a model that has seen
it, its image or another of its image's captions: a wrong pair cannot be learnt by heart.

Training itself is robust by a second round. In the first one all pairs count alike; in the second
a pair counts as much as the first round believes it, NCR's co-divide with folds in place of peers
(Huang et al., NeurIPS 2021, section 3.1). The share of wrong pairs is taken from the first round:
in the second, what a pair counted elsewhere has passed through the model that judged it.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tqdm.auto import tqdm
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, set_seed
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from ..data import PairDataset
from ..evaluation.collection import embed_pairs
from ..evaluation.pair_losses import PairLosses, pair_losses_from_vectors
from ..files import atomic_write
from ..methods.plain import Plain
from ..models.matching.modeling_matching import MatchingModel
from ..models.two_towers import logit_scale_of
from ..training import Constant, RobustTrainer, RobustTrainingArguments
from ..training.callbacks import ReportCallback
from ..training.integrity import CheckpointError
from ..training.interruption import stop_on_signals
from .audit_pairs import AuditPairs, small_model
from .judgement import LOSS_EXPLANATION, Judgement, combine_losses

logger = logging.get_logger(__name__)

#: Steps that a model is trained for at least, as far as `_MOST_EPOCHS` allow.
_STEPS, _LEAST_EPOCHS, _MOST_EPOCHS = 300, 4, 30
_MODEL, _JUDGED = "model", "judged.safetensors"


@dataclass(frozen=True)
class CrossFitRecipe:
    """How the small models are trained.

    Attributes:
        folds: Parts that the images are dealt to.
        rounds: Rounds of training; pairs are weighted from the second one on.
        epochs: Epochs of each training; None for as many as make 300 steps, 4 to 30.
        batch_size: Pairs of a mini-batch; None for 256, or 64 in sets of less than 10,000 pairs.
        learning_rate: Highest learning rate of AdamW, which falls by a cosine.
        seed: Seed of folds, weights and batches.
        max_seq_length: Tokens that are read of a caption; None for as many as the longest has, at
            most 256.
    """

    folds: int = 3
    rounds: int = 2
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 1e-3
    seed: int = 0
    max_seq_length: int | None = None

    def __post_init__(self) -> None:
        least_of = {"folds": 2, "rounds": 1, "epochs": 1, "batch_size": 2, "seed": 0}
        for name, least in (least_of | {"max_seq_length": 3}).items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}: give at least {least}")


def cross_fit(
    pairs: AuditPairs, recipe: CrossFitRecipe, work: Path, progress: bool = False
) -> Judgement:
    """Judge every pair by a model that was trained without it.

    Args:
        pairs: What to judge.
        recipe: How to train.
        work: Folder for what is made on the way. What is complete in it is taken from there, and
            a training that was interrupted goes on.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If there are fewer than two images a fold.
        TrainingInterrupted: After a signal; the work so far is kept.
    """
    fold_of_row = deal_folds(pairs.groups, recipe.folds, recipe.seed)
    judgement: Judgement | None = None
    for number in range(1, recipe.rounds + 1):
        folders = [work / f"round-{number}" / f"fold-{k + 1}" for k in range(recipe.folds)]
        weights = None if judgement is None else judgement.clean_probability
        judged = []
        for fold, folder in enumerate(folders):
            title = f"round {number} of {recipe.rounds}, fold {fold + 1} of {recipe.folds}"
            trained_on = np.flatnonzero(fold_of_row != fold)
            seed = recipe.seed + 1000 * number + fold
            train_fold(pairs, trained_on, weights, recipe, seed, folder, title, progress)
            held_out = np.flatnonzero(fold_of_row == fold)
            judged.append(_judge_fold(pairs, held_out, folder, recipe.seed, progress))
        judgement = combine_losses(
            judged,
            [pairs.pairs_of_rows(np.flatnonzero(fold_of_row == k)) for k in range(recipe.folds)],
            pairs.row_of_pair,
            fold_of_row,
            None if judgement is None else judgement.share,
            [folder / _MODEL for folder in folders],
            recipe.seed,
        )
        for folder in (f for f in folders if number < recipe.rounds):
            shutil.rmtree(folder / _MODEL, ignore_errors=True)
    assert judgement is not None, "there is a round"
    return judgement


def deal_folds(groups: np.ndarray, n_folds: int, seed: int) -> NDArray[np.int64]:
    """Deal images to folds of nearly equal size, groups as a whole.

    Args:
        groups: Group of each image, (n_images,).
        n_folds: Number of folds.
        seed: Seed of the order.

    Returns:
        Fold of each image, (n_images,).

    Raises:
        ValueError: If there are fewer than two groups a fold: a fold of one image has no captions
            of others to compare with.
    """
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < 2 * n_folds:
        raise ValueError(
            f"There are {len(names)} different images for {n_folds} folds: an audit needs some "
            "hundreds of pairs to learn from. Name a trained model with --model_name_or_path."
        )
    sizes = np.bincount(group)
    order = np.random.default_rng(seed).permutation(len(names))
    largest_first = order[np.argsort(-sizes[order], kind="stable")]
    fold_of_group = np.empty(len(names), dtype=np.int64)
    held = np.zeros(n_folds, dtype=np.int64)
    for name in largest_first:
        fold_of_group[name] = np.argmin(held)
        held[fold_of_group[name]] += sizes[name]
    return fold_of_group[group]


def train_fold(
    pairs: AuditPairs,
    rows: np.ndarray,
    weights: np.ndarray | None,
    recipe: CrossFitRecipe,
    seed: int,
    folder: Path,
    title: str = "",
    progress: bool = False,
) -> None:
    """Train a small model on the pairs of some images and keep it in `folder`.

    Args:
        pairs: All pairs.
        rows: Images to train on, (n_rows,), ascending.
        weights: How much each of all pairs counts, (n_pairs,), or None.
        recipe: How to train.
        seed: Seed of this training.
        folder: Where checkpoints and the model go; a finished model is left as it is.
        title: What the progress bar says.
        progress: Whether to show one.
    """
    if (folder / _MODEL).is_dir() or (folder / _JUDGED).is_file():
        return
    samples = pairs.of_rows(rows)
    own = None if weights is None else weights[pairs.pairs_of_rows(rows)]
    args = _training_arguments(samples, recipe, seed, folder)
    set_seed(seed)
    trainer = RobustTrainer(
        small_model(pairs), args, Weighted(own), samples, processing_class=pairs.processor
    )
    for callback in (PrinterCallback, ProgressCallback, ReportCallback):
        trainer.remove_callback(callback)
    if progress:
        trainer.add_callback(_StepBar(title))
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    with stop_on_signals(trainer):
        try:
            trainer.train(resume_from_checkpoint=last)
        except CheckpointError as error:
            logger.warning(f"{error} The training of {folder} begins anew.")
            shutil.rmtree(folder)
            trainer.train()
    with atomic_write(folder / _MODEL) as aside:
        trainer.model.save_pretrained(aside)
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


class Weighted(Plain):
    """Cross-entropy of every pair, times its weight."""

    title = "cross-fit"
    options: ClassVar[Mapping[str, Constant]] = {
        **Plain.options,
        "objective": Constant("infonce"),
    }


@dataclass
class _OneDevice(RobustTrainingArguments):
    """Arguments of a small model, which trains on the first GPU however many there are."""

    @property
    def n_gpu(self) -> int:
        """At most one."""
        return min(1, super().n_gpu)


def _training_arguments(
    samples: PairDataset, recipe: CrossFitRecipe, seed: int, folder: Path
) -> RobustTrainingArguments:
    batch = recipe.batch_size or (256 if len(samples) >= 10_000 else 64)
    batch = min(batch, len(samples))
    steps = max(1, len(samples) // batch)
    epochs = recipe.epochs or int(np.clip(-(-_STEPS // steps), _LEAST_EPOCHS, _MOST_EPOCHS))
    return _OneDevice(
        str(folder),
        warmup_epochs=0,
        num_train_epochs=epochs,
        per_device_train_batch_size=batch,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        weight_decay=1e-4,
        seed=seed,
        eval_strategy="no",
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="no",
        load_best_model_at_end=False,
        plot_divisions=False,
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=False,
    )


class _StepBar(TrainerCallback):
    """One progress bar for one training."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self._title)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.update(state.global_step - self._bar.n)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.close()


def _judge_fold(
    pairs: AuditPairs, rows: np.ndarray, folder: Path, seed: int, progress: bool
) -> PairLosses:
    """Losses of the pairs of some images by the model in `folder`, or those that it gave before."""
    kept = folder / _JUDGED
    if not kept.is_file():
        model = MatchingModel.from_pretrained(folder / _MODEL).to(pairs.device)
        samples = pairs.of_rows(rows)
        images, texts = embed_pairs(
            model, pairs.processor, samples.images, samples.captions(), folder, progress
        )
        scale = logit_scale_of(model)
        judged = pair_losses_from_vectors(
            images, texts, samples.row_of_pair, scale, seed, samples.shared_texts
        )
        # Of an array with gaps, such as a column, safetensors would keep other numbers.
        whole = {name: np.ascontiguousarray(part) for name, part in judged._asdict().items()}
        with atomic_write(kept) as aside:
            save_file(whole, str(aside))
        del images, texts
        for file in (folder / "images.npy", folder / "texts.npy"):
            file.unlink()
    return PairLosses(**load_file(str(kept)))


def how_cross_fitted(recipe: CrossFitRecipe) -> tuple[str, str]:
    """Which models judged, and why they can be trusted, for the report.

    Args:
        recipe: How they were trained.
    """
    later = (
        f" They were trained {recipe.rounds} times; from the second time on each pair was weighted "
        "by its clean probability."
        if recipe.rounds > 1
        else ""
    )
    return (
        f"Judged by {recipe.folds} small models that were trained on this dataset.",
        f"The images were split into {recipe.folds} folds, and those that look alike are in one "
        "fold. Each model was trained on the other folds and judged its own, so no pair was judged "
        f"by a model that had seen it, its image or its image's other captions.{later} "
        f"{LOSS_EXPLANATION} The share of wrong pairs comes from the first training.",
    )
