"""The moving average of the weights judges, is evaluated and is saved; the weights train on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import TrainerCallback

from label_trainers import make_label_trainer
from noisy_xmodal.training.averaging import TRAINED_WEIGHTS_NAME, AveragedWeights

DECAY = 0.7


def slow_average(weights: list[np.ndarray], decay: float) -> np.ndarray:
    """The average of the weights after each step, from the first ones on."""
    average = weights[0]
    for t, weight in enumerate(weights[1:], start=1):
        kept = min(decay, (1 + t) / (10 + t))
        average = kept * average + (1 - kept) * weight
    return average


class Recorder(TrainerCallback):
    """Records the weights before training and after each step."""

    def __init__(self) -> None:
        self.weights: list[dict[str, np.ndarray]] = []

    def on_train_begin(self, *args: Any, model: Any = None, **kwargs: Any) -> None:
        self.weights.append({n: p.detach().numpy().copy() for n, p in model.named_parameters()})

    on_step_end = on_train_begin

    def average(self, name: str) -> np.ndarray:
        return slow_average([weights[name].astype(float) for weights in self.weights], DECAY)


def test_the_average_is_that_of_a_loop_and_the_weights_come_back() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    averages = AveragedWeights(model, DECAY)
    weights = [model.weight.detach().numpy().astype(float)]
    for step in range(40):  # beyond the limit of the first updates
        nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(step))
        weights.append(model.weight.detach().numpy().astype(float))
        averages.update()
    with averages.in_model():
        np.testing.assert_allclose(
            model.weight.detach(), slow_average(weights, DECAY), rtol=1e-5, atol=1e-6
        )
    np.testing.assert_array_equal(model.weight.detach(), weights[-1].astype(np.float32))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The output folder of a run of twelve steps, what recorded it, and what was evaluated."""
    out, recorder, evaluated = tmp_path_factory.mktemp("averaged"), Recorder(), []
    trainer = make_label_trainer(
        "dmcm", out, ema_decay=DECAY, num_train_epochs=3, callbacks=[recorder]
    )

    def evaluator(model: Any, _: Any) -> dict[str, float]:
        evaluated.append({n: p.detach().numpy().copy() for n, p in model.named_parameters()})
        return {"map": 0.0}

    trainer.evaluator = evaluator
    trainer.train()
    return out, recorder, evaluated, trainer


def test_the_average_is_evaluated_saved_and_left_in_the_model(run: Any) -> None:
    out, recorder, evaluated, trainer = run
    saved = load_file(out / "checkpoint-12/model.safetensors")
    trained = load_file(out / "checkpoint-12" / TRAINED_WEIGHTS_NAME)
    left = dict(trainer.model.named_parameters())
    assert trained
    assert len(evaluated) == 3
    for name in trained:
        expected = recorder.average(name)
        for values in (saved[name], evaluated[-1][name], left[name].detach()):
            np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(trained[name], recorder.weights[-1][name])
    assert any(not np.allclose(saved[name], trained[name]) for name in trained)


def test_a_resumed_run_ends_with_the_same_average(run: Any, tmp_path: Path) -> None:
    out = run[0]
    trainer = make_label_trainer("dmcm", tmp_path, ema_decay=DECAY, num_train_epochs=3)
    trainer.train(resume_from_checkpoint=str(out / "checkpoint-4"))
    for name in ("model.safetensors", TRAINED_WEIGHTS_NAME):
        once, twice = (load_file(folder / "checkpoint-12" / name) for folder in (out, tmp_path))
        assert once.keys() == twice.keys()
        for key, values in once.items():
            np.testing.assert_array_equal(values, twice[key], err_msg=key)


def test_the_pairs_are_judged_by_the_average(tmp_path: Path) -> None:
    trainer = make_label_trainer("dmcm", tmp_path, ema_decay=DECAY, eval_strategy="no")
    trainer.start_average()
    before = trainer.loss_pass()["loss"]
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.zero_()
    np.testing.assert_array_equal(trainer.loss_pass()["loss"], before)
    trainer.start_average()
    assert not np.allclose(trainer.loss_pass()["loss"], before)


@pytest.mark.parametrize("decay", [1.0, -0.1, "0.9"])
def test_a_decay_that_is_no_share_is_refused(decay: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give a number in"):
        make_label_trainer("dmcm", tmp_path, ema_decay=decay)
