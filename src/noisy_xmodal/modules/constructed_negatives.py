"""Wrong pairs for image-text matching, made from the pairs of a mini-batch.

Source: Guo and Ding, FITEE 2023, section 3.2, which says that negatives are constructed and clean,
not how. Here a negative has one side of a given pair and the other side of another pair of the
batch, as in UNITER (Chen et al., ECCV 2020): which side is replaced, and by which pair's, is drawn
anew each time. Another caption of the same image is never drawn, nor one that has its very words.
That another image's caption may describe this image in other words is accepted.
"""

import torch
from torch import Tensor


def draw_negatives(
    is_negative: Tensor,
    per_positive: int = 1,
    side: str = "both",
    draws: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw wrong pairs on the CPU.

    Args:
        is_negative: True where image i is no image of text j's, (n_pairs, n_pairs).
        per_positive: Wrong pairs for each given one. A pair whose image has all captions of the
            batch gets none.
        side: What is replaced: "image", "text", or "both" by the toss of a coin.
        draws: What to draw from; torch's global generator by default.

    Returns:
        Positions of an image and of a text, (n_negatives, 2), and the given pair that each was
        made for, (n_negatives,).
    """
    device = is_negative.device
    # Neither side of the other pair may suit this one, whichever of them is drawn.
    allowed = (is_negative & is_negative.T).cpu()  # (n_pairs, n_pairs)
    anchor = allowed.any(dim=1).nonzero().flatten().repeat_interleave(per_positive)
    if not len(anchor):
        return torch.empty(0, 2, dtype=torch.long, device=device), anchor.to(device)
    other = torch.multinomial(allowed[anchor].float(), 1, generator=draws)[:, 0]  # (n_negatives,)
    replaces_image = {
        "image": torch.ones(len(anchor), dtype=torch.bool),
        "text": torch.zeros(len(anchor), dtype=torch.bool),
        "both": torch.rand(len(anchor), generator=draws) < 0.5,
    }[side]
    image = torch.where(replaces_image, other, anchor)
    text = torch.where(replaces_image, anchor, other)
    return torch.stack([image, text], dim=1).to(device), anchor.to(device)
