"""The course of the losses: how right and wrong pairs are spread, a row an epoch."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import TrainerCallback, TrainerState

from label_trainers import make_label_trainer
from noisy_xmodal import RobustTrainer
from noisy_xmodal.training.loss_course import LossCourseCallback, summarize_losses
from noisy_xmodal.training.plots import plot_loss_course
from toy_labels import toy_labels

N_EPOCHS = 4


def make_trainer(out: Path, **options: Any) -> RobustTrainer:
    """DMCM with one epoch of warm-up, which keeps the course of its losses."""
    trainer = make_label_trainer("dmcm", out, num_train_epochs=N_EPOCHS, **options)
    trainer.add_callback(LossCourseCallback(trainer))
    return trainer


def rows_of(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "losses.json").read_text())


def slow_percentile(values: np.ndarray, percent: float) -> float:
    """By linear interpolation between the two nearest of the sorted values."""
    ordered = sorted(values.tolist())
    place = percent / 100 * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def slow_spread(values: np.ndarray) -> dict[str, Any]:
    percentiles = {f"p{q}": slow_percentile(values, q) for q in (5, 25, 50, 75, 95)}
    return {"count": len(values), "mean": sum(values.tolist()) / len(values), **percentiles}


def slow_auroc(losses: np.ndarray, wrong: np.ndarray) -> float:
    """How often a wrong pair has the higher loss, ties counting half."""
    wins = [(a > b) + (a == b) / 2 for a in losses[wrong] for b in losses[~wrong]]
    return float(np.mean(wins))


# A row


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_right_and_wrong_pairs_are_told_apart(share):
    rng = np.random.default_rng(0)
    wrong = rng.random(120) < share
    losses = np.round(rng.gamma(2.0, 0.5, 120) + 0.5 * wrong, 1)  # with ties
    found = summarize_losses(losses, wrong)
    assert list(found) == ["right", "wrong", "auroc"]
    assert found["right"] == pytest.approx(slow_spread(losses[~wrong]))
    assert found["wrong"] == pytest.approx(slow_spread(losses[wrong]))
    assert found["auroc"] == pytest.approx(slow_auroc(losses, wrong))


def test_without_the_oracle_all_pairs_are_one_group():
    losses = np.random.default_rng(0).random(20)
    found = summarize_losses(losses)
    assert found == {"all": pytest.approx(slow_spread(losses)), "auroc": None}


@pytest.mark.parametrize(("wrong", "group"), [(True, "wrong"), (False, "right")])
def test_a_group_without_pairs_is_left_out(wrong, group):
    losses = np.random.default_rng(0).random(20)
    found = summarize_losses(losses, np.full(20, wrong))
    assert found == {group: pytest.approx(slow_spread(losses)), "auroc": None}


# A run


class Losses(TrainerCallback):
    """What the pair state holds as each epoch begins."""

    def __init__(self) -> None:
        self.by_epoch: dict[int, np.ndarray] = {}
        self.trainer: Any = None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if "loss" in self.trainer.pair_state:
            self.by_epoch[round(state.epoch)] = self.trainer.pair_state["loss"].copy()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RobustTrainer, Losses]:
    """A run that nothing cut off, in a folder that another run has left rows in."""
    out, losses = tmp_path_factory.mktemp("whole"), Losses()
    (out / "losses.json").write_text(json.dumps([{"epoch": epoch} for epoch in range(9)]))
    losses.trainer = make_trainer(out)
    losses.trainer.add_callback(losses)
    losses.trainer.train()
    return losses.trainer, losses


@pytest.fixture
def whole_folder(whole) -> Path:
    return Path(whole[0].args.output_dir)


def test_every_epoch_with_a_loss_pass_has_a_row(whole, whole_folder):
    trainer, losses = whole
    found = rows_of(whole_folder)
    assert [row["epoch"] for row in found] == list(losses.by_epoch) == [1, 2, 3]
    for row in found:
        assert list(row) == ["epoch", "image", "text"]
        of_epoch = zip(losses.by_epoch[row["epoch"]], trainer.oracle(), strict=True)
        for name, (values, wrong) in zip(("image", "text"), of_epoch, strict=True):
            assert row[name] == summarize_losses(values, wrong)
    assert found[0]["image"] != found[0]["text"]
    assert found[0]["image"] != found[1]["image"], "nothing was learnt"


def test_rows_beyond_the_checkpoint_are_replaced(whole_folder, tmp_path):
    out = shutil.copytree(whole_folder, tmp_path / "run")
    rows = rows_of(out)
    (out / "losses.json").write_text(json.dumps([*rows[:1], *({"epoch": e} for e in (2, 3, 9))]))
    steps = sorted(int(path.name.split("-")[1]) for path in out.glob("checkpoint-*"))
    make_trainer(out).train(resume_from_checkpoint=str(out / f"checkpoint-{steps[1]}"))
    assert rows_of(out) == rows


@pytest.mark.parametrize("epoch", [0.0, 1.5])
def test_neither_the_warm_up_nor_a_resumed_half_epoch_has_a_row(tmp_path, epoch):
    trainer = make_trainer(tmp_path)
    trainer.pair_state["loss"] = np.ones(trainer.pair_state.shape)
    callback = LossCourseCallback(trainer)
    callback.on_epoch_begin(trainer.args, TrainerState(epoch=epoch), trainer.control)
    assert not (tmp_path / "losses.json").exists()
    callback.on_epoch_begin(trainer.args, TrainerState(epoch=1.0), trainer.control)
    assert [row["epoch"] for row in rows_of(tmp_path)] == [1]


def test_a_run_without_the_oracle_has_the_losses_of_all(tmp_path):
    train = toy_labels().remove_columns("true_label")
    make_trainer(tmp_path, train=train).train()
    for row in rows_of(tmp_path):
        assert {name: list(row[name]) for name in ("image", "text")} == {
            "image": ["all", "auroc"],
            "text": ["all", "auroc"],
        }
    assert (tmp_path / "losses.png").is_file()


def test_plain_training_without_a_loss_pass_writes_nothing(tmp_path):
    make_trainer(tmp_path, robust=False).train()
    assert not list(tmp_path.glob("losses.*"))


def test_another_process_writes_nothing(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    trainer.pair_state["loss"] = np.ones(trainer.pair_state.shape)
    monkeypatch.setattr(type(trainer.args), "should_save", False)
    callback = LossCourseCallback(trainer)
    callback.on_epoch_begin(trainer.args, TrainerState(epoch=1.0), trainer.control)
    assert not list(tmp_path.iterdir())
    (tmp_path / "losses.json").write_text("[]")
    callback.on_train_end(trainer.args, TrainerState(epoch=4.0), trainer.control)
    assert not (tmp_path / "losses.png").exists()


# The picture


def drawn_colors(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(color) for color in found[counts > 100].tolist()}


GREEN, RED, GREY = (0x4C, 0x9F, 0x70), (0xD1, 0x49, 0x5B), (0xB3, 0xB3, 0xB3)


def test_the_boxes_of_a_run_are_drawn(whole_folder):
    assert {GREEN, RED} <= drawn_colors(whole_folder / "losses.png")
    with Image.open(whole_folder / "losses.png") as picture:
        assert picture.width > 2 * picture.height, "two panels"


@pytest.mark.parametrize(
    ("wrong", "expected"), [(None, {GREY}), (False, {GREEN}), (True, {RED}), (0.3, {GREEN, RED})]
)
@pytest.mark.parametrize("epochs", [[0], [0, 5, 10]])
def test_each_group_has_its_colour(tmp_path, wrong, expected, epochs):
    rng = np.random.default_rng(0)
    is_noisy = None if wrong is None else rng.random(50) < wrong
    rows = [{"epoch": e, "a": summarize_losses(rng.random(50), is_noisy)} for e in epochs]
    path = tmp_path / "new" / "losses.png"
    plot_loss_course(path, rows)
    assert drawn_colors(path) & {GREEN, RED, GREY} == expected
    assert [found.name for found in path.parent.iterdir()] == ["losses.png"]
