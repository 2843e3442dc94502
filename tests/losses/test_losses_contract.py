"""What every loss over a batch of pairs promises, whatever its formula."""

from functools import partial

import pytest
import torch

from noisy_xmodal.losses import (
    hardest_triplet_loss,
    info_nce_loss,
    mean_triplet_loss,
    soft_info_nce_loss,
    sum_triplet_loss,
)

MARGINS = torch.tensor([0.1, 0.5, 0.0, 0.3, 0.2, 0.4])
TARGETS = torch.tensor([1.0, 0.5, 0.0, 0.3, 0.2, 0.9])

# name -> (loss(scores, per-pair values, negatives), per-pair values)
LOSSES = {
    "mean triplet": (mean_triplet_loss, MARGINS),
    "sum triplet": (sum_triplet_loss, MARGINS),
    "hardest triplet": (hardest_triplet_loss, MARGINS),
    "info nce": (lambda scores, _, negatives=None: info_nce_loss(scores, negatives), MARGINS),
    "soft info nce": (soft_info_nce_loss, TARGETS),
}
over_losses = pytest.mark.parametrize(("loss", "per_pair"), LOSSES.values(), ids=LOSSES)


def random_scores(seed=0, b=6):
    return torch.randn(b, b, generator=torch.Generator().manual_seed(seed))


def some_negatives():
    rows = torch.tensor([0, 0, 1, 2, 2, 2])
    return rows[:, None] != rows[None, :]


@over_losses
def test_one_value_per_pair(loss, per_pair):
    values = loss(random_scores(), per_pair)
    assert values.shape == (6,)
    assert values.dtype == torch.float32
    assert (values >= 0).all()
    assert len(values.unique()) > 1


@over_losses
@pytest.mark.parametrize("masked", [False, True])
def test_order_of_the_pairs_does_not_matter(loss, per_pair, masked):
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    scores, negatives = random_scores(), some_negatives() if masked else None
    shuffled = negatives[order][:, order] if masked else None
    values = loss(scores[order][:, order], per_pair[order], shuffled)
    torch.testing.assert_close(values, loss(scores, per_pair, negatives)[order])


@over_losses
def test_images_and_texts_are_treated_alike(loss, per_pair):
    values = loss(random_scores().T, per_pair)
    torch.testing.assert_close(values, loss(random_scores(), per_pair))


@over_losses
def test_default_negatives_are_all_others(loss, per_pair):
    everything = torch.ones(6, 6, dtype=torch.bool)  # the diagonal is ignored
    torch.testing.assert_close(
        loss(random_scores(), per_pair, everything), loss(random_scores(), per_pair)
    )


@over_losses
def test_excluded_entries_have_no_say(loss, per_pair):
    negatives, scores = some_negatives(), random_scores().requires_grad_()
    excluded = ~(negatives | torch.eye(6, dtype=torch.bool))
    values = loss(scores, per_pair, negatives)
    values.sum().backward()
    assert (scores.grad[excluded] == 0).all()
    assert (scores.grad[~excluded] != 0).any()
    torch.testing.assert_close(
        loss(scores.detach().masked_fill(excluded, 50.0), per_pair, negatives), values.detach()
    )


@over_losses
def test_one_sided_negatives_count_for_one_direction(loss, per_pair):
    """(0, 1) is the only negative: text 1 for image 0, and image 0 for text 1."""
    negatives = torch.zeros(6, 6, dtype=torch.bool)
    negatives[0, 1] = True
    values = loss(torch.zeros(6, 6), torch.full((6,), 0.5), negatives)
    assert (values[:2] > 0).all()
    assert (values[2:] == 0).all()


@over_losses
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("lonely", [False, True])
def test_gradients_are_finite(loss, per_pair, scale, lonely):
    negatives = torch.zeros(6, 6, dtype=torch.bool) if lonely else some_negatives()
    scores = (scale * random_scores()).requires_grad_()
    values = loss(scores, per_pair, negatives)
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(scores.grad).all()
    if lonely:
        assert (values == 0).all()
        assert (scores.grad == 0).all()


@over_losses
def test_a_single_pair_costs_nothing(loss, per_pair):
    assert loss(torch.tensor([[0.3]]), per_pair[:1]).tolist() == [0.0]


@over_losses
def test_gradient_matches_finite_differences(loss, per_pair):
    scores = random_scores().double().requires_grad_()
    assert torch.autograd.gradcheck(
        partial(loss, negatives=some_negatives()), (scores, per_pair.double())
    )


@over_losses
@pytest.mark.parametrize("shape", [(6, 5), (6,), (1, 6, 6)])
def test_scores_must_be_square(loss, per_pair, shape):
    with pytest.raises(ValueError, match="scores has shape"):
        loss(torch.zeros(shape), per_pair)


@over_losses
@pytest.mark.parametrize("mask", [torch.ones(6, 6), torch.ones(6, dtype=torch.bool)])
def test_negatives_must_be_a_mask_of_the_scores(loss, per_pair, mask):
    with pytest.raises(ValueError, match="negatives has shape"):
        loss(torch.zeros(6, 6), per_pair, mask)


@pytest.mark.parametrize("loss", [mean_triplet_loss, hardest_triplet_loss, soft_info_nce_loss])
@pytest.mark.parametrize("shape", [(6, 1), (1, 6), (5,)])
def test_values_per_pair_must_be_flat(loss, shape):
    with pytest.raises(ValueError, match="per pair"):
        loss(torch.zeros(6, 6), torch.zeros(shape))
