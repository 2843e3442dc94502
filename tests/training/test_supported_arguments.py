"""Arguments of transformers: each one has an effect, or is refused with what to use."""

import dataclasses
from typing import Any

import pytest
import torch
from transformers import TrainingArguments
from transformers.trainer_pt_utils import AcceleratorConfig

from label_trainers import make_label_trainer, weights
from noisy_xmodal import LabelTrainingArguments, RobustTrainer, RobustTrainingArguments
from noisy_xmodal.methods import ClassLoss
from noisy_xmodal.options import READ, field_defaults
from noisy_xmodal.training.supported_arguments import ACCELERATOR, ARGUMENTS
from toy_labels import toy_labels

#: Values other than the default, where a type does not tell of one.
VALUES = {
    "activation_checkpointing": True,
    "activation_checkpointing_kwargs": {"use_reentrant": False},
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "liger_kernel_config": {"rope": True},
    "neftune_noise_alpha": 5.0,
    "eval_accumulation_steps": 2,
    "parallelism_config": object(),
    "label_names": ["labels"],
    "include_for_metrics": ["loss"],
    "train_sampling_strategy": "group_by_length",
    "dispatch_batches": True,
}

#: Arguments that are read in some combinations: values that make one unread, and the rest read.
COMBINATIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"dataloader_prefetch_factor": 4}, {"dataloader_num_workers": 1}),
    ({"dataloader_persistent_workers": True}, {"dataloader_num_workers": 1}),
    ({"dataloader_multiprocessing_context": "fork"}, {"dataloader_num_workers": 1}),
    ({"dataloader_in_order": False}, {"dataloader_num_workers": 1}),
    ({"logging_steps": 10}, {"logging_strategy": "steps"}),
    ({"save_steps": 10}, {"save_strategy": "steps", "load_best_model_at_end": False}),
    ({"eval_steps": 10}, {"eval_strategy": "steps", "load_best_model_at_end": False}),
    ({"warmup_steps": 10, "lr_scheduler_type": "constant"}, {"lr_scheduler_type": "linear"}),
    (
        {"lr_scheduler_kwargs": {"num_cycles": 2}, "lr_scheduler_type": "constant"},
        {"lr_scheduler_type": "cosine"},
    ),
    ({"adam_beta2": 0.9, "optim": "sgd"}, {"optim": "adamw_torch"}),
    ({"optim_args": "momentum=0.9"}, {"optim": "sgd"}),
    ({"optim_target_modules": "all-linear"}, {"optim": "galore_adamw"}),
    ({"hub_model_id": "me/mine"}, {"push_to_hub": True}),
    ({"hub_revision": "next"}, {"push_to_hub": True}),
    *(
        ({name: value, "fsdp": True}, {"fsdp": None})
        for name, value in (
            ("ddp_find_unused_parameters", True),
            ("ddp_bucket_cap_mb", 3),
            ("ddp_broadcast_buffers", True),
            ("ddp_static_graph", True),
        )
    ),
    ({"save_strategy": "best"}, {"save_strategy": "epoch"}),
    ({"save_total_limit": 1}, {"load_best_model_at_end": False}),
    (
        {"metric_for_best_model": "i2t_r1", "eval_strategy": "no", "load_best_model_at_end": False},
        {"eval_strategy": "epoch"},
    ),
    (
        {"eval_delay": 1, "eval_strategy": "no", "load_best_model_at_end": False},
        {"eval_strategy": "epoch"},
    ),
]

BARE = {
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "logging_strategy": "steps",
    "logging_steps": 1,
    "num_train_epochs": 1,
}


def arguments(kind=RobustTrainingArguments, **options: Any) -> RobustTrainingArguments:
    return kind(**{"output_dir": "unused", "use_cpu": True, "report_to": "none"} | options)


def another(name: str, default: Any) -> Any:
    """A value that differs from the default."""
    if name in VALUES:
        return VALUES[name]
    if isinstance(default, bool):
        return not default
    return "other" if isinstance(default, str | None) else default + 1


def test_every_argument_of_the_installed_transformers_is_decided_upon():
    names = {field.name for field in dataclasses.fields(TrainingArguments)}
    assert names == set(ARGUMENTS)
    assert {field.name for field in dataclasses.fields(AcceleratorConfig)} == set(ACCELERATOR)


def test_every_rule_says_what_to_do():
    for rules in (ARGUMENTS, ACCELERATOR):
        for name, rule in rules.items():
            said = rule.otherwise
            assert said == "" if rule.is_read is READ.is_read else said.endswith("."), name


NEVER = [name for name, rule in ARGUMENTS.items() if rule is not READ and rule.otherwise]
NEVER = [name for name in NEVER if not any(name in unread for unread, _ in COMBINATIONS)]


@pytest.mark.parametrize("name", NEVER)
def test_an_argument_without_effect_is_refused(name):
    default = field_defaults(RobustTrainingArguments)[name]
    if name in ("adam_beta1", "adam_epsilon"):
        with pytest.raises(ValueError, match=f"`{name}` is .*: the optimizer in `optim`"):
            arguments(optim="sgd", **{name: another(name, default)})
        return
    with pytest.raises(ValueError, match=rf"^`{name}` is .+: .+\.$"):
        arguments(**{name: another(name, default)})
    arguments(**{name: default})


@pytest.mark.parametrize(("unread", "made_read"), COMBINATIONS)
def test_an_argument_that_the_others_leave_without_effect_is_refused(unread, made_read):
    name = next(iter(unread))
    with pytest.raises(ValueError, match=rf"^`{name}` is .+: .+\.$"):
        arguments(**unread)
    arguments(**unread | made_read)


@pytest.mark.parametrize("name", [name for name, rule in ACCELERATOR.items() if rule is not READ])
def test_a_setting_of_accelerate_without_effect_is_refused(name):
    value = another(name, field_defaults(AcceleratorConfig)[name])
    for config in ({name: value}, AcceleratorConfig(**{name: value})):
        with pytest.raises(ValueError, match=f"^`{name}` is .*out of `accelerator_config`"):
            arguments(accelerator_config=config)
    arguments(accelerator_config={"gradient_accumulation_kwargs": {"sync_each_batch": True}})


def test_arguments_of_another_kind_are_refused(tmp_path):
    trainer = make_label_trainer("ce", tmp_path, **BARE)
    for args in (
        TrainingArguments(str(tmp_path), use_cpu=True),
        arguments(),
        None,
    ):
        with pytest.raises(ValueError, match=r"give a LabelTrainingArguments\(output_dir"):
            RobustTrainer(
                trainer.model,
                args,
                ClassLoss(),
                toy_labels(),
                processing_class=trainer.saved_processor(),
            )


def test_copies_of_arguments_are_fine():
    args = arguments(LabelTrainingArguments, eval_strategy="steps", save_strategy="steps", seed=3)
    assert dataclasses.replace(args, seed=4).seed == 4


# Arguments that work


def losses(trainer) -> list[float]:
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> list[float]:
    return losses(make_label_trainer("ce", tmp_path_factory.mktemp("plain"), **BARE))


@pytest.mark.parametrize(
    "options",
    [
        {"data_seed": 7},
        {"dataloader_drop_last": True, "per_device_train_batch_size": 50},
        {"per_device_train_batch_size": 20},
        {"gradient_accumulation_steps": 2},
        {"max_steps": 2},
        {"learning_rate": 1e-3},
        {"lr_scheduler_type": "linear", "warmup_steps": 2},
        {"optim": "sgd", "optim_args": "momentum=0.9"},
        {"optim": "adafactor"},
        {"adam_beta1": 0.9},
        {"max_grad_norm": 0.01},
        {"weight_decay": 0.5},
        {"bf16": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_an_argument_that_is_read_changes_the_losses(tmp_path, plain, options):
    trainer = make_label_trainer("ce", tmp_path, **BARE | options)
    found = losses(trainer)
    assert found != plain
    if "data_seed" not in options and "bf16" not in options and len(found) == len(plain):
        assert found[0] == plain[0], "the first batch and the weights are the same ones"


def test_optimizers_of_ones_own_are_used(tmp_path, plain):
    by_class = make_label_trainer("ce", tmp_path / "class", **BARE)
    by_class.optimizer_cls_and_kwargs = (torch.optim.SGD, {"lr": 0.1})
    passed = make_label_trainer("ce", tmp_path / "passed", **BARE, lr_scheduler_type="constant")
    passed.optimizer = torch.optim.SGD(passed.model.parameters(), lr=0.1)
    assert losses(by_class)[0] == losses(passed)[0] == plain[0]
    assert passed.optimizer.optimizer.__class__ is torch.optim.SGD
    assert losses(by_class)[1:] != plain[1:]


def test_data_seed_draws_batches_and_chunks_and_nothing_else(tmp_path):
    a, b, c = (
        make_label_trainer("mrl", tmp_path / str(i), **BARE, **seeds)
        for i, seeds in enumerate(({}, {"data_seed": 7}, {"seed": 7}))
    )
    assert all(torch.equal(weights(a)[name], value) for name, value in weights(b).items())
    batches = [list(trainer.batch_sampler) for trainer in (a, b, c)]
    assert batches[0] != batches[1]
    assert batches[1] == batches[2]


def test_workers_are_given_to_the_loader(tmp_path):
    options = {
        "dataloader_num_workers": 1,
        "dataloader_prefetch_factor": 5,
        "dataloader_persistent_workers": True,
        "dataloader_multiprocessing_context": "spawn",
        "dataloader_in_order": False,
    }
    loader = make_label_trainer("ce", tmp_path, **BARE | options).get_train_dataloader()
    assert (loader.num_workers, loader.prefetch_factor, loader.persistent_workers) == (1, 5, True)
    assert loader.multiprocessing_context.get_start_method() == "spawn"
    assert not loader.in_order


def test_what_is_logged_and_evaluated_and_when(tmp_path):
    options = {"eval_strategy": "epoch", "eval_on_start": True, "num_train_epochs": 3}
    options |= {"eval_delay": 2, "logging_strategy": "no", "logging_first_step": True}
    trainer = make_label_trainer("dcca", tmp_path, **BARE | {"logging_steps": 500} | options)
    trainer.train()
    steps = {
        name: [row["step"] for row in trainer.state.log_history if name in row]
        for name in ("loss", "eval_map")
    }
    last = trainer.state.max_steps
    assert steps == {"loss": [1], "eval_map": [0, last * 2 // 3, last]}


def test_training_may_be_told_by_its_arguments_to_resume(tmp_path):
    saving = BARE | {"save_strategy": "epoch"}
    make_label_trainer("ce", tmp_path, **saving).train()
    trainer = make_label_trainer(
        "ce", tmp_path, **saving | {"num_train_epochs": 2}, resume_from_checkpoint="True"
    )
    trainer.train()
    assert [row["step"] for row in trainer.state.log_history if "loss" in row][-4:] == [5, 6, 7, 8]
    anew = make_label_trainer("ce", tmp_path, **saving, resume_from_checkpoint="False")
    with pytest.raises(FileExistsError, match="another --output_dir"):
        anew.train()


def test_a_dict_of_validation_splits_is_evaluated_by_name(tmp_path):
    parts = {name: toy_labels(40, seed=seed) for name, seed in (("near", 1), ("far", 2))}
    options = BARE | {"eval_strategy": "epoch", "save_strategy": "epoch"}
    options |= {"load_best_model_at_end": True, "metric_for_best_model": "far_map"}
    trainer = make_label_trainer("ce", tmp_path, eval_dataset=parts, **options)
    trainer.train()
    known = next(row for row in trainer.state.log_history if "eval_near_map" in row)
    assert known["eval_near_map"] == trainer.evaluate(parts["near"])["eval_map"]
    assert known["eval_far_map"] == trainer.evaluate(parts["far"])["eval_map"]
    assert trainer.state.best_metric == known["eval_far_map"]
    with pytest.raises(ValueError, match=r"'map'.*Give one of: near_i2t_map"):
        make_label_trainer(
            "ce", tmp_path, eval_dataset=parts, **options | {"metric_for_best_model": "map"}
        )


def test_what_a_trainer_has_no_answer_to_is_refused(tmp_path):
    trainer = make_label_trainer("ce", tmp_path, **BARE)
    with pytest.raises(ValueError, match="`ignore_keys`"):
        trainer.evaluate(ignore_keys=["loss"])


# Machines and packages


def test_several_gpus_without_a_launcher_are_refused(monkeypatch):
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda _: 4))
    with pytest.raises(ValueError, match=r"4 GPUs.*torchrun --nproc_per_node 4.*accelerate launch"):
        arguments()
