"""Masking of caption words for masked language modelling.

Source: Guo and Ding, FITEE 2023, section 3.2.2: 15 % of the words, all replaced by [MASK]. BERT
(Devlin et al., NAACL 2019) replaces 80 % of them by [MASK] and 10 % by random words, and keeps
10 %, so that the encoder does not rely on [MASK].
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def mask_words(
    input_ids: Tensor,
    special_ids: Sequence[int],
    mask_id: int,
    vocab_size: int,
    probability: float = 0.15,
    masking: str = "mask",
    draws: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Mask random words, drawn on the CPU.

    At least one word of the batch is masked, so that there is a loss.

    Args:
        input_ids: (n_texts, length).
        special_ids: Ids of special tokens, including padding.
        mask_id: Id of the mask token.
        vocab_size: Number of words from which random words are drawn.
        probability: Probability that a word is selected.
        masking: "mask" or "bert".
        draws: Random generator; by default torch's global generator.

    Returns:
        The ids with masked words, (n_texts, length), and the mask of selected words, bool.
    """
    device = input_ids.device
    ids = input_ids.cpu()
    is_word = ~torch.isin(ids, torch.tensor(sorted(special_ids)))  # (n_texts, length)
    chosen = is_word & (torch.rand(ids.shape, generator=draws) < probability)
    if not chosen.any() and is_word.any():
        words = is_word.flatten().nonzero().flatten()
        chosen.view(-1)[words[torch.randint(len(words), (1,), generator=draws)]] = True
    masked = torch.where(chosen, mask_id, ids)
    if masking == "bert":
        kind = torch.rand(ids.shape, generator=draws)
        masked = torch.where(chosen & (kind < 0.1), ids, masked)
        random = torch.randint(vocab_size, ids.shape, generator=draws)
        masked = torch.where(chosen & (kind >= 0.1) & (kind < 0.2), random, masked)
    return masked.to(device), chosen.to(device)
