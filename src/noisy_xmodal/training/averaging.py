"""An exponential moving average of the weights: what judges, is evaluated and is saved.

After update t of the weights, average = d * average + (1 - d) * weights, with d = min(decay,
(1 + t) / (10 + t)): without this limit the initial weights would dominate a short training.

Single epochs of a noisy training differ, because the last mini-batches leave their wrong pairs in
the weights. The average does not (Polyak and Juditsky, 1992; Tarvainen and Valpola, NIPS 2017).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .evaluating_trainer import EvaluatingTrainer
from .sharding import split_like, whole

#: File of a checkpoint with the weights that are trained; its model has their average.
TRAINED_WEIGHTS_NAME = "trained_weights.safetensors"
_UPDATES = "updates"


class AveragedWeights:
    """The average of the trained parameters of a model; buffers stay those of the model.

    Args:
        model: The model, whose weights are the first average.
        decay: Share of the average that an update keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._averages = {n: p.detach().clone() for n, p in self._weights.items()}
        self._decay = decay
        self._n_updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights, after a step of the optimizer."""
        self._n_updates += 1
        decay = min(self._decay, (1 + self._n_updates) / (10 + self._n_updates))
        average = get_ema_multi_avg_fn(decay)
        average(
            [_local(part) for part in self._averages.values()],
            [_local(weight.detach()) for weight in self._weights.values()],
            None,
        )

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Give the model the averages, and its weights back afterwards."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def leave_in_model(self) -> None:
        """Give the model the averages for good."""
        self._exchange()

    def _exchange(self) -> None:
        for name, weight in self._weights.items():
            weight.data, self._averages[name] = self._averages[name], weight.data

    def follow(self, model: nn.Module) -> None:
        """Average the parameters of another copy of the model from now on, such as shards."""
        self._weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._averages = {n: split_like(self._averages[n], p) for n, p in self._weights.items()}

    @property
    def by_name(self) -> dict[str, Tensor]:
        """The averages by the names of their parameters."""
        return self._averages

    def save(self, folder: Path, is_writer: bool = True) -> None:
        """Write the weights that are trained; the model of the checkpoint has the averages.

        Args:
            folder: The checkpoint.
            is_writer: Whether this process writes; all of them must call this.
        """
        tensors = {name: whole(weight.detach()) for name, weight in self._weights.items()}
        if is_writer:
            save_file(tensors, folder / TRAINED_WEIGHTS_NAME, {_UPDATES: str(self._n_updates)})

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Read the weights that are trained, once the model has the averages of a checkpoint."""
        with safe_open(folder / TRAINED_WEIGHTS_NAME, "pt") as file:
            self._n_updates = int(file.metadata()[_UPDATES])
            for name, weight in self._weights.items():
                self._averages[name].copy_(weight)
                weight.copy_(file.get_tensor(name))


def _local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process has."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class _AveragingCallback(TrainerCallback):
    """Keeps the average of a trainer's weights while it trains."""

    def __init__(self, trainer: "AveragingTrainer") -> None:
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Begin with the weights of the model; a resumed run has an average already."""
        if self.trainer.averages is None:
            self.trainer.start_average()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Update the average."""
        if self.trainer.averages is not None:
            self.trainer.averages.update()


class AveragingTrainer(EvaluatingTrainer):
    """Evaluates and saves the average of the weights, if `args.ema_decay` is not 0.

    The model of a checkpoint has the averages, and a file beside it the weights that are trained.
    After training the model has the averages.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.averages: AveragedWeights | None = None
        if self.args.ema_decay:
            self.add_callback(_AveragingCallback(self))

    def start_average(self) -> AveragedWeights:
        """Begin an average with the weights as they are."""
        self.averages = AveragedWeights(self.trained_model, self.args.ema_decay)
        return self.averages

    def averaged(self) -> AbstractContextManager[None]:
        """A context in which the model is whole, with its averaged weights where there are any."""
        if self.averages is None:
            return self.whole_weights()
        if self._shards is None:
            return self.averages.in_model()
        return self.whole_weights(self.averages.by_name)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Metrics of the model as it would be saved, see `EvaluatingTrainer.evaluate`."""
        with self.averaged():
            return super().evaluate(*args, **kwargs)

    def saved_weights(self) -> AbstractContextManager[None]:
        """See `averaged`."""
        return self.averaged()

    def save_state(self, folder: Path) -> None:
        """Add the weights that are trained to a checkpoint, if its model has averages."""
        super().save_state(folder)
        if self.averages is not None:
            self.averages.save(folder, is_writer=self.args.should_save)

    def load_state(self, folder: Path) -> None:
        """Take the model's weights for averages, and read those that are trained."""
        super().load_state(folder)
        if self.args.ema_decay:
            self.start_average().load(folder)

    def _prepare_for_training(self, *args: Any) -> Any:
        prepared = super()._prepare_for_training(*args)
        if self.averages is not None and self._shards is not None:  # read from a checkpoint
            self.averages.follow(self._shards)
        return prepared

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        if self.averages is not None:
            if self._shards is None:
                self.averages.leave_in_model()
            else:
                self.join_shards(self.averages.by_name)
            self.averages = None
        return super()._finalize_training(*args, **kwargs)
