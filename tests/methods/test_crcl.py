"""CRCL: its loss by loops, the course of its beliefs, and runs that begin anew."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from caption_methods import make_caption_trainer, method_alone, scores_and_batch, softmax_of


def test_loss_is_its_formula():
    output, batch = scores_and_batch()
    method = method_alone("crcl", temperature=0.4, push_weight=3.0)
    method.args = SimpleNamespace(robust=True)
    beliefs = np.linspace(0, 1, 7)
    state = {"target": beliefs[None]}
    method.engine = SimpleNamespace(pair_state=state)
    both = softmax_of(output.scores.detach(), batch, 0.4)
    losses = method.loss(output, batch)
    for i, y in enumerate(beliefs.astype(np.float32).astype(float)):
        expected = 0.0
        for match in both:
            tangents = [math.tan(match[i][j]) for j in range(7)]
            others = sum(tangents) - tangents[i]
            expected += -y * math.log(match[i][i]) + 3 * others / sum(tangents) ** (1 - y)
        assert float(losses[i].detach()) == pytest.approx(expected, rel=1e-9), i
    losses.sum().backward()
    assert output.scores.grad[1, 2] == output.scores.grad[2, 1] == 0


def test_beliefs_begin_with_the_prediction_and_then_follow_it_slowly():
    method = method_alone("crcl", run_epochs=4, n_restarts=1, memory=0.75, least_belief=0.2)
    method.args = SimpleNamespace(robust=True, warmup_epochs=2)
    state: dict[str, np.ndarray] = {}
    method.engine = SimpleNamespace(pair_state=state, epoch=0)
    given = {2: [0.9, 0.1, 0.4], 3: [0.5, 1.0, 0.0], 6: [1.0, 0.0, 1.0], 7: [0.0, 0.0, 0.0]}
    expected = {
        2: [0.9, 0.1, 0.4],  # not yet cut
        3: [0.8, 0.325, 0.3],
        6: [0.85, 0.24375, 0.475],
        7: [0.6375, 0.0, 0.35625],  # 0.75 * 0.24375 is below the least belief
    }
    for epoch in range(8):
        method.engine.epoch = epoch
        assert method.passes_at(epoch) == (epoch in given), epoch
        if epoch in given:
            state["prediction"] = np.array([given[epoch]])
            state["target"] = method.targets()
            np.testing.assert_allclose(state["target"][0], expected[epoch])
        else:
            assert method.targets() is None


def test_the_prediction_is_the_mean_of_both_directions():
    output, batch = scores_and_batch()
    kept = method_alone("crcl", temperature=0.4).loss_pass(output, batch)
    images, texts = softmax_of(output.scores.detach(), batch, 0.4)
    expected = [float(images[i][i] + texts[i][i]) / 2 for i in range(7)]
    np.testing.assert_allclose(kept["prediction"].detach(), expected)


def test_a_run_begins_with_the_first_weights_and_the_beliefs_of_the_last_one(tmp_path):
    trainer = make_caption_trainer("crcl", tmp_path, {"run_epochs": 2, "n_restarts": 1})
    restarts = []
    restart = trainer.restart

    def observed() -> None:
        restart()
        restarts.append((trainer.epoch, trainer.pair_state["target"].copy()))

    trainer.restart = observed
    trainer.train()
    ((epoch, beliefs),) = restarts
    assert epoch == 2
    assert 0 < beliefs.mean() < 1
    wrong = trainer.train_dataset.is_noisy
    assert beliefs[0, ~wrong].mean() > beliefs[0, wrong].mean()


def test_runs_that_leave_no_epoch_to_the_last_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match="2 runs of 2 epochs leave none of 4 to the last run"):
        make_caption_trainer("crcl", tmp_path, {"run_epochs": 2, "n_restarts": 2})


def test_plain_training_believes_every_pair_in_one_run(tmp_path):
    options = {"run_epochs": 1, "n_restarts": 1}
    trainer = make_caption_trainer(
        "crcl", tmp_path, options, robust=False, warmup_epochs=0, num_train_epochs=2
    )
    trainer.restart = lambda: pytest.fail("restarted")
    trainer.train()
    assert "target" not in trainer.pair_state
    output, batch = scores_and_batch()
    trainer.method.loss(output, batch).sum().backward()
    assert (output.scores.grad.diagonal() < 0).all()
    assert torch.isfinite(output.scores.grad).all()
