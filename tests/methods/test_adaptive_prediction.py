"""Eq. 5 of NCR, against loops over the printed symbols."""

import pytest
import torch

from noisy_xmodal.methods.ncr import adaptive_prediction


def by_loops(
    scores: torch.Tensor, negatives: torch.Tensor, ceiling: float | None, anchor_share: float
) -> list[float]:
    b = len(scores)
    clamped = []
    for i in range(b):
        texts = [scores[i, j].item() for j in range(b) if negatives[i, j]]
        images = [scores[j, i].item() for j in range(b) if negatives[j, i]]
        means = [sum(side) / len(side) if side else 0.0 for side in (texts, images)]
        advantage = scores[i, i].item() - sum(means) / 2
        advantage = max(advantage, 0.0)
        clamped.append(advantage if ceiling is None else min(advantage, ceiling))
    n_anchors = max(1, round(anchor_share * b))
    tau = sum(sorted(clamped, reverse=True)[:n_anchors]) / n_anchors
    return [min(value / tau, 1.0) if tau > 0 else 0.0 for value in clamped]


def other_images(rows: list[int]) -> torch.Tensor:
    image = torch.tensor(rows)
    return image[:, None] != image[None, :]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ceiling", [0.2, 0.05, None])
@pytest.mark.parametrize("anchor_share", [0.1, 0.25, 1.0])
@pytest.mark.parametrize("same_image", [False, True])
def test_equals_the_loops(seed, ceiling, anchor_share, same_image):
    random = torch.Generator().manual_seed(seed)
    scores = torch.rand(20, 20, generator=random) - 0.5
    scores += 0.3 * torch.diag(torch.rand(20, generator=random))
    rows = torch.randint(8, (20,), generator=random).tolist() if same_image else list(range(20))
    negatives = other_images(rows)
    prediction = adaptive_prediction(scores, negatives, ceiling, anchor_share)
    expected = torch.tensor(by_loops(scores, negatives, ceiling, anchor_share))
    torch.testing.assert_close(prediction, expected, atol=1e-5, rtol=1e-5)
    assert 0 < prediction.max() <= 1
    assert prediction.min() == 0, "some pair should lose to its negatives"


def test_an_example_by_hand():
    scores = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.5, 0.1], [0.0, 0.3, 0.1]])
    # advantages: 0.9 - (0.15 + 0.15) / 2 = 0.75; 0.5 - (0.2 + 0.2) / 2 = 0.3; 0.1 - 0.15 < 0
    negatives = other_images([0, 1, 2])
    found = adaptive_prediction(scores, negatives, ceiling=None, anchor_share=0.1)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.4, 0.0]))
    # clamped at 0.6; tau is the mean of the best two, (0.6 + 0.3) / 2
    found = adaptive_prediction(scores, negatives, ceiling=0.6, anchor_share=0.7)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.3 / 0.45, 0.0]))


def test_captions_of_the_same_image_are_no_negatives():
    scores = torch.eye(4) * 0.1
    scores[0, 1] = scores[1, 0] = 50.0  # would sink pairs 0 and 1
    prediction = adaptive_prediction(scores, other_images([0, 0, 1, 2]), ceiling=0.2)
    torch.testing.assert_close(prediction, torch.ones(4))


@pytest.mark.parametrize("ceiling", [0.2, None])
def test_without_any_advantage_nothing_is_predicted_to_match(ceiling):
    negatives = other_images(list(range(6)))
    for scores in (torch.zeros(6, 6), torch.full((6, 6), 0.7), -torch.eye(6)):
        assert adaptive_prediction(scores, negatives, ceiling).tolist() == [0.0] * 6


@pytest.mark.parametrize(("share", "n_anchors"), [(0.01, 1), (0.1, 1), (0.24, 1), (0.5, 3), (1, 6)])
def test_the_anchor_is_the_mean_of_a_share_but_at_least_of_one(share, n_anchors):
    advantages = torch.tensor([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    scores = torch.diag(advantages)
    found = adaptive_prediction(scores, other_images(list(range(6))), None, share)
    expected = (advantages / advantages[:n_anchors].mean()).clamp(max=1)
    torch.testing.assert_close(found, expected)


def test_the_ceiling_makes_good_pairs_alike():
    scores = torch.diag(torch.tensor([0.9, 0.2, 0.1]))
    found = adaptive_prediction(scores, other_images([0, 1, 2]), ceiling=0.2)
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 0.5]))


def test_no_gradient_is_attached():
    scores = torch.rand(4, 4, requires_grad=True)
    prediction = adaptive_prediction(scores * 2, other_images([0, 1, 2, 3]))
    assert not prediction.requires_grad


def test_half_precision_scores_are_judged_in_float():
    scores = (torch.eye(4) * 0.15 + 0.5).bfloat16()
    prediction = adaptive_prediction(scores, other_images([0, 1, 2, 3]))
    assert prediction.dtype == torch.float32
    torch.testing.assert_close(prediction, torch.ones(4))


def test_arguments_are_left_as_they_were():
    scores, negatives = torch.rand(5, 5), other_images([0, 0, 1, 2, 3])
    before = scores.clone(), negatives.clone()
    adaptive_prediction(scores, negatives)
    assert torch.equal(scores, before[0])
    assert torch.equal(negatives, before[1])
