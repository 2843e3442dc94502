"""What is searched: one split, its vectors on disk, and an index over them."""

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
from ..data.boxes import BOX_SIZE, WithoutBoxes
from ..data.builders import embedded_pairs
from ..data.columns import IMAGE, IMAGE_ID, column_values
from ..data.digests import combined_digest, text_digests
from ..data.identity import image_digests
from ..data.pictures import image_problems, picture_source, stored_pictures
from ..evaluation.embedding import embed_images, embed_texts
from ..evaluation.model_identity import model_parts
from ..evaluation.vector_index import VectorIndex
from ..modules.text_limits import TruncationCount, count_truncated
from ..training.files import read_json, write_json

#: Raised when the same rows and models would give other vectors than before.
_VERSION = "2"

Side = Literal["image", "text"]


@dataclass(frozen=True, eq=False)
class Collection:
    """One split that is searched.

    Attributes:
        pairs: Its rows with their captions.
        rows: The number in the split of each row in `pairs`, (n_rows,).
        split: Name of the split.
        left_out: What is in no row, pictures that do not decode and captions that are empty, with
            the reason, a line each.
    """

    pairs: PairDataset
    rows: NDArray[np.int64]
    split: str
    left_out: list[str]

    def image_ids(self) -> list[str]:
        """The name of the image of each row."""
        return list(column_values(self.pairs.dataset, IMAGE_ID))


def search_folder(cache_dir: str | os.PathLike[str] | None) -> Path:
    """Where vectors and indices are kept; in the cache of `datasets` by default."""
    return Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_search"


def open_collection(
    dataset_name: str,
    config_name: str | None,
    split: str | None,
    side: Side,
    folder: Path,
    columns: ColumnOptions,
) -> Collection:
    """Open a split, without the pictures that do not decode where images are searched.

    Args:
        dataset_name: What `load_pairs` opens, or "openmoji".
        config_name: Its configuration.
        split: Its split; by default "test" where there is one, else the first.
        side: What is searched, "image" or "text".
        folder: Where it is kept which pictures decode, for the next search.
        columns: What the user said about its columns.

    Raises:
        DatasetError: If the dataset or the split is not there, or no picture decodes.
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
    """Vectors of all images or captions, made once and kept under a name made of what they are of.

    Args:
        collection: The split.
        side: "image" for a vector a row, "text" for a vector a pair.
        model: A two-tower model.
        processor: Its processor.
        folder: Where to keep them.
        progress: Whether to show a progress bar.

    Returns:
        Vectors (n, size), memory-mapped, and their file.
    """
    pairs = collection.pairs
    path = folder / f"{_fingerprint(model, processor, pairs, side, folder)}.npy"
    if side == "image":
        images = as_read_by(processor, pairs.images)
        return embed_images(model, processor, images, path, progress=progress), path
    return embed_texts(model, processor, pairs.captions(), path, progress=progress), path


def cut_captions(collection: Collection, processor: Any, path: Path) -> TruncationCount:
    """How many captions are not read to their end; counted once and kept beside their vectors.

    Args:
        collection: The split.
        processor: The model's processor.
        path: The file of the vectors.
    """
    kept = path.with_suffix(".cut.json")
    if kept.is_file():
        return TruncationCount(**read_json(kept))
    cut = count_truncated(processor, collection.pairs.captions())
    write_json(kept, cut.to_dict())
    return cut


def index_of(
    vectors: NDArray[np.float32], kind: str, path: Path, progress: bool = False
) -> VectorIndex:
    """An index over vectors; one that takes long to build is kept beside their file.

    Args:
        vectors: (n, size).
        kind: As for `VectorIndex.build`.
        path: The file of the vectors.
        progress: Whether to show a progress bar.
    """
    kept = path.with_suffix(f".{kind}.faiss")
    if kept.is_file():
        try:
            found = VectorIndex.load(kept)
        except ValueError:
            kept.unlink()  # damaged, and easily made again
        else:
            if (len(found), found.size) == vectors.shape:
                return found
    index = VectorIndex.build(vectors, kind, progress=progress)
    if index.kind != "exact":
        index.save(kept)
    return index


def as_read_by(processor: Any, images: Sequence[Any]) -> Sequence[Any]:
    """Images as a model reads them: region features without boxes where it reads none.

    Args:
        processor: The model's processor.
        images: Pictures or region features.

    Raises:
        ValueError: If the model reads pictures and these are region features, or the reverse.
    """
    size = getattr(processor.image_processor, "region_size", None)
    are_regions = isinstance(images[0], np.ndarray)
    if are_regions != (size is not None):
        kinds = ("region features", "pictures")
        reads, given = kinds if size is not None else kinds[::-1]
        raise ValueError(
            f"the model reads {reads}, and the images are {given}: give a model and images that fit"
        )
    if size is not None and images[0].shape[1] == size + BOX_SIZE:
        return WithoutBoxes(images)
    return images


def _good_rows(
    dataset: datasets.Dataset, split: str, folder: Path
) -> tuple[NDArray[np.int64], list[str]]:
    """The rows whose pictures decode, and a line for each of the others; looked at once."""
    kept = folder / f"{combined_digest(_VERSION, image_digests(dataset, folder))}.bad.json"
    if kept.is_file():
        bad = {int(row): why for row, why in read_json(kept).items()}
    else:
        sources = (picture_source(row[IMAGE]) for row in stored_pictures(dataset))
        problems = image_problems(sources, len(dataset), f"Checking pictures of {split}")
        bad = {row: problem for row, problem in enumerate(problems) if problem is not None}
        write_json(kept, bad)
    if len(bad) == len(dataset):
        raise DatasetError(f"None of the {len(bad):,} pictures of split '{split}' decodes.")
    names = column_values(dataset.select(sorted(bad)), IMAGE_ID) if bad else []
    lines = [f"{name}: {bad[row]}" for row, name in zip(sorted(bad), names, strict=True)]
    return np.setdiff1d(np.arange(len(dataset)), list(bad)).astype(np.int64), lines


def _fingerprint(model: Any, processor: Any, pairs: PairDataset, side: Side, folder: Path) -> str:
    """A name for what vectors depend on: content, side, processor, tokenizer, weights."""
    content = (
        image_digests(pairs.dataset, folder) if side == "image" else text_digests(pairs.captions())
    )
    return combined_digest(_VERSION, side, content, *model_parts(model, processor))
