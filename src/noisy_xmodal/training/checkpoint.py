"""Checkpoints that are whole or not there at all, and going on from them."""

import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from ..files import put_in_place, read_json, sync, sync_folder, write_json
from ..modules.adapters import has_adapters
from .epochs import is_between_epochs
from .identity import ARGUMENTS_NAME, listed
from .integrity import (
    CheckpointError,
    check_beginning,
    checkpoint_folders,
    find_damage,
    remove_leftovers,
    rotate,
    step_of,
    write_manifest,
)
from .sharding import ShardingTrainer
from .stored_states import (
    load_optimizer,
    load_rng,
    load_scheduler,
    save_optimizer,
    save_rng,
    save_scheduler,
)

logger = logging.get_logger(__name__)

SCALER_NAME = "scaler.json"
TRAINER_STATE_NAME = "trainer_state.json"


class EpochEndSaving(TrainerCallback):
    """Saves a checkpoint that is due at the last step of an epoch after what happens at its end.

    Who resumes from it begins the next epoch, so an evaluation or a report between that step and
    the end of the epoch would be lost.
    """

    def __init__(self) -> None:
        self.is_due = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Put a checkpoint off."""
        self.is_due = control.should_save and is_between_epochs(state)
        if self.is_due:
            control.should_save = False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Save it."""
        control.should_save = control.should_save or self.is_due
        self.is_due = False


class CheckpointTrainer(ShardingTrainer):
    """A Trainer whose checkpoints hold no pickle and are whole or not there at all.

    A checkpoint is written aside, with a manifest, and renamed once it is on the disk; a model is
    written aside and its files moved over the old ones. What was damaged later is not resumed from
    (see `integrity`). A subclass adds state of its own by `save_state` and `load_state`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(EpochEndSaving())

    def save_state(self, folder: Path) -> None:
        """Add files to a checkpoint; called in every process, and the main one writes."""

    def saved_weights(self) -> AbstractContextManager[None]:
        """A context in which the model has the weights that are saved; all processes enter it."""
        return self.whole_weights()

    def load_state(self, folder: Path) -> None:
        """Read them back before training goes on; called in every process, maybe repeatedly."""

    def differences(self, folder: Path) -> list[str]:
        """Differences between this run and that of a complete checkpoint, a phrase each.

        The same in every process.
        """
        return []

    def train(self, resume_from_checkpoint: str | bool | None = None) -> Any:
        """Train, from the beginning or from a checkpoint.

        Args:
            resume_from_checkpoint: A checkpoint, or True for the newest good one.

        Raises:
            FileExistsError: If the output folder holds checkpoints of another run: they would be
                taken for this one's.
            CheckpointError: If there is no good checkpoint to resume from, or it is another run's.
        """
        if resume_from_checkpoint or self._has_foreign_checkpoint():
            check_beginning(self.args.output_dir, resume_from_checkpoint)
        if self.args.should_save:
            remove_leftovers(self.args.output_dir)
        self.accelerator.wait_for_everyone()
        folder = None
        if resume_from_checkpoint is True:
            folder = str(self._newest_good_checkpoint())
        elif resume_from_checkpoint:
            folder = str(resume_from_checkpoint)
            reason = self._why_not(Path(folder))
            if reason is not None:
                raise CheckpointError(
                    f"{folder} cannot be resumed from: {reason}. Give another checkpoint, or "
                    "--resume_from_checkpoint True for the newest good one."
                )
        return super().train(folder)

    def _newest_good_checkpoint(self) -> Path:
        skipped: list[str] = []
        for folder in reversed(checkpoint_folders(self.args.output_dir)):
            reason = self._why_not(folder)
            if reason is None:
                for line in skipped:
                    logger.warning(f"Skipped {line}; resuming from {folder.name}.")
                return folder
            skipped.append(f"{folder.name}: {reason}")
        raise CheckpointError(
            f"{self.args.output_dir} has no whole checkpoint to resume from. "
            + "".join(f"{line}. " for line in skipped)
            + "Restore one from a copy, or remove the damaged ones and leave out "
            "--resume_from_checkpoint to begin anew."
        )

    def _why_not(self, folder: Path) -> str | None:
        """The damage of a checkpoint, or None; the same in every process.

        Raises:
            CheckpointError: If it is whole but of another run: so are the older ones, and passing
                over to one that happens to fit would hide it.
        """
        reason = find_damage(folder)
        if reason is not None:
            return reason
        differences = self.differences(folder)
        if differences:
            raise CheckpointError(
                f"{folder} is of another run: {listed(differences)}. Give back the data and the "
                "options that it was trained with, or begin anew with another --output_dir."
            )
        best = self._best_of(folder)
        reason = None if best is None or best == folder else find_damage(best)
        if best is None or reason is None:
            return None
        return (
            f"the best checkpoint until then, {best.name}, is not whole: {reason}; "
            "--load_best_model_at_end False goes on without it"
        )

    def _best_of(self, folder: Path) -> Path | None:
        """The best checkpoint that another one knows, if it is to be loaded at the end."""
        recorded = read_json(folder / TRAINER_STATE_NAME).get("best_model_checkpoint")
        if recorded is None or not self.args.load_best_model_at_end:
            return None
        beside = folder.with_name(Path(recorded).name)  # wherever the run was moved to
        return beside if beside.is_dir() else Path(recorded)

    def _init_training_state(
        self, max_steps: int, steps: int, epochs: int, folder: str | None, trial: Any
    ) -> Any:
        position = super()._init_training_state(max_steps, steps, epochs, folder, trial)
        if folder is not None:
            best = self._best_of(Path(folder))
            if best is not None and best.is_dir():
                self.state.best_model_checkpoint = str(best)
            newest = checkpoint_folders(self.args.output_dir)[-1:]
            if self.args.should_save and newest == [Path(folder)]:
                self._rotate(newest[0])  # which the killed run may not have come to
            self.state.compute_steps(self.args, max_steps)  # of this run, not of the checkpoint's
            if self.state.global_step >= max_steps:
                logger.warning(
                    f"{folder} has all {max_steps} steps that are asked for: nothing is trained. "
                    "For more, raise --num_train_epochs or --max_steps."
                )
                return epochs, 0  # no epoch is left, not even the rest of one
            planned = read_json(Path(folder) / TRAINER_STATE_NAME).get("max_steps", max_steps)
            if planned != max_steps and self.args.lr_scheduler_type != "constant":
                logger.warning(
                    f"{folder} is of a schedule of {planned} steps and goes on by one of "
                    f"{max_steps}: the learning rate jumps, and the run differs from one that had "
                    f"{max_steps} steps from its beginning."
                )
        return position

    def _rotate(self, newest: Path) -> None:
        best = self.state.best_model_checkpoint
        kept = [newest] if best is None else [newest, Path(best)]
        rotate(self.args.output_dir, self.args.save_total_limit, kept)

    def _has_foreign_checkpoint(self) -> bool:
        """Whether the output folder has a checkpoint that this trainer did not write."""
        folders = checkpoint_folders(self.args.output_dir)
        return bool(folders) and step_of(folders[-1]) > self.state.global_step

    def saved_processor(self) -> Any:
        """The processor that is saved beside the model."""
        return self.processing_class

    def last_checkpoint(self) -> str:
        """Folder of the newest checkpoint."""
        return str(checkpoint_folders(self.args.output_dir)[-1])

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.store_flos()
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        final = Path(self.args.output_dir) / name
        aside = final.with_name(f".{name}.partial")
        if self.args.should_save:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        with self.saved_weights():
            if self.args.should_save:
                self._write_model(aside, is_checkpoint=True)
        save_rng(aside, self.args.process_index)
        save_optimizer(self.optimizer, aside, is_writer=self.args.should_save)
        if self.args.should_save:
            save_scheduler(self.lr_scheduler, aside)
            if self.accelerator.scaler is not None:
                write_json(aside / SCALER_NAME, self.accelerator.scaler.state_dict())
        self.save_state(aside)
        self.accelerator.wait_for_everyone()
        if self.state.best_global_step == self.state.global_step:
            self.state.best_model_checkpoint = str(final)  # which every process loads in the end
        if self.args.should_save:
            self._record_callbacks()
            self.state.save_to_json(str(aside / TRAINER_STATE_NAME))
            write_manifest(aside)
            sync_folder(aside)
            put_in_place(aside, final)
            sync(final.parent)
            self._rotate(final)
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model and processor. Nothing is pushed by it, for the card is written later."""
        with self.saved_weights():
            super().save_model(output_dir, _internal_call=True)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Draft a card for `push_to_hub`, where the output folder has none yet."""
        if not (Path(self.args.output_dir) / "README.md").is_file():
            super().create_model_card(*args, **kwargs)

    def _record_callbacks(self) -> None:
        """Put the state of callbacks that have one, such as early stopping, into the trainer's."""
        recorded = self.state.stateful_callbacks
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):
                name = type(callback).__name__
                if isinstance(recorded.get(name), list):
                    recorded[name].append(callback.state())
                else:
                    recorded[name] = callback.state()

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if self.args.should_save:
            self._write_model(Path(output_dir or self.args.output_dir), is_checkpoint=False)

    def _write_model(self, folder: Path, is_checkpoint: bool) -> None:
        """Write the model with its processor; in a checkpoint, its adapters apart from weights."""
        aside = folder / ".partial"
        shutil.rmtree(aside, ignore_errors=True)
        model = self.accelerator.unwrap_model(self.model)
        options = {"merge_adapters": False} if is_checkpoint and has_adapters(model) else {}
        model.save_pretrained(aside, **options)
        self.saved_processor().save_pretrained(aside)
        write_json(aside / ARGUMENTS_NAME, self.args.to_sanitized_dict())
        sync_folder(aside)
        for path in aside.iterdir():
            os.replace(path, folder / path.name)
        aside.rmdir()

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.load_state(Path(resume_from_checkpoint))

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Warn of missing weights, except those that a checkpoint never contains."""
        ignored = set(self.model._keys_to_ignore_on_save or ())  # the copies of shared weights
        missing = [name for name in load_result.missing_keys if name not in ignored]
        super()._issue_warnings_after_load(type(load_result)(missing, load_result.unexpected_keys))

    def _load_optimizer_and_scheduler(self, folder: str | None) -> None:
        if folder is not None:
            load_optimizer(self.optimizer, folder)
            load_scheduler(self.lr_scheduler, folder)

    def _load_scaler(self, folder: str | None) -> None:
        path = Path(folder or "") / SCALER_NAME
        if folder is not None and self.accelerator.scaler is not None and path.is_file():
            self.accelerator.scaler.load_state_dict(read_json(path))

    def _load_rng_state(self, folder: str | None) -> None:
        if folder is not None:
            load_rng(folder, self.args.process_index)
