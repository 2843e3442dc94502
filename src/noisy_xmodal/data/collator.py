"""From a list of pairs to the tensors of a batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .columns import CAPTION, IMAGE, IMAGE_ROW, PAIR_ID, PEER, REGIONS

ID_COLUMNS = (PAIR_ID, IMAGE_ROW, PEER)


@dataclass
class PairCollator:
    """Collates the items of a `PairDataset`.

    Attributes:
        processor: Called as `processor(images=..., text=..., padding=True, return_tensors="pt")`
            with a list of pictures, or of (n_regions, dim) arrays, and a list of captions.
    """

    processor: Callable[..., Mapping[str, Any]]

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collates `items`.

        Returns:
            What the processor returns, with `pair_id` and `image_row`, and `peer` where items have
            one, all (batch,) int64. Images that a transform has prepared already are stacked.

        Raises:
            ValueError: There is no item.
        """
        if not items:
            raise ValueError("PairCollator was given no items: a batch has at least one pair.")
        options = {"padding": True, "return_tensors": "pt"}
        captions = [item[CAPTION] for item in items]
        visual = next((name for name in (REGIONS, IMAGE) if name in items[0]), None)
        if visual is not None:
            batch = dict(
                self.processor(images=[item[visual] for item in items], text=captions, **options)
            )
        else:
            ready = [name for name in items[0] if name not in (CAPTION, *ID_COLUMNS)]
            batch = dict(self.processor(text=captions, **options))
            batch |= {name: torch.stack([item[name] for item in items]) for name in ready}
        for name in ID_COLUMNS:
            if name in items[0]:
                batch[name] = torch.tensor([item[name] for item in items], dtype=torch.int64)
        return batch


@dataclass
class LabelCollator:
    """Completes the batches of `LabelDataset`; those of vectors are complete already.

    Attributes:
        processor: Called as `processor(images=..., text=...)` with lists of pictures and texts.
    """

    processor: Callable[..., Mapping[str, Any]]

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Puts what the processor returns in place of pictures and texts."""
        found = dict(batch)
        if IMAGE in found:
            pictures, texts = found.pop(IMAGE), found.pop(CAPTION)
            found |= dict(self.processor(images=pictures, text=texts))
        return found
