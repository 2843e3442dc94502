"""Words of a caption that are hidden for masked language modelling.

Source: Guo and Ding, FITEE 2023, section 3.2.2: 15 % of the words, all of them replaced by [MASK].
BERT (Devlin et al., NAACL 2019) replaces 80 %, puts a random word in the place of 10 % and leaves
10 %, so that its encoder never learns to look for [MASK].
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
    """Hide words, drawn on the CPU.

    Where chance chooses no word of the whole batch, one word is hidden all the same, so that there
    is a loss.

    Args:
        input_ids: (n_texts, length).
        special_ids: Tokens that are no words, padding among them.
        mask_id: What hides a word.
        vocab_size: Words to draw random ones from.
        probability: Share of the words that is chosen.
        masking: "mask" or "bert".
        draws: What to draw from; torch's global generator by default.

    Returns:
        The ids with hidden words (n_texts, length), and where words were chosen, bool.
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
