"""Dropout zeroes with the probability asked, independently, and scales what it keeps."""

import pytest
import torch
from torch import nn

from noisy_xmodal.modules.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.4, 0.5, 0.9])
def test_elements_are_zero_with_the_probability_and_independently_of_each_other(p):
    torch.manual_seed(0)
    n = 400_000
    is_zero = (Dropout(p)(torch.ones(n)) == 0).double()
    spread = (p * (1 - p) / n) ** 0.5
    assert abs(is_zero.mean() - p) < 4 * spread
    centred = is_zero - p
    for distance in (1, 2, 3, 4, 5, 8, 64):
        covariance = (centred[distance:] * centred[:-distance]).mean()
        assert abs(covariance) < 4 * p * (1 - p) / n**0.5


def test_the_four_elements_of_a_draw_have_the_same_probability():
    torch.manual_seed(0)
    is_zero = (Dropout(0.4)(torch.ones(100_000, 4)) == 0).double()
    assert (is_zero.mean(dim=0) - 0.4).abs().max() < 4 * (0.24 / 100_000) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_kept_values_and_gradients_are_scaled(dtype):
    torch.manual_seed(0)
    values = torch.randn(7, 5, 3, dtype=dtype).requires_grad_()
    output = Dropout(0.5)(values)
    assert output.dtype == dtype
    is_kept = output != 0
    assert is_kept.any()
    assert not is_kept.all()
    assert torch.equal(output[is_kept], (values * 2)[is_kept])
    output.sum().backward()
    assert torch.equal(values.grad, is_kept.to(dtype) * 2)


def test_the_expectation_is_exact_though_the_probability_is_rounded():
    output = Dropout(1 / 3)(torch.ones(9))
    n_levels = round(2**16 / 3)
    assert output.max() == pytest.approx(2**16 / (2**16 - n_levels), rel=1e-6)


@pytest.mark.parametrize("p", [0.0, 1.0, 1e-7, 1 - 1e-7])
def test_probabilities_at_the_ends_are_those_of_pytorch(p):
    values = torch.ones(1000)
    torch.manual_seed(0)
    output = Dropout(p)(values)
    torch.manual_seed(0)
    assert torch.equal(output, nn.Dropout(p)(values))


def test_evaluation_mode_changes_nothing_and_draws_nothing():
    state = torch.get_rng_state()
    values = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Dropout(0.5).eval()(values), values)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0, 2), (5, 5)])
def test_any_shape_passes(shape):
    assert Dropout(0.5)(torch.ones(shape)).shape == shape


def test_masks_follow_the_seed_and_move_on():
    values = torch.ones(100)
    torch.manual_seed(3)
    first, second = Dropout(0.5)(values), Dropout(0.5)(values)
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.5)(values), first)
    assert not torch.equal(first, second)
