"""Training arguments: those of transformers and of this library, with checks."""

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import disable_fsdp_ram_efficient_loading
from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from ..arguments.training import LabelOptions, RcarOptions, RobustOptions
from ..data.audit_table import open_audit_table
from ..options import Rule, never_read
from .sharding import is_sharding_launched
from .supported_arguments import refuse_accelerator, refuse_arguments, refuse_fsdp

#: A run can only be resumed with the same values of these. The schedule of the learning rate is
#: created again, so a run can be extended.
_COURSE_OPTIONS = (
    *("robust", "warmup_epochs", "gather_negatives", "seed", "data_seed"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "dataloader_drop_last"),
    *("learning_rate", "lr_decay_epoch", "sum_losses", "encoder_learning_rate", "layer_decay"),
    *("weight_decay", "max_grad_norm", "optim", "optim_args"),
    *("adam_beta1", "adam_beta2", "adam_epsilon", "lr_scheduler_type", "lr_scheduler_kwargs"),
    *("warmup_steps", "bf16", "fp16", "metric_for_best_model", "ema_decay"),
)

_OF_CONSTANT = Rule(
    lambda args: args.lr_scheduler_type == "constant",
    "the schedule in `lr_scheduler_type` lowers the rate by itself. Set that to constant, or leave "
    "this out.",
)
#: Smallest values of numbers that transformers does not check.
_LEAST = {
    **dict.fromkeys(("gradient_accumulation_steps", "score_block_size"), 1),
    **dict.fromkeys(("learning_rate", "weight_decay", "max_grad_norm", "num_train_epochs"), 0),
    **dict.fromkeys(("seed", "dataloader_num_workers", "image_cache_mb", "lr_decay_epoch"), 0),
}


@dataclass
class RobustTrainingArguments(RobustOptions, TrainingArguments):
    """Arguments of `RobustTrainer`.

    The defaults are NCR's recipe for Flickr30K: Adam at 2e-4, batches of 128, gradients clipped at
    2.0, 5 epochs of warm-up, 40 of robust training, the best checkpoint by rSum on validation.

    Of transformers' arguments, those that have no effect here are refused with a line that says
    what to use; `training.supported_arguments` lists them all.
    """

    # Fewest pairs in a batch. Without an annotation it is not an argument.
    least_batch = 2

    def __post_init__(self) -> None:
        # A command line gives text, where transformers knows --fsdp without a value alone.
        asked: Any = self.fsdp
        self.fsdp: Any = {"true": True, "false": None}.get(str(asked).lower(), asked)
        refuse_arguments(self, self.own_rules())
        self._check_numbers()
        #: Whether the user has set which direction of the metric is better.
        self.way_is_given = self.greater_is_better is not None
        super().__post_init__()
        refuse_accelerator(self.accelerator_config)
        self._check_machine()
        self._check_sharding()
        self.check_epochs()
        if self.audit_table is not None:
            open_audit_table(Path(self.audit_table), "--audit_table")
        self._check_batches()
        if self.remove_unused_columns:
            raise ValueError("`remove_unused_columns` must be False: it would drop the pair ids.")
        strategy = HubStrategy(self.hub_strategy)
        if strategy != HubStrategy.END:
            raise ValueError(
                f"`hub_strategy` is {strategy.value!r}: only 'end' is possible: a "
                "model is published with its card, which has the final results."
            )

    def own_rules(self) -> Mapping[str, Rule]:
        """Rules beside those of `supported_arguments`; a subclass adds or changes some."""
        return {"lr_decay_epoch": _OF_CONSTANT}

    def _check_numbers(self) -> None:
        """Refuse small numbers, and other types such as the string "1e-3" of a YAML file."""
        rate = {} if self.encoder_learning_rate is None else {"encoder_learning_rate": 0}
        for name, least in (_LEAST | rate).items():
            value = getattr(self, name)
            if not isinstance(value, int | float | np.integer) or not value >= least:  # NaN too
                raise ValueError(f"`{name}` is {value!r}: give a number of at least {least}.")
        if not isinstance(self.layer_decay, int | float) or not 0 < self.layer_decay <= 1:
            raise ValueError(f"`layer_decay` is {self.layer_decay!r}: give a number in (0, 1].")
        if not isinstance(self.ema_decay, int | float) or not 0 <= self.ema_decay < 1:
            raise ValueError(
                f"`ema_decay` is {self.ema_decay!r}: give a number in (0, 1), or 0 for no average."
            )

    def _check_machine(self) -> None:
        """Refuse settings that the machine would silently ignore."""
        if self.mixed_precision == "fp16" and self.device.type == "cpu":
            raise ValueError("fp16 has no effect on a CPU: use `bf16`, or neither.")
        if self.n_gpu > 1:
            raise ValueError(
                f"{self.n_gpu} GPUs are visible to one process, and a batch cannot be split among "
                "them. Launch a process for each by "
                f"`torchrun --nproc_per_node {self.n_gpu} SCRIPT ...` or "
                f"`accelerate launch --multi_gpu --num_processes {self.n_gpu} SCRIPT ...`, or show "
                "one GPU alone by CUDA_VISIBLE_DEVICES=0."
            )
        # `accelerate launch` sets these for several processes, but can start a single one.
        started = {"MASTER_ADDR", "ACCELERATE_MIXED_PRECISION"} <= os.environ.keys()
        if started and "WORLD_SIZE" not in os.environ and self.world_size == 1:
            warnings.warn(
                "`accelerate launch` should start several processes and has started one. For "
                "several, use `torchrun --nproc_per_node N SCRIPT ...`, with --use_cpu True on "
                "CPUs.",
                stacklevel=2,
            )

    def _check_sharding(self) -> None:
        """Refuse FSDP where it has nothing to divide, and beside what it is not tested with."""
        if not is_sharding_launched(self):
            return
        disable_fsdp_ram_efficient_loading()  # or else some processes would load empty weights
        if self.world_size == 1:
            raise ValueError(
                "FSDP is asked for, and one process has nothing to divide. Launch several, by "
                "`torchrun --nproc_per_node N SCRIPT ... --fsdp True`, or leave `fsdp` out."
            )
        for name in ("torch_compile", "fp16"):
            if getattr(self, name):
                raise ValueError(
                    f"`{name}` is True under FSDP, which is not tested together. Leave it out, or "
                    "train under DDP; `bf16` works under both."
                )
        refuse_fsdp(self.fsdp_config or {})

    def _check_batches(self) -> None:
        """Refuse batches that are too small to contain negatives."""
        n_pairs = self.per_device_train_batch_size
        if n_pairs * (self.world_size if self.gather_negatives else 1) < self.least_batch:
            raise ValueError(
                f"`per_device_train_batch_size` is {n_pairs}: the negatives of a pair are the "
                f"others of its batch, so give at least {self.least_batch}."
            )

    def check_epochs(self, trained: float | None = None) -> None:
        """Refuse a training without steps, and a warm-up without a robust epoch after it.

        Args:
            trained: The number of epochs in `max_steps`, once it is known.
        """
        if self.warmup_epochs < 0:
            raise ValueError(f"`warmup_epochs` must not be negative, found {self.warmup_epochs}.")
        if self.max_steps == 0 or self.max_steps < -1:
            raise ValueError(
                f"`max_steps` is {self.max_steps}: give the number of steps, or -1 to train for "
                "`num_train_epochs`."
            )
        if self.max_steps < 0 and not 0 < self.num_train_epochs < math.inf:
            raise ValueError(
                f"`num_train_epochs` is {self.num_train_epochs:g}: give a number above 0."
            )
        epochs, asked = self.asked_epochs(trained)
        if self.robust and self.warmup_epochs >= epochs:
            raise ValueError(
                f"`warmup_epochs` is {self.warmup_epochs} and {asked}: no epoch is left for robust "
                "training. Lower the one, raise the other, or set `robust` to False."
            )
        if self.eval_strategy == "epoch" and (self.eval_delay or 0) > epochs:
            raise ValueError(
                f"`eval_delay` is {self.eval_delay:g} and {asked}: nothing is evaluated. Lower "
                "it, or set `eval_strategy` to no."
            )

    @property
    def course_options(self) -> tuple[str, ...]:
        """The options whose values must stay the same when a run is resumed."""
        # Processes that share their batches may be more or fewer; see `identity`.
        apart = "per_device_train_batch_size" if self.gather_negatives else None
        return tuple(name for name in _COURSE_OPTIONS if name != apart)

    def asked_epochs(self, trained: float | None = None) -> tuple[float, str]:
        """The number of epochs (infinite while unknown), and the option that sets it, as text.

        Args:
            trained: The number of epochs in `max_steps`, once it is known.
        """
        if self.max_steps < 0:
            return self.num_train_epochs, f"`num_train_epochs` {self.num_train_epochs:g}"
        epochs = math.inf if trained is None else trained
        return epochs, f"`max_steps` {self.max_steps}, which are {epochs:.3g} epochs"


@dataclass
class RcarTrainingArguments(RcarOptions, RobustTrainingArguments):
    """Arguments of RCAR.

    The defaults are the paper's recipe: Adam at 3e-5 with cosine decay, batches of 64, 30 epochs,
    the first 10 of them with masked words, labels refurbished after the first 7.
    """

    @property
    def course_options(self) -> tuple[str, ...]:
        """The options of all methods, and the phase of masked words."""
        return (*super().course_options, "mlm_epochs")

    def check_epochs(self, trained: float | None = None) -> None:
        """Check as for all methods, and that the phase of masked words is not too long."""
        super().check_epochs(trained)
        epochs, asked = self.asked_epochs(trained)
        if not 0 <= self.mlm_epochs <= epochs:
            raise ValueError(
                f"`mlm_epochs` is {self.mlm_epochs} and {asked}: give 0 to {epochs:.3g}, the "
                "number of first epochs with masked words."
            )


@dataclass
class LabelTrainingArguments(LabelOptions, RobustTrainingArguments):
    """Arguments of the methods for pairs with classes.

    The defaults are the recipe that MRL and DMCM share: Adam at 1e-4 with betas .5 and .999, cosine
    decay, batches of 100, no clipping, the best checkpoint by mAP on validation.
    """

    least_batch = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.feature_scaling not in ("standard", "none"):
            raise ValueError(
                f"`feature_scaling` must be standard or none, found {self.feature_scaling!r}."
            )

    @property
    def course_options(self) -> tuple[str, ...]:
        """The options of all methods, and the scaling of features."""
        return (*super().course_options, "feature_scaling")

    def own_rules(self) -> Mapping[str, Rule]:
        """Rules of arguments that only apply to captions."""
        return {
            **super().own_rules(),
            "audit_table": never_read(
                "an audit judges captions, and these pairs have classes. Leave it out."
            ),
            "fsdp": never_read(
                "models of this size gain nothing from it. Leave it out, and launch under DDP by "
                "`torchrun --nproc_per_node N`."
            ),
            "image_cache_mb": never_read(
                "features of pictures are computed once, or by a trained backbone. Leave it out."
            ),
            "include_num_input_tokens_seen": never_read(
                "pairs with classes are counted, not tokens. Leave it out.", same=(False, "no")
            ),
        }

    def check_epochs(self, trained: float | None = None) -> None:
        """Check as for all methods, once the trainer has replaced -1."""
        if self.warmup_epochs != -1:
            super().check_epochs(trained)
