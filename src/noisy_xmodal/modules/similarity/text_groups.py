"""Group texts by length, so that heads compute without padding.

Captions differ so much in length that more than half of a padded batch can be padding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..encoded import Encoded


class TextGroup(NamedTuple):
    """The texts of a batch with the same length.

    Attributes:
        rows: Their positions in the batch, (n_texts,).
        words: Their real tokens, (n_texts, n_words, hidden_size).
    """

    rows: Tensor
    words: Tensor


def group_by_length(text: Encoded) -> list[TextGroup]:
    """Group the texts of a batch, the shortest first.

    Args:
        text: Tokens (n_texts, length, hidden_size) and their mask; padding may be anywhere.
    """
    lengths = text.mask.sum(1)  # (n_texts,)
    order = torch.argsort(lengths, stable=True)  # (n_texts,)
    real = text.mask[order].flatten().nonzero().squeeze(1)  # (n_words,)
    length = text.mask.shape[1]
    places = order[real // length] * length + real % length  # (n_words,), in the flat batch
    words = text.tokens.flatten(0, 1).index_select(0, places)  # (n_words, hidden_size)
    unique, counts = torch.unique_consecutive(lengths[order], return_counts=True)
    sizes = list(zip(unique.tolist(), counts.tolist(), strict=True))
    return [
        TextGroup(rows, part.unflatten(0, (len(rows), -1)))
        for rows, part in zip(
            order.split([count for _, count in sizes]),
            words.split([length * count for length, count in sizes]),
            strict=True,
        )
    ]


def ungroup(parts: Sequence[Tensor], groups: Sequence[TextGroup]) -> Tensor:
    """Reorder the columns of the groups to the order of the batch.

    Args:
        parts: Scores of each group, (n_images, n_texts of the group).
        groups: The groups.

    Returns:
        (n_images, n_texts)
    """
    rows = torch.cat([group.rows for group in groups])  # (n_texts,)
    return torch.cat(list(parts), dim=1).index_select(1, torch.argsort(rows))
