"""A run goes on with the pairs, words and options that it began with, or says what differs."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from transformers import Trainer

from label_trainers import make_label_trainer
from ncr_trainers import make_ncr
from noisy_xmodal import (
    LabelTrainingArguments,
    NcrConfig,
    PairDataset,
    RcarTrainingArguments,
    RobustTrainer,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.training.identity import (
    RunIdentity,
    config_differences,
    listed,
)
from noisy_xmodal.training.integrity import CheckpointError
from toy_labels import toy_labels
from toy_pairs import REGION_SIZE, audit_table_of, toy_pairs

WAY_ON = r"Give back the data and the options .* begin anew with another --output_dir"


def make_short(
    out: Path, train: Any = None, validation: Any = None, vocab_size: Any = None, **options: Any
) -> RobustTrainer:
    """A tiny NCR of one epoch, whose words are those of its captions, as in the scripts."""
    train = toy_pairs(20) if train is None else train
    sizes = {"word_size": 4, "hidden_size": 4}
    sizes |= {} if vocab_size is None else {"vocab_size": vocab_size}
    return make_ncr(
        out,
        train,
        toy_pairs(8, seed=1) if validation is None else validation,
        words=[text for row in train["captions"] for text in row],
        fields=sizes | {"objective": options.pop("objective", "infonce")},
        **{"num_train_epochs": 1, "warmup_epochs": 0, "per_device_train_batch_size": 20} | options,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of an epoch, two steps."""
    out = tmp_path_factory.mktemp("run")
    make_short(out).train()
    return out


def chosen(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The checkpoint that training would go on from."""
    monkeypatch.setattr(Trainer, "train", lambda self, folder, **_: folder)
    return Path(trainer.train(True)).name


def with_captions(dataset: datasets.Dataset, change: Callable[[str], str]) -> datasets.Dataset:
    return dataset.map(lambda row: {"captions": [change(text) for text in row["captions"]]})


def renamed(dataset: datasets.Dataset, of_row: int) -> datasets.Dataset:
    return dataset.map(
        lambda row, number: {"image_id": "other"} if number == of_row else {}, with_indices=True
    )


#: What another run has, and what is told of it.
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "other captions": (
        {"train": with_captions(toy_pairs(20), lambda text: text.replace("concept3", "x"))},
        r"training pair \d+ has another caption \(also \d+ more of 40\); word id \d+ has another w",
    ),
    "one caption": (
        {
            "train": with_captions(
                toy_pairs(20),
                lambda text: text + " " if text == toy_pairs(20)[4]["captions"][1] else text,
            )
        },
        r"training pair 9 has another caption\. Give",
    ),
    "another order": (
        {"train": toy_pairs(20).select(range(20)[::-1])},
        r"training image 0 has another picture \(also 19 more of 20; the same items in",
    ),
    "other features": (
        {
            "train": toy_pairs(20, n_concepts=20, seed=0)
            .with_format(None)
            .map(
                lambda row, number: {"regions": [[0.0] * REGION_SIZE] * 3} if number == 7 else {},
                with_indices=True,
            )
        },
        r"training image 7 has another picture\. Give",
    ),
    "other names": ({"train": renamed(toy_pairs(20), 2)}, "training image 2 has another nam"),
    "fewer pairs": (
        {"train": toy_pairs(19)},
        "there are 19 training images, but the checkpoint has 20; there are 38 training pairs, ",
    ),
    "another validation": (
        {"validation": toy_pairs(8, seed=2)},
        r"validation image 0 has another picture \(also 7 more of 8\)",
    ),
    "another objective": ({"objective": "triplet"}, '`objective` of the model is "triplet" and wa'),
    "another batch": (
        {"per_device_train_batch_size": 10},
        "`per_device_train_batch_size` is 10 and was 20",
    ),
    "accumulation": ({"gradient_accumulation_steps": 2}, "`gradient_accumulation_steps` is 2 and "),
    "another seed": ({"seed": 7}, "`seed` is 7 and was 42"),
    "another rate": ({"learning_rate": 0.5}, "`learning_rate` is 0.5 and was 0.01"),
    "plain": ({"robust": False}, "`robust` is False and was True"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_run_is_refused_by_what_differs(finished, name, monkeypatch):
    options, message = OTHERS[name]
    trainer = make_short(finished, **options)
    monkeypatch.setattr(Trainer, "train", lambda *_, **__: pytest.fail("it has begun"))
    with pytest.raises(CheckpointError, match=rf"checkpoint-2 is of another run: .*{message}"):
        trainer.train(True)
    with pytest.raises(CheckpointError, match=WAY_ON):
        trainer.train(str(finished / "checkpoint-2"))


@pytest.mark.parametrize(
    "options",
    [
        {"num_train_epochs": 5},
        {"max_steps": 9},
        {"save_total_limit": 5},
        {"dataloader_num_workers": 1},
        {"train": toy_pairs(20).remove_columns("is_noisy")},
        {"validation": toy_pairs(8, seed=2), "load_best_model_at_end": False},
    ],
)
def test_what_decides_no_step_may_change(finished, options, monkeypatch):
    assert chosen(make_short(finished, **options), monkeypatch) == "checkpoint-2"


def test_another_audit_is_refused(tmp_path):
    pairs = PairDataset(toy_pairs(20))
    tables = [
        str(audit_table_of(tmp_path / f"{share}.parquet", pairs, np.full(len(pairs), share)))
        for share in (0.9, 0.8)
    ]
    make_short(tmp_path / "run", audit_table=tables[0], save_strategy="epoch").train()
    for other in (tables[1], None):
        trainer = make_short(tmp_path / "run", audit_table=other)
        with pytest.raises(CheckpointError, match="clean probabilities of an audit is "):
            trainer.train(True)
    (tmp_path / "moved.parquet").write_bytes(Path(tables[0]).read_bytes())
    trainer = make_short(
        tmp_path / "run", audit_table=str(tmp_path / "moved.parquet"), num_train_epochs=2
    )
    trainer.train(True)
    assert trainer.epoch == 2


def test_numbers_of_a_config_are_compared_by_value(tmp_path):
    config = {"region_size": 4, "vocab_size": 9}
    NcrConfig(**config, curve=10.0).save_pretrained(tmp_path)
    assert config_differences(tmp_path, NcrConfig(**config, curve=10)) == []
    assert config_differences(tmp_path, NcrConfig(**config, curve=5)) == [
        "`curve` of the model is 5 and was 10.0"
    ]


def test_another_tokenizer_is_refused(finished):
    trainer = make_short(finished)
    trainer.processing_class.tokenizer.model_max_length = 5
    with pytest.raises(CheckpointError, match=r"tokenizer\.model_max_length is 5 and was 64"):
        trainer.train(True)
    trainer = make_short(finished)
    words = train_word_tokenizer(["concept1 and concept2"] * 2 + toy_pairs(20)["captions"][0])
    trainer.processing_class.tokenizer = words
    with pytest.raises(CheckpointError, match="word id"):
        trainer.train(True)


def test_the_classes_of_pairs_are_theirs_too(tmp_path):
    make_label_trainer("dmcm", tmp_path, num_train_epochs=1, warmup_epochs=0).train()
    for train, message in (
        (toy_labels(noise="sym_20"), "training pair [0-9]+ has another class of its image"),
        (toy_labels(seed=3, noise="sym_40"), "has another vector in 'image_features'"),
    ):
        with pytest.raises(CheckpointError, match=message):
            make_label_trainer("dmcm", tmp_path, train=train, warmup_epochs=0).train(True)
    with pytest.raises(CheckpointError, match="`feature_scaling` is none and was standard"):
        make_label_trainer("dmcm", tmp_path, feature_scaling="none", warmup_epochs=0).train(True)


def test_an_identity_is_written_and_compared(tmp_path):
    items = {"training pair: caption": np.arange(5, dtype=np.uint64)}
    own = RunIdentity(items, {"rules": "x" * 200, "limit": "64"})
    own.save(tmp_path)
    assert own.differences(tmp_path) == []
    more = RunIdentity(items | {"new: part": np.zeros(1, np.uint64)}, {**own.facts, "new": "1"})
    assert more.differences(tmp_path) == [], "what an older version did not write says nothing"
    other = RunIdentity({name: part + (part > 2) for name, part in items.items()}, {"limit": "9"})
    assert other.differences(tmp_path) == [
        "training pair 3 has another caption (also 1 more of 5)",
        "limit is 9 and was 64",
    ]


def test_a_long_list_is_cut():
    assert listed(["a", "b"]) == "a; b"
    assert listed(list("abcde")) == "a; b; c, and 2 more"


#: Arguments that may be others when a run is resumed, as they decide none of its steps so far.
FREE = """
audit_table
accelerator_config activation_checkpointing activation_checkpointing_kwargs auto_find_batch_size
average_tokens_across_devices batch_eval_metrics bf16_full_eval dataloader_in_order
dataloader_multiprocessing_context dataloader_num_workers dataloader_persistent_workers
dataloader_pin_memory dataloader_prefetch_factor ddp_backend ddp_broadcast_buffers
ddp_bucket_cap_mb ddp_find_unused_parameters ddp_static_graph ddp_timeout debug deepspeed
disable_tqdm do_eval do_predict do_train enable_jit_checkpoint eval_accumulation_steps eval_delay
eval_do_concat_batches eval_on_start eval_steps eval_strategy eval_use_gather_object fp16_full_eval
fsdp fsdp_config full_determinism gradient_checkpointing gradient_checkpointing_kwargs
greater_is_better hub_always_push hub_model_id hub_private_repo hub_revision hub_strategy hub_token
ignore_data_skip image_cache_mb include_for_metrics include_num_input_tokens_seen keep_freed_memory
label_names length_column_name liger_kernel_config load_best_model_at_end local_rank log_level
log_level_replica log_on_each_node logging_first_step logging_nan_inf_filter logging_steps
logging_strategy max_steps num_train_epochs optim_target_modules output_dir parallelism_config
per_device_eval_batch_size plot_divisions prediction_loss_only project push_to_hub
remove_unused_columns report_to restore_callback_states_from_checkpoint resume_from_checkpoint
run_name save_on_each_node save_only_model save_steps save_strategy save_total_limit
score_block_size skip_memory_metrics tf32 torch_compile torch_compile_backend torch_compile_mode
torch_empty_cache_steps track_losses trackio_bucket_id trackio_space_id trackio_static_space_id
use_cache use_cpu use_liger_kernel
label_smoothing_factor neftune_noise_alpha train_sampling_strategy
"""


@pytest.mark.parametrize(
    "kind", [RobustTrainingArguments, LabelTrainingArguments, RcarTrainingArguments]
)
def test_every_argument_is_known_to_decide_the_steps_or_not(kind, tmp_path):
    """A new version of transformers must not bring one that is changed without a word."""
    args = kind(str(tmp_path))
    names = {field.name for field in fields(kind) if field.init}
    assert set(args.course_options) <= names
    assert names - set(args.course_options) - set(FREE.split()) == set()
