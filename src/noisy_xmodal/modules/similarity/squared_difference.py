"""W |x - y|^2 for the attended regions x of every word y, without storing any x.

This map is most of SGRAF's arithmetic, and its input, a vector of the joint width for every word
and image, is by far the largest tensor: it fits neither the caches nor, in training, the memory of
many devices. It is therefore computed for a few images at a time in one buffer, and again in the
backward pass. Recomputing the attended regions costs a fraction of the map (2 x regions against
2 x similarity_size operations per entry).

    d_ij = sum_r u_irj c_ir - y_j        image i, word j, region r
    s_ij = W d_ij^2 + b

| symbol | here      | shape                          |
|--------|-----------|--------------------------------|
| u      | attention | (n_images, n_regions, n_words) |
| c      | regions   | (n_images, n_regions, width)   |
| y      | words     | (n_words, width)               |
| W, b   | weight, bias | (size, width), (size,)      |
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

#: Bytes of the buffer of differences: it fits the cache of a CPU core, or keeps a GPU busy.
BUFFER_BYTES = {"cpu": 4 * 2**20, "cuda": 256 * 2**20}


def squared_difference_map(
    attention: Tensor, regions: Tensor, words: Tensor, linear: nn.Linear
) -> Tensor:
    """Map the squared difference of each word and its attended regions.

    Args:
        attention: Weight of each region for each word, (n_images, n_regions, n_words).
        regions: (n_images, n_regions, width).
        words: (n_words, width).
        linear: The map, width -> size, with a bias.

    Returns:
        (n_images, n_words, size)
    """
    tensors = (attention, regions, words, linear.weight, linear.bias)
    device = words.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else words.dtype
    with torch.autocast(device, enabled=False):
        return _SquaredDifferenceMap.apply(*(tensor.to(dtype) for tensor in tensors))


class _SquaredDifferenceMap(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, attention: Tensor, regions: Tensor, words: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        ctx.save_for_backward(attention, regions, words, weight)
        out = words.new_empty(len(regions), len(words), len(weight))
        buffer = _buffer(regions, words)
        for part in _parts(len(regions), len(buffer)):
            squares = _differences(attention[part], regions[part], words, buffer).square_()
            flat = out[part].view(-1, len(weight))
            torch.addmm(bias, squares.flatten(0, 1), weight.T, out=flat)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        attention, regions, words, weight = ctx.saved_tensors
        grad = grad.contiguous()
        attention_grad = torch.empty_like(attention)
        regions_grad = torch.empty_like(regions)
        # Sums over all images are always in full precision.
        full = torch.promote_types(words.dtype, torch.float32)
        words_grad = torch.zeros_like(words, dtype=full)
        weight_grad = torch.zeros_like(weight, dtype=full)
        buffer, scratch = _buffer(regions, words), _buffer(regions, words)
        for part in _parts(len(regions), len(buffer)):
            part_grad = grad[part].flatten(0, 1)  # (n_part * n_words, size)
            differences = _differences(attention[part], regions[part], words, buffer)
            other = scratch[: len(differences)]
            torch.square(differences, out=other)
            weight_grad += part_grad.T @ other.flatten(0, 1)
            torch.mm(part_grad, weight, out=other.view(-1, words.shape[1]))
            slope = other.mul_(differences).mul_(2)  # (n_part, n_words, width)
            torch.bmm(regions[part], slope.transpose(1, 2), out=attention_grad[part])
            torch.bmm(attention[part], slope, out=regions_grad[part])
            words_grad -= slope.sum(0)
        bias_grad = grad.sum((0, 1), dtype=full)
        sums = (total.to(words.dtype) for total in (words_grad, weight_grad, bias_grad))
        return attention_grad, regions_grad, *sums


def _buffer(regions: Tensor, words: Tensor) -> Tensor:
    """Buffer for the differences of some images, (n_part, n_words, width)."""
    budget = BUFFER_BYTES.get(words.device.type, BUFFER_BYTES["cpu"])
    n_part = max(1, min(len(regions), budget // max(1, words.nbytes)))
    return words.new_empty(n_part, *words.shape)


def _parts(n_images: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n_images, size)]


def _differences(attention: Tensor, regions: Tensor, words: Tensor, buffer: Tensor) -> Tensor:
    """Attended regions minus words, (n_part, n_words, width), in the buffer."""
    out = buffer[: len(regions)]
    words = words.expand_as(out)
    return torch.baddbmm(words, attention.transpose(1, 2), regions, beta=-1, out=out)
