"""Recipes: which loss functions they are made of, and what their targets do."""

import math
from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from noisy_xmodal import NcrConfig
from noisy_xmodal.losses import (
    exponential_soft_margin,
    hardest_triplet_loss,
    info_nce_loss,
    mean_triplet_loss,
    sine_soft_margin,
    soft_info_nce_loss,
    sum_triplet_loss,
)
from noisy_xmodal.methods.bicro import Bicro
from noisy_xmodal.methods.l2rm import L2rm
from noisy_xmodal.methods.objectives import OBJECTIVES, bend
from noisy_xmodal.methods.plain import Plain

MARGIN, CURVE = 0.3, 6.0
IMAGE_ROW = torch.tensor([0, 0, 1, 2, 3, 3])
NEGATIVES = IMAGE_ROW[:, None] != IMAGE_ROW[None, :]
TARGETS = torch.tensor([0.0, 0.1, 0.35, 0.6, 0.9, 1.0])


def batch() -> SimpleNamespace:
    """Logits that are no multiple of the scores, so that reading the wrong one shows."""
    return SimpleNamespace(scores=torch.rand(6, 6), logits_per_image=3 * torch.randn(6, 6))


def build(name: str, soft_margin: str = "exponential"):
    return OBJECTIVES[name](MARGIN, soft_margin, CURVE)


def soft(target: float) -> float:
    """Eq. 7 with alpha = 1."""
    return (CURVE**target - 1) / (CURVE - 1)


def hinges(scores: torch.Tensor, i: int, margin: float) -> tuple[list[float], list[float]]:
    """Costs of pair i's negatives, of the texts and of the images."""
    others = [j for j in range(6) if NEGATIVES[i, j]]
    own = scores[i, i].item()
    return (
        [max(0.0, margin - own + scores[i, j].item()) for j in others],
        [max(0.0, margin - own + scores[j, i].item()) for j in others],
    )


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def cross_entropies(logits: torch.Tensor, i: int) -> tuple[dict[int, float], dict[int, float]]:
    """-log p of each candidate of pair i in both directions: its own and its negatives."""
    allowed = [j for j in range(6) if j == i or NEGATIVES[i, j]]
    directions = []
    for line in (logits[i], logits[:, i]):
        total = sum(math.exp(line[j].item()) for j in allowed)
        directions.append({j: math.log(total) - line[j].item() for j in allowed})
    return directions[0], directions[1]


def check(found: torch.Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["triplet", "mean_triplet"])
def test_triplets_warm_up_with_the_mean_over_all_negatives(name):
    output = batch()
    costs = [hinges(output.scores, i, MARGIN) for i in range(6)]
    expected = [mean(texts) + mean(images) for texts, images in costs]
    check(build(name).warm_up(output, NEGATIVES), expected)


def test_triplet_meets_the_hardest_negatives_with_soft_margins():
    output = batch()
    costs = [hinges(output.scores, i, MARGIN * soft(TARGETS[i].item())) for i in range(6)]
    expected = [max(texts) + max(images) for texts, images in costs]
    check(build("triplet").robust(output, TARGETS, NEGATIVES), expected)


def test_mean_triplet_meets_all_negatives_with_soft_margins():
    output = batch()
    costs = [hinges(output.scores, i, MARGIN * soft(TARGETS[i].item())) for i in range(6)]
    expected = [mean(texts) + mean(images) for texts, images in costs]
    check(build("mean_triplet").robust(output, TARGETS, NEGATIVES), expected)


@pytest.mark.parametrize("name", ["infonce", "soft_infonce"])
def test_cross_entropies_warm_up_with_every_pair(name):
    output = batch()
    directions = [cross_entropies(output.logits_per_image, i) for i in range(6)]
    expected = [(texts[i] + images[i]) / 2 for i, (texts, images) in enumerate(directions)]
    check(build(name).warm_up(output, NEGATIVES), expected)


def test_infonce_weighs_pairs_by_their_bent_targets():
    output = batch()
    directions = [cross_entropies(output.logits_per_image, i) for i in range(6)]
    expected = [
        soft(TARGETS[i].item()) * (texts[i] + images[i]) / 2
        for i, (texts, images) in enumerate(directions)
    ]
    check(build("infonce").robust(output, TARGETS, NEGATIVES), expected)


def test_soft_infonce_spreads_the_rest_of_the_target_over_the_negatives():
    output = batch()
    expected = []
    for i in range(6):
        target = TARGETS[i].item()
        losses = []
        for direction in cross_entropies(output.logits_per_image, i):
            others = [value for j, value in direction.items() if j != i]
            losses.append(target * direction[i] + (1 - target) * mean(others))
        expected.append(sum(losses) / 2)
    check(build("soft_infonce").robust(output, TARGETS, NEGATIVES), expected)


def test_recipes_are_the_loss_functions_put_together():
    output = batch()
    margins = exponential_soft_margin(TARGETS, MARGIN, CURVE)
    weights = exponential_soft_margin(TARGETS, 1.0, CURVE)
    composed = {
        "triplet": hardest_triplet_loss(output.scores, margins, NEGATIVES),
        "mean_triplet": mean_triplet_loss(output.scores, margins, NEGATIVES),
        "sum_triplet": sum_triplet_loss(output.scores, margins, NEGATIVES),
        "infonce": weights * info_nce_loss(output.logits_per_image, NEGATIVES),
        "soft_infonce": soft_info_nce_loss(output.logits_per_image, TARGETS, NEGATIVES),
    }
    assert composed.keys() == OBJECTIVES.keys()
    for name, expected in composed.items():
        assert torch.equal(build(name).robust(output, TARGETS, NEGATIVES), expected), name


@pytest.mark.parametrize("soft_margin", ["exponential", "linear", "sine"])
def test_full_targets_are_plain_training(soft_margin):
    output, ones = batch(), torch.ones(6)
    plain = {
        "triplet": hardest_triplet_loss(output.scores, MARGIN, NEGATIVES),
        "mean_triplet": mean_triplet_loss(output.scores, MARGIN, NEGATIVES),
        "sum_triplet": sum_triplet_loss(output.scores, MARGIN, NEGATIVES),
        "infonce": info_nce_loss(output.logits_per_image, NEGATIVES),
        "soft_infonce": info_nce_loss(output.logits_per_image, NEGATIVES),
    }
    for name, expected in plain.items():
        found = build(name, soft_margin).robust(output, ones, NEGATIVES)
        torch.testing.assert_close(found, expected, msg=name)


@pytest.mark.parametrize("soft_margin", ["exponential", "linear", "sine"])
def test_a_pair_that_is_not_believed_costs_nothing_in_infonce(soft_margin):
    found = build("infonce", soft_margin).robust(batch(), torch.zeros(6), NEGATIVES)
    torch.testing.assert_close(found, torch.zeros(6))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_loss_a_pair_with_a_gradient(name):
    output = batch()
    for tensor in (output.scores, output.logits_per_image):
        tensor.requires_grad_()
    for loss in (
        build(name).warm_up(output, NEGATIVES),
        build(name).robust(output, TARGETS, NEGATIVES),
    ):
        assert loss.shape == (6,)
        (gradient,) = torch.autograd.grad(
            loss.sum(), output.scores if "triplet" in name else output.logits_per_image
        )
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_curves_are_chosen_by_name():
    torch.testing.assert_close(bend(TARGETS, 0.4, "linear", CURVE), 0.4 * TARGETS)
    torch.testing.assert_close(
        bend(TARGETS, 0.4, "exponential", CURVE),
        torch.tensor([0.4 * soft(target) for target in TARGETS.tolist()]),
    )
    assert torch.equal(bend(TARGETS, 0.4, "sine", CURVE), sine_soft_margin(TARGETS, 0.4))


def test_only_a_margin_is_a_ceiling_of_predictions():
    ceilings = {name: build(name).prediction_ceiling for name in OBJECTIVES}
    assert ceilings == {
        "triplet": MARGIN,
        "mean_triplet": MARGIN,
        "sum_triplet": MARGIN,
        "infonce": None,
        "soft_infonce": None,
    }


def test_the_config_offers_exactly_the_recipes():
    assert set(get_args(NcrConfig.__annotations__["objective"])) == set(OBJECTIVES)


@pytest.mark.parametrize("method", [Plain, Bicro, L2rm])
def test_a_margin_that_no_loss_reads_is_refused(method):
    config = SimpleNamespace(method_options={"objective": "infonce", "margin": 0.3})
    with pytest.raises(ValueError, match="only the triplet objectives have a margin"):
        method().read_constants(config)
    config.method_options["objective"] = "triplet"
    assert method().read_constants(config).margin == 0.3
