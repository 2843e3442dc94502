"""The column contract: what a dataset of image-text pairs looks like to this library.

A row is an image with its list of captions.

| column     | type                                | meaning                              |
|------------|-------------------------------------|--------------------------------------|
| `image`    | `datasets.Image`                    | the picture, or else:                |
| `regions`  | list of lists of float16 or float32 | region features, (n_regions, dim)    |
| `captions` | list of strings                     | the captions that the image is given |
| `image_id` | string                              | the name of the image                |
| `is_noisy` | list of booleans, one per caption   | oracle; left out where nobody knows  |
| `objects`  | list of names or numbers, optional  | the classes of things in the picture |

`pair_id` is the flat index of a (row, caption), counted row by row.

Where pairs have a class, a row also has:

| column           | type                     | meaning                                         |
|------------------|--------------------------|-------------------------------------------------|
| `image_label`    | class number             | the class that the image is given               |
| `text_label`     | class number             | the class that its text is given                |
| `true_label`     | class number             | oracle: the class that both are of              |
| `image_features` | list of floats, one size | the image as one vector, with it or without     |
| `text_features`  | list of floats, one size | the text as one vector, likewise                |
| `text_id`        | string, optional         | the name of the text                            |

Oracle columns are for metrics, evaluation and audit only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .regions import region_arrays

IMAGE = "image"
REGIONS = "regions"
CAPTIONS = "captions"
IMAGE_ID = "image_id"
IS_NOISY = "is_noisy"
OBJECTS = "objects"
TAGS = "tags"
IMAGE_LABEL = "image_label"
TEXT_LABEL = "text_label"
TRUE_LABEL = "true_label"
IMAGE_FEATURES = "image_features"
TEXT_FEATURES = "text_features"
TEXT_ID = "text_id"
PAIR_ID = "pair_id"
IMAGE_ROW = "image_row"
CAPTION = "caption"
PEER = "peer"
ORACLE_COLUMNS = (IS_NOISY, TRUE_LABEL)

#: Region features that are read through before training, in bytes.
CHECKED_BYTES = 2**30

_BLOCK_ROWS = 512


class DatasetError(ValueError):
    """A dataset, or a file that one is made of, does not keep the column contract.

    Its message names options as Python keywords; see `messages.spell_options`.
    """


def check_is_split(dataset: object, bring: str = "as_pairs") -> None:
    """Refuses what is not one split with its rows at hand.

    Args:
        dataset: What was given.
        bring: What brings a dataset to the columns that are needed.

    Raises:
        DatasetError: It is streamed, has several splits, or is something else.
    """
    if isinstance(dataset, datasets.Dataset):
        return
    kind = type(dataset).__name__
    if isinstance(dataset, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DatasetError(
            f"One split with all its rows is needed, not a streamed {kind}: load it without "
            f"streaming=True, and bring it to the columns that are needed with {bring}(dataset)."
        )
    if isinstance(dataset, dict):
        raise DatasetError(
            f"One split is needed as a datasets.Dataset, not a {kind} of {list(dataset)}. Choose "
            "one with dataset[split]."
        )
    raise DatasetError(
        f"One split is needed as a datasets.Dataset, not a {kind}. Make one, for example with "
        f"datasets.Dataset.from_list(rows), and give {bring}(dataset)."
    )


def visual_column(dataset: datasets.Dataset, split: str = "train") -> str:
    """Names the column that holds the visual side of `dataset`.

    Returns:
        `"regions"` where the dataset has it, else `"image"`.

    Raises:
        DatasetError: The dataset has neither.
    """
    for name in (REGIONS, IMAGE):
        if name in dataset.column_names:
            return name
    raise DatasetError(
        f"Split '{split}' has neither an '{IMAGE}' nor a '{REGIONS}' column; its columns are "
        f"{dataset.column_names}. Bring any dataset of images and captions to the columns that are "
        f"needed with as_pairs(dataset), or dataset.rename_column(old, '{IMAGE}')."
    )


def validate_columns(dataset: datasets.Dataset, split: str = "train") -> None:
    """Checks the names and types of the columns, without reading a row.

    Args:
        dataset: One split.
        split: Its name, for the messages.

    Raises:
        DatasetError: A column is missing or has another type; the message says which.
    """
    check_is_split(dataset)
    visual = visual_column(dataset, split)
    features = dataset.features
    for name in (CAPTIONS, IMAGE_ID):
        if name not in features:
            raise DatasetError(
                f"Split '{split}' has no '{name}' column; its columns are {dataset.column_names}. "
                "Bring any dataset of images and captions to the columns that are needed with "
                f"as_pairs(dataset), or name the one that holds it: "
                f"dataset.rename_column(old, '{name}')."
            )
    if visual == IMAGE and not isinstance(features[IMAGE], datasets.Image):
        raise DatasetError(
            f"Column '{IMAGE}' of split '{split}' is {features[IMAGE]}, not an Image. Cast it with "
            f"dataset.cast_column('{IMAGE}', datasets.Image())."
        )
    if not _is_list_of(features[CAPTIONS], _is_string):
        hint = (
            "One caption per row is a list of one: "
            f"dataset.map(lambda row: {{'{CAPTIONS}': [row['{CAPTIONS}']]}})."
            if _is_string(features[CAPTIONS])
            else "Give every row a list of strings."
        )
        raise DatasetError(
            f"Column '{CAPTIONS}' of split '{split}' is {features[CAPTIONS]}, not a list of "
            f"strings. {hint}"
        )
    if not _is_string(features[IMAGE_ID]):
        raise DatasetError(
            f"Column '{IMAGE_ID}' of split '{split}' is {features[IMAGE_ID]}, not a string. Cast "
            f"it with dataset.cast_column('{IMAGE_ID}', datasets.Value('string'))."
        )
    if IS_NOISY in features and not _is_list_of(features[IS_NOISY], _is_bool):
        raise DatasetError(
            f"Column '{IS_NOISY}' of split '{split}' is {features[IS_NOISY]}, not a list of "
            "booleans, one per caption. Cast it, or drop it where nothing is known."
        )


def validate_pairs(dataset: datasets.Dataset, split: str = "train", minimum_pairs: int = 0) -> None:
    """Checks every row: captions that say something, finite regions, enough pairs.

    Of region features beyond `CHECKED_BYTES` the first rows are checked here and the rest by
    `PairDataset` as it reads them: to read tens of gigabytes takes minutes.

    Args:
        dataset: One split.
        split: Its name, for the messages.
        minimum_pairs: The least number of pairs, usually one batch.

    Raises:
        DatasetError: The first row that breaks the contract, or too few pairs.
    """
    validate_columns(dataset, split)
    names = [name for name in (CAPTIONS, IS_NOISY) if name in dataset.column_names]
    rows = dataset.select_columns(names).with_format("arrow")
    n_pairs = 0
    for first_row in range(0, len(rows), _BLOCK_ROWS):
        block = rows[first_row : first_row + _BLOCK_ROWS]
        if not _all_well(block):
            _find_fault(block, first_row, split)
        n_pairs += pc.sum(pc.list_value_length(block.column(CAPTIONS))).as_py() or 0
    if n_pairs < minimum_pairs:
        raise DatasetError(
            f"Split '{split}' has {n_pairs} pairs, fewer than the {minimum_pairs} of one batch. "
            "Use a smaller batch or a larger dataset."
        )
    if REGIONS in dataset.column_names:
        _check_regions(dataset, split, some=is_checked_as_read(dataset))


def is_checked_as_read(dataset: datasets.Dataset) -> bool:
    """Whether a split has so many region features that they are checked as they are read."""
    return REGIONS in dataset.column_names and dataset.data.column(REGIONS).nbytes > CHECKED_BYTES


def check_regions(regions: np.ndarray, place: str) -> None:
    """Checks the region features of one row.

    Args:
        regions: (n_regions, dim).
        place: Where they stand, for the message.

    Raises:
        DatasetError: There is none, or a value is not finite.
    """
    if not len(regions):
        raise DatasetError(
            f"{place} has no region in '{REGIONS}'. Extract the features of that image again, or "
            "drop the row."
        )
    if not np.isfinite(regions).all():
        n_bad = int(np.size(regions) - np.isfinite(regions).sum())
        raise DatasetError(
            f"{place} has {n_bad} NaN or infinite values in '{REGIONS}'. Extract the features of "
            "that image again, or drop the row."
        )


def column_values(dataset: datasets.Dataset, name: str) -> list[Any]:
    """Reads one column, and no other, as Python values."""
    return list(dataset.select_columns([name]).with_format("arrow")[:].column(name).to_pylist())


def _check_captions(texts: Sequence[str | None] | None, row: int, split: str) -> None:
    if not texts:
        raise DatasetError(
            f"Row {row} of split '{split}' has no captions. Drop such rows with "
            f"dataset.filter(lambda row: len(row['{CAPTIONS}']) > 0)."
        )
    for position, text in enumerate(texts):
        if text is None or not text.strip():
            raise DatasetError(
                f"Caption {position} of row {row} of split '{split}' is empty ({text!r}). Remove "
                "the caption or write it."
            )


def _check_regions(dataset: datasets.Dataset, split: str, some: bool) -> None:
    """Scans region features in blocks, so that the whole column is never in memory."""
    rows = dataset.select_columns([REGIONS]).with_format("arrow")
    for first_row in range(0, min(_BLOCK_ROWS, len(rows)) if some else len(rows), _BLOCK_ROWS):
        block = rows[first_row : first_row + _BLOCK_ROWS].column(REGIONS)
        for row, regions in enumerate(region_arrays(block), first_row):
            check_regions(regions, f"Row {row} of split '{split}'")


def _all_well(block: pa.Table) -> bool:
    """Whether all captions of a block say something and all have a flag where there are flags."""
    captions = block.column(CAPTIONS)
    lengths = pc.list_value_length(captions)
    texts = pc.list_flatten(captions)
    blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    well = not (captions.null_count or texts.null_count or pc.any(blank).as_py())
    well = well and pc.all(pc.greater(lengths, 0)).as_py() is not False
    if well and IS_NOISY in block.column_names:
        flags = pc.list_value_length(block.column(IS_NOISY))
        well = not flags.null_count and pc.all(pc.equal(flags, lengths)).as_py() is not False
    return well


def _find_fault(block: pa.Table, first_row: int, split: str) -> None:
    """Goes through a block with a fault, row by row, and raises an error that names it."""
    captions = block.column(CAPTIONS).to_pylist()
    is_noisy = block.column(IS_NOISY).to_pylist() if IS_NOISY in block.column_names else captions
    for row, (texts, flags) in enumerate(zip(captions, is_noisy, strict=True), first_row):
        _check_captions(texts, row, split)
        if flags is None or len(flags) != len(texts):
            raise DatasetError(
                f"Row {row} of split '{split}' has {len(texts)} captions but "
                f"{0 if flags is None else len(flags)} values in '{IS_NOISY}'. Give one flag "
                "per caption, or drop the column."
            )


def _is_list_of(feature: object, is_item: Callable[[object], bool]) -> bool:
    if not isinstance(feature, (datasets.List, datasets.LargeList)):
        return False
    return is_item(feature.feature)


def _is_string(feature: object) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def _is_bool(feature: object) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype == "bool"
