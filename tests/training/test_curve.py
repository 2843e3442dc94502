"""The course of the metrics: one row an epoch, whether a run is cut off or not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers import TrainerCallback

from label_trainers import make_label_trainer
from noisy_xmodal import RobustTrainer
from noisy_xmodal.data import DatasetError
from noisy_xmodal.training import CurveCallback
from toy_labels import toy_labels

N_EPOCHS = 3


def watched_splits() -> dict[str, Any]:
    return {"test": toy_labels(24, seed=2), "other": toy_labels(16, seed=3)}


def make_trainer(out: Path) -> RobustTrainer:
    trainer = make_label_trainer("dmcm", out, num_train_epochs=N_EPOCHS)
    trainer.add_callback(CurveCallback(trainer, watched_splits()))
    return trainer


def rows_of(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "curve.json").read_text())


class StopAfter(TrainerCallback):
    """Cuts a run off at the end of an epoch, when its checkpoint is written."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if round(state.epoch) == self.epoch:
            control.should_training_stop = True


class Metrics(TrainerCallback):
    """What every split has at the end of each epoch, measured apart."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.trainer: Any = None

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        evaluator, model = self.trainer.evaluator, self.trainer.model
        splits = {"validation": toy_labels(40, seed=1), **watched_splits()}
        row = {split: evaluator(model, rows) for split, rows in splits.items()}
        self.rows.append({"epoch": state.epoch, **row})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RobustTrainer, Metrics]:
    """A run that nothing cut off, in a folder that another run has left rows in."""
    out, metrics = tmp_path_factory.mktemp("whole"), Metrics()
    old = [{"epoch": float(epoch), "validation": {"map": 9.0}} for epoch in range(1, 6)]
    (out / "curve.json").write_text(json.dumps(old))
    metrics.trainer = make_trainer(out)
    metrics.trainer.add_callback(metrics)
    metrics.trainer.train()
    return metrics.trainer, metrics


@pytest.fixture
def whole_folder(whole) -> Path:
    return Path(whole[0].args.output_dir)


def test_every_epoch_has_a_row_with_every_split(whole, whole_folder):
    found = rows_of(whole_folder)
    assert [row["epoch"] for row in found] == [1.0, 2.0, 3.0]
    assert [list(row) for row in found] == [["epoch", "validation", "test", "other"]] * N_EPOCHS
    assert found == whole[1].rows
    assert found[0]["validation"] != found[1]["validation"], "nothing was learnt"
    assert found[0]["test"] != found[0]["validation"]


def test_the_validation_rows_are_what_the_trainer_logs(whole, whole_folder):
    logged = [row for row in whole[0].state.log_history if "eval_map" in row]
    for row, log in zip(rows_of(whole_folder), logged, strict=True):
        assert row["validation"] == {
            name.removeprefix("eval_"): value
            for name, value in log.items()
            if name.startswith("eval_")
        }


def test_the_curves_are_drawn(whole_folder):
    with Image.open(whole_folder / "curve.png") as picture:
        picture.load()
        assert picture.width > 2 * picture.height, "three panels"
        assert picture.convert("L").getextrema() != (255, 255)


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same run, cut off after its second epoch."""
    out = tmp_path_factory.mktemp("cut")
    trainer = make_trainer(out)
    trainer.add_callback(StopAfter(2))
    trainer.train()
    assert [row["epoch"] for row in rows_of(out)] == [1.0, 2.0]
    return out


def test_a_resumed_run_keeps_the_file_of_a_whole_one(whole_folder, cut_off, tmp_path):
    out = shutil.copytree(cut_off, tmp_path / "run")
    make_trainer(out).train(resume_from_checkpoint=True)
    assert (out / "curve.json").read_bytes() == (whole_folder / "curve.json").read_bytes()


def test_rows_beyond_the_checkpoint_are_replaced(whole_folder, cut_off, tmp_path):
    """The run had gone on after the checkpoint that it is resumed from."""
    out = shutil.copytree(cut_off, tmp_path / "run")
    rows = rows_of(out)
    rows[1] = {"epoch": 2.0, "validation": {"i2t_map": 7.0, "t2i_map": 7.0}}
    (out / "curve.json").write_text(json.dumps(rows))
    first = min(out.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    make_trainer(out).train(resume_from_checkpoint=str(first))
    assert rows_of(out) == rows_of(whole_folder)


def test_watching_changes_nothing_that_is_learnt(whole_folder, tmp_path):
    bare = make_label_trainer("dmcm", tmp_path, num_train_epochs=N_EPOCHS)
    bare.train()
    logged = [row["eval_map"] for row in bare.state.log_history if "eval_map" in row]
    assert logged == [row["validation"]["map"] for row in rows_of(whole_folder)]
    assert not (tmp_path / "curve.json").exists()


def test_evaluation_on_another_split_adds_no_row(whole, whole_folder):
    before = (whole_folder / "curve.json").read_bytes()
    metrics = whole[0].evaluate(watched_splits()["test"], metric_key_prefix="test")
    assert metrics["test_map"] == rows_of(whole_folder)[-1]["test"]["map"]
    assert (whole_folder / "curve.json").read_bytes() == before


def test_without_watched_splits_there_is_validation_alone(tmp_path):
    trainer = make_label_trainer("mrl", tmp_path, num_train_epochs=1)
    trainer.add_callback(CurveCallback(trainer))
    trainer.train()
    assert [list(row) for row in rows_of(tmp_path)] == [["epoch", "validation"]]
    assert (tmp_path / "curve.png").is_file()


def test_a_watched_split_that_breaks_the_contract_is_refused_at_once(tmp_path):
    trainer = make_label_trainer("mrl", tmp_path)
    broken = toy_labels(24).remove_columns("text_label")
    with pytest.raises(DatasetError, match=r"'test'.*text_label"):
        CurveCallback(trainer, {"test": broken})


def test_evaluation_after_training_leaves_the_curve(tmp_path):
    """With the best checkpoint loaded, its metrics are not those of the last epoch."""
    trainer = make_label_trainer("mrl", tmp_path, num_train_epochs=2)
    trainer.add_callback(CurveCallback(trainer))
    trainer.train()
    before = json.loads((tmp_path / "curve.json").read_text())
    trainer.model.load_state_dict(make_label_trainer("mrl", tmp_path / "x").model.state_dict())
    trainer.evaluate()
    assert json.loads((tmp_path / "curve.json").read_text()) == before
    later = make_label_trainer("mrl", tmp_path, model=trainer.model)
    later.add_callback(CurveCallback(later))
    later.evaluate()
    assert json.loads((tmp_path / "curve.json").read_text()) == before
