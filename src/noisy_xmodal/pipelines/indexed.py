"""A collection of encoded images or texts that queries of the other kind are scored against."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

#: Columns of the column contract by what a processor reads of them.
_COLUMNS = {
    "image": ("regions", "image"),
    "text": ("captions",),
    "image vectors": ("image_features",),
    "text vectors": ("text_features",),
}
_ROWS_READ = 64


class Collection:
    """Encoded images or texts, kept on the CPU in the blocks that they were encoded in.

    Args:
        side: What they are, "image" or "text".
        blocks: Their encodings as the model gives them, or vectors.
        sizes: How many each block holds.
        ids: A name each.
        texts: The texts, where they are texts.
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
        """Score everything.

        Args:
            score_block: Given a block on the device, scores of all queries, (n_queries, n_block).
            device: Where the model is.

        Returns:
            (n_queries, n_items), float32, on the CPU.
        """
        parts = [score_block(moved(block, device)).float().cpu() for block in self.blocks]
        return torch.cat(parts, dim=1)

    def best(self, scores: Tensor, shown: Tensor, top_k: int) -> list[dict[str, Any]]:
        """The answers to one query, best first; of equal ones the first stands first.

        Args:
            scores: What every item is ranked by, (n_items,); minus infinity where one is no answer.
            shown: What is reported of it, (n_items,).
            top_k: The most answers.
        """
        values = scores.numpy()  # (n_items,)
        order: NDArray[np.int64] = np.argsort(-values, kind="stable")[:top_k]
        return [
            {"index": at, "id": self.ids[at], "score": float(shown[at])}
            | ({} if self.texts is None else {"text": self.texts[at]})
            for at in order.tolist()
            if values[at] > -np.inf
        ]


def moved(encoded: Any, device: torch.device | str) -> Any:
    """Encodings of any model on another device: tensors, or tuples of them of any depth."""
    if isinstance(encoded, Tensor):
        return encoded.to(device)
    parts = [moved(part, device) for part in encoded]
    return type(encoded)(*parts) if hasattr(encoded, "_fields") else tuple(parts)


def encode_all(
    items: Iterable[Any], encode: Callable[[list[Any]], Any], batch_size: int, side: str
) -> tuple[list[Any], list[int], list[Any]]:
    """Encode in blocks, with a progress bar.

    Args:
        items: Images or texts; read once, a block at a time.
        encode: Encodes a block.
        batch_size: Items of a block.
        side: What they are, for the bar and the messages.

    Returns:
        The encodings by block, the size of each block, and the items where they are texts.

    Raises:
        ValueError: If there are none, or `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` is {batch_size}: give at least 1")
    blocks, sizes, texts = [], list[int](), list[Any]()
    waiting = iter(items)
    total = len(items) if isinstance(items, Sized) else None
    with tqdm(total=total, desc=f"encoding {side}s", unit=side, leave=False) as bar:
        while block := list(islice(waiting, batch_size)):
            try:
                blocks.append(moved(encode(block), "cpu"))
            except (OSError, ValueError) as error:
                error.add_note(f"It was met in the {side}s from position {sum(sizes)} on.")
                raise
            sizes.append(len(block))
            texts += block if side == "text" else []
            bar.update(len(block))
    if not blocks:
        raise ValueError(f"there are no {side}s to index: give at least one")
    return blocks, sizes, texts


def read_dataset(rows: Any, side: str, of_vectors: bool) -> tuple[Iterable[Any], list[Any] | None]:
    """The images or texts of a dataset by the column contract, and the `image_id` of each.

    Args:
        rows: A dataset of the datasets library.
        side: "image" or "text".
        of_vectors: Whether the model reads feature vectors.

    Raises:
        ValueError: If it has no such column.
    """
    wanted = _COLUMNS[f"{side} vectors" if of_vectors else side]
    column = next((name for name in wanted if name in rows.column_names), None)
    if column is None:
        raise ValueError(
            f"the dataset has no column {' or '.join(map(repr, wanted))}; its columns are "
            f"{rows.column_names}"
        )
    ids = list(rows["image_id"]) if "image_id" in rows.column_names else None
    if column != "captions":
        return _Column(rows, column), ids
    captions = list(rows[column])
    if ids is not None:
        ids = [name for name, own in zip(ids, captions, strict=True) for _ in own]
    return [caption for own in captions for caption in own], ids


class _Column:
    """A column of pictures, region features or vectors, read some rows at a time."""

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
        for start in range(0, len(rows), _ROWS_READ):
            block = rows[start : start + _ROWS_READ]
            if pictures:
                yield from map(open_picture, block[self._column])
            elif self._column == "regions":
                yield from (regions.copy() for regions in region_arrays(block.column("regions")))
            else:
                values = block.column(self._column).to_pylist()
                yield from (np.asarray(vector, dtype=np.float32) for vector in values)
