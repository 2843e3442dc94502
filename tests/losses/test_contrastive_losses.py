"""Contrastive losses against torch's cross-entropy and against loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from noisy_xmodal.losses import info_nce_loss, soft_info_nce_loss


def random_logits(seed, b=6):
    return 3 * torch.randn(b, b, generator=torch.Generator().manual_seed(seed))


def soft_by_hand(logits, targets, negatives):
    values = []
    for i in range(len(logits)):
        total = 0.0
        for line, allowed in ((logits[i], negatives[i]), (logits[:, i], negatives[:, i])):
            others = [k for k in range(len(logits)) if k != i and allowed[k]]
            normaliser = math.log(sum(math.exp(line[k].item()) for k in [i, *others]))
            y = targets[i].item()
            total -= y * (line[i].item() - normaliser)
            for k in others:
                total -= (1 - y) / len(others) * (line[k].item() - normaliser)
        values.append(total / 2)
    return values


@pytest.mark.parametrize("seed", range(3))
def test_info_nce_is_cross_entropy_both_ways(seed):
    logits, own = random_logits(seed), torch.arange(6)
    expected = (
        F.cross_entropy(logits, own, reduction="none")
        + F.cross_entropy(logits.T, own, reduction="none")
    ) / 2
    torch.testing.assert_close(info_nce_loss(logits), expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("masked", [False, True])
def test_soft_targets_against_loops(seed, masked):
    generator = torch.Generator().manual_seed(seed)
    logits, targets = random_logits(seed), torch.rand(6, generator=generator)
    negatives = torch.rand(6, 6, generator=generator) < 0.6 if masked else torch.ones(6, 6).bool()
    values = soft_info_nce_loss(logits, targets, negatives)
    assert values.tolist() == pytest.approx(soft_by_hand(logits, targets, negatives), abs=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_full_belief_is_info_nce(masked):
    logits = random_logits(4)
    rows = torch.tensor([0, 0, 1, 2, 2, 3])
    negatives = rows[:, None] != rows[None, :] if masked else None
    torch.testing.assert_close(
        soft_info_nce_loss(logits, torch.ones(6), negatives), info_nce_loss(logits, negatives)
    )


def test_soft_targets_are_best_met_by_their_own_distribution():
    """With target y the optimum is a softmax of y on the pair, (1 - y) / n on each negative."""
    target, n_negatives = 0.7, 3
    best = math.log(target / ((1 - target) / n_negatives))
    losses = [
        soft_info_nce_loss(gap * torch.eye(4), torch.full((4,), target))[0].item()
        for gap in (best - 0.1, best, best + 0.1)
    ]
    assert losses[1] == min(losses)
