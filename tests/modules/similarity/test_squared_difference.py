"""The map of squared differences against the plain computation that keeps everything."""

import pytest
import torch
from torch import nn

from noisy_xmodal.modules.similarity import squared_difference
from noisy_xmodal.modules.similarity.squared_difference import squared_difference_map


def inputs(dtype=torch.double, n_images=5, n_regions=3, n_words=4, width=6, size=2):
    generator = torch.Generator().manual_seed(0)
    shapes = [(n_images, n_regions, n_words), (n_images, n_regions, width), (n_words, width)]
    tensors = [torch.randn(shape, generator=generator, dtype=torch.double) for shape in shapes]
    torch.manual_seed(0)
    linear = nn.Linear(width, size).to(dtype)
    return [tensor.to(dtype).requires_grad_() for tensor in tensors], linear


def plainly(attention, regions, words, linear):
    attended = torch.einsum("irw,ird->iwd", attention, regions)
    return linear((attended - words) ** 2)


def gradients(function, tensors, linear):
    leaves = [*tensors, *linear.parameters()]
    found = function(*tensors, linear)
    slope = torch.linspace(-1, 1, found.numel(), dtype=found.dtype).view_as(found)
    return torch.autograd.grad((found * slope).sum(), leaves)


@pytest.mark.parametrize("images_at_once", [1, 2, 5])
def test_values_and_gradients_however_few_images_fit_the_buffer(images_at_once, monkeypatch):
    tensors, linear = inputs()
    budget = images_at_once * tensors[2].nbytes
    monkeypatch.setitem(squared_difference.BUFFER_BYTES, "cpu", budget)
    torch.testing.assert_close(
        squared_difference_map(*tensors, linear), plainly(*tensors, linear), atol=1e-12, rtol=0
    )
    for found, expected in zip(
        gradients(squared_difference_map, tensors, linear),
        gradients(plainly, tensors, linear),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_gradients_match_finite_differences():
    tensors, linear = inputs(n_images=2)
    assert torch.autograd.gradcheck(lambda *given: squared_difference_map(*given, linear), tensors)


def test_no_vector_of_the_width_is_kept_for_the_backward_pass():
    tensors, linear = inputs(n_images=7, width=11)
    kept = []

    def keep(tensor):
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        squared_difference_map(*tensors, linear)
    assert kept
    assert (7, 4, 11) not in kept


def test_under_autocast_gradients_sum_in_full_precision():
    tensors, linear = inputs(torch.float32, n_images=300, n_words=2)
    with torch.autocast("cpu", torch.bfloat16):
        found = squared_difference_map(*tensors, linear)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), plainly(*tensors, linear), atol=0.5, rtol=0.05)

    def halved(*given):
        with torch.autocast("cpu", torch.bfloat16):
            return squared_difference_map(*given).float()

    halves = gradients(halved, tensors, linear)
    whole = gradients(plainly, tensors, linear)
    for half, full in zip(halves, whole, strict=True):
        assert half.dtype == torch.float32
        assert (half - full).norm() < 0.01 * full.norm()
