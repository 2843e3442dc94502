"""Which arguments of transformers' `TrainingArguments` have an effect here.

Every argument is in one of the tables below: it is used, or refused with a line that says what to
use. A test compares the tables with the installed version of transformers, so that no new argument
is ignored.
"""

from collections.abc import Mapping
from typing import Any

from transformers import TrainingArguments
from transformers.trainer_pt_utils import AcceleratorConfig

from ..options import READ, Rule, field_defaults, never_read, refuse_unread


def _with(name: str, value: str | bool = True) -> Rule:
    """The rule of an argument that is read if another one has a value, or is set."""
    return Rule(
        lambda args: getattr(args, name) == value,
        f"it is read if `{name}` is {value!r}. Set that too, or leave this out.",
    )


def _optim(args: Any) -> str:
    return str(getattr(args.optim, "value", args.optim))


_ADAM = Rule(
    lambda args: any(part in _optim(args) for part in ("adam", "lion")),
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
#: Every field of transformers' TrainingArguments.
ARGUMENTS: Mapping[str, Rule] = {
    **dict.fromkeys(
        # `do_eval` is set by transformers, `local_rank` by old launchers; `remove_unused_columns`
        # and `hub_strategy` are checked in `arguments`.
        (
            *("output_dir", "seed", "data_seed", "full_determinism", "use_cpu", "max_steps"),
            *("num_train_epochs", "resume_from_checkpoint"),
            *("restore_callback_states_from_checkpoint", "do_eval", "skip_memory_metrics"),
            *("local_rank", "per_device_train_batch_size", "gradient_accumulation_steps"),
            *("dataloader_drop_last", "dataloader_num_workers", "dataloader_pin_memory"),
            *("remove_unused_columns", "learning_rate", "lr_scheduler_type", "optim"),
            *("weight_decay", "max_grad_norm", "bf16", "fp16", "tf32", "torch_compile"),
            *("torch_compile_backend", "torch_compile_mode", "torch_empty_cache_steps"),
            *("logging_strategy", "logging_first_step", "log_on_each_node"),
            *("logging_nan_inf_filter", "log_level", "log_level_replica", "disable_tqdm"),
            *("report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id"),
            *("trackio_static_space_id", "eval_strategy", "eval_on_start"),
            *("load_best_model_at_end", "greater_is_better", "save_on_each_node", "push_to_hub"),
            *("hub_strategy", "accelerator_config"),
            *("ddp_backend", "ddp_timeout", "fsdp"),
        ),
        READ,
    ),
    **dict.fromkeys(
        (
            *("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers"),
            "ddp_static_graph",
        ),
        Rule(
            lambda args: not args.fsdp, "FSDP does not read it. Leave it out, or leave out `fsdp`."
        ),
    ),
    **dict.fromkeys(
        ("do_train", "do_predict"),
        never_read(
            "the scripts always train and evaluate the test split; for a trainer use `train()` "
            "and `evaluate(dataset)`. Leave it out."
        ),
    ),
    "ignore_data_skip": never_read(
        "a resumed epoch continues with the pairs that it has not read yet. Leave it out."
    ),
    "enable_jit_checkpoint": never_read(
        "the scripts save a checkpoint at SIGTERM or SIGINT, and so does a run within "
        "noisy_xmodal.training.interruption.stop_on_signals(trainer). Leave it out."
    ),
    "debug": never_read(
        "its hooks do not read the outputs of the models of this library. Leave it out; "
        "torch.autograd.set_detect_anomaly(True) finds the origin of a NaN."
    ),
    # Batches
    "auto_find_batch_size": never_read(
        "the pairs of a batch are each other's negatives, so another size is another training. "
        "Lower `per_device_train_batch_size` until it fits."
    ),
    **dict.fromkeys(
        (
            *("dataloader_persistent_workers", "dataloader_prefetch_factor"),
            *("dataloader_multiprocessing_context", "dataloader_in_order"),
        ),
        _LOADS,
    ),
    "label_names": never_read(
        "labels are columns of the dataset; see `validate_pairs` and `validate_label_pairs`. Leave "
        "it out."
    ),
    **dict.fromkeys(
        ("train_sampling_strategy", "length_column_name"),
        never_read(
            "batches are drawn at random, and by the division after the warm-up. Leave it out."
        ),
    ),
    "include_num_input_tokens_seen": Rule(READ.is_read, same=(False, "no")),
    # The optimizer and the loss
    "lr_scheduler_kwargs": Rule(
        lambda args: args.lr_scheduler_type not in ("constant", "constant_with_warmup"),
        "the schedule in `lr_scheduler_type` has no options. Leave it out.",
    ),
    "warmup_steps": _WARM,
    "optim_args": Rule(
        lambda args: not _optim(args).startswith(("adamw_torch", "adafactor", "lomo", "adalomo")),
        "the optimizer in `optim` has no further options. Leave it out.",
    ),
    "optim_target_modules": Rule(
        lambda args: _optim(args).startswith(("galore", "apollo")),
        "it is read by the optimizers galore_* and apollo_*: name one by `optim`, or leave it out.",
    ),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "adam_epsilon"), _ADAM),
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
    **dict.fromkeys(
        ("bf16_full_eval", "fp16_full_eval"),
        never_read("evaluation runs in the number format of the weights. Leave it out."),
    ),
    **dict.fromkeys(("activation_checkpointing", "gradient_checkpointing"), READ),
    **dict.fromkeys(
        ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"),
        Rule(
            lambda args: bool(args.activation_checkpointing or args.gradient_checkpointing),
            "it is read if `gradient_checkpointing` is True. Set that too, or leave this out.",
        ),
    ),
    **dict.fromkeys(
        ("use_liger_kernel", "liger_kernel_config"),
        never_read("models of this library have no layers that its kernels replace. Leave it out."),
    ),
    "use_cache": never_read("nothing is generated. Leave it out."),
    # Logging and evaluation
    "logging_steps": Rule(
        lambda args: (
            args.logging_strategy == "steps"
            or (args.eval_strategy == "steps" and not args.eval_steps)
        ),
        "it is read if `logging_strategy` is 'steps'. Set that too, or leave this out.",
    ),
    "eval_steps": _with("eval_strategy", "steps"),
    **dict.fromkeys(("eval_delay", "metric_for_best_model"), _EVALUATES),
    **dict.fromkeys(
        ("per_device_eval_batch_size", "eval_accumulation_steps"),
        never_read(
            "evaluation scores blocks of images and texts. Use `score_block_size` for less memory."
        ),
    ),
    **dict.fromkeys(
        (
            *("prediction_loss_only", "eval_do_concat_batches", "eval_use_gather_object"),
            *("include_for_metrics", "batch_eval_metrics"),
        ),
        never_read("metrics are the evaluator's. Pass `evaluator=` to the trainer."),
    ),
    # Checkpoints, the Hub, and several processes
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
    "save_only_model": never_read(
        "a checkpoint holds all that is needed to resume. `save_total_limit` limits their number, "
        "and `save_model(folder)` writes only the model."
    ),
    **dict.fromkeys(
        ("hub_token", "hub_private_repo", "hub_model_id", "hub_revision"), _with("push_to_hub")
    ),
    "hub_always_push": never_read("a model is published once, at the end. Leave it out."),
    "fsdp_config": Rule(
        lambda args: bool(args.fsdp), "it is read if `fsdp` is True. Set that too, or leave it out."
    ),
    **dict.fromkeys(
        ("parallelism_config", "deepspeed"),
        never_read(
            "training runs on one process, under DDP or under FSDP2. Leave it out, and use `fsdp` "
            "True to divide weights, gradients and optimizer states among the processes."
        ),
    ),
}

#: Every setting of `fsdp_config` that transformers reads for FSDP2.
FSDP: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            *("auto_wrap_policy", "min_num_params", "transformer_layer_cls_to_wrap"),
            "reshard_after_forward",
        ),
        READ,
    ),
    "version": Rule(lambda config: int(config.version) == 2, "only FSDP2 is supported: give 2."),
    "state_dict_type": never_read(
        "checkpoints are whole, so that any number of processes can go on from them. Leave it out.",
        same=("FULL_STATE_DICT",),
    ),
    "cpu_offload": never_read("all shards stay on their devices. Leave it out."),
    "cpu_ram_efficient_loading": never_read(
        "each process loads the model before it is divided. Leave it out."
    ),
    "activation_checkpointing": never_read("use `gradient_checkpointing` in its place."),
    **dict.fromkeys(
        ("xla", "xla_fsdp_v2", "xla_fsdp_grad_ckpt", "xla_fsdp_settings"),
        never_read("it is for TPUs. Leave it out."),
    ),
    **dict.fromkeys(
        (
            *("forward_prefetch", "backward_prefetch", "use_orig_params", "sync_module_states"),
            "limit_all_gathers",
        ),
        never_read("it is for FSDP1. Leave it out."),
    ),
}
_FSDP_DEFAULTS = {"version": 2, "auto_wrap_policy": None, "reshard_after_forward": True}

#: Every field of `accelerator_config`.
ACCELERATOR: Mapping[str, Rule] = {
    **dict.fromkeys(("gradient_accumulation_kwargs", "use_configured_state"), READ),
    "split_batches": never_read(
        "`per_device_train_batch_size` is for one process: divide it yourself, and leave this out "
        "of `accelerator_config`."
    ),
    **dict.fromkeys(
        ("dispatch_batches", "even_batches", "use_seedable_sampler", "non_blocking"),
        never_read(
            "the sampler of this library distributes the batches to the processes. Leave it out "
            "of `accelerator_config`."
        ),
    ),
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


def refuse_fsdp(config: Mapping[str, Any]) -> None:
    """Refuse settings of FSDP without an effect.

    Args:
        config: As in `fsdp_config`.

    Raises:
        ValueError: A setting has no effect, or is none.
    """
    for name in config:
        if name not in FSDP:
            known = ", ".join(name for name, rule in FSDP.items() if rule is READ)
            raise ValueError(f"`{name}` of `fsdp_config` is no setting of FSDP2: give {known}.")
    defaults = dict.fromkeys(FSDP) | _FSDP_DEFAULTS
    refuse_unread(config, defaults, FSDP, "`{}` of `fsdp_config`")


def refuse_accelerator(config: AcceleratorConfig) -> None:
    """Refuse settings of `accelerator_config` without an effect.

    Args:
        config: The settings.

    Raises:
        ValueError: A setting has no effect.
    """
    refuse_unread(vars(config), field_defaults(AcceleratorConfig), ACCELERATOR)
