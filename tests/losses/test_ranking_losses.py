"""Triplet losses against the formulas written as loops."""

import pytest
import torch

from noisy_xmodal.losses import (
    SOFT_MARGINS,
    exponential_soft_margin,
    hardest_triplet_loss,
    mean_triplet_loss,
    sum_triplet_loss,
)

REDUCTIONS = {
    mean_triplet_loss: lambda costs: sum(costs) / len(costs),
    sum_triplet_loss: sum,
    hardest_triplet_loss: max,
}


def costs_by_hand(scores, margins, negatives, anchor):
    """All hinge costs of a pair in both directions, from Eq. 2."""
    own, margin = scores[anchor, anchor].item(), float(margins[anchor])
    others = [k for k in range(len(scores)) if k != anchor]
    texts = [
        max(0.0, margin - own + scores[anchor, k].item()) for k in others if negatives[anchor, k]
    ]
    images = [
        max(0.0, margin - own + scores[k, anchor].item()) for k in others if negatives[k, anchor]
    ]
    return texts, images


@pytest.mark.parametrize("loss", REDUCTIONS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("masked", [False, True])
def test_losses_are_the_printed_formulas(loss, seed, masked):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(7, 7, generator=generator)
    margins = 0.5 * torch.rand(7, generator=generator)
    negatives = torch.rand(7, 7, generator=generator) < 0.6 if masked else torch.ones(7, 7).bool()
    expected = [
        sum(
            REDUCTIONS[loss](costs) if costs else 0.0
            for costs in costs_by_hand(scores, margins, negatives, anchor)
        )
        for anchor in range(7)
    ]
    values = loss(scores, margins, negatives if masked else None)
    assert values.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("loss", REDUCTIONS)
def test_one_margin_for_all_is_the_same_margin_for_each(loss):
    scores = torch.rand(5, 5, generator=torch.Generator().manual_seed(0))
    for margin in (0.3, torch.tensor(0.3)):
        torch.testing.assert_close(loss(scores, margin), loss(scores, torch.full((5,), 0.3)))


def test_the_margin_of_a_text_anchor_is_that_of_its_own_pair():
    """All similarities equal, one pair believed: only its two directions cost its margin."""
    margins = exponential_soft_margin(torch.eye(6)[2], margin=0.2)
    values = hardest_triplet_loss(torch.full((6, 6), 0.5), margins)
    assert values.tolist() == pytest.approx([0, 0, 0.4, 0, 0, 0])
    assert values.sum().item() == pytest.approx(0.4)


def test_mean_stays_comparable_between_batch_sizes():
    for b in (2, 5, 40):
        assert mean_triplet_loss(torch.zeros(b, b), 0.2).tolist() == pytest.approx([0.4] * b)


@pytest.mark.parametrize("name", SOFT_MARGINS)
def test_soft_margins_feed_the_hardest_negative(name):
    margins = SOFT_MARGINS[name](torch.tensor([0.0, 1.0, 0.5]), 0.2)
    values = hardest_triplet_loss(torch.zeros(3, 3), margins)
    torch.testing.assert_close(values, 2 * margins)
