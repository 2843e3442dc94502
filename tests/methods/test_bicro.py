"""BiCro: neighbours, targets and losses against loops."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from caption_methods import make_caption_trainer, method_alone, scores_and_batch
from noisy_xmodal.losses import hardest_triplet_loss, info_nce_loss
from noisy_xmodal.methods.bicro import consistency
from noisy_xmodal.methods.objectives import OBJECTIVES
from noisy_xmodal.training import PairState


def attached(**constants):
    """BiCro with state of its own, halfway through its training."""
    method = method_alone("bicro", **constants)
    chosen = method.constants
    method.objective = OBJECTIVES[chosen.objective](chosen.margin, curve=chosen.curve)
    method.args = SimpleNamespace(robust=True, warmup_epochs=1, sum_losses=False)
    method.engine = SimpleNamespace(pair_state=PairState(7, 2), epoch=3, n_epochs=5)
    return method


def test_consistency_compares_cosines_with_the_nearest_anchor_of_either_side():
    random = np.random.default_rng(1)
    sides = [random.normal(0.3, 1, (9, 4)) for _ in range(2)]
    sides = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides]
    anchors = [1, 4, 8]
    expected = []
    for i in range(9):
        ratios = []
        for own, other in (sides, sides[::-1]):
            nearest = max(anchors, key=lambda a: float(own[i] @ own[a]))
            a, b = float(own[i] @ own[nearest]), float(other[i] @ other[nearest])
            ratios.append(min(a / b, b / a) if min(a, b) > 0 else 0.0)
        expected.append(sum(ratios) / 2)
    is_anchor = torch.zeros(9, dtype=torch.bool)
    is_anchor[anchors] = True
    found = consistency(*map(torch.from_numpy, sides), is_anchor)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found[is_anchor], 1)
    assert 0 <= found.min() < 0.9


def test_targets_are_those_of_the_peer():
    method = attached(least_target=0.6)
    state = method.engine.pair_state
    state["consistency"] = np.array([[1, 0.1, 0.9, 0.7, 0.2, 1, 0], [0.5, 1, 0, 0.59, 0.61, 1, 1]])
    state["is_clean"] = np.array([[1, 1, 1, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0, 0]], dtype=np.uint8)
    state["is_anchor"] = np.array([[1, 0, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0, 0]], dtype=float)
    by_a = [1, 0, 0.95, 0.7, 0, 1, 0]
    by_b = [0.75, 1, 0, 0, 0.61, 1, 1]
    np.testing.assert_allclose(method.targets(), [by_b, by_a])


@pytest.mark.parametrize("epoch", [2, 3])
def test_loss_has_margins_by_the_targets_and_noisy_pairs_from_the_middle_on(epoch):
    method = attached(margin=0.3, curve=5.0)
    state, targets = method.engine.pair_state, np.linspace(0, 1, 7)
    state["target"] = np.stack([np.ones(7), targets])
    state["is_clean"] = np.array([[1, 0, 1, 1, 0, 1, 1], [1] * 7], dtype=np.uint8)
    method.engine.epoch = epoch
    output, batch = scores_and_batch(peer=1)
    losses = method.loss(output, batch)
    for i in range(7):
        margin = 0.3 * (5 ** float(np.float32(targets[i])) - 1) / 4
        expected = 0.0
        for side in (output.scores.detach(), output.scores.detach().T):
            leads = [
                float(margin + side[i, j] - side[i, i])
                for j in range(7)
                if j != i and {i, j} != {1, 2}
            ]
            expected += max(0.0, *leads)
        if epoch == 2 and not state["is_clean"][0, i]:
            expected = 0.0
        assert float(losses[i].detach()) == pytest.approx(expected, rel=1e-6), i


def test_warm_up_learns_from_the_lowest_losses():
    output, batch = scores_and_batch()
    method = attached(objective="infonce", warmup_share=0.3)
    losses = info_nce_loss(output.logits_per_image, batch.negatives).detach()
    lowest = losses.argsort()[:2]
    found = method.warm_up_loss(output, batch).detach()
    expected = torch.zeros(7, dtype=torch.float64)
    expected[lowest] = losses[lowest] * 7 / 2
    torch.testing.assert_close(found, expected)
    method.args.robust = False
    torch.testing.assert_close(method.warm_up_loss(output, batch).detach(), losses)


def test_plain_training_believes_every_pair():
    output, batch = scores_and_batch()
    method = attached()
    method.args.robust = False
    expected = hardest_triplet_loss(output.scores, 0.2, batch.negatives)
    torch.testing.assert_close(method.loss(output, batch), expected, rtol=1e-6, atol=1e-7)


def test_a_curve_that_does_not_exist_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="curve is 1: give a positive number other than 1"):
        make_caption_trainer("bicro", tmp_path, {"curve": 1})


def test_an_unknown_objective_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"`objective` .* must be one of triplet, .* found 'hinge'"
    ):
        make_caption_trainer("bicro", tmp_path, {"objective": "hinge"})
