"""Optimiser, scheduler and random generators as safetensors and JSON, never as pickles."""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Trainer
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import (
    PREFIX_CHECKPOINT_DIR,
    get_last_checkpoint,
    rotate_checkpoints,
)

from .files import read_json, write_json

OPTIMIZER_NAME = "optimizer.safetensors"
SCHEDULER_NAME = "scheduler.json"
SCALER_NAME = "scaler.json"
TRAINER_STATE_NAME = "trainer_state.json"


def save_optimizer(optimizer: torch.optim.Optimizer, folder: str | Path) -> None:
    """Write an optimiser's state: tensors by "index/name", the rest as JSON in the header."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{name}"] = value.detach().cpu().contiguous().clone()
            else:
                plain.setdefault(str(index), {})[name] = value
    header = {"param_groups": json.dumps(state["param_groups"]), "plain": json.dumps(plain)}
    save_file(tensors, str(Path(folder) / OPTIMIZER_NAME), metadata=header)


def load_optimizer(optimizer: torch.optim.Optimizer, folder: str | Path) -> None:
    """Restore what `save_optimizer` wrote."""
    state: dict[int, dict[str, Any]] = {}
    with safe_open(str(Path(folder) / OPTIMIZER_NAME), framework="pt") as file:
        header = file.metadata()
        for key in file.keys():  # noqa: SIM118 - a safetensors file is no dict
            index, name = key.split("/", 1)
            state.setdefault(int(index), {})[name] = file.get_tensor(key)
    for index, values in json.loads(header["plain"]).items():
        state.setdefault(int(index), {}).update(values)
    optimizer.load_state_dict({"state": state, "param_groups": json.loads(header["param_groups"])})


def save_rng(folder: str | Path, process: int) -> None:
    """Write the states of Python's, NumPy's and torch's generators of one process."""
    numpy_state: Any = np.random.get_state()  # noqa: NPY002
    kind, keys, position, has_gauss, gauss = numpy_state
    version, words, pending = random.getstate()
    tensors = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(keys.astype(np.int64))}
    if torch.cuda.is_available():
        tensors |= {f"cuda/{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    header = {
        "numpy": json.dumps([kind, position, has_gauss, gauss]),
        "python": json.dumps([version, words, pending]),
    }
    save_file(tensors, str(_rng_path(folder, process)), metadata=header)


def load_rng(folder: str | Path, process: int) -> bool:
    """Restore what `save_rng` wrote; False if this process has no such file."""
    path = _rng_path(folder, process)
    if not path.is_file():
        return False
    with safe_open(str(path), framework="pt") as file:
        header = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    torch.set_rng_state(tensors["torch"])
    kind, position, has_gauss, gauss = json.loads(header["numpy"])
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((kind, keys, position, has_gauss, gauss))  # noqa: NPY002
    version, words, pending = json.loads(header["python"])
    random.setstate((version, tuple(words), pending))
    cuda = [tensors[f"cuda/{i}"] for i in range(sum(key.startswith("cuda/") for key in tensors))]
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
    return True


def _rng_path(folder: str | Path, process: int) -> Path:
    return Path(folder) / f"rng_state_{process}.safetensors"


def save_scheduler(scheduler: Any, folder: str | Path) -> None:
    """Write a learning-rate scheduler's state as JSON."""
    write_json(Path(folder) / SCHEDULER_NAME, scheduler.state_dict())


def load_scheduler(scheduler: Any, folder: str | Path) -> None:
    """Restore what `save_scheduler` wrote."""
    scheduler.load_state_dict(read_json(Path(folder) / SCHEDULER_NAME))


class SafeCheckpointTrainer(Trainer):
    """A Trainer whose checkpoints hold no pickle and are whole or not there at all.

    A checkpoint is written aside and renamed; a model is written aside and its files moved over the
    old ones. A subclass adds state of its own by `save_state` and `load_state`.
    """

    def save_state(self, folder: Path) -> None:
        """Add files to a checkpoint; called in the main process only."""

    def load_state(self, folder: Path) -> None:
        """Read them back before training goes on; called in every process."""

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """Train, from the beginning or from a checkpoint.

        Raises:
            FileExistsError: If the output folder holds checkpoints of another run: they would be
                taken for this one's.
        """
        found = None if resume_from_checkpoint else self._foreign_checkpoint()
        if found is not None:
            raise FileExistsError(
                f"{self.args.output_dir} holds checkpoints of an earlier run ({found}). Go on with "
                "it by --resume_from_checkpoint True, or give another --output_dir."
            )
        return super().train(resume_from_checkpoint, **kwargs)

    def _foreign_checkpoint(self) -> str | None:
        """Name of a checkpoint in the output folder that this trainer did not write."""
        folder = Path(self.args.output_dir)
        last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
        own = last is not None and int(last.rsplit("-", 1)[1]) <= self.state.global_step
        return None if last is None or own else Path(last).name

    def saved_processor(self) -> Any:
        """The processor that is saved beside the model."""
        return self.processing_class

    def last_checkpoint(self) -> str:
        """Folder of the newest checkpoint.

        Raises:
            FileNotFoundError: If there is none.
        """
        found = get_last_checkpoint(self.args.output_dir)
        if found is None:
            raise FileNotFoundError(f"{self.args.output_dir} has no checkpoint.")
        return found

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.store_flos()
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        final = Path(self.args.output_dir) / name
        aside = final.with_name(f".{name}.partial")
        if self.args.should_save:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        self.save_model(str(aside), _internal_call=True)
        save_rng(aside, self.args.process_index)
        if self.args.should_save:
            save_optimizer(self.optimizer, aside)
            save_scheduler(self.lr_scheduler, aside)
            if self.accelerator.scaler is not None:
                write_json(aside / SCALER_NAME, self.accelerator.scaler.state_dict())
            self.save_state(aside)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            if self.state.best_global_step == self.state.global_step:
                self.state.best_model_checkpoint = str(final)
            self._record_callbacks()
            self.state.save_to_json(str(aside / TRAINER_STATE_NAME))
            shutil.rmtree(final, ignore_errors=True)
            os.replace(aside, final)
            rotate_checkpoints(
                output_dir=self.args.output_dir,
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=False,
            )
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model and processor. Nothing is pushed by it, for the card is written later."""
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
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        aside = folder / ".partial"
        shutil.rmtree(aside, ignore_errors=True)
        model = self.accelerator.unwrap_model(self.model)
        model.save_pretrained(aside, state_dict=state_dict)
        self.saved_processor().save_pretrained(aside)
        write_json(aside / "training_args.json", self.args.to_sanitized_dict())
        for path in aside.iterdir():
            os.replace(path, folder / path.name)
        aside.rmdir()

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.load_state(Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, folder: str | None) -> None:
        if folder is not None:
            load_optimizer(self.optimizer, folder)
            load_scheduler(self.lr_scheduler, folder)

    def _load_scaler(self, folder: str | None) -> None:
        path = Path(folder or "") / SCALER_NAME
        if folder is not None and self.accelerator.scaler is not None and path.is_file():
            self.accelerator.scaler.load_state_dict(read_json(path))

    def _load_rng_state(self, folder: str | None) -> None:
        if folder is not None and not load_rng(folder, self.args.process_index):
            raise FileNotFoundError(
                f"{folder} has no random state of process {self.args.process_index}; resume with "
                "the number of processes that wrote the checkpoint."
            )
