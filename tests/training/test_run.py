"""What a run records of itself."""

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from label_trainers import make_label_trainer
from noisy_xmodal.training import checkpoint, train_and_evaluate
from noisy_xmodal.training.integrity import checkpoint_folders, step_of
from noisy_xmodal.training.run import command_line, describe_sizes, evaluated_checkpoints


class StopAt(TrainerCallback):
    """Stops after a step, as early stopping does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = state.global_step >= self.step


def test_the_command_repeats_the_run():
    argv = ["--dataset_name", "my photos/captions.csv", "--similarity_options", '{"a": true}']
    written = command_line("examples/train_ncr.py", argv)
    assert shlex.split(written) == ["python", "examples/train_ncr.py", *argv]


@pytest.mark.parametrize(
    "argv",
    [
        ["--hub_token", "secret", "--seed", "1"],
        ["--hub_token=secret", "--seed", "1"],
        ["--hub_token", "two words secret", "--seed", "1"],
        ["--run_name", "hf_abcdefghijklmnopqrstuvsecret", "--seed", "1"],
    ],
)
def test_a_token_is_not_recorded(argv):
    written = command_line("train.py", argv)
    assert "secret" not in written
    assert written.endswith(" --seed 1")


@pytest.mark.parametrize(
    "words", [["--resume_from_checkpoint", "True"], ["--resume_from_checkpoint=x"]]
)
def test_the_command_of_a_resumed_run_begins_it_anew(words):
    written = command_line("train.py", ["--seed", "1", *words, "--output_dir", "runs/a"])
    assert written == "python train.py --seed 1 --output_dir runs/a"


def record(out: Path, resume: bool = False, callbacks: Sequence[Any] = (), **options: Any) -> Any:
    """What `train_and_evaluate` records of a tiny DMCM: 4 steps an epoch, divided from epoch 1."""
    asked = {"resume_from_checkpoint": "True"} if resume else {}
    trainer = make_label_trainer("dmcm", out, callbacks=callbacks, **options | asked)
    return train_and_evaluate(trainer, {"validation": trainer.eval_dataset}, "train.py")


@pytest.mark.parametrize(
    ("options", "epochs", "steps", "divisions"),
    [
        ({"num_train_epochs": 2}, 2, 8, 1),
        ({"num_train_epochs": 2.5}, 2.5, 10, 2),
        ({"num_train_epochs": 1.1}, 1.25, 5, 1),
        ({"max_steps": 6}, 1.5, 6, 1),
        ({"max_steps": 6, "num_train_epochs": 1}, 1.5, 6, 1),
        ({"num_train_epochs": 2, "gradient_accumulation_steps": 3}, 2, 4, 1),
        ({"robust": False, "max_steps": 2}, 0.5, 2, 0),
        ({"callbacks": [StopAt(5)]}, 1.25, 5, 1),
    ],
)
def test_a_run_records_what_it_trained(tmp_path, options, epochs, steps, divisions):
    found = record(tmp_path, **options)
    assert (found["epochs"], found["steps"], found["divisions"]) == (epochs, steps, divisions)
    assert found["warmup_epochs"] == min(1, epochs)
    assert found["asked"]["max_steps"] == options.get("max_steps", -1)
    assert found["asked"]["num_train_epochs"] == options.get("num_train_epochs", 2)
    assert found["resumed_at"] is None


def test_a_run_that_is_resumed_records_all_of_it(tmp_path, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(checkpoint.logger, "warning", lines.append)
    record(tmp_path, num_train_epochs=2)
    found = record(tmp_path, resume=True, num_train_epochs=4)
    assert (found["epochs"], found["steps"], found["divisions"]) == (4, 16, 3)
    assert found["resumed_at"] == 8
    assert found["sizes"] == {"validation": 40}
    assert "is of a schedule of 8 steps and goes on by one of 16: the learning rate" in lines[-1]
    (tmp_path / "results.json").write_text(json.dumps(found))
    lines.clear()
    again = record(tmp_path, resume=True, num_train_epochs=3)
    for name in ("epochs", "steps", "asked", "train_seconds", "resumed_at", "command"):
        assert again[name] == found[name], name
    assert "nothing is trained" in lines[-1]


def test_small_splits_are_named():
    assert describe_sizes({"validation": 5, "test": 1000}) == (
        "validation: 5, few: figures of fewer than 100 tell little; test: 1,000"
    )


@pytest.mark.parametrize(
    "options", [{"num_train_epochs": 3}, {"max_steps": 6, "save_strategy": "steps"}]
)
@pytest.mark.parametrize("fewer", [False, True])
def test_a_run_that_was_finished_trains_no_further_step(tmp_path, options, fewer, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(checkpoint.logger, "warning", lines.append)
    first = record(tmp_path, **options)
    asked = {name: 5 if name == "max_steps" else value for name, value in options.items()}
    asked |= {"num_train_epochs": 2} if "num_train_epochs" in options else {}
    again = record(tmp_path, resume=True, **asked if fewer else options)
    for name in ("epochs", "steps", "divisions", "last", "best"):
        assert again[name] == first[name], name
    assert "steps that are asked for: nothing is trained. For more, raise --num_train" in lines[-1]


def test_the_steps_between_checkpoints_are_those_of_the_resumed_run(tmp_path):
    every = {"save_strategy": "steps", "num_train_epochs": 2}
    record(tmp_path, save_steps=4, **every)
    record(tmp_path, resume=True, save_steps=2, **every | {"num_train_epochs": 3})
    found = [step_of(folder) for folder in checkpoint_folders(tmp_path)]
    assert found == [4, 8, 10, 12]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": 4}, "`warmup_epochs` is 1 and `max_steps` 4, which are 1 epochs: no epoch"),
        ({"max_steps": 3}, "`max_steps` 3, which are 0.75 epochs: no epoch is left for robust"),
        ({"max_steps": 0}, "`max_steps` is 0: give the number of steps, or -1"),
        ({"max_steps": -3}, "`max_steps` is -3: give the number of steps, or -1"),
        (
            {"num_train_epochs": 0, "robust": False},
            "`num_train_epochs` is 0: give a number above 0",
        ),
        ({"num_train_epochs": math.nan, "robust": False}, "`num_train_epochs` is nan: give a numb"),
        ({"num_train_epochs": math.inf}, "`num_train_epochs` is inf: give a number above 0"),
    ],
)
def test_a_training_of_no_length_is_refused_before_it_begins(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        record(tmp_path, **options)
    assert not checkpoint_folders(tmp_path)


def test_no_best_epoch_is_told_of_where_none_was_chosen(tmp_path):
    assert evaluated_checkpoints(record(tmp_path / "a")) == ("last",)
    chosen = {"load_best_model_at_end": True}
    assert evaluated_checkpoints(record(tmp_path / "b", **chosen)) == ("last", "best")
