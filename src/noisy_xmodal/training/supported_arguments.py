"""Which arguments of transformers' `TrainingArguments` and `Trainer` have an effect here.

Every argument is in one of the tables below: it is used, or refused with a line that says what to
use. A test compares the tables with the installed version of transformers, so that no new argument
is ignored.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import Trainer, TrainingArguments
from transformers.integrations import integration_utils
from transformers.trainer_pt_utils import AcceleratorConfig

from ..options import READ, Rule, field_defaults, never_read, refuse_unread

#: Trackers that transformers never lists as installed, and packages with another name than their
#: tracker.
_NOT_LISTED = ("azure_ml", "flyte")
_PACKAGES = {"comet_ml": "comet-ml"}

#: Why a trainer neither predicts nor searches, and what to use.
NO_PREDICTION = (
    "a trainer predicts nothing for rows. For metrics use `evaluate(dataset)`; for the score of "
    "every image with every text noisy_xmodal.evaluation.score_matrix(model, processor, images, "
    "texts); for classes the model's own output."
)
NO_SEARCH = (
    "a trainer searches no hyperparameters. Make a model and a trainer for each trial, and compare "
    "what `evaluate()` gives."
)

_SCORES = "metrics come from the evaluator, which keeps its vectors and scores itself"
_HEADS = "models of this library have no such layers"


def _with(name: str, *values: Any) -> Rule:
    """A rule for an argument that is read if another one has one of some values, or is set."""
    if not values:
        return Rule(
            lambda args: bool(getattr(args, name)),
            f"it is read if `{name}` is set. Set that too, or leave this out.",
        )
    words = " or ".join(map(repr, values))
    return Rule(
        lambda args: getattr(args, name) in values,
        f"it is read if `{name}` is {words}. Set that too, or leave this out.",
    )


def _reports_to(*names: str) -> Rule:
    return Rule(
        lambda args: any(name in names for name in _trackers(args)),
        f"it is read by the trackers {', '.join(names)}: name one by `report_to`, or leave it out.",
    )


def _trackers(args: Any) -> list[str]:
    """The names in `report_to`, whatever its form."""
    value = args.report_to
    names = list(value) if isinstance(value, list | tuple) else [value]
    return ["wandb", "mlflow", "comet_ml", "swanlab", "trackio"] if names == ["all"] else names


_ADAM = Rule(
    lambda args: any(
        part in str(getattr(args.optim, "value", args.optim)) for part in ("adam", "lion")
    ),
    "the optimizer in `optim` has no such number. Leave it out, or choose an Adam.",
)
_WARM = Rule(
    lambda args: args.lr_scheduler_type not in ("constant", "reduce_lr_on_plateau", "greedy"),
    "the schedule in `lr_scheduler_type` has no warm-up: choose constant_with_warmup, "
    "linear or cosine, or leave it out.",
)
_LOADS = Rule(
    lambda args: args.dataloader_num_workers > 0,
    "the training process loads the batches itself: set `dataloader_num_workers` too, or leave it "
    "out.",
)
_EVALUATES = Rule(
    lambda args: args.eval_strategy != "no" or args.load_best_model_at_end,
    "nothing is evaluated during training: set `eval_strategy` to epoch or steps, or leave it out.",
)
_CHECKPOINTS = never_read(
    f"{_HEADS} with activations to recompute. For less memory lower "
    "`per_device_train_batch_size`, or use `bf16`."
)

#: Every field of transformers' TrainingArguments.
ARGUMENTS: Mapping[str, Rule] = {
    # The run
    "output_dir": READ,
    "seed": READ,
    "data_seed": READ,
    "full_determinism": READ,
    "use_cpu": READ,
    "max_steps": READ,
    "num_train_epochs": READ,
    "resume_from_checkpoint": READ,
    "ignore_data_skip": never_read(
        "a resumed epoch continues with the pairs that it has not read yet: every pair is visited "
        "once per epoch. Leave it out."
    ),
    "restore_callback_states_from_checkpoint": READ,
    "do_train": never_read("`train()` and the scripts always train. Leave it out."),
    "do_eval": READ,  # transformers sets it from eval_strategy
    "do_predict": never_read(
        "the scripts always evaluate the test split; for a trainer use `evaluate(dataset)`. Leave "
        "it out."
    ),
    "enable_jit_checkpoint": never_read(
        "the scripts save a checkpoint at SIGTERM or SIGINT, and so does a run within "
        "noisy_xmodal.training.interruption.stop_on_signals(trainer). Leave it out."
    ),
    "debug": never_read(
        "its hooks do not read the outputs of the models of this library. Leave it out; "
        "torch.autograd.set_detect_anomaly(True) finds the origin of a NaN."
    ),
    "skip_memory_metrics": READ,
    "local_rank": READ,  # set by old launchers
    # Batches
    "per_device_train_batch_size": READ,
    "gradient_accumulation_steps": READ,
    "auto_find_batch_size": never_read(
        "the pairs of a batch are each other's negatives, so another size is another training. "
        "Lower `per_device_train_batch_size` until it fits."
    ),
    "dataloader_drop_last": READ,
    "dataloader_num_workers": READ,
    "dataloader_pin_memory": READ,
    "dataloader_persistent_workers": _LOADS,
    "dataloader_prefetch_factor": _LOADS,
    "dataloader_multiprocessing_context": _LOADS,
    "dataloader_in_order": _LOADS,
    "remove_unused_columns": READ,  # refused in `arguments`
    "label_names": never_read(
        "labels are columns of the dataset; see `validate_pairs` and `validate_label_pairs`. Leave "
        "it out."
    ),
    "train_sampling_strategy": never_read(
        "batches are drawn at random, and by the division after the warm-up. Leave it out."
    ),
    "length_column_name": never_read("batches are not made by length. Leave it out."),
    "include_num_input_tokens_seen": Rule(READ.is_read, same=(False, "no")),
    # The optimizer
    "learning_rate": READ,
    "lr_scheduler_type": READ,
    "lr_scheduler_kwargs": Rule(
        lambda args: args.lr_scheduler_type not in ("constant", "constant_with_warmup"),
        "the schedule in `lr_scheduler_type` has no options. Leave it out.",
    ),
    "warmup_steps": _WARM,
    "optim": READ,
    "optim_args": Rule(
        lambda args: (
            not str(getattr(args.optim, "value", args.optim)).startswith(
                ("adamw_torch", "adafactor", "lomo", "adalomo")
            )
        ),
        "the optimizer in `optim` has no further options. Leave it out.",
    ),
    "optim_target_modules": Rule(
        lambda args: str(getattr(args.optim, "value", args.optim)).startswith(("galore", "apollo")),
        "it is read by the optimizers galore_* and apollo_*: name one by `optim`, or leave it out.",
    ),
    "weight_decay": READ,
    "adam_beta1": _ADAM,
    "adam_beta2": _ADAM,
    "adam_epsilon": _ADAM,
    "max_grad_norm": READ,
    # The loss
    "label_smoothing_factor": never_read(
        "the losses have no label smoothing. Leave it out; methods for labels have a robust "
        "`class_loss`, such as gce."
    ),
    "average_tokens_across_devices": never_read(
        "losses are means over pairs, and no tokens are counted. Leave it out."
    ),
    "neftune_noise_alpha": never_read(
        "word embeddings get no such noise. Use `dropout` of the model's config."
    ),
    # Precision and kernels
    "bf16": READ,
    "fp16": READ,
    "bf16_full_eval": never_read(
        "evaluation runs in the number format of the weights. Leave it out."
    ),
    "fp16_full_eval": never_read(
        "evaluation runs in the number format of the weights. Leave it out."
    ),
    "tf32": READ,
    "activation_checkpointing": _CHECKPOINTS,
    "activation_checkpointing_kwargs": _CHECKPOINTS,
    "gradient_checkpointing": _CHECKPOINTS,
    "gradient_checkpointing_kwargs": _CHECKPOINTS,
    "torch_compile": READ,
    "torch_compile_backend": READ,
    "torch_compile_mode": READ,
    "use_liger_kernel": never_read(f"{_HEADS} as its kernels replace. Leave it out."),
    "liger_kernel_config": never_read(f"{_HEADS} as its kernels replace. Leave it out."),
    "use_cache": never_read("nothing is generated. Leave it out."),
    "torch_empty_cache_steps": READ,
    # Logging
    "logging_strategy": READ,
    "logging_steps": Rule(
        lambda args: (
            args.logging_strategy == "steps"
            or (args.eval_strategy == "steps" and not args.eval_steps)
        ),
        "it is read if `logging_strategy` is 'steps'. Set that too, or leave this out.",
    ),
    "logging_first_step": READ,
    "log_on_each_node": READ,
    "logging_nan_inf_filter": READ,
    "log_level": READ,
    "log_level_replica": READ,
    "disable_tqdm": READ,
    "report_to": READ,
    "run_name": _reports_to("wandb", "mlflow", "comet_ml", "swanlab", "trackio"),
    "project": _reports_to("trackio"),
    "trackio_space_id": _reports_to("trackio"),
    "trackio_bucket_id": _reports_to("trackio"),
    "trackio_static_space_id": _reports_to("trackio"),
    # Evaluation
    "eval_strategy": READ,
    "eval_steps": _with("eval_strategy", "steps"),
    "eval_delay": _EVALUATES,
    "eval_on_start": READ,
    "per_device_eval_batch_size": never_read(
        "evaluation scores blocks of images and texts. Use `score_block_size`."
    ),
    "eval_accumulation_steps": never_read(f"{_SCORES}. Use `score_block_size` for less memory."),
    "prediction_loss_only": never_read(f"{_SCORES}. Leave it out."),
    "eval_do_concat_batches": never_read(f"{_SCORES}. Leave it out."),
    "eval_use_gather_object": never_read(f"{_SCORES}. Leave it out."),
    "include_for_metrics": never_read(f"{_SCORES}. Pass `evaluator=` to the trainer."),
    "batch_eval_metrics": never_read(f"{_SCORES}. Pass `evaluator=` to the trainer."),
    "load_best_model_at_end": READ,
    "metric_for_best_model": _EVALUATES,
    "greater_is_better": READ,
    # Checkpoints and the Hub
    "save_strategy": Rule(
        lambda args: args.save_strategy != "best",
        "the last checkpoint is needed too, for results and to resume. Use epoch or steps: "
        "`save_total_limit` 2 keeps the best and the last one.",
    ),
    "save_steps": _with("save_strategy", "steps"),
    "save_total_limit": Rule(
        lambda args: args.save_total_limit != 1 or not args.load_best_model_at_end,
        "the best and the last checkpoint are both evaluated. Give 2 or more.",
    ),
    "save_on_each_node": READ,
    "save_only_model": never_read(
        "a checkpoint holds all that is needed to resume. `save_total_limit` limits their number, "
        "and `save_model(folder)` writes only the model."
    ),
    "push_to_hub": READ,
    "hub_token": _with("push_to_hub"),
    "hub_private_repo": _with("push_to_hub"),
    "hub_model_id": _with("push_to_hub"),
    "hub_revision": _with("push_to_hub"),
    "hub_strategy": READ,  # all values but one are refused in `arguments`
    "hub_always_push": never_read("a model is published once, at the end. Leave it out."),
    # Several processes
    "accelerator_config": READ,  # see ACCELERATOR
    "parallelism_config": never_read(
        "training runs on one process or under DDP. Leave it out and launch by `torchrun "
        "--nproc_per_node N`."
    ),
    "fsdp": READ,  # refused in `arguments`, like the next two
    "fsdp_config": READ,
    "deepspeed": READ,
    "ddp_find_unused_parameters": READ,
    "ddp_bucket_cap_mb": READ,
    "ddp_broadcast_buffers": READ,
    "ddp_static_graph": READ,
    "ddp_backend": READ,
    "ddp_timeout": READ,
}

_DEALS = never_read(
    "the sampler of this library distributes the batches to the processes. Leave it out of "
    "`accelerator_config`."
)

#: Every field of `accelerator_config`.
ACCELERATOR: Mapping[str, Rule] = {
    "split_batches": never_read(
        "`per_device_train_batch_size` is for one process: divide it yourself, and leave this out "
        "of `accelerator_config`."
    ),
    "dispatch_batches": _DEALS,
    "even_batches": _DEALS,
    "use_seedable_sampler": _DEALS,
    "non_blocking": _DEALS,
    "gradient_accumulation_kwargs": READ,
    "use_configured_state": READ,
}

#: Every parameter of transformers' Trainer.
TRAINER: Mapping[str, Rule] = {
    "model": READ,
    "args": READ,
    "data_collator": never_read(
        "batches are made by the processor. Pass `processing_class`, and change that."
    ),
    "train_dataset": READ,
    "eval_dataset": READ,
    "processing_class": READ,
    "model_init": never_read(
        "a trainer trains one model. Pass `model`, and make a trainer for each trial."
    ),
    "compute_loss_func": never_read(
        "the loss is the method's. Write a method with a `loss` of its own, and pass `method=`."
    ),
    "compute_metrics": never_read("metrics are the evaluator's. Pass `evaluator=`."),
    "callbacks": READ,
    "optimizers": READ,
    "optimizer_cls_and_kwargs": READ,
    "preprocess_logits_for_metrics": never_read("metrics are the evaluator's. Pass `evaluator=`."),
}


def refuse_arguments(args: TrainingArguments, more: Mapping[str, Rule]) -> None:
    """Refuse arguments without an effect.

    Args:
        args: The arguments, before or after `__post_init__`.
        more: Rules of further arguments, or that replace those of the table.

    Raises:
        ValueError: An argument has no effect.
    """
    refuse_unread(vars(args), field_defaults(type(args)), {**ARGUMENTS, **more})


def refuse_accelerator(config: AcceleratorConfig) -> None:
    """Refuse settings of `accelerator_config` without an effect.

    Args:
        config: The settings.

    Raises:
        ValueError: A setting has no effect.
    """
    refuse_unread(vars(config), field_defaults(AcceleratorConfig), ACCELERATOR)


def refuse_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown or not installed.

    Args:
        names: The value of `report_to`.

    Raises:
        ValueError: A tracker is unknown or not installed.
    """
    trackers = integration_utils.INTEGRATION_TO_CALLBACK
    installed = integration_utils.get_available_reporting_integrations()
    for name in names:
        if name not in trackers:
            choices = ", ".join(trackers)
            raise ValueError(f"`report_to` has {name!r}: give 'none', or some of {choices}.")
        if name not in installed and name not in _NOT_LISTED:
            raise ValueError(
                f"`report_to` has {name}, which is not installed: run "
                f"`pip install {_PACKAGES.get(name, name)}`, or leave it out."
            )


def refuse_trainer_call(args: Any, kind: type, passed: Mapping[str, Any]) -> None:
    """Refuse arguments of another class, and parameters of `Trainer` without an effect.

    Args:
        args: The arguments of the trainer.
        kind: Their required class.
        passed: Further parameters by name.

    Raises:
        ValueError: The class is another one, or a parameter has no effect.
    """
    if not isinstance(args, kind):
        raise ValueError(
            f"`args` is a {type(args).__name__}: give a {kind.__name__}(output_dir=..., ...), "
            "which also has the arguments of this library."
        )
    parameters = inspect.signature(Trainer.__init__).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    refuse_unread(passed, defaults, TRAINER)
