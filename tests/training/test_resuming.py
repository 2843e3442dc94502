"""Training goes on from the newest good checkpoint, and says what it passed over."""

import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file
from torch import nn
from transformers import Trainer, TrainerCallback

from label_trainers import make_label_trainer
from noisy_xmodal.training import checkpoint
from noisy_xmodal.training.checkpoint import CheckpointTrainer
from noisy_xmodal.training.identity import RunIdentity
from noisy_xmodal.training.integrity import (
    CheckpointError,
    checkpoint_folders,
    write_manifest,
)
from noisy_xmodal.training.pair_state import PAIR_STATE_NAME
from toy_labels import toy_labels


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The output folder of a run with checkpoints of steps 4, 8 and 12; 12 is the best."""
    out = tmp_path_factory.mktemp("run")
    trainer = resumable(out)
    trainer.train()
    best = Path(trainer.state.best_model_checkpoint).name
    assert best == "checkpoint-12", "or else what is damaged below is the best one too"
    return out


def resumable(out: Path, **options: Any) -> Any:
    kept = {"num_train_epochs": 3, "load_best_model_at_end": True, "learning_rate": 1e-3}
    trainer = make_label_trainer("dmcm", out, **kept | options)
    scores = itertools.count()
    trainer.evaluator = lambda *_: {"map": float(next(scores))}
    return trainer


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


def chosen(trainer: Any, resume: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """What training would go on from."""
    monkeypatch.setattr(Trainer, "train", lambda self, folder, **_: folder)
    return Path(trainer.train(resume)).name


@pytest.fixture
def warned(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(checkpoint.logger, "warning", lines.append)
    return lines


def test_the_newest_checkpoint_is_resumed_from_without_a_warning(run, warned, monkeypatch):
    assert chosen(resumable(run), True, monkeypatch) == "checkpoint-12"
    assert warned == []


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "optimizer.safetensors", PAIR_STATE_NAME]
)
def test_a_torn_checkpoint_is_skipped_with_its_reason(run, warned, monkeypatch, name):
    (run / "checkpoint-12" / name).unlink()
    assert chosen(resumable(run), True, monkeypatch) == "checkpoint-8"
    (line,) = warned
    assert "Skipped checkpoint-12" in line
    assert f"{name} is missing" in line
    assert "resuming from checkpoint-8" in line


def test_several_damaged_ones_are_all_named(run, warned, monkeypatch):
    (run / "checkpoint-12/scheduler.json").write_text("{")
    shutil.rmtree(run / "checkpoint-8")
    (run / "checkpoint-8").mkdir()
    assert chosen(resumable(run), True, monkeypatch) == "checkpoint-4"
    assert ["checkpoint-12" in line for line in warned] == [True, False]
    assert "the folder is empty" in warned[1]


def test_an_explicit_damaged_checkpoint_is_an_error_that_names_the_file(run):
    flipped = bytearray((run / "checkpoint-8/optimizer.safetensors").read_bytes())
    flipped[-1] ^= 1
    (run / "checkpoint-8/optimizer.safetensors").write_bytes(flipped)
    message = r"checkpoint-8 cannot be resumed from: optimizer\.safetensors has changed"
    with pytest.raises(CheckpointError, match=message):
        resumable(run).train(str(run / "checkpoint-8"))
    with pytest.raises(CheckpointError, match=r"checkpoint-7 cannot be .* no such folder"):
        resumable(run).train(str(run / "checkpoint-7"))


def test_no_good_checkpoint_at_all_is_an_error_that_says_what_to_do(run, tmp_path):
    for step, name in ((4, "model.safetensors"), (8, "config.json"), (12, "trainer_state.json")):
        (run / f"checkpoint-{step}" / name).write_bytes(b"")
    with pytest.raises(CheckpointError) as error:
        resumable(run).train(True)
    for part in ("checkpoint-4: model", "checkpoint-8: config", "checkpoint-12: trainer_state"):
        assert part in str(error.value)
    assert "leave out --resume_from_checkpoint" in str(error.value)
    with pytest.raises(CheckpointError, match=r"empty has no checkpoint .* to begin anew"):
        resumable(tmp_path / "empty").train(True)


def test_a_best_checkpoint_that_is_lost_is_not_passed_over(run, warned, monkeypatch):
    state = run / "checkpoint-12/trainer_state.json"
    facts = json.loads(state.read_text()) | {"best_model_checkpoint": "elsewhere/checkpoint-8"}
    state.write_text(json.dumps(facts))
    write_manifest(run / "checkpoint-12")
    assert chosen(resumable(run), True, monkeypatch) == "checkpoint-12"
    (run / "checkpoint-8/model.safetensors").write_bytes(b"")
    assert chosen(resumable(run), True, monkeypatch) == "checkpoint-4"
    assert "the best checkpoint until then, checkpoint-8, is not whole: model" in warned[0]
    alone = resumable(run, load_best_model_at_end=False)
    assert chosen(alone, True, monkeypatch) == "checkpoint-12"


def test_another_number_of_processes_is_named(run):
    trainer = resumable(run)
    facts = trainer.identity.facts | {"number of processes": "2"}
    RunIdentity(trainer.identity.items, facts).save(run / "checkpoint-12")
    write_manifest(run / "checkpoint-12")
    with pytest.raises(CheckpointError, match="number of processes is 1 and was 2"):
        trainer.train(True)


def test_checkpoints_of_another_run_are_no_damaged_ones_to_be_passed_over(run):
    assert not load_file(run / "checkpoint-4" / PAIR_STATE_NAME), "or else this shows nothing"
    message = r"there are 90 training pairs, but the checkpoint has 120\..* Give back the data"
    for step in (4, 12):
        with pytest.raises(CheckpointError, match=rf"checkpoint-{step}.*{message}"):
            resumable(run, train=toy_labels(90, "sym_40")).train(str(run / f"checkpoint-{step}"))
    with pytest.raises(CheckpointError, match=rf"checkpoint-12.*{message}"):
        resumable(run, train=toy_labels(90, "sym_40")).train(True)
    with pytest.raises(
        CheckpointError, match=r"`hidden_sizes` of the model is \[13\] and was \[12\]"
    ):
        resumable(run, fields={"hidden_sizes": [13]}).train(True)


def test_a_moved_run_still_finds_its_best_checkpoint_and_loses_its_leftovers(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "first")
    out = (tmp_path / "first").rename(tmp_path / "moved")
    (out / ".checkpoint-99.partial").mkdir()
    trainer = resumable(out, save_total_limit=2)
    trainer.train(True)
    assert trainer.state.best_model_checkpoint == str(out / "checkpoint-12")
    found = sorted(path.name for path in out.glob("*checkpoint*"))
    assert found == ["checkpoint-12", "checkpoint-8"], "what a killed run did not come to remove"


def test_a_checkpoint_at_the_end_of_an_epoch_is_behind_what_happens_there(tmp_path):
    seen = []

    class Order(TrainerCallback):
        def on_epoch_end(self, args, state, control, **_):
            seen.append(("end", state.global_step))

        def on_save(self, args, state, control, **_):
            seen.append(("save", state.global_step))

    steps = {"save_strategy": "steps", "save_steps": 2, "num_train_epochs": 2}
    make_label_trainer("dmcm", tmp_path, callbacks=[Order()], **steps).train()
    expected = [("save", 2), ("end", 4), ("save", 4), ("save", 6), ("end", 8), ("save", 8)]
    assert seen == expected


def test_everything_is_on_the_disk_before_a_checkpoint_gets_its_name(tmp_path, monkeypatch):
    done: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda n: (done.append(("sync", os.readlink(f"/proc/self/fd/{n}"))), fsync(n))
    )
    monkeypatch.setattr(
        os, "replace", lambda a, b: (done.append(("rename", str(b))), replace(a, b))[1]
    )
    options = {"save_strategy": "steps", "save_steps": 4, "num_train_epochs": 2}
    make_label_trainer("dmcm", tmp_path, **options).train()
    for folder in checkpoint_folders(tmp_path):
        place = done.index(("rename", str(folder)))
        aside = folder.with_name(f".{folder.name}.partial")
        before, after = done[:place], done[place + 1 :]
        for path in folder.iterdir():
            assert ("sync", str(aside / path.name)) in before, path.name
        assert ("sync", str(aside)) in before
        assert after[0] == ("sync", str(tmp_path))
        assert before[-1][0] == "sync"


def test_shared_weights_that_a_checkpoint_never_contains_are_not_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("transformers.trainer.logger.warning", warnings.append)
    trainer = CheckpointTrainer.__new__(CheckpointTrainer)
    trainer.model = nn.Module()
    trainer.model._keys_to_ignore_on_save = {"b.weight", "b.num_batches_tracked"}
    keys = type(trainer.model.load_state_dict({}))
    trainer._issue_warnings_after_load(keys(["b.weight"], []))  # not the statistics: as in torch
    assert not warnings
    trainer._issue_warnings_after_load(keys(["b.weight", "a.weight"], []))
    assert "['a.weight']" in warnings[0]
