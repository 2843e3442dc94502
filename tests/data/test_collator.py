"""A batch is what the processor returns, with pair ids and image rows."""

from typing import Any

import datasets
import pytest
import torch

from noisy_xmodal.data.collator import PairCollator
from noisy_xmodal.data.pair_dataset import PairDataset


class Recorder:
    """A processor that keeps what it was called with."""

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> dict[str, Any]:
        self.kwargs = kwargs
        if text is None:
            self.images = images
            return {"regions": torch.ones(len(images), 3)}
        self.text = text
        return {"input_ids": torch.ones(len(text), 2)}


def test_collates_regions(regions_dataset: datasets.Dataset) -> None:
    processor = Recorder()
    batch = PairCollator(processor)(PairDataset(regions_dataset).__getitems__([6, 1]))
    assert [image.shape for image in processor.images] == [(4, 4), (1, 4)]
    assert processor.text == ["pair 6", "pair 1"]
    assert processor.kwargs == {"return_tensors": "pt"}
    assert set(batch) == {"input_ids", "regions", "pair_id", "image_row"}
    assert batch["pair_id"].tolist() == [6, 1]
    assert batch["image_row"].tolist() == [3, 0]
    assert batch["pair_id"].dtype == batch["image_row"].dtype == torch.int64


def test_collates_pictures() -> None:
    processor = Recorder()
    item = {"pair_id": 0, "image_row": 0, "image": "picture", "caption": "text"}
    PairCollator(processor)([item])
    assert processor.images == ["picture"]


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="no items"):
        PairCollator(Recorder())([])
