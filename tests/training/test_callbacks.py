"""What happens as an epoch begins: the loss pass, the division, the targets, and what is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import TrainerControl, TrainerState

from caption_methods import make_caption_trainer
from label_trainers import make_label_trainer
from noisy_xmodal import RcarConfig, RobustTrainer
from noisy_xmodal.data import DatasetError
from noisy_xmodal.methods import CAPTION_METHODS
from noisy_xmodal.methods.building import network_config
from noisy_xmodal.noise import with_prior
from noisy_xmodal.training.callbacks import (
    DivisionCallback,
    EpochCallback,
    RefurbishmentCallback,
    ReportCallback,
)
from toy_pairs import audit_table_of


def make_trainer(out: Path, **options: Any) -> RobustTrainer:
    """DMCM, which divides from its second epoch on."""
    return make_label_trainer("dmcm", out, num_train_epochs=3, **options)


def begin_epoch(trainer: RobustTrainer, epoch: float, *kinds: type) -> None:
    """What the trainer's own callbacks of these kinds do as an epoch begins."""
    state = TrainerState(epoch=epoch)
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, kinds):
            callback.on_epoch_begin(trainer.args, state, TrainerControl())


def test_the_division_comes_before_the_targets(tmp_path):
    trainer = make_trainer(tmp_path)
    kinds = (EpochCallback, DivisionCallback, RefurbishmentCallback)
    found = [type(c) for c in trainer.callback_handler.callbacks if isinstance(c, kinds)]
    assert found == list(kinds)


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0.0, (0, False)), (2.0 - 1e-9, (2, False)), (1.5, (1, True))]
)
def test_sampler_and_method_are_told_which_epoch_begins(tmp_path, monkeypatch, epoch, expected):
    trainer, told = make_trainer(tmp_path), []
    monkeypatch.setattr(
        trainer.method, "begin_epoch", lambda epoch, resumed: told.append((epoch, resumed))
    )
    begin_epoch(trainer, epoch, EpochCallback)
    assert told == [expected]
    assert trainer.batch_sampler.epoch == expected[0]


@pytest.mark.parametrize(
    ("robust", "expected"), [(True, [False, True, True]), (False, [False] * 3)]
)
def test_the_pairs_are_passed_over_where_they_are_divided(tmp_path, robust, expected):
    trainer = make_trainer(tmp_path, robust=robust)
    assert [trainer.method.passes_at(epoch) for epoch in range(3)] == expected


def test_every_epoch_can_have_a_pass_in_plain_training(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, robust=False)
    monkeypatch.setattr(trainer.method, "passes_at", lambda epoch: True)
    before = trainer.loss_pass()["loss"]
    begin_epoch(trainer, 0.0, DivisionCallback)
    np.testing.assert_array_equal(trainer.pair_state["loss"], before)
    trainer.train()
    assert (trainer.pair_state["loss"] != before).any()
    assert "is_clean" not in trainer.pair_state
    assert not (tmp_path / "divisions").exists()


def test_a_pass_without_a_division_leaves_the_last_one(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    monkeypatch.setattr(trainer.method, "passes_at", lambda epoch: True)
    begin_epoch(trainer, 0.0, DivisionCallback)
    assert "loss" in trainer.pair_state
    assert "is_clean" not in trainer.pair_state


def test_the_division_is_of_the_losses_of_the_pass(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    losses = np.random.default_rng(0).beta(2, 5, trainer.pair_state.shape)
    monkeypatch.setattr(trainer, "loss_pass", lambda: {"loss": losses})
    begin_epoch(trainer, 1.0, DivisionCallback)
    expected = [division.clean_probability for division in trainer.method.divide(losses)]
    np.testing.assert_array_equal(trainer.pair_state["clean_probability"], expected)
    np.testing.assert_array_equal(trainer.pair_state["loss"], losses)


def test_a_resumed_half_epoch_keeps_what_is_known(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    known = np.random.default_rng(0).random(trainer.pair_state.shape)
    names = ("loss", "clean_probability", "is_clean", "target")
    for name in names:
        trainer.pair_state[name] = known
    monkeypatch.setattr(trainer.method, "targets", lambda: known * 0)
    kinds = (DivisionCallback, RefurbishmentCallback)
    begin_epoch(trainer, 1.5, *kinds)
    assert all((trainer.pair_state[name] == known).all() for name in names)
    assert not (tmp_path / "divisions").exists()
    begin_epoch(trainer, 1.0, *kinds)
    assert not any((trainer.pair_state[name] == known).all() for name in names)
    assert (tmp_path / "divisions/refurbishments.json").is_file()


def test_relabelled_pairs_are_logged_and_written_every_epoch(tmp_path, monkeypatch, capsys):
    trainer = make_trainer(tmp_path)
    wrong = trainer.oracle()
    targets = 1.0 - wrong
    targets[:, :12] = 1 - targets[:, :12]
    monkeypatch.setattr(trainer.method, "targets", lambda: targets)
    trainer.train()
    relabelled = targets == 0
    expected = {
        "target_mean": targets.mean(),
        "target_mean_clean": targets[~wrong].mean(),
        "target_mean_noisy": targets[wrong].mean(),
        "refurbished_share": relabelled.mean(),
        "refurbished_precision": wrong[relabelled].mean(),
        "refurbished_recall": relabelled[wrong].mean(),
    }
    rows = json.loads((tmp_path / "divisions/refurbishments.json").read_text())
    assert [row.pop("epoch") for row in rows] == [1, 2]
    logged = [row for row in trainer.state.log_history if "target_mean" in row]
    assert len(logged) == 2
    for row, log in zip(rows, logged, strict=True):
        assert row == pytest.approx(expected)
        assert log == row | {"epoch": log["epoch"], "step": log["step"]}
    line = (
        f"relabelled {expected['refurbished_share']:.1%}, really wrong "
        f"{expected['refurbished_precision']:.1%} of them, which are "
        f"{expected['refurbished_recall']:.1%} of the wrong ones"
    )
    assert capsys.readouterr().out.count(line) == 2


def test_another_process_keeps_its_targets_and_writes_nothing(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    targets = np.ones(trainer.pair_state.shape)
    monkeypatch.setattr(trainer.method, "targets", lambda: targets)
    monkeypatch.setattr(type(trainer.args), "should_save", False)
    begin_epoch(trainer, 1.0, DivisionCallback, RefurbishmentCallback)
    np.testing.assert_array_equal(trainer.pair_state["target"], targets)
    assert not (tmp_path / "divisions").exists()


def test_losses_of_words_are_printed_and_names_are_not(tmp_path, capsys):
    args, control = make_trainer(tmp_path).args, TrainerControl()
    logs = {"loss": 0.25, "word_loss": 1.5, "phase": "alignment"}
    ReportCallback().on_log(args, TrainerState(epoch=2.0), control, logs)
    assert capsys.readouterr().out == "epoch  2.0  loss 0.250, word loss 1.500\n"


# The division of an audit

DIVIDING = [
    name
    for name, kind in CAPTION_METHODS.items()
    if kind.is_dividing and network_config(kind) is not RcarConfig
]


@pytest.fixture
def audit(tmp_path) -> tuple[str, np.ndarray]:
    """A table that calls the wrong pairs wrong, and its clean probabilities."""
    pairs = make_caption_trainer("ncr", tmp_path / "pairs").train_dataset
    probability = np.where(pairs.is_noisy, 0.25, 0.75)
    return str(audit_table_of(tmp_path / "audit.parquet", pairs, probability)), probability


@pytest.mark.parametrize("name", DIVIDING)
def test_an_audit_divides_with_the_method_in_every_epoch(tmp_path, name, audit, monkeypatch):
    table, probability = audit
    trainer = make_caption_trainer(name, tmp_path / "run", audit_table=table)
    divide, own = trainer.method.divide, []

    def keep(losses: np.ndarray) -> list:
        own.append(divide(losses))
        return own[-1]

    monkeypatch.setattr(trainer.method, "divide", keep)
    trainer.train()
    assert len(own) == 3
    for row in range(trainer.method.n_networks):
        expected = with_prior(own[-1][row], probability)
        for key in ("clean_probability", "is_clean"):
            found = trainer.pair_state[key][row]
            np.testing.assert_array_equal(found, getattr(expected, key))
    rows = json.loads((tmp_path / "run/divisions/divisions.json").read_text())
    assert [row["epoch"] for row in rows] == sorted([1, 2, 3] * trainer.method.n_networks)


@pytest.mark.parametrize("name", ["plain", "clip", "rcl", "gsc", *DIVIDING])
def test_without_a_division_a_pair_counts_as_much_as_it_is_clean(tmp_path, name, audit):
    table, probability = audit
    trainer = make_caption_trainer(name, tmp_path / "run", audit_table=table)
    method = trainer.method
    batch = next(iter(trainer.get_train_dataloader()))
    asked = []

    def count_up(output, own):
        """A loss for each pair that tells the pairs apart."""
        asked.append(own.pair_id.numpy())
        return 1.0 + own.pair_id.double()

    method.loss = method.warm_up_loss = count_up
    for epoch in (0, trainer.args.warmup_epochs):
        asked.clear()
        trainer.state.epoch = float(epoch)
        found = trainer.compute_loss(trainer.model, batch)
        weights = np.ones_like(probability) if method.divides_at(epoch) else probability
        assert len(asked) == method.n_networks
        expected = sum(np.mean((1.0 + ids) * weights[ids]) for ids in asked)
        assert float(found) == pytest.approx(expected)


def test_an_audit_weights_plain_training_of_a_method_that_divides(tmp_path, audit):
    trainer = make_caption_trainer("ncr", tmp_path / "run", audit_table=audit[0], robust=False)
    assert not trainer.method.divides_at(trainer.args.warmup_epochs)
    trainer.train()


def test_an_audit_is_refused_of_pairs_with_classes_and_of_other_pairs(tmp_path, audit):
    with pytest.raises(ValueError, match=r"`audit_table` is .*these pairs have classes"):
        make_trainer(tmp_path, audit_table=audit[0])
    with pytest.raises(DatasetError, match=r"--audit_table .*missing\.parquet does not exist"):
        make_caption_trainer("ncr", tmp_path, audit_table=str(tmp_path / "missing.parquet"))
