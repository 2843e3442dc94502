"""Complete mismatch: captions, or whole caption lists, exchanged at random between images.

Two protocols share the same percentages in the literature and are not comparable:

| level   | used by                            | what is exchanged                               |
|---------|------------------------------------|-------------------------------------------------|
| caption | NCR, BiCro, MSCN, PC2, IN2R        | single captions: most images keep some good ones |
| image   | DECL, RCL, GSC, L2RM               | whole caption lists: an image is right or wrong  |

At 60 % noise, 7.7 % of the Flickr30K images have five wrong captions at caption level, and 60 %
at image level, so every name and every result must state the level. RCAR calls this noise
"complete", in contrast to the partial one of `partial_mismatch.py`, and does not state its level.

The published draws select a share of the captions and shuffle them, so some may return to their
own image (the published Flickr30K file for 20 % has 19.999 % wrong). Here every selected caption
or list moves to another image, so the ratio is the wrong share.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .base import CAPTION_LEVELS, CaptionNoise
from .pairs import Pairs
from .same_texts import exchange_same_texts, has_text


@dataclass(frozen=True)
class CompleteMismatch(CaptionNoise):
    """Complete mismatch: captions exchanged at random between images.

    Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS
    2021, Section 4 (caption level); Qin et al., "Deep Evidential Learning with Noisy
    Correspondence for Cross-modal Retrieval", ACM MM 2022 (image level).

    Attributes:
        ratio: Share of the captions (caption level) or images (image level) to make wrong, 0 to 1.
        level: "caption" or "image".

    Raises:
        ValueError: If the ratio is outside 0 to 1 or the level is unknown.
    """

    kind = "complete_mismatch"
    title = "complete mismatch: texts moved to other images"
    sentences = (CAPTION_LEVELS,)
    prefixes: ClassVar = {"cmp": {"level": "caption"}, "cmp_image": {"level": "image"}}

    def apply(self, pairs: Pairs, rng: np.random.Generator) -> Pairs:
        """Exchange captions, or whole caption lists, between images.

        Exactly round(ratio * n) of the n captions (or images) are wrong afterwards. At caption
        level every image keeps its number of captions. At image level whole lists move, with
        their numbers of captions. Where the texts of the pairs are known, no image gets a text
        that describes it, unless nothing can be exchanged for it (`Pairs.n_same_text` counts
        those).

        Args:
            pairs: Clean pairs.
            rng: Source of randomness.

        Returns:
            Noisy pairs; `pairs` does not change.

        Raises:
            ValueError: If the pairs are noisy already, or if the ratio selects too few captions or
                images, or too many of one image, for each to move to another image.
        """
        pairs.check_clean()
        owner = pairs.source_image if self.level == "caption" else np.arange(pairs.n_images)
        items = self._select(owner, rng)  # (n_moved,)
        holder = owner.copy()  # (n_captions,) or (n_images,)
        holder[items] = _derange(owner[items], rng)
        if pairs.text is not None:
            holder = exchange_same_texts(holder, items, has_text(pairs, self.level), rng)
        image = holder if self.level == "caption" else holder[pairs.source_image]  # (n_captions,)
        return replace(pairs, image=image)

    def _select(self, owner: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw the items that move, at most half of them of any one owner."""
        n_moved = round(self.ratio * len(owner))
        largest = n_moved // 2  # one owner's items need as many places elsewhere
        possible = int(np.minimum(np.bincount(owner), largest).sum()) if len(owner) else 0
        if possible < n_moved or (n_moved == 0 and self.ratio > 0):
            raise ValueError(
                f"ratio={self.ratio} at {self.level} level selects {n_moved} of {len(owner)} "
                f"{self.level}s, which cannot all move to another image (at least 2 are needed, "
                "and at most half of them may be of one image): change the ratio or use more images"
            )
        order = rng.permutation(len(owner))  # (n,)
        return order[_occurrence(owner[order]) < largest][:n_moved]


def _occurrence(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of earlier entries with the same value, (n,)."""
    order = np.argsort(values, kind="stable")  # (n,)
    ordered = values[order]  # (n,)
    occurrence = np.empty_like(order)
    occurrence[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return occurrence


def _derange(owner: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Permute the owners at random so that no position keeps its own.

    A position that keeps its owner swaps with one that neither belongs to nor holds that owner.
    One exists while no owner has more than half of the positions, and a swap never makes a new
    conflict, so one pass is enough.
    """
    holder = rng.permutation(owner)  # (n,)
    for position in np.flatnonzero(holder == owner):
        own = owner[position]
        if holder[position] != own:
            continue  # an earlier swap resolved it
        other = rng.choice(np.flatnonzero((owner != own) & (holder != own)))
        holder[[position, other]] = holder[[other, position]]
    return holder
