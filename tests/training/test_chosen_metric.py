"""The metric that chooses the best checkpoint: checked before training, better in its own way."""

import json
from typing import Any

import numpy as np
import pytest
from transformers import EarlyStoppingCallback

from label_trainers import make_label_trainer, tiny_label_model
from noisy_xmodal import CommonSpaceProcessor, RobustTrainer
from noisy_xmodal.evaluation import (
    LabelRetrievalEvaluator,
    RerankEvaluator,
    RetrievalEvaluator,
)
from noisy_xmodal.methods import LABEL_METHODS
from noisy_xmodal.metrics import class_retrieval_metrics, retrieval_metrics
from noisy_xmodal.training import LabelTrainingArguments
from toy_labels import toy_labels

CHOOSING = {"load_best_model_at_end": True, "num_train_epochs": 4, "save_total_limit": 9}


class ByTable:
    """An evaluator that gives the rows of a table, one a call."""

    def __init__(self, rows: list[dict[str, float]], ways: dict[str, bool] | None = None) -> None:
        self.rows = iter(rows)
        if ways is not None:
            self.greater_is_better = ways

    def __call__(self, model: Any, dataset: Any) -> dict[str, float]:
        return next(self.rows)


ROWS = [{"hits": hits, "rank": rank} for hits, rank in ((1, 9), (3, 4), (2, 5), (2, 6))]
WAYS = {"hits": True, "rank": False}


def make_trainer(out, evaluator, callbacks=(), **options):
    """A tiny trainer with an evaluator of its own."""
    arguments = CHOOSING | {"per_device_train_batch_size": 60, "use_cpu": True} | options
    return RobustTrainer(
        tiny_label_model("ce"),
        LabelTrainingArguments(str(out), disable_tqdm=True, warmup_epochs=0, **arguments),
        LABEL_METHODS["ce"](),
        toy_labels(),
        eval_dataset=toy_labels(40, seed=1),
        processing_class=CommonSpaceProcessor(),
        evaluator=evaluator,
        callbacks=callbacks,
    )


@pytest.mark.parametrize(("metric", "best"), [("hits", 3), ("rank", 4), ("eval_rank", 4)])
def test_the_best_checkpoint_is_the_best_by_its_own_metric(tmp_path, metric, best):
    trainer = make_trainer(tmp_path, ByTable(ROWS, WAYS), metric_for_best_model=metric)
    trainer.train()
    assert (trainer.state.best_metric, trainer.best_epoch()) == (best, 2.0)


def test_early_stopping_knows_the_way(tmp_path):
    trainer = make_trainer(
        tmp_path,
        ByTable([{"rank": rank} for rank in (9, 5, 6, 4)], WAYS),
        callbacks=[EarlyStoppingCallback(1)],
        metric_for_best_model="rank",
    )
    trainer.train()
    assert trainer.state.epoch == 3.0


@pytest.mark.parametrize("kind", ["reduce_lr_on_plateau", "greedy"])
@pytest.mark.parametrize(("metric", "mode"), [("hits", "max"), ("rank", "min")])
def test_a_schedule_that_follows_the_metric_knows_the_way(tmp_path, kind, metric, mode):
    trainer = make_trainer(
        tmp_path, ByTable(ROWS, WAYS), metric_for_best_model=metric, lr_scheduler_type=kind
    )
    trainer.create_optimizer_and_scheduler(8)
    assert trainer.lr_scheduler.mode == mode


@pytest.mark.parametrize("metric", ["hit", "eval_hit", "loss", "map"])
def test_a_metric_that_the_evaluator_has_not_is_refused_before_training(tmp_path, metric):
    with pytest.raises(ValueError, match=rf"is '{metric}', which .* one of: hits, rank\."):
        make_trainer(tmp_path, ByTable(ROWS, WAYS), metric_for_best_model=metric)
    make_trainer(
        tmp_path,
        ByTable(ROWS, WAYS),
        eval_strategy="no",
        load_best_model_at_end=False,
    )


def test_a_way_that_is_not_the_metrics_is_refused(tmp_path):
    for metric, way, better in (("rank", True, "smaller"), ("hits", False, "larger")):
        options = {"metric_for_best_model": metric, "greater_is_better": way}
        with pytest.raises(ValueError, match=f"`greater_is_better` is {way}.*a {better} "):
            make_trainer(tmp_path, ByTable(ROWS, WAYS), **options)
        make_trainer(tmp_path, ByTable(ROWS, WAYS), **options | {"greater_is_better": not way})


def test_an_evaluator_that_declares_nothing_is_looked_at_when_it_is_first_used(tmp_path):
    options = {"metric_for_best_model": "rank", "greater_is_better": False}
    trainer = make_trainer(tmp_path / "good", ByTable(ROWS), **options)
    trainer.train()
    assert trainer.state.best_metric == 4
    trainer = make_trainer(tmp_path / "bad", ByTable(ROWS), metric_for_best_model="ranks")
    with pytest.raises(ValueError, match=r"is 'ranks', which .* one of: hits, rank\."):
        trainer.train()
    assert trainer.state.global_step == 2


@pytest.mark.parametrize("cutoffs", [(), (50,), (5, 10)])
def test_evaluators_declare_what_they_give(cutoffs):
    scores, rows = np.eye(3), np.arange(3)
    found = set(retrieval_metrics(scores, rows))
    assert set(RetrievalEvaluator.greater_is_better) == found
    assert set(RerankEvaluator.greater_is_better) == found
    smaller = {name for name, way in RetrievalEvaluator.greater_is_better.items() if not way}
    assert smaller == {"i2t_medr", "t2i_medr"}
    ways = LabelRetrievalEvaluator(None, cutoffs=cutoffs).greater_is_better
    assert set(ways) == set(class_retrieval_metrics(scores, scores, rows, rows, cutoffs))
    assert all(ways.values())


def test_the_checkpoint_records_the_smallest_median_rank(tmp_path):
    ways = RetrievalEvaluator.greater_is_better
    rows = [{"rsum": 1.0, "i2t_medr": rank} for rank in (9.0, 2.0, 5.0, 7.0)]
    trainer = make_trainer(tmp_path, ByTable(rows, dict(ways)), metric_for_best_model="i2t_medr")
    trainer.train()
    state = json.loads((tmp_path / "checkpoint-8" / "trainer_state.json").read_text())
    assert state["best_metric"] == 2.0


def test_block_size_is_the_evaluators(tmp_path):
    trainer = make_label_trainer("ce", tmp_path, score_block_size=7)
    assert trainer.evaluator.block_size == 7
