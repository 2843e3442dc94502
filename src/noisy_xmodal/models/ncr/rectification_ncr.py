"""NCR's adaptive prediction: how well a pair matches, judged by the pairs beside it.

Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS 2021,
section 3.2.

| symbol         | here                  | meaning                                             |
|----------------|-----------------------|-----------------------------------------------------|
| S(I, T)        | scores                | similarity of every image with every text, (b, b)   |
| s              | advantage             | how far a pair beats the mean of its negatives      |
| Theta          | clamp                 | to [0, ceiling]; the ceiling is alpha of Eq. 2      |
| tau            | anchor                | mean of the largest 10 % of Theta(s)                |
| P(I, T)        | prediction            | Theta(s) / tau, at most 1                           |

Where the paper is silent or the published code differs:

* The means of Eq. 5 are over the negatives; the printed 1/b counts the pair itself as a zero. The
  code hinges every negative before it averages; here, as printed, the mean comes first.
* tau = 0 (no pair of the chunk beats its negatives) is 0/0 in print and NaN in the code. It means
  that nothing is predicted to match: P = 0.
* Clean and noisy pairs share a mini-batch, its negatives and its tau ("the data have at least 10 %
  clean pairs" is true of the data, not of its noisy side). The code scores them apart, so that the
  best tenth of the noisy pairs counts as matching by construction.
* "Theta(s) / tau ... otherwise [0, 1]" means that P is cut at 1.
* With a cross-entropy there is no alpha at which the training stops pushing, so the ceiling is
  left out.
"""

from torch import Tensor


def adaptive_prediction(
    scores: Tensor,
    negatives: Tensor,
    ceiling: float | None = 0.2,
    anchor_share: float = 0.1,
) -> Tensor:
    """Predict whether each pair of a batch matches (Eq. 5).

    Args:
        scores: Similarity of every image with every text of the batch, pairs on the diagonal,
            (b, b).
        negatives: True where image i is a legitimate negative of text j, (b, b).
        ceiling: Largest advantage that counts, alpha of Eq. 2; None for no limit.
        anchor_share: Share of the pairs whose mean advantage is the anchor.

    Returns:
        Predictions in [0, 1], (b,).
    """
    scores = scores.detach().float()
    others = scores.masked_fill(~negatives, 0)  # (b, b)
    of_image = others.sum(dim=1) / negatives.sum(dim=1).clamp(min=1)  # (b,)
    of_text = others.sum(dim=0) / negatives.sum(dim=0).clamp(min=1)  # (b,)
    advantage = scores.diagonal() - (of_image + of_text) / 2  # (b,)
    clamped = advantage.clamp(min=0, max=ceiling)  # (b,)
    n_anchors = max(1, round(anchor_share * len(clamped)))
    anchor = clamped.topk(n_anchors).values.mean()
    prediction = clamped / anchor.clamp(min=1e-12)  # (b,), 0 where the anchor is 0
    return prediction.clamp(max=1)
