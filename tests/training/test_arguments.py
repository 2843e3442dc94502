"""Arguments of robust training: NCR's recipe by default, contradictions refused."""

import os
import warnings
from typing import Any

import pytest
from transformers import HfArgumentParser, TrainingArguments

from noisy_xmodal import RobustTrainingArguments
from noisy_xmodal.options import READ
from noisy_xmodal.training.supported_arguments import FSDP


def arguments(tmp_path, **options: Any) -> RobustTrainingArguments:
    return RobustTrainingArguments(output_dir=str(tmp_path), report_to="none", **options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("robust", True),
        ("warmup_epochs", 5),
        ("num_train_epochs", 45),
        ("learning_rate", 2e-4),
        ("per_device_train_batch_size", 128),
        ("max_grad_norm", 2.0),
        ("metric_for_best_model", "rsum"),
        ("greater_is_better", True),
        ("load_best_model_at_end", True),
        ("remove_unused_columns", False),
        ("eval_strategy", "epoch"),
        ("save_strategy", "epoch"),
        ("logging_strategy", "epoch"),
        ("save_total_limit", 2),
        ("weight_decay", 0.0),
    ],
)
def test_defaults_are_the_papers_recipe(tmp_path, name, value):
    assert getattr(arguments(tmp_path), name) == value


@pytest.mark.parametrize("strategy", ["every_save", "checkpoint", "all_checkpoints"])
def test_a_model_is_published_at_the_end_or_not_at_all(tmp_path, strategy):
    with pytest.raises(ValueError, match=f"`hub_strategy` is '{strategy}': only 'end'"):
        arguments(tmp_path, hub_strategy=strategy)


def test_they_are_training_arguments(tmp_path):
    args = arguments(tmp_path, seed=7, lr_scheduler_type="cosine")
    assert isinstance(args, TrainingArguments)
    assert args.seed == 7
    assert args.lr_scheduler_type == "cosine"


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("gradient_accumulation_steps", 0, 1),
        ("score_block_size", 0, 1),
        ("learning_rate", -1e-3, 0),
        ("learning_rate", float("nan"), 0),
        ("learning_rate", "2e-4", 0),
        ("num_train_epochs", "3", 0),
        ("weight_decay", -0.1, 0),
        ("max_grad_norm", None, 0),
        ("seed", -1, 0),
        ("dataloader_num_workers", -1, 0),
        ("image_cache_mb", -5, 0),
    ],
)
def test_numbers_that_mean_nothing_are_refused(tmp_path, name, value, least):
    with pytest.raises(ValueError, match=rf"^`{name}` is .+: give a number of at least {least}\.$"):
        arguments(tmp_path, **{name: value})


def test_an_evaluation_that_never_comes_is_refused(tmp_path):
    message = r"^`eval_delay` is 9 and `num_train_epochs` 8: nothing is evaluated\. Lower it"
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, eval_delay=9, num_train_epochs=8)
    arguments(tmp_path, eval_delay=8, num_train_epochs=8)


@pytest.mark.parametrize(("warmup", "epochs"), [(5, 5), (6, 5), (1, 0.5), (3, 3.0)])
def test_a_warm_up_that_leaves_no_epoch_is_refused(tmp_path, warmup, epochs):
    message = rf"`warmup_epochs` is {warmup} and `num_train_epochs` {epochs:g}: no epoch is left"
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, warmup_epochs=warmup, num_train_epochs=epochs)


@pytest.mark.parametrize(("warmup", "epochs"), [(4, 5), (0, 1), (0, 0.5)])
def test_a_warm_up_that_leaves_an_epoch_is_fine(tmp_path, warmup, epochs):
    args = arguments(tmp_path, warmup_epochs=warmup, num_train_epochs=epochs)
    assert args.warmup_epochs == warmup


def test_plain_training_may_warm_up_to_the_end(tmp_path):
    args = arguments(tmp_path, robust=False, warmup_epochs=5, num_train_epochs=5)
    assert not args.robust


@pytest.mark.parametrize("robust", [True, False])
def test_a_negative_warm_up_is_refused(tmp_path, robust):
    with pytest.raises(ValueError, match="`warmup_epochs` must not be negative, found -1"):
        arguments(tmp_path, warmup_epochs=-1, robust=robust)


def test_dropping_columns_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`remove_unused_columns` must be False.*pair ids"):
        arguments(tmp_path, remove_unused_columns=True)


@pytest.mark.parametrize("by_accelerate", [False, True])
def test_fp16_on_a_cpu_is_refused(tmp_path, monkeypatch, by_accelerate):
    if by_accelerate:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match=r"fp16 has no effect on a CPU.*use `bf16`"):
        arguments(tmp_path, use_cpu=True, fp16=not by_accelerate)


def test_bf16_on_a_cpu_is_fine(tmp_path):
    assert arguments(tmp_path, use_cpu=True, bf16=True).mixed_precision == "bf16"


def test_deepspeed_is_refused_and_fsdp_is_named(tmp_path):
    stage = {"zero_optimization": {"stage": 2}}
    with pytest.raises(ValueError, match=r"`deepspeed` is .*under FSDP2.*use `fsdp` True to div"):
        arguments(tmp_path, use_cpu=True, deepspeed=stage)


@pytest.mark.parametrize("by_accelerate", [False, True])
def test_one_process_has_nothing_to_shard(tmp_path, monkeypatch, by_accelerate):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true" if by_accelerate else "false")
    with pytest.raises(ValueError, match=r"one process has nothing to divide.*torchrun"):
        arguments(tmp_path, use_cpu=True, **{} if by_accelerate else {"fsdp": True})


def sharding_arguments(tmp_path, monkeypatch, **options: Any) -> RobustTrainingArguments:
    """Arguments of one of two processes."""
    monkeypatch.setattr(TrainingArguments, "world_size", property(lambda _: 2))
    return arguments(tmp_path, use_cpu=True, fsdp=True, **options)


@pytest.mark.parametrize("name", FSDP)
def test_every_setting_of_fsdp_is_read_or_refused(tmp_path, monkeypatch, name):
    values = {
        "version": 1,
        "auto_wrap_policy": "NO_WRAP",
        "min_num_params": 9,
        "transformer_layer_cls_to_wrap": ["BertLayer"],
        "reshard_after_forward": False,
        "state_dict_type": "SHARDED_STATE_DICT",
        "backward_prefetch": "BACKWARD_PRE",
        "xla_fsdp_settings": {"compute_dtype": "float32"},
    }
    config = {name: values.get(name, True)}
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if FSDP[name] is READ:
            args = sharding_arguments(tmp_path, monkeypatch, fsdp_config=config)
            assert args.fsdp_config[name] == config[name]
            assert os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"].lower() == "false"
        else:
            with pytest.raises(ValueError, match=f"^`{name}` of `fsdp_config` is .*\\.$"):
                sharding_arguments(tmp_path, monkeypatch, fsdp_config=config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fsdp_config": {"shards": 3}}, "`shards` of `fsdp_config` is no setting of FSDP2: give"),
        ({"torch_compile": True}, "`torch_compile` is True under FSDP"),
        ({"ddp_bucket_cap_mb": 3}, "`ddp_bucket_cap_mb` is 3: FSDP does not read it"),
    ],
)
def test_what_fsdp_does_not_read_is_refused(tmp_path, monkeypatch, options, message):
    with pytest.raises(ValueError, match=message):
        sharding_arguments(tmp_path, monkeypatch, **options)


@pytest.mark.parametrize("words", [["--fsdp"], ["--fsdp", "True"]])
def test_fsdp_is_switched_on_by_the_command_line(tmp_path, monkeypatch, words):
    monkeypatch.setattr(TrainingArguments, "world_size", property(lambda _: 2))
    parser = HfArgumentParser(RobustTrainingArguments)
    start = ["--output_dir", str(tmp_path), "--report_to", "none", "--use_cpu", "True"]
    (args,) = parser.parse_args_into_dataclasses([*start, *words])
    assert args.fsdp is True
    assert parser.parse_args_into_dataclasses([*start, "--fsdp", "False"])[0].fsdp is None


def test_settings_of_fsdp_without_fsdp_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`fsdp_config` is .*read if `fsdp` is True"):
        arguments(tmp_path, use_cpu=True, fsdp_config={"version": 2})


def test_a_launcher_that_starts_one_process_of_several_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arguments(tmp_path, use_cpu=True)  # accelerate launch --num_processes 1
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.warns(
        UserWarning, match=r"should start several.*started one.*torchrun --nproc_per"
    ):
        arguments(tmp_path, use_cpu=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("robust", False),
        ("warmup_epochs", 2),
        ("score_block_size", 16),
        ("plot_divisions", False),
        ("image_cache_mb", 0),
        ("learning_rate", 1e-3),
    ],
)
def test_the_command_line_sets_them(tmp_path, name, value):
    parser = HfArgumentParser(RobustTrainingArguments)
    (args,) = parser.parse_args_into_dataclasses(
        ["--output_dir", str(tmp_path), "--report_to", "none", f"--{name}", str(value)]
    )
    assert getattr(args, name) == value


def test_every_own_argument_has_a_help_text():
    inherited = TrainingArguments.__dataclass_fields__
    own = RobustTrainingArguments.__dataclass_fields__
    for name in own.keys() - inherited.keys():
        assert own[name].metadata["help"].endswith("."), name


def test_a_step_in_a_schedule_that_falls_by_itself_is_refused(tmp_path):
    message = r"^`lr_decay_epoch` is 3: the schedule in `lr_scheduler_type` lowers the rate"
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, lr_decay_epoch=3, lr_scheduler_type="cosine")
    assert arguments(tmp_path, lr_decay_epoch=3, lr_scheduler_type="constant").lr_decay_epoch == 3
