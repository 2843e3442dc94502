"""Texts of one length together, and back to where they stood."""

import torch

from noisy_xmodal.modules.encoded import Encoded
from noisy_xmodal.modules.similarity.text_groups import group_by_length, ungroup

MASK = torch.tensor(
    [[1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool
)


def test_every_text_is_in_the_group_of_its_length_with_its_real_words_in_order():
    tokens = torch.arange(40.0).view(5, 4, 2)
    groups = group_by_length(Encoded(tokens, MASK))
    assert [group.rows.tolist() for group in groups] == [[3], [0, 2], [1, 4]]
    for group in groups:
        for row, words in zip(group.rows.tolist(), group.words, strict=True):
            torch.testing.assert_close(words, tokens[row][MASK[row]])


def test_columns_return_to_their_texts():
    groups = group_by_length(Encoded(torch.zeros(5, 4, 2), MASK))
    parts = [group.rows.expand(3, -1) for group in groups]
    assert ungroup(parts, groups).tolist() == [[0, 1, 2, 3, 4]] * 3
