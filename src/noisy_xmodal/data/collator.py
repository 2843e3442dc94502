"""Collators: from items of a dataset to the tensors of a batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..modules.kept_tokens import KeptTokens
from .columns import CAPTION, IMAGE, IMAGE_ROW, PAIR_ID, PARTNER, PEER, REGIONS

ID_COLUMNS = (PAIR_ID, IMAGE_ROW, PEER, PARTNER)


@dataclass
class PairCollator:
    """Collates the items of a `PairDataset`.

    Attributes:
        processor: Called with `return_tensors="pt"` and a list of captions, `text`, which it pads;
            and with a list of pictures, or of (n_regions, dim) arrays, `images`.
        tokens: Tokenizes the captions by the processor, each of them once.
    """

    processor: Callable[..., Mapping[str, Any]]
    tokens: KeptTokens = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.tokens = KeptTokens(self.processor)

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collates `items`.

        Returns:
            The outputs of the processor, `pair_id`, `image_row`, and `peer` and `partner` if items
            have them, all (batch,) int64. Images that a transform has already prepared are stacked.

        Raises:
            ValueError: There are no items.
        """
        if not items:
            raise ValueError("PairCollator got no items: a batch has at least one pair.")
        batch: dict[str, Any] = dict(self.tokens([item[CAPTION] for item in items]))
        visual = next((name for name in (REGIONS, IMAGE) if name in items[0]), None)
        if visual is not None:
            visuals = [item[visual] for item in items]
            batch |= dict(self.processor(images=visuals, return_tensors="pt"))
        else:
            names = [name for name in items[0] if name not in (CAPTION, *ID_COLUMNS)]
            batch |= {name: torch.stack([item[name] for item in items]) for name in names}
        for name in ID_COLUMNS:
            if name in items[0]:
                batch[name] = torch.tensor([item[name] for item in items], dtype=torch.int64)
        return batch


@dataclass
class LabelCollator:
    """Processes the pictures and texts in batches of `LabelDataset`; vectors need no processing.

    Attributes:
        processor: Called as `processor(images=..., text=...)` with lists of pictures and texts.
    """

    processor: Callable[..., Mapping[str, Any]]

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Replaces pictures and texts by the outputs of the processor."""
        result = dict(batch)
        if IMAGE in result:
            pictures, texts = result.pop(IMAGE), result.pop(CAPTION)
            result |= dict(self.processor(images=pictures, text=texts))
        return result
