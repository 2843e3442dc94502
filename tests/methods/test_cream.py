"""CREAM: parts, targets and losses against loops."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from caption_methods import method_alone, scores_and_batch, softmax_of
from noisy_xmodal.training import PairState

CLEAN, HARD, NOISY = [0, 3], [1, 4, 5], [2, 6]


@pytest.fixture
def method():
    """Late in its training, with a division of each network."""
    method = method_alone("cream", temperature=0.4)
    method.args = SimpleNamespace(robust=True, warmup_epochs=2)
    state = PairState(7, 2)
    state["is_clean"] = np.array([[1, 1, 0, 1, 0, 1, 0], [1, 0, 0, 1, 1, 0, 0]], dtype=np.uint8)
    state["clean_probability"] = np.array(
        [[0.9, 0.6, 0.1, 0.8, 0.3, 0.7, 0.2], [0.7, 0.4, 0.2, 1.0, 0.9, 0.1, 0.0]]
    )
    state["prediction"] = np.array(
        [[0.5, 0.4, 0.3, 0.2, 0.1, 0.0, 0.6], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.2]]
    )
    method.engine = SimpleNamespace(pair_state=state, epoch=9, n_epochs=10)
    return method


def slow_targets(state, peer):
    w, p = state["clean_probability"], state["prediction"]
    targets = np.empty(7)
    for i in CLEAN:
        targets[i] = w[1 - peer, i] + (1 - w[1 - peer, i]) * p[peer, i]
    for i in HARD:
        mean = (w[0, i] + w[1, i]) / 2
        targets[i] = mean + (1 - mean) * p[peer, i]
    for i in NOISY:
        targets[i] = (p[0, i] + p[1, i]) / 2
    return targets


def test_targets_by_part(method):
    state = method.engine.pair_state
    np.testing.assert_allclose(method.targets(), [slow_targets(state, peer) for peer in (0, 1)])
    for peer in (0, 1):
        assert method.batch_mask(peer).nonzero()[0].tolist() == CLEAN


@pytest.mark.parametrize(
    ("epoch", "parts"),
    [(2, CLEAN), (3, CLEAN), (4, CLEAN + HARD), (5, CLEAN + HARD + NOISY), (9, range(7))],
)
def test_parts_join_one_after_another(method, epoch, parts):
    method.engine.epoch = epoch
    _, batch = scores_and_batch()
    assert method.weights(batch).nonzero().flatten().tolist() == sorted(parts)


@pytest.mark.parametrize("mean", [0.05, 0.9])
def test_loss_is_a_cross_entropy_against_soft_rows_and_columns(method, mean):
    output, batch = scores_and_batch(peer=1)
    targets = np.float32(slow_targets(method.engine.pair_state, 1)).astype(float)
    # The mean over the data, which need not be that of this batch, is the least entry that stays.
    method.engine.pair_state["target"] = np.stack([2 * mean - targets, targets])
    scores = output.scores.detach()
    both = softmax_of(scores, batch, 0.4)
    losses = method.loss(output, batch)
    n_off = 0
    for i in range(7):
        expected = 0.0
        for side, match in zip((scores, scores.T), both, strict=True):
            similar = [
                max(0.0, float(side[i, j])) if j != i and {i, j} != {1, 2} else 0.0
                for j in range(7)
            ]
            wanted = [(1 - targets[i]) * similar[j] / sum(similar) for j in range(7)]
            wanted = [x if x >= mean else 0.0 for x in wanted]
            n_off += sum(x > 0 for x in wanted)
            wanted[i] = targets[i]
            expected -= sum(x * math.log(match[i][j]) for j, x in enumerate(wanted) if x)
        assert float(losses[i].detach()) == pytest.approx(expected, rel=1e-6), i
    assert (n_off > 10) == (mean < 0.5)
    losses.sum().backward()
    assert output.scores.grad.isfinite().all()
    assert output.scores.grad[1, 2] == output.scores.grad[2, 1] == 0


def test_a_pass_keeps_cross_entropy_and_prediction(method):
    output, batch = scores_and_batch()
    images, texts = softmax_of(output.scores.detach(), batch, 0.4)
    kept = method.loss_pass(output, batch)
    for i in range(7):
        expected = -math.log(images[i][i]) - math.log(texts[i][i])
        assert float(kept["loss"][i].detach()) == pytest.approx(expected)
        mean = float(images[i][i] + texts[i][i]) / 2
        assert float(kept["prediction"][i].detach()) == pytest.approx(mean)
    torch.testing.assert_close(method.warm_up_loss(output, batch), kept["loss"])
