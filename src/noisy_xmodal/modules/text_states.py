"""Token states of a text model, without the cost of padding on a CPU."""

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
    lengths = attention_mask.sum(dim=1)  # (n,)
    is_divided = input_ids.device.type == "cpu" and len(input_ids) > _BLOCK_SIZE
    if not (is_divided and bool(attention_mask[:, 0].all())):  # positions count padding on the left
        return model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    order = lengths.argsort(stable=True)  # (n,)
    blocks = []
    for rows in order.split(_BLOCK_SIZE):
        longest = int(lengths[rows[-1]])
        ids, mask = input_ids[rows, :longest], attention_mask[rows, :longest]
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        blocks.append(functional.pad(states, (0, 0, 0, input_ids.shape[1] - longest)))
    return torch.cat(blocks)[order.argsort()]
