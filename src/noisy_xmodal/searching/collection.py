"""The collection to search: one split, its vectors on disk, and their index."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
from numpy.typing import NDArray

from ..data import DatasetError, PairDataset, load_pairs
from ..data.any_dataset.columns import ColumnOptions
from ..data.boxes import BOX_SIZE, without_boxes
from ..data.builders import embedded_pairs
from ..data.columns import IMAGE, IMAGE_ID, column_values
from ..data.digests import combined_digest, image_digests, text_digests
from ..data.pictures import image_problems, picture_source, stored_pictures
from ..evaluation.embedding import embed_images, embed_texts
from ..evaluation.model_identity import model_parts
from ..evaluation.vector_index import VectorIndex
from ..files import read_json, write_json
from ..modules.text_limits import TruncationCount, count_truncated

#: Incremented when the vectors of the same rows and models change.
_VERSION = "2"

Side = Literal["image", "text"]


@dataclass(frozen=True, eq=False)
class Collection:
    """The rows of one split.

    Attributes:
        pairs: Its usable rows with their captions.
        rows: Number in the split of each row of `pairs`, (n_rows,).
        split: Name of the split.
        left_out: A line with the reason for each image that does not decode and each empty caption.
    """

    pairs: PairDataset
    rows: NDArray[np.int64]
    split: str
    left_out: list[str]

    def image_ids(self) -> list[str]:
        """The name of the image of each row."""
        return list(column_values(self.pairs.dataset, IMAGE_ID))


def search_folder(cache_dir: str | os.PathLike[str] | None) -> Path:
    """Folder of vectors and indices, by default in the cache of `datasets`."""
    return Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_search"


def open_collection(
    dataset_name: str,
    config_name: str | None,
    split: str | None,
    side: Side,
    folder: Path,
    columns: ColumnOptions,
) -> Collection:
    """Open a split; for an image search without the images that do not decode.

    Args:
        dataset_name: A dataset for `load_pairs`, or "openmoji".
        config_name: Its configuration.
        split: Its split; by default "test" if it exists, else the first.
        side: What to search, "image" or "text".
        folder: Folder in which the list of damaged images is cached.
        columns: Column names from the user.

    Raises:
        DatasetError: If the dataset or the split does not exist, or no image decodes.
    """
    notes: dict[str, list[str]] = {}
    options = {
        "image_column": columns.image,
        "caption_column": columns.caption,
        "id_column": columns.id,
    }
    splits = embedded_pairs(dataset_name, config_name, options)
    if splits is None:
        splits = load_pairs(dataset_name, config_name, left_out=notes, **options)
    chosen = split or ("test" if "test" in splits else next(iter(splits)))
    if chosen not in splits:
        raise DatasetError(
            f"{dataset_name} has no split {chosen!r}; its splits are {list(splits)}."
        )
    dataset = splits[chosen]
    rows, left_out = np.arange(len(dataset)), list[str]()
    if side == "image" and IMAGE in dataset.column_names:
        rows, left_out = _good_rows(dataset, chosen, folder)
    if left_out:
        dataset = dataset.select(rows.tolist())
    return Collection(PairDataset(dataset), rows, chosen, notes.get(chosen, []) + left_out)


def collection_vectors(
    collection: Collection,
    side: Side,
    model: Any,
    processor: Any,
    folder: Path,
    progress: bool = False,
) -> tuple[NDArray[np.float32], Path]:
    """Vectors of all images or captions, cached under a hash of their inputs and the model.

    Args:
        collection: The split.
        side: "image" for one vector per row, "text" for one vector per pair.
        model: A two-tower model.
        processor: Its processor.
        folder: Folder of the cache.
        progress: Whether to show a progress bar.

    Returns:
        Vectors (n, size), memory-mapped, and their file.
    """
    pairs = collection.pairs
    path = folder / f"{_fingerprint(model, processor, pairs, side, folder)}.npy"
    if side == "image":
        images = images_for_model(processor, pairs.images)
        return embed_images(model, processor, images, path, progress=progress), path
    return embed_texts(model, processor, pairs.captions(), path, progress=progress), path


def count_truncated_captions(collection: Collection, processor: Any, path: Path) -> TruncationCount:
    """Count the truncated captions; the result is cached next to the vectors.

    Args:
        collection: The split.
        processor: The model's processor.
        path: The file of the vectors.
    """
    cache = path.with_suffix(".cut.json")
    if cache.is_file():
        return TruncationCount(**read_json(cache))
    truncation = count_truncated(processor, collection.pairs.captions())
    write_json(cache, truncation.to_dict())
    return truncation


def load_or_build_index(
    vectors: NDArray[np.float32], kind: str, path: Path, progress: bool = False
) -> VectorIndex:
    """An index of vectors; an approximate index is cached next to the vectors.

    Args:
        vectors: (n, size).
        kind: As for `VectorIndex.build`.
        path: The file of the vectors.
        progress: Whether to show a progress bar.
    """
    cache = path.with_suffix(f".{kind}.faiss")
    if cache.is_file():
        try:
            index = VectorIndex.load(cache)
        except ValueError:
            cache.unlink()  # damaged: build it again
        else:
            if (len(index), index.size) == vectors.shape:
                return index
    index = VectorIndex.build(vectors, kind, progress=progress)
    if index.kind != "exact":
        index.save(cache)
    return index


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


def _good_rows(
    dataset: datasets.Dataset, split: str, folder: Path
) -> tuple[NDArray[np.int64], list[str]]:
    """The rows whose images decode, and a message for each of the others; cached."""
    cache = folder / f"{combined_digest(_VERSION, image_digests(dataset, folder))}.bad.json"
    if cache.is_file():
        bad = {int(row): problem for row, problem in read_json(cache).items()}
    else:
        sources = (picture_source(row[IMAGE]) for row in stored_pictures(dataset))
        problems = image_problems(sources, len(dataset), f"Checking pictures of {split}")
        bad = {row: problem for row, problem in enumerate(problems) if problem is not None}
        write_json(cache, bad)
    if len(bad) == len(dataset):
        raise DatasetError(f"None of the {len(bad):,} images of split '{split}' decodes.")
    names = column_values(dataset.select(sorted(bad)), IMAGE_ID) if bad else []
    lines = [f"{name}: {bad[row]}" for row, name in zip(sorted(bad), names, strict=True)]
    return np.setdiff1d(np.arange(len(dataset)), list(bad)).astype(np.int64), lines


def _fingerprint(model: Any, processor: Any, pairs: PairDataset, side: Side, folder: Path) -> str:
    """A hash of everything that vectors depend on: content, side, processor, tokenizer, weights."""
    content = (
        image_digests(pairs.dataset, folder) if side == "image" else text_digests(pairs.captions())
    )
    return combined_digest(_VERSION, side, content, *model_parts(model, processor))
