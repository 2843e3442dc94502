"""A collection: images or texts encoded by a model, searched by queries of the other side.

The vectors of a two-tower model are searched by faiss, and may be kept in a file. Any other model
compares a query with the encodings of all items. A slow model re-ranks the answers of a fast one
as a collection of its own, which consists of these answers.
"""

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ..data.boxes import BOX_SIZE, without_boxes
from ..data.columns import CAPTIONS, IMAGE, IMAGE_ID, REGIONS, check_is_split, column_values
from ..data.lazy_rows import ColumnRows
from ..modules.list_inputs import check_list
from .cache import stored_rows
from .scoring import encode, eval_mode, to_device

Side = Literal["image", "text"]
#: Columns of the column contract.
_COLUMNS: dict[Side, tuple[str, ...]] = {"image": (REGIONS, IMAGE), "text": (CAPTIONS,)}
OTHER_SIDE: dict[Side, Side] = {"image": "text", "text": "image"}


class Collection:
    """Encoded images or texts.

    Create it by `Collection.encode`.

    Args:
        model: Any matching model; its mode is restored after every call.
        processor: Its processor.
        side: "image" or "text".
        encodings: Vectors of a two-tower model, (n_items, size), or blocks of encodings of another
            model, on the CPU.
    """

    def __init__(self, model: Any, processor: Any, side: Side, encodings: Any) -> None:
        self.model, self.processor, self.side = model, processor, side
        self.encodings = encodings

    def __len__(self) -> int:
        blocks = [self.encodings] if self.model.is_two_tower else self.encodings
        return sum(map(_n_items, blocks))

    @classmethod
    def encode(
        cls,
        model: Any,
        processor: Any,
        side: Side,
        items: Iterable[Any],
        path: Path | None = None,
        block_size: int = 64,
        progress: bool = False,
    ) -> "Collection":
        """Encode items.

        Args:
            model: Any matching model; one with two towers if there is a path.
            processor: Its processor.
            side: "image" or "text".
            items: Images, region features, vectors or texts; read once, a block at a time. For a
                file a sequence; slicing must give a list.
            path: The `.npy` file of the vectors, whose name must identify the model and the items.
                A complete file is read instead, see `stored_rows`; the vectors are then
                memory-mapped. None to encode into memory.
            block_size: Items per block.
            progress: Whether to show a progress bar.

        Raises:
            ValueError: If there are no items, `items` is not a list, `block_size` is below 1, or a
                vector for the file is not finite.
        """
        check_list(items, f"{side}s")
        if block_size < 1:
            raise ValueError(f"`batch_size` is {block_size}: give at least 1")
        total = len(items) if isinstance(items, Sized) else None
        title = f"{side} vectors"
        if path is not None:
            sequence: Any = items

            def make(start: int, end: int) -> NDArray[np.float32]:
                return _encode_block(model, processor, side, sequence[start:end], start)

            with eval_mode(model):
                vectors = stored_rows(path, len(sequence), make, block_size, title, progress)
            return cls(model, processor, side, vectors)
        blocks, n_items = [], 0
        with (
            eval_mode(model),
            tqdm(total=total, desc=title, leave=False, disable=not progress) as bar,
        ):
            for block in _blocks(items, block_size):
                blocks.append(_encode_block(model, processor, side, block, n_items))
                n_items += len(block)
                bar.update(len(block))
        if not blocks:
            raise ValueError(f"there are no {side}s to index: give at least one")
        return cls(model, processor, side, np.concatenate(blocks) if model.is_two_tower else blocks)

    def search(
        self, queries: Sequence[Any], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the best items for each query.

        Args:
            queries: Items of the other side.
            k: Answers per query.

        Returns:
            Scores and positions of the items, best first, the first item first for equal scores,
            both (n_queries, min(k, n_items)).

        Raises:
            ValueError: If a score is not finite.
        """
        with eval_mode(self.model):
            encoded = encode(self.model, self.processor, OTHER_SIDE[self.side], queries)
            if self.model.is_two_tower:
                from .nearest import nearest  # loads faiss

                return nearest(self.encodings, _floats(encoded), k)
            parts = []
            for block in self.encodings:
                items = to_device(block, self.model.device)
                sides = (items, encoded) if self.side == "image" else (encoded, items)
                part = _floats(self.model.score(*sides))
                parts.append(part.T if self.side == "image" else part)
        scores = np.concatenate(parts, axis=1)  # (n_queries, n_items)
        if not np.isfinite(scores).all():
            raise ValueError(
                f"{type(self.model).__name__} gives a score that is not finite: look for a "
                "diverged model"
            )
        positions = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # (n_queries, k)
        return np.take_along_axis(scores, positions, 1), positions


def embed_pairs(
    model: Any,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[str],
    folder: Path,
    progress: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of images and of texts, (n_images, size) and (n_texts, size), kept in a folder.

    Args:
        model: A two-tower model.
        processor: Its processor.
        images: As for `Collection.encode`.
        texts: Likewise.
        folder: Folder of `images.npy` and `texts.npy`, which identifies the model and the items.
        progress: Whether to show progress bars.
    """
    sides: tuple[tuple[Side, Any], ...] = ("image", images), ("text", texts)
    image, text = (
        Collection.encode(
            model, processor, side, items, folder / f"{side}s.npy", progress=progress
        ).encodings
        for side, items in sides
    )
    return image, text


def dataset_items(
    rows: datasets.Dataset, side: Side, vectors: bool = False
) -> tuple[Sequence[Any], list[Any] | None]:
    """The images or texts of a dataset by the column contract, and the image id of each.

    Args:
        rows: A dataset that may have only the columns of one side.
        side: "image" or "text".
        vectors: Whether the model takes feature vectors.

    Returns:
        The items, of which images, region features and vectors are read on access; and their ids,
        None if there is no such column.

    Raises:
        DatasetError: If the dataset is streamed, or several splits.
        ValueError: If the dataset does not have such a column.
    """
    check_is_split(rows)
    names = (f"{side}_features",) if vectors else _COLUMNS[side]
    column = next((name for name in names if name in rows.column_names), None)
    if column is None:
        raise ValueError(
            f"the dataset has no column {' or '.join(map(repr, names))}; its columns are "
            f"{rows.column_names}"
        )
    ids = column_values(rows, IMAGE_ID) if IMAGE_ID in rows.column_names else None
    if column != CAPTIONS:
        return ColumnRows(rows, column), ids
    captions = column_values(rows, column)
    if ids is not None:
        ids = [name for name, texts in zip(ids, captions, strict=True) for _ in texts]
    return [caption for texts in captions for caption in texts], ids


def images_for_model(processor: Any, images: Sequence[Any]) -> Sequence[Any]:
    """Images as inputs of a model: boxes are removed from region features if it does not use them.

    Args:
        processor: The model's processor.
        images: Images or region features.

    Raises:
        ValueError: If the model takes images and these are region features, or vice versa.
    """
    size = getattr(processor.image_processor, "region_size", None)
    are_regions = isinstance(images[0], np.ndarray)
    if are_regions != (size is not None):
        kinds = ("region features", "pictures")
        expected, actual = kinds if size is not None else kinds[::-1]
        raise ValueError(
            f"the model takes {expected}, but the images are {actual}: give a matching model"
        )
    if size is not None and images[0].shape[1] == size + BOX_SIZE:
        return without_boxes(images)
    return images


def _blocks(items: Iterable[Any], size: int) -> Iterator[Sequence[Any]]:
    if isinstance(items, Sequence):
        yield from (items[start : start + size] for start in range(0, len(items), size))
        return
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block


def _encode_block(model: Any, processor: Any, side: Side, block: Sequence[Any], start: int) -> Any:
    try:
        encodings = to_device(encode(model, processor, side, block), "cpu")
    except (OSError, ValueError) as error:
        end = start + len(block) - 1
        error.add_note(f"The error occurred in the {side}s {start} to {end}.")
        raise
    return _floats(encodings) if model.is_two_tower else encodings


def _n_items(encodings: Any) -> int:
    """Length of an array, or of the arrays in nested tuples."""
    return _n_items(encodings[0]) if isinstance(encodings, tuple) else len(encodings)


def _floats(values: torch.Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()
