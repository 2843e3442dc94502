"""Complete mismatch: captions, or whole caption lists, exchanged at random between images.

Two protocols share the same percentages in the literature and are not comparable:

| level   | used by                            | what is exchanged                               |
|---------|------------------------------------|-------------------------------------------------|
| caption | NCR, BiCro, MSCN, PC2, IN2R        | single captions: most images keep some good ones |
| image   | DECL, RCL, GSC, L2RM               | whole caption lists: an image is right or wrong  |

At 60 % noise 7.7 % of the Flickr30K images have five wrong captions at caption level, and 60 %
at image level, so the level belongs into every name and every result. RCAR names this noise
"complete", against the partial one of `partial_mismatch.py`, and does not say its level.

The published draws select a share of the captions and shuffle them, so that some may come back
to their own image (19.999 % wrong where 20 % was asked, in the published Flickr30K file). Here
every selected caption or list ends at another image: the share that is asked is the share found.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import check_clean, check_level, check_ratio
from .pairs import Pairs
from .same_texts import exchange_same_texts, has_text


@dataclass(frozen=True)
class CompleteMismatch:
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

    ratio: float
    level: str = "caption"

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_level(self.level)

    @property
    def name(self) -> str:
        """Name of the dataset configuration with this noise, such as "cmp_40"."""
        prefix = "cmp" if self.level == "caption" else "cmp_image"
        return f"{prefix}_{100 * self.ratio:g}"

    def protocol(self) -> dict[str, Any]:
        """What to store with the data: type, level and ratio asked, ready for JSON."""
        return {"type": "complete_mismatch", "level": self.level, "ratio": float(self.ratio)}

    def apply(self, pairs: Pairs, rng: np.random.Generator) -> Pairs:
        """Exchange captions, or whole caption lists, between images.

        Exactly round(ratio * n) of the n captions (or images) are wrong afterwards. At caption
        level every image keeps its number of captions. At image level a list moves whole, and an
        image takes the number of captions of the list that it gets. Where the pairs know their
        texts, no image gets a text that describes it, as far as others can take its place
        (`Pairs.n_same_text` counts the rest).

        Args:
            pairs: Clean pairs.
            rng: Source of randomness.

        Returns:
            Noisy pairs; `pairs` is left as it is.

        Raises:
            ValueError: If the pairs are noisy already, or if the ratio selects too few captions or
                images, or too many of one image, for each to end at another image.
        """
        check_clean(pairs)
        owner = pairs.source_image if self.level == "caption" else np.arange(pairs.n_images)
        chosen = self._select(owner, rng)  # (n_chosen,)
        given = owner.copy()  # (n_captions,) or (n_images,)
        given[chosen] = _derange(owner[chosen], rng)
        if pairs.text is not None:
            given = exchange_same_texts(given, chosen, has_text(pairs, self.level), rng)
        image = given if self.level == "caption" else given[pairs.source_image]  # (n_captions,)
        return replace(pairs, image=image)

    def _select(self, owner: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw the items that move, at most half of them of any one owner."""
        n_chosen = round(self.ratio * len(owner))
        largest = n_chosen // 2  # one owner's items need as many places elsewhere
        possible = int(np.minimum(np.bincount(owner), largest).sum()) if len(owner) else 0
        if possible < n_chosen or (n_chosen == 0 and self.ratio > 0):
            raise ValueError(
                f"ratio={self.ratio} at {self.level} level selects {n_chosen} of {len(owner)} "
                f"{self.level}s, which cannot all end at another image (at least 2 are needed, and "
                "at most half of them may be of one image): change the ratio or use more images"
            )
        order = rng.permutation(len(owner))  # (n,)
        return order[_occurrence(owner[order]) < largest][:n_chosen]


def _occurrence(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each entry's value came before it, (n,)."""
    by_value = np.argsort(values, kind="stable")  # (n,)
    ordered = values[by_value]  # (n,)
    occurrence = np.empty_like(by_value)
    occurrence[by_value] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return occurrence


def _derange(owner: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Permute the owners at random so that no position keeps its own.

    A position that got its own owner swaps with one that neither belongs to nor holds that owner.
    One exists while no owner has more than half of the positions, and a swap never makes a new
    conflict, so one pass is enough.
    """
    given = rng.permutation(owner)  # (n,)
    for position in np.flatnonzero(given == owner):
        own = owner[position]
        if given[position] != own:
            continue  # an earlier swap resolved it
        other = rng.choice(np.flatnonzero((owner != own) & (given != own)))
        given[[position, other]] = given[[other, position]]
    return given
