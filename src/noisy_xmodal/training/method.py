"""What a method is: the questions that the trainer asks it, and what it may ask of the trainer.

A method says how a model learns from pairs that may be wrong; the model itself is a network of
`models/`. The trainer asks, in the order of an epoch:

| question       | when                                     | answer                            |
|----------------|------------------------------------------|-----------------------------------|
| `stages`       | as training begins                       | epochs that begin anew            |
| `begin_epoch`  | as an epoch begins                       | may prepare it                    |
| `passes_at`    | as an epoch begins                       | whether to pass over all pairs    |
| `loss_pass`    | in that pass, for a chunk in eval mode   | what to keep of each pair         |
| `divides_at`   | after the pass                           | whether to divide the pairs       |
| `divide`       | after the pass                           | clean probability and clean mask  |
| `targets`      | after the division                       | the target of each pair; may also |
|                |                                          | set `partner` in the pair state   |
| `batch_mask`   | as the batches of the epoch are drawn    | the division that each reflects   |
| `prepare`      | before a forward pass                    | further inputs of the model       |
| `warm_up_loss` | after a forward pass in the warm-up      | one loss per pair                 |
| `loss`         | after a forward pass of the other epochs | one loss per pair                 |
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from ..data.digests import Digests
from ..noise import Division, divide
from ..options import READ, Rule, refuse_unread
from .arguments import RobustTrainingArguments
from .pair_state import PairState
from .task import Task

#: Fields of a config or of arguments, by name.
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Constant:
    """A constant of a method, which `method_options` of the model's config changes.

    A value has the type of the default; where that is a float, an integer will do.

    Attributes:
        default: Its value, the paper's where the paper gives one.
        low: The least value of a number.
        high: The largest one.
        rule: When it is read, where it is not always.
        choices: The values of a name.
    """

    default: Any
    low: float = -math.inf
    high: float = math.inf
    rule: Rule = READ
    choices: Collection[str] = ()

    def demand(self, value: Any) -> str | None:
        """What a value must be, for a message, or None if it is."""
        kind = type(self.default)
        if self.choices:
            return None if value in self.choices else f"one of {', '.join(self.choices)}"
        if kind not in (int, float):
            names = {bool: "true or false", dict: "a mapping"}
            return None if isinstance(value, kind) else names.get(kind, kind.__name__)
        is_number = isinstance(value, int | kind) and not isinstance(value, bool)
        if is_number and self.low <= value <= self.high:
            return None
        noun = "a number" if kind is float else "an integer"
        return f"{noun} in [{self.low:g}, {self.high:g}]"


class Engine(Protocol):
    """What a method and the callbacks may ask of the trainer."""

    args: Any
    pair_state: PairState
    train_dataset: Any

    @property
    def epoch(self) -> int:
        """The epoch, from 0."""

    @property
    def n_epochs(self) -> float:
        """Epochs in all."""

    @property
    def step(self) -> int:
        """Steps of the optimizer so far."""

    def networks(self) -> tuple[nn.Module, ...]:
        """The networks that train side by side, without wrappers."""

    def forward(self, **inputs: Any) -> Any:
        """A forward pass of the model whose gradients are synchronised."""

    def judge(self, network: int, batch: Any) -> Any:
        """Output of a network for a batch in eval mode, without gradients."""

    def outputs(self, batch_size: int, network: int = 0) -> Any:
        """Output of a network for all training pairs in order, batch by batch, in eval mode."""

    def draws(self, pair_id: Tensor) -> torch.Generator | None:
        """A generator that is the same on all processes that share a batch; None for torch's."""

    def track(self, name: str, losses: Tensor) -> None:
        """Add the mean of a part of the loss to the log."""

    def report_division(
        self,
        losses: np.ndarray,
        divisions: Sequence[Division],
        epoch: int,
        plot: bool,
        pairs: np.ndarray | None = None,
    ) -> None:
        """Write and log a division that the method made by itself."""

    def over_processes(self, rows: np.ndarray) -> np.ndarray:
        """The sum over the processes, each of which has its own pairs and zeros elsewhere."""


class Method:
    """How a model learns from pairs that may be wrong; the base of all methods.

    A subclass is a file of `methods/`: it answers the questions that it must and leaves the others.

    Attributes:
        engine: The trainer, once the method is part of one.
        config: The model's config.
        args: The training arguments.
        constants: The values of the constants, by attribute.
    """

    #: Name for tables and cards, and where the method comes from.
    title: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    #: Constants by name.
    options: ClassVar[Mapping[str, Constant]] = {}
    #: Config class of the network that it trains; None for the usual one of its task.
    config_class: ClassVar[type | None] = None
    #: Whether that class has the constants as fields and checks them, in place of `options`.
    constants_in_config: ClassVar[bool] = False
    #: What a sample is, and which arguments a trainer has.
    task: ClassVar[type[Task]]
    arguments_class: ClassVar[type[RobustTrainingArguments]] = RobustTrainingArguments
    #: Fields of the network's config that the method needs or recommends.
    shape: ClassVar[Fields] = {}
    #: Training arguments that differ from the defaults.
    recipe: ClassVar[Fields] = {}
    #: When `robust` and `warmup_epochs` are read, where they are not always.
    argument_rules: ClassVar[Mapping[str, Rule]] = {}
    #: Networks that train side by side, each on an order of its own.
    n_networks: ClassVar[int] = 1
    #: What the rows of the pair state are, and the name of each.
    row_kind: ClassVar[str] = "network"
    row_names: ClassVar[tuple[str, ...]] = ("a",)
    #: Whether the pairs are divided at every epoch after the warm-up.
    is_dividing: ClassVar[bool] = False
    #: Whether the scripts drop the pairs that the oracle marks as wrong: an upper mark.
    drops_noisy_pairs: ClassVar[bool] = False

    engine: Engine
    config: Any
    args: Any
    constants: Any

    def attach(self, engine: Engine, model: Any, args: Any, processor: Any) -> None:
        """Become the method of a trainer; called before the trainer reads any data.

        Args:
            engine: The trainer.
            model: What it trains.
            args: Its arguments.
            processor: The model's processor.

        Raises:
            ValueError: If they do not suit the method.
        """
        self.engine, self.config, self.args = engine, model.config, args
        self.constants = self.read_constants(model.config)
        for name in ("loss", "loss_pass") if self.is_dividing else ("loss",):
            if getattr(type(self), name) is getattr(Method, name):
                raise ValueError(f"{self.title} has no `{name}`: its class must define one.")
        refuse_unread(
            {"robust": args.robust, "warmup_epochs": args.warmup_epochs},
            {"robust": True, "warmup_epochs": 0},
            self.argument_rules,
        )

    def read_constants(self, config: Any) -> Any:
        """The constants by attribute: the defaults, and what `config.method_options` changes.

        Raises:
            ValueError: If there is no such constant, or one is out of its range or has no effect,
                or the config is another method's.
        """
        if self.config_class is not None and not isinstance(config, self.config_class):
            raise ValueError(
                f"{self.title} trains a model with a {self.config_class.__name__}, found a "
                f"{type(config).__name__}."
            )
        options = dict(getattr(config, "method_options", None) or {})
        unknown = sorted(set(options) - set(self.options))
        if unknown:
            raise ValueError(
                f"{self.title} has no option {unknown[0]!r} in `method_options`; it has: "
                f"{', '.join(self.options) or 'none'}."
            )
        if self.constants_in_config:
            return config
        defaults = {name: constant.default for name, constant in self.options.items()}
        values = defaults | options
        for name, constant in self.options.items():
            if (demand := constant.demand(values[name])) is not None:
                raise ValueError(
                    f"{self.title}: `{name}` in `method_options` must be {demand}, found "
                    f"{values[name]!r}."
                )
        rules = {name: constant.rule for name, constant in self.options.items()}
        refuse_unread(values, defaults, rules, "`{}` in `method_options`")
        return SimpleNamespace(**values)

    def check_data(self, smallest: int) -> None:
        """Refuse data that the method cannot learn from; `smallest` is that of the batches.

        Raises:
            ValueError: If there is a reason.
        """

    def run_title(self) -> str:
        """What tables and cards call a run with these constants and arguments."""
        return self.title if self.args.robust else f"{self.title} without division"

    def callbacks(self) -> list[TrainerCallback]:
        """Callbacks of the method's own."""
        return []

    def identity(self) -> dict[str, Digests]:
        """Digests of what else decides the training, by "pair: property"; see `data.digests`."""
        return {}

    def stages(self) -> tuple[int, ...]:
        """First epochs of the stages of a training, from 0.

        A stage begins with the first weights, an optimizer in its first state, and a learning rate
        schedule of its own. The pair state stays. The pass and the division of that epoch come
        before, so they are made by the weights of the stage that ends.
        """
        return (0,)

    # As an epoch begins

    def begin_epoch(self, epoch: int, resumed: bool) -> None:
        """Prepare an epoch, before the pass; `resumed` tells of one that goes on in the middle."""

    def passes_at(self, epoch: int) -> bool:
        """Whether this epoch begins with a pass over the pairs."""
        return self.divides_at(epoch)

    def loss_pass(self, output: Any, batch: Any) -> dict[str, Tensor]:
        """What to keep of the pairs of a chunk, (n_pairs,) or (n_rows, n_pairs) each.

        "loss" is what `divide` gets.
        """
        raise NotImplementedError

    def divides_at(self, epoch: int) -> bool:
        """Whether this epoch begins with a division, by the losses of the pass."""
        return self.is_dividing and self.args.robust and epoch >= self.args.warmup_epochs

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A division for each row of the losses (n_rows, n_pairs)."""
        return [divide(row, seed=self.args.seed) for row in losses]

    def targets(self) -> np.ndarray | None:
        """The targets of the epoch from the pair state, (n_rows, n_pairs), or None for none."""
        return None

    def batch_mask(self, network: int) -> np.ndarray | None:
        """The division that every mini-batch of a network reflects, bool (n_pairs,), or None."""
        return None

    # At a step

    def prepare(self, batch: Any, is_training: bool) -> tuple[Any, dict[str, Any]]:
        """The batch with what the method adds to it, and further inputs of the model."""
        return batch, {}

    def model_options(self) -> dict[str, Any]:
        """Options of the forward pass that do not depend on the batch, such as `few_pairs`."""
        return {}

    def warm_up_loss(self, output: Any, batch: Any) -> Tensor:
        """One loss per pair in the warm-up, (n_pairs,)."""
        return self.loss(output, batch)

    def loss(self, output: Any, batch: Any) -> Tensor:
        """One loss per pair after the warm-up, (n_pairs,); a weight is a factor of it."""
        raise NotImplementedError

    def look_up(self, name: str, batch: Any, network: int | None = None) -> Tensor:
        """A network's entries of the pair state for a batch, (n_pairs,), by default its own."""
        row = batch.peer if network is None else network
        values = self.engine.pair_state[name][row, batch.pair_id.cpu().numpy()]
        return torch.as_tensor(values.astype(np.float32), device=batch.pair_id.device)
