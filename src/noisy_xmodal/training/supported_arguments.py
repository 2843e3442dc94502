"""Which arguments of transformers' `TrainingArguments` and `Trainer` have an effect here.

Every argument stands in one of the tables below: it is read, or it is refused with a line that says
what to use. A test walks the installed version of transformers, so that a new argument is decided
upon before it can be passed over.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import Trainer, TrainingArguments
from transformers.integrations import integration_utils
from transformers.trainer_pt_utils import AcceleratorConfig

from ..options import READ, Rule, field_defaults, never_read, refuse_unread

#: Trackers that transformers does not list as installed, though they may be; the packages of others
#: that are not called like them.
_NOT_LISTED = ("azure_ml", "flyte")
_PACKAGES = {"comet_ml": "comet-ml"}

_SCORES = "metrics come from the evaluator, which keeps its vectors and scores itself"
_HEADS = "models of this library have no such layers"


def _with(name: str, *values: Any) -> Rule:
    """A rule for what is read where another argument has one of some values, or is set at all."""
    if not values:
        return Rule(
            lambda args: bool(getattr(args, name)),
            f"it is read where `{name}` is set. Set that too, or leave this out.",
        )
    words = " or ".join(map(repr, values))
    return Rule(
        lambda args: getattr(args, name) in values,
        f"it is read where `{name}` is {words}. Set that too, or leave this out.",
    )


def _reports_to(*names: str) -> Rule:
    return Rule(
        lambda args: any(name in names for name in _trackers(args)),
        f"it is read by the trackers {', '.join(names)}: name one by `report_to`, or leave it out.",
    )


def _trackers(args: Any) -> list[str]:
    """The names in `report_to`, whatever its form."""
    value = args.report_to
    found = list(value) if isinstance(value, list | tuple) else [value]
    return ["wandb", "mlflow", "comet_ml", "swanlab", "trackio"] if found == ["all"] else found


_ADAM = Rule(
    lambda args: any(
        part in str(getattr(args.optim, "value", args.optim)) for part in ("adam", "lion")
    ),
    "the optimizer that `optim` names has no such number. Leave it out, or choose an Adam.",
)
_WARM = Rule(
    lambda args: args.lr_scheduler_type not in ("constant", "reduce_lr_on_plateau", "greedy"),
    "the schedule that `lr_scheduler_type` names has no warm-up: choose constant_with_warmup, "
    "linear or cosine, or leave it out.",
)
_LOADS = Rule(
    lambda args: args.dataloader_num_workers > 0,
    "batches are made in the training process itself: set `dataloader_num_workers` too, or leave "
    "it out.",
)
_EVALUATES = Rule(
    lambda args: args.eval_strategy != "no" or args.load_best_model_at_end,
    "nothing is evaluated while it trains: set `eval_strategy` to epoch or steps, or leave it out.",
)
_CHECKPOINTS = never_read(
    f"{_HEADS} whose activations are made anew. For less memory lower "
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
        "a resumed epoch goes on where it was, without reading what it had read: every pair is "
        "visited once an epoch. Leave it out."
    ),
    "restore_callback_states_from_checkpoint": READ,
    "do_train": never_read("`train()` and the scripts always train. Leave it out."),
    "do_eval": READ,  # transformers sets it from eval_strategy
    "do_predict": never_read(
        "the scripts always evaluate the test split; a trainer does by `evaluate(dataset)`. Leave "
        "it out."
    ),
    "enable_jit_checkpoint": never_read(
        "a run of the scripts saves a checkpoint when SIGTERM or SIGINT comes, and so does one "
        "within noisy_xmodal.training.interruption.stop_on_signals(trainer). Leave it out."
    ),
    "debug": never_read(
        "its hooks do not read what the models of this library return. Leave it out; "
        "torch.autograd.set_detect_anomaly(True) tells where a NaN begins."
    ),
    "skip_memory_metrics": READ,
    "local_rank": READ,  # which old launchers pass
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
        "what a pair is stands in the columns of the dataset; see `validate_pairs` and "
        "`validate_label_pairs`. Leave it out."
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
        "the schedule that `lr_scheduler_type` names has no options. Leave it out.",
    ),
    "warmup_steps": _WARM,
    "optim": READ,
    "optim_args": Rule(
        lambda args: (
            not str(getattr(args.optim, "value", args.optim)).startswith(
                ("adamw_torch", "adafactor", "lomo", "adalomo")
            )
        ),
        "the optimizer that `optim` names has no further options. Leave it out.",
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
        "the losses of the methods have no smoothed labels. Leave it out; a robust `class_loss`, "
        "such as gce, is there for methods of classes."
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
    "use_liger_kernel": never_read(f"{_HEADS} as its kernels are made for. Leave it out."),
    "liger_kernel_config": never_read(f"{_HEADS} as its kernels are made for. Leave it out."),
    "use_cache": never_read("nothing is generated. Leave it out."),
    "torch_empty_cache_steps": READ,
    # What is told
    "logging_strategy": READ,
    "logging_steps": Rule(
        lambda args: (
            args.logging_strategy == "steps"
            or (args.eval_strategy == "steps" and not args.eval_steps)
        ),
        "it is read where `logging_strategy` is 'steps'. Set that too, or leave this out.",
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
        "the last checkpoint is measured and resumed from too. Use epoch or steps: with "
        "`save_total_limit` 2 the best and the last one are kept.",
    ),
    "save_steps": _with("save_strategy", "steps"),
    "save_total_limit": Rule(
        lambda args: args.save_total_limit != 1 or not args.load_best_model_at_end,
        "the best and the last checkpoint are both measured. Give 2, which keeps these, or more.",
    ),
    "save_on_each_node": READ,
    "save_only_model": never_read(
        "a checkpoint holds everything that training goes on with. `save_total_limit` bounds their "
        "number, and `save_model(folder)` writes the model alone."
    ),
    "push_to_hub": READ,
    "hub_token": _with("push_to_hub"),
    "hub_private_repo": _with("push_to_hub"),
    "hub_model_id": _with("push_to_hub"),
    "hub_revision": _with("push_to_hub"),
    "hub_strategy": READ,  # refused in `arguments`, but for one
    "hub_always_push": never_read("a model is published once, at the end. Leave it out."),
    # Several processes
    "accelerator_config": READ,  # see ACCELERATOR
    "parallelism_config": never_read(
        "training runs on one process or under DDP. Leave it out and launch by `torchrun "
        "--nproc_per_node N`."
    ),
    "fsdp": READ,  # refused in `arguments`, as the next two, with what a launcher asks for
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
    "the sampler of this library deals every batch to the processes itself. Leave it out of "
    "`accelerator_config`."
)

#: Every field of `accelerator_config`.
ACCELERATOR: Mapping[str, Rule] = {
    "split_batches": never_read(
        "`per_device_train_batch_size` counts the pairs of one process: divide it yourself, and "
        "leave this out of `accelerator_config`."
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
        "the loss is the method's. Subclass the trainer and override `per_sample_loss`."
    ),
    "compute_metrics": never_read("metrics are the evaluator's. Pass `evaluator=`."),
    "callbacks": READ,
    "optimizers": READ,
    "optimizer_cls_and_kwargs": READ,
    "preprocess_logits_for_metrics": never_read("metrics are the evaluator's. Pass `evaluator=`."),
}


def refuse_arguments(args: TrainingArguments, more: Mapping[str, Rule]) -> None:
    """Refuse arguments that have no effect, by the tables above.

    Args:
        args: The arguments; values may be as a person wrote them.
        more: Rules of further arguments, or that take the place of the tables'.

    Raises:
        ValueError: If there is one.
    """
    refuse_unread(vars(args), field_defaults(type(args)), {**ARGUMENTS, **more})


def refuse_accelerator(config: AcceleratorConfig) -> None:
    """Refuse settings of `accelerator_config` that have no effect.

    Args:
        config: The settings.

    Raises:
        ValueError: If there is one.
    """
    refuse_unread(vars(config), field_defaults(AcceleratorConfig), ACCELERATOR)


def refuse_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that there are not, or whose package is not installed.

    Args:
        names: What `report_to` names.

    Raises:
        ValueError: If there is one.
    """
    known = integration_utils.INTEGRATION_TO_CALLBACK
    installed = integration_utils.get_available_reporting_integrations()
    for name in names:
        if name not in known:
            raise ValueError(f"`report_to` names {name!r}: there are none, {', '.join(known)}.")
        if name not in installed and name not in _NOT_LISTED:
            raise ValueError(
                f"`report_to` names {name}, which is not installed: run "
                f"`pip install {_PACKAGES.get(name, name)}`, or leave it out."
            )


def refuse_trainer_call(args: Any, kind: type, passed: Mapping[str, Any]) -> None:
    """Refuse arguments of another kind, and parameters of `Trainer` that have no effect.

    Args:
        args: What was passed as the trainer's arguments.
        kind: The class that they must have.
        passed: Further parameters by name.

    Raises:
        ValueError: If there is one.
    """
    if not isinstance(args, kind):
        found = f"a {type(args).__name__}"
        raise ValueError(
            f"`args` is {found}: give a {kind.__name__}(output_dir=..., ...), which takes the same "
            "arguments and has those of this library."
        )
    parameters = inspect.signature(Trainer.__init__).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    refuse_unread(passed, defaults, TRAINER)
