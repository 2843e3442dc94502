"""Negative pairs for image-text matching, constructed from the pairs of a mini-batch.

Source: Guo and Ding, FITEE 2023, section 3.2, which does not specify the construction. Here a
negative has one side of a pair and the other side of another pair of the batch, as in UNITER (Chen
et al., ECCV 2020). The side and the other pair are random. Other captions of the same image, and
captions with the same text, are never drawn. A caption of another image may still describe the
image by chance. Given the logits of a two-tower model, every second negative is a hard one: the
other side is drawn by the probabilities of that model, as in ALBEF (Li et al., NeurIPS 2021).
"""

import torch
from torch import Tensor


def draw_negatives(
    is_negative: Tensor,
    per_positive: int = 1,
    side: str = "both",
    draws: torch.Generator | None = None,
    logits: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw negative pairs on the CPU.

    Args:
        is_negative: True where image i does not match text j, (n_pairs, n_pairs).
        per_positive: Negatives per pair. A pair whose image matches all captions of the batch has
            none.
        side: The side to replace: "image", "text", or "both", which chooses one at random.
        draws: Random generator; by default torch's global generator.
        logits: Logits of each image with each text, (n_pairs, n_pairs), for hard negatives; None
            for random ones.

    Returns:
        Positions of the image and the text, (n_negatives, 2), and the pair that each negative was
        constructed from, (n_negatives,).
    """
    device = is_negative.device
    # Neither side of the other pair may match this pair.
    allowed = (is_negative & is_negative.T).cpu()  # (n_pairs, n_pairs)
    anchor = allowed.any(dim=1).nonzero().flatten().repeat_interleave(per_positive)
    if not len(anchor):
        return torch.empty(0, 2, dtype=torch.long, device=device), anchor.to(device)
    weights = allowed[anchor].float()  # (n_negatives, n_pairs)
    other = torch.multinomial(weights, 1, generator=draws)[:, 0]  # (n_negatives,)
    replaces_image = {
        "image": torch.ones(len(anchor), dtype=torch.bool),
        "text": torch.zeros(len(anchor), dtype=torch.bool),
        "both": torch.rand(len(anchor), generator=draws) < 0.5,
    }[side]
    if logits is not None:
        of_text, of_image = logits.T[anchor], logits[anchor]  # (n_negatives, n_pairs) each
        rivals = torch.where(replaces_image[:, None], of_text, of_image)
        weights = rivals.masked_fill(~allowed[anchor], -torch.inf).softmax(dim=-1)
        hard = torch.multinomial(weights, 1, generator=draws)[:, 0]
        is_hard = torch.rand(len(anchor), generator=draws) < 0.5
        other = torch.where(is_hard, hard, other)
    image = torch.where(replaces_image, other, anchor)
    text = torch.where(replaces_image, anchor, other)
    return torch.stack([image, text], dim=1).to(device), anchor.to(device)
