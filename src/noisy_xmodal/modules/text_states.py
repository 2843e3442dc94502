"""Token states of a text model, without the cost of padding on a CPU."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

_BLOCK_SIZE = 64  # texts that are read together


def text_states(model: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Token states by any transformers text model, (n, length, size).

    A CPU computes padding like words, and the longest caption of a batch has twice the words of the
    mean. So texts of similar length are read together there, each block up to its own longest text,
    which takes 40 % off a training step (`tests/benchmarks/text_states.py`). Other devices read
    the whole batch at once.

    Args:
        model: The text model.
        input_ids: (n, length).
        attention_mask: 1 for real tokens, (n, length).

    Returns:
        The states; those of padding are zero, or what the model makes of it.
    """

    def read(ids: Tensor, mask: Tensor) -> Tensor:
        return model(input_ids=ids, attention_mask=mask).last_hidden_state

    return read_by_length(read, input_ids, attention_mask)


def read_by_length(
    read: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, attention_mask: Tensor
) -> Tensor:
    """Token states by any function of the inputs and the mask of texts, see `text_states`.

    Args:
        read: What makes states (n, length, size).
        inputs: (n, length) or (n, length, size).
        attention_mask: 1 for real tokens, (n, length).
    """
    lengths = attention_mask.sum(dim=1)  # (n,)
    is_divided = inputs.device.type == "cpu" and len(inputs) > _BLOCK_SIZE
    if not (is_divided and bool(attention_mask[:, 0].all())):  # positions count padding on the left
        return read(inputs, attention_mask)
    order = lengths.argsort(stable=True)  # (n,)
    blocks = []
    for rows in order.split(_BLOCK_SIZE):
        longest = int(lengths[rows[-1]])
        states = read(inputs[rows, :longest], attention_mask[rows, :longest])
        blocks.append(functional.pad(states, (0, 0, 0, inputs.shape[1] - longest)))
    return torch.cat(blocks)[order.argsort()]
