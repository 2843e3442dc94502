"""A collection of encoded images or texts, which is searched by queries of the other modality."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

#: Columns of the column contract by kind of input.
_COLUMNS = {
    "image": ("regions", "image"),
    "text": ("captions",),
    "image vectors": ("image_features",),
    "text vectors": ("text_features",),
}
_BLOCK_ROWS = 64


class Collection:
    """Encoded images or texts in blocks on the CPU.

    Args:
        side: "image" or "text".
        blocks: Encodings by the model, or vectors.
        sizes: Number of items of each block.
        ids: Name of each item.
        texts: The texts; None for images.
    """

    def __init__(
        self,
        side: str,
        blocks: Sequence[Any],
        sizes: Sequence[int],
        ids: Sequence[Any],
        texts: Sequence[Any] | None,
    ) -> None:
        self.side = side
        self.blocks = blocks
        self.starts = np.cumsum([0, *sizes])  # (n_blocks + 1,)
        self.ids = ids
        self.texts = texts

    def __len__(self) -> int:
        return int(self.starts[-1])

    def scores(self, score_block: Callable[[Any], Tensor], device: torch.device) -> Tensor:
        """Score all items.

        Args:
            score_block: Function of a block on the device that returns the scores of all queries,
                (n_queries, n_block).
            device: Device of the model.

        Returns:
            (n_queries, n_items), float32, on the CPU.
        """
        parts = [score_block(to_device(block, device)).float().cpu() for block in self.blocks]
        return torch.cat(parts, dim=1)

    def best(self, scores: Tensor, values: Tensor, top_k: int) -> list[dict[str, Any]]:
        """The answers to one query, best first, ties in the order of the items.

        Args:
            scores: Score of every item, (n_items,); minus infinity excludes an item.
            values: Values to report as scores, (n_items,).
            top_k: Maximum number of answers.
        """
        keys = scores.numpy()  # (n_items,)
        order: NDArray[np.int64] = np.argsort(-keys, kind="stable")[:top_k]
        return [
            {"index": i, "id": self.ids[i], "score": float(values[i])}
            | ({} if self.texts is None else {"text": self.texts[i]})
            for i in order.tolist()
            if keys[i] > -np.inf
        ]


def to_device(encodings: Any, device: torch.device | str) -> Any:
    """Move the encodings of a model, tensors or nested tuples of them, to a device."""
    if isinstance(encodings, Tensor):
        return encodings.to(device)
    parts = [to_device(part, device) for part in encodings]
    return type(encodings)(*parts) if hasattr(encodings, "_fields") else tuple(parts)


def encode_all(
    items: Iterable[Any], encode: Callable[[list[Any]], Any], batch_size: int, side: str
) -> tuple[list[Any], list[int], list[Any]]:
    """Encode items in blocks, with a progress bar.

    Args:
        items: Images or texts; read once, a block at a time.
        encode: Function that encodes a block.
        batch_size: Items per block.
        side: "image" or "text".

    Returns:
        The encodings by block, the size of each block, and the items if they are texts.

    Raises:
        ValueError: If there are no items, or `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` is {batch_size}: give at least 1")
    blocks, sizes, texts = [], list[int](), list[Any]()
    iterator = iter(items)
    total = len(items) if isinstance(items, Sized) else None
    with tqdm(total=total, desc=f"encoding {side}s", unit=side, leave=False) as bar:
        while block := list(islice(iterator, batch_size)):
            try:
                blocks.append(to_device(encode(block), "cpu"))
            except (OSError, ValueError) as error:
                error.add_note(f"The error occurred in the {side}s from position {sum(sizes)} on.")
                raise
            sizes.append(len(block))
            texts += block if side == "text" else []
            bar.update(len(block))
    if not blocks:
        raise ValueError(f"there are no {side}s to index: give at least one")
    return blocks, sizes, texts


def read_dataset(rows: Any, side: str, vectors: bool) -> tuple[Iterable[Any], list[Any] | None]:
    """The images or texts of a dataset by the column contract, and the `image_id` of each.

    Args:
        rows: A `datasets.Dataset`.
        side: "image" or "text".
        vectors: Whether the model takes feature vectors.

    Raises:
        ValueError: If the dataset does not have such a column.
    """
    names = _COLUMNS[f"{side} vectors" if vectors else side]
    column = next((name for name in names if name in rows.column_names), None)
    if column is None:
        raise ValueError(
            f"the dataset has no column {' or '.join(map(repr, names))}; its columns are "
            f"{rows.column_names}"
        )
    ids = list(rows["image_id"]) if "image_id" in rows.column_names else None
    if column != "captions":
        return _Column(rows, column), ids
    captions = list(rows[column])
    if ids is not None:
        ids = [name for name, texts in zip(ids, captions, strict=True) for _ in texts]
    return [caption for texts in captions for caption in texts], ids


class _Column:
    """A column of images, region features or vectors, read in blocks of rows."""

    def __init__(self, rows: Any, column: str) -> None:
        self._rows = rows.select_columns([column])
        self._column = column

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Any]:
        from ..data.pictures import open_picture, stored_pictures
        from ..data.regions import region_arrays

        pictures = self._column == "image"
        rows = stored_pictures(self._rows) if pictures else self._rows.with_format("arrow")
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = rows[start : start + _BLOCK_ROWS]
            if pictures:
                yield from map(open_picture, block[self._column])
            elif self._column == "regions":
                yield from (regions.copy() for regions in region_arrays(block.column("regions")))
            else:
                values = block.column(self._column).to_pylist()
                yield from (np.asarray(vector, dtype=np.float32) for vector in values)
