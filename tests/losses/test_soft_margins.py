"""Soft margins: Eq. 7 and its alternatives."""

import math

import pytest
import torch

from noisy_xmodal.losses import SOFT_MARGINS, exponential_soft_margin, sine_soft_margin

TARGETS = torch.linspace(0, 1, 11)


@pytest.mark.parametrize("name", SOFT_MARGINS)
def test_margin_rises_from_nothing_to_all(name):
    margins = SOFT_MARGINS[name](TARGETS, 0.3)
    assert margins.shape == TARGETS.shape
    assert margins[0].item() == pytest.approx(0, abs=1e-7)
    assert margins[-1].item() == pytest.approx(0.3)
    assert (margins.diff() > 0).all()


@pytest.mark.parametrize("curve", [0.5, 2.0, 10.0])
def test_exponential_is_eq_7(curve):
    margins = exponential_soft_margin(TARGETS, 0.2, curve)
    expected = [(curve**y - 1) / (curve - 1) * 0.2 for y in TARGETS.tolist()]
    assert margins.tolist() == pytest.approx(expected, abs=1e-6)


def test_exponential_curves_with_ten_by_default():
    margin = exponential_soft_margin(torch.tensor([0.5]), 0.2).item()
    assert margin == pytest.approx(0.2 * (math.sqrt(10) - 1) / 9)


def test_linear_is_proportional():
    assert SOFT_MARGINS["linear"](TARGETS, 0.2).tolist() == pytest.approx((0.2 * TARGETS).tolist())


def test_sine_is_the_printed_curve():
    expected = [0.2 * (math.sin(math.pi * y - math.pi / 2) / 2 + 0.5) for y in TARGETS.tolist()]
    assert sine_soft_margin(TARGETS, 0.2).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("curve", [1, 1.0, 0, -3])
def test_curves_without_a_formula_are_refused(curve):
    with pytest.raises(ValueError, match=f"curve is {curve}"):
        exponential_soft_margin(TARGETS, 0.2, curve)
