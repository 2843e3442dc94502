"""Training arguments: transformers' own, with the field's defaults, and what robustness adds."""

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from ..arguments.training import LabelOptions, RobustOptions
from ..options import Rule, never_read
from .supported_arguments import refuse_accelerator, refuse_arguments, refuse_trackers

#: What decides the steps of a run: it is resumed with the same values only. The schedule of the
#: learning rate is made anew, so that a run can be lengthened.
_COURSE_OPTIONS = (
    *("robust", "warmup_epochs", "gather_negatives", "seed", "data_seed"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "dataloader_drop_last"),
    *("learning_rate", "weight_decay", "max_grad_norm", "optim", "optim_args"),
    *("adam_beta1", "adam_beta2", "adam_epsilon", "lr_scheduler_type", "lr_scheduler_kwargs"),
    *("warmup_steps", "bf16", "fp16", "metric_for_best_model"),
)

#: The least values of numbers that transformers does not look at before they are used.
_LEAST = {
    **dict.fromkeys(("gradient_accumulation_steps", "score_block_size"), 1),
    **dict.fromkeys(("learning_rate", "weight_decay", "max_grad_norm", "num_train_epochs"), 0),
    **dict.fromkeys(("seed", "dataloader_num_workers", "image_cache_mb"), 0),
}


@dataclass
class RobustTrainingArguments(RobustOptions, TrainingArguments):
    """Arguments of `RobustTrainer` and its subclasses.

    The defaults are NCR's recipe for Flickr30K: Adam at 2e-4, batches of 128, gradients clipped at
    2.0, 5 epochs of warm-up, 40 of robust training, the best checkpoint by rSum on validation.

    Of transformers' arguments, those that have no effect here are refused with a line that says
    what to use; `training.supported_arguments` lists them all.
    """

    # Pairs that a batch has at least; no annotation, for it is no argument.
    least_batch = 2

    def __post_init__(self) -> None:
        self._check_launch()
        refuse_arguments(self, self.own_rules())
        self._check_numbers()
        #: Whether a person has said which way the metric is better.
        self.way_is_given = self.greater_is_better is not None
        super().__post_init__()
        refuse_accelerator(self.accelerator_config)
        refuse_trackers(self.report_to)
        self._check_machine()
        self.check_epochs()
        self._check_batches()
        if self.remove_unused_columns:
            raise ValueError("`remove_unused_columns` must be False: it would drop the pair ids.")
        strategy = HubStrategy(self.hub_strategy)
        if strategy != HubStrategy.END:
            raise ValueError(
                f"`hub_strategy` is {strategy.value!r}: only 'end' is there, for a "
                "model is published with its card, and that says what was measured at the end."
            )

    def own_rules(self) -> Mapping[str, Rule]:
        """Rules that a subclass adds, or has otherwise than `supported_arguments`."""
        return {}

    def _check_launch(self) -> None:
        """Refuse ways to run on several processes that transformers would drop or only start."""
        asked = {
            "`fsdp`": self.fsdp,
            "`fsdp_config`": self.fsdp_config,
            "ACCELERATE_USE_FSDP, as `accelerate launch --use_fsdp` sets it": _is_on(
                "ACCELERATE_USE_FSDP"
            ),
            "`deepspeed`": self.deepspeed,
            "ACCELERATE_USE_DEEPSPEED, as `accelerate launch --use_deepspeed` sets it": _is_on(
                "ACCELERATE_USE_DEEPSPEED"
            ),
        }
        for name, value in asked.items():
            if value:
                raise ValueError(
                    f"{name} asks for FSDP or DeepSpeed: training runs on one process or under "
                    "DDP. Leave it out and launch by `torchrun --nproc_per_node N`."
                )

    def _check_numbers(self) -> None:
        """Refuse numbers that are too small, and what is none, such as "1e-3" of a YAML file."""
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int | float | np.integer) or not value >= least:  # NaN too
                raise ValueError(f"`{name}` is {value!r}: give a number of at least {least}.")

    def _check_machine(self) -> None:
        """Refuse what the machine cannot do and would not say."""
        if self.mixed_precision == "fp16" and self.device.type == "cpu":
            raise ValueError(
                "fp16 is asked for on a CPU, which would not do it: use `bf16`, or neither."
            )
        if self.n_gpu > 1:
            raise ValueError(
                f"{self.n_gpu} GPUs are visible to one process, and a batch cannot be split among "
                "them. Launch a process for each by "
                f"`torchrun --nproc_per_node {self.n_gpu} SCRIPT ...` or "
                f"`accelerate launch --multi_gpu --num_processes {self.n_gpu} SCRIPT ...`, or show "
                "one GPU alone by CUDA_VISIBLE_DEVICES=0."
            )
        # accelerate names a meeting point for several processes, then starts one.
        started = {"MASTER_ADDR", "ACCELERATE_MIXED_PRECISION"} <= os.environ.keys()
        if started and "WORLD_SIZE" not in os.environ and self.world_size == 1:
            warnings.warn(
                "`accelerate launch` was asked for several processes and has started one. For "
                "several, use `torchrun --nproc_per_node N SCRIPT ...`, with --use_cpu True on "
                "CPUs.",
                stacklevel=2,
            )

    def _check_batches(self) -> None:
        """Refuse batches in which no pair has another one to differ from."""
        n_pairs = self.per_device_train_batch_size
        if n_pairs * (self.world_size if self.gather_negatives else 1) < self.least_batch:
            raise ValueError(
                f"`per_device_train_batch_size` is {n_pairs}: wrong pairs are made from the other "
                f"pairs of a batch, so give at least {self.least_batch}."
            )

    def check_epochs(self, trained: float | None = None) -> None:
        """Refuse a training of no length, and a warm-up that leaves no epoch for the rest.

        Args:
            trained: The epochs that `max_steps` are, once they are known.
        """
        if self.warmup_epochs < 0:
            raise ValueError(f"`warmup_epochs` must not be negative, found {self.warmup_epochs}.")
        if self.max_steps == 0 or self.max_steps < -1:
            raise ValueError(
                f"`max_steps` is {self.max_steps}: give the number of steps, or -1 for as many as "
                "`num_train_epochs` are."
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
        """The options that a run is resumed with the same values of only."""
        return _COURSE_OPTIONS

    def asked_epochs(self, trained: float | None = None) -> tuple[float, str]:
        """The epochs that are asked for, without end where nobody knows yet, and by which option.

        Args:
            trained: The epochs that `max_steps` are, once they are known.
        """
        if self.max_steps < 0:
            return self.num_train_epochs, f"`num_train_epochs` {self.num_train_epochs:g}"
        epochs = math.inf if trained is None else trained
        return epochs, f"`max_steps` {self.max_steps}, which are {epochs:.3g} epochs"


def _is_on(variable: str) -> bool:
    """Whether an environment variable is a yes."""
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on", "y", "t")


@dataclass
class LabelTrainingArguments(LabelOptions, RobustTrainingArguments):
    """Arguments of `LabelTrainer` and its subclasses.

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
        """As for all methods, and the scaling."""
        return (*super().course_options, "feature_scaling")

    def own_rules(self) -> Mapping[str, Rule]:
        """Of arguments that pairs with captions have alone."""
        return {
            "image_cache_mb": never_read(
                "features of pictures are made once, or by a backbone that learns. Leave it out."
            ),
            "include_num_input_tokens_seen": never_read(
                "pairs with classes are counted, not tokens. Leave it out.", same=(False, "no")
            ),
        }

    def check_epochs(self, trained: float | None = None) -> None:
        """As for all methods, once the trainer has put a number in the place of -1."""
        if self.warmup_epochs != -1:
            super().check_epochs(trained)
