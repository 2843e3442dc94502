"""Judging the pairs of a dataset by small models that have not learnt them.

The images are dealt to folds, images that look alike to the same one. For every fold a model is
trained on the other folds and judges this one, so that no pair is judged by a model that has seen
it, its image or another of its image's captions: a wrong pair cannot be memorised.

Captions are read as words and, where a pretrained text model is at hand, as its vectors. With these
the losses of both rounds count, because their errors differ.

Training itself is robust by a second round. In the first one all pairs count alike; in the second
a pair counts as much as the first round believes it, NCR's co-divide with folds in place of peers
(Huang et al., NeurIPS 2021, section 3.1). The share of wrong pairs is taken from the first round:
in the second, what a pair counted elsewhere has passed through the model that judged it.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_weights
from safetensors.torch import save_file as save_weights
from tqdm.auto import tqdm
from transformers import (
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from ..arguments.audit import AuditOptions
from ..data import PairDataset
from ..evaluation.pair_losses import PairLosses, References, mean_losses
from ..files import atomic_write
from ..methods.plain import Plain
from ..models.matching.modeling_matching import MatchingModel
from ..models.two_towers import logit_scale_of
from ..training import RobustTrainer, RobustTrainingArguments
from ..training.callbacks import ReportCallback
from ..training.integrity import CheckpointError
from ..training.interruption import stop_on_signals
from .features import CaptionVectors
from .judge import judged_losses
from .judgement import Judgement, combine_losses
from .known_pairs import KnownPairs
from .small_model import MANY_PAIRS, small_model, small_processor
from .tasks import claim_tasks

logger = logging.get_logger(__name__)

#: Steps that a model is trained for at least, as far as `_MOST_EPOCHS` allow; and those of models
#: with pretrained captions on few pairs, which have more dropout.
_STEPS, _PRETRAINED_STEPS = 300, 600
_LEAST_EPOCHS, _MOST_EPOCHS = 4, 30
_MODEL, _JUDGED = "model.safetensors", "judged.safetensors"
_REFERENCES = "references.safetensors"


def deal_folds(groups: np.ndarray, n_folds: int, seed: int) -> NDArray[np.int64]:
    """Deal images to folds of nearly equal size, groups as a whole.

    scikit-learn's `GroupKFold` deals by size, too, but without a seed, so to other folds.

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


class CrossFit:
    """Small models that are trained on parts of the pairs.

    Args:
        pairs: What to judge: images, region features, or `GridPairs` of images.
        options: How to train, and whether to show progress bars.
        work: Folder for what is made on the way. What is complete in it is taken from there, and a
            training that was interrupted goes on.
        device: Device of the models.
        captions: Vectors of all captions, for the models to read beside words.
        known: What people decided about the pairs.
        is_shared: Whether other processes train in the same folder, and further pairs are judged
            afterwards: then models and references are kept.
        after_training: Called after each training of this or another process.

    Attributes:
        processor: Processor of captions and of features or images.
        losses: After `judge`, the losses by the model of each fold.
    """

    def __init__(
        self,
        pairs: PairDataset,
        options: AuditOptions,
        work: Path,
        device: torch.device | str = "cpu",
        captions: CaptionVectors | None = None,
        known: KnownPairs | None = None,
        is_shared: bool = False,
        after_training: Callable[[], None] = lambda: None,
    ) -> None:
        self.is_shared = is_shared
        self._after_training = after_training
        self.pairs = pairs
        self.options = options
        self.work = work
        self.device = torch.device(device)
        self.known = known
        self.captions = captions
        self.processor = small_processor(pairs, captions, options.max_seq_length)
        self.losses: list[PairLosses] = []

    def judge(self, groups: np.ndarray) -> Judgement:
        """Judge every pair by a model that was trained without it.

        Args:
            groups: Group of each image, (n_images,). Images of a group look alike, so no model is
                trained on one of them and judges another.

        Raises:
            ValueError: If there are fewer than two images a fold.
            TrainingInterrupted: After a signal; the work so far is kept.
        """
        n_folds, n_rounds, seed = self.options.folds, self.options.rounds, self.options.seed
        fold_of_row = deal_folds(groups, n_folds, seed)
        bar = _TotalBar(n_rounds * n_folds, is_hidden=self.options.disable_tqdm)
        judgement: Judgement | None = None
        so_far: list[list[PairLosses]] = [[] for _ in range(n_folds)]
        for number in range(1, n_rounds + 1):
            folders = [self._folder(number, fold) for fold in range(n_folds)]
            weights = None if judgement is None else judgement.clean_probability
            if self.known is not None:
                weights = self.known.over(np.ones(len(self.pairs)) if weights is None else weights)
            for fold in self._folds_to_train(number):
                bar.begin(f"round {number} of {n_rounds}, fold {fold + 1} of {n_folds}")
                others, own = (np.flatnonzero(fold_of_row != fold), fold_of_row == fold)
                self.train(others, weights, seed + 1000 * number + fold, folders[fold], bar)
                self._judge_fold(np.flatnonzero(own), folders[fold])
            for fold, folder in enumerate(folders):
                self._after_training()
                losses = PairLosses(**load_file(str(folder / _JUDGED)))
                so_far[fold] = [*so_far[fold], losses] if self.captions is not None else [losses]
            self.losses = [mean_losses(losses) for losses in so_far]
            judgement = combine_losses(
                self.losses,
                self.pairs.row_of_pair,
                fold_of_row,
                None if judgement is None else judgement.share,
                seed,
            )
            if number < n_rounds and not self.is_shared:
                for folder in folders:
                    (folder / _MODEL).unlink(missing_ok=True)
        bar.close()
        assert judgement is not None, "there is a round"
        return judgement

    def model_of(self, fold: int) -> tuple[MatchingModel, Path]:
        """The model that judged a fold, and a folder for vectors of all images and captions."""
        model = self.load(self._folder(self.options.rounds, fold))
        return model, self.work / f"suggestions-{fold + 1}"

    def judges_of(self, fold: int) -> list[tuple[MatchingModel, References]]:
        """The models whose mean loss judged a fold, and what they compare with."""
        first = 1 if self.captions is not None else self.options.rounds
        folders = [self._folder(number, fold) for number in range(first, self.options.rounds + 1)]
        judges = []
        for folder in folders:
            kept = load_file(str(folder / _REFERENCES))
            references = References(kept["images"], kept["texts"], kept["scale"].item())
            judges.append((self.load(folder), references))
        return judges

    def _folds_to_train(self, number: int) -> Iterator[int]:
        """The folds that this process trains in a round: all, or those that no other one does."""
        names = {f"round-{number}-fold-{fold + 1}": fold for fold in range(self.options.folds)}
        if not self.is_shared:
            return iter(names.values())

        def is_done(name: str) -> bool:
            return (self._folder(number, names[name]) / _JUDGED).is_file()

        return (names[name] for name in claim_tasks(names, is_done, self.work / "locks"))

    def load(self, folder: Path) -> MatchingModel:
        """The model that `train` left in a folder, in eval mode."""
        model = small_model(self.processor, self.captions)
        model.load_state_dict(load_weights(folder / _MODEL))
        return model.eval().to(self.device)

    def _folder(self, number: int, fold: int) -> Path:
        return self.work / f"round-{number}" / f"fold-{fold + 1}"

    def train(
        self,
        rows: np.ndarray,
        weights: np.ndarray | None,
        seed: int,
        folder: Path,
        bar: TrainerCallback | None = None,
    ) -> None:
        """Train a small model on the pairs of some images and keep it in `folder`.

        Args:
            rows: Images to train on, (n_rows,), ascending.
            weights: Clean probability of each of all pairs, (n_pairs,), or None.
            seed: Seed of this training.
            folder: Where checkpoints and the model go; a finished model is left as it is.
            bar: Shows the progress, if there is one.
        """
        if (folder / _MODEL).is_file() or (folder / _JUDGED).is_file():
            return
        samples = self.pairs.select(rows)
        if weights is not None:
            weights = weights[np.isin(self.pairs.row_of_pair, rows)]
        args = self._training_arguments(len(samples), seed, folder)
        set_seed(seed)
        trainer = RobustTrainer(
            small_model(self.processor, self.captions),
            args,
            Plain(),
            samples,
            processing_class=self.processor,
            audit=weights,
        )
        for callback in (PrinterCallback, ProgressCallback, ReportCallback):
            trainer.remove_callback(callback)
        if bar is not None:
            trainer.add_callback(bar)
        last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
        with stop_on_signals(trainer):
            try:
                trainer.train(resume_from_checkpoint=last)
            except CheckpointError as error:
                logger.warning(f"{error} The training of {folder} begins anew.")
                shutil.rmtree(folder)
                trainer.train()
        with atomic_write(folder / _MODEL) as aside:
            save_weights(trainer.model.state_dict(), str(aside))
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)

    def _training_arguments(self, n_pairs: int, seed: int, folder: Path) -> RobustTrainingArguments:
        batch = self.options.batch_size or (256 if n_pairs >= MANY_PAIRS else 64)
        batch = min(batch, n_pairs)
        is_long = self.captions is not None and len(self.pairs) < MANY_PAIRS
        epochs = -(-(_PRETRAINED_STEPS if is_long else _STEPS) // max(1, n_pairs // batch))
        return _OneDevice(
            str(folder),
            warmup_epochs=0,
            num_train_epochs=self.options.epochs
            or int(np.clip(epochs, _LEAST_EPOCHS, _MOST_EPOCHS)),
            per_device_train_batch_size=batch,
            learning_rate=self.options.learning_rate,
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

    def _judge_fold(self, rows: np.ndarray, folder: Path) -> None:
        """Keep the losses of the pairs of some images by the model in `folder`."""
        if (folder / _JUDGED).is_file():
            return
        samples, model = self.pairs.select(rows), self.load(folder)
        judged = judged_losses(model, self.processor, samples, self.options, folder)
        vectors = [folder / name for name in ("images.npy", "texts.npy")]
        if self.is_shared:
            image, text = (np.load(path, mmap_mode="r") for path in vectors)
            scale = logit_scale_of(model)
            references = References.of(image, text, scale, self.options.seed)
            kept = references._asdict() | {"scale": np.array([scale])}
            with atomic_write(folder / _REFERENCES) as aside:
                save_file(kept, str(aside))
        # Of an array with gaps, such as a column, safetensors would keep other numbers.
        whole = {name: np.ascontiguousarray(part) for name, part in judged._asdict().items()}
        with atomic_write(folder / _JUDGED) as aside:
            save_file(whole, str(aside))
        for path in vectors:
            path.unlink()


@dataclass
class _OneDevice(RobustTrainingArguments):
    """Arguments of a small model, which trains on the first GPU however many there are."""

    @property
    def n_gpu(self) -> int:
        """At most one."""
        return min(1, super().n_gpu)


class _TotalBar(TrainerCallback):
    """One progress bar for the steps of several trainings of about the same length.

    Args:
        n_trainings: Number of trainings.
        is_hidden: Whether no bar is shown.
    """

    def __init__(self, n_trainings: int, is_hidden: bool) -> None:
        self._n_trainings, self._is_hidden = n_trainings, is_hidden
        self._n_begun, self._title = 0, ""
        self._bar: Any = None

    def begin(self, title: str) -> None:
        """Count the next training, which may be finished already."""
        self._n_begun, self._title = self._n_begun + 1, title

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        done = (self._n_begun - 1) * state.max_steps + state.global_step
        if self._bar is None:
            total, hidden = self._n_trainings * state.max_steps, self._is_hidden
            self._bar = tqdm(total=total, initial=done, unit="step", leave=False, disable=hidden)
        self._bar.set_description(self._title)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        done = (self._n_begun - 1) * state.max_steps + state.global_step
        self._bar.update(max(0, done - self._bar.n))
