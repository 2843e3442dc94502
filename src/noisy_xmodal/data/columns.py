"""The column contract: the columns that a dataset of image-text pairs must have.

A row is an image with its list of captions.

| column     | type                                | meaning                                |
|------------|-------------------------------------|----------------------------------------|
| `image`    | `datasets.Image`                    | the picture; alternatively:            |
| `regions`  | list of lists of float16 or float32 | region features, (n_regions, dim)      |
| `captions` | list of strings                     | the captions of the image, maybe wrong |
| `image_id` | string                              | the name of the image                  |
| `is_noisy` | list of booleans, one per caption   | oracle, optional                       |
| `objects`  | list of names or numbers, optional  | classes of the objects in the picture  |

`pair_id` is the flat index of a (row, caption), counted row by row.

For pairs with classes, a row also has:

| column           | type                        | meaning                                       |
|------------------|-----------------------------|-----------------------------------------------|
| `image_label`    | class number                | the class of the image, maybe wrong           |
| `text_label`     | class number                | the class of the text, maybe wrong            |
| `true_label`     | class number, optional      | oracle: the correct class of both             |
| `image_features` | list of floats, of one size | the image as a vector, instead or in addition |
| `text_features`  | list of floats, of one size | the text as a vector, instead or in addition  |
| `text_id`        | string, optional            | the name of the text                          |

Oracle columns are for metrics, evaluation and audit only.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .feature_types import is_bool, is_list_of, is_string, is_string_list
from .messages import DatasetError, quoted, quoted_list
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
PARTNER = "partner"
ORACLE_COLUMNS = (IS_NOISY, TRUE_LABEL)

CAST_IMAGE = f"Cast it with dataset.cast_column('{IMAGE}', datasets.Image())."

#: Region features up to this size, in bytes, are all checked before training.
CHECKED_BYTES = 2**30

_BLOCK_ROWS = 512


def missing_column_error(
    dataset: datasets.Dataset, name: str, split: str, hint: str
) -> DatasetError:
    """Creates the error for a missing column; `hint` tells what to do."""
    return DatasetError(
        f"Split '{split}' has no column '{name}'; its columns are {dataset.column_names}. {hint}"
    )


def column_type_error(
    dataset: datasets.Dataset, name: str, split: str, expected: str, hint: str
) -> DatasetError:
    """Creates the error for a column of another type than `expected`; `hint` tells what to do."""
    return DatasetError(
        f"Column '{name}' of split '{split}' is {dataset.features[name]}, not {expected}. {hint}"
    )


def check_is_split(dataset: object, adapter: str = "as_pairs") -> None:
    """Checks that an object is one split in memory or on disk.

    Args:
        dataset: The object.
        adapter: The function to name in messages, which converts a dataset to the contract.

    Raises:
        DatasetError: It is streamed, has several splits, or is not a dataset.
    """
    if isinstance(dataset, datasets.Dataset):
        return
    kind = type(dataset).__name__
    if isinstance(dataset, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DatasetError(
            f"Expected one split as a datasets.Dataset, not a streamed {kind}. Load it without "
            f"streaming=True, and convert it with {adapter}(dataset)."
        )
    if isinstance(dataset, dict):
        raise DatasetError(
            f"Expected one split as a datasets.Dataset, not a {kind} of {list(dataset)}. Choose "
            "one with dataset[split]."
        )
    raise DatasetError(
        f"Expected one split as a datasets.Dataset, not a {kind}. Create one, for example with "
        f"datasets.Dataset.from_list(rows), and convert it with {adapter}(dataset)."
    )


def visual_column(dataset: datasets.Dataset, split: str = "train") -> str:
    """Returns the name of the column with the visual side of `dataset`.

    Returns:
        `"regions"` if the dataset has it, else `"image"`.

    Raises:
        DatasetError: The dataset has neither.
    """
    for name in (REGIONS, IMAGE):
        if name in dataset.column_names:
            return name
    raise DatasetError(
        f"Split '{split}' has neither an '{IMAGE}' nor a '{REGIONS}' column; its columns are "
        f"{dataset.column_names}. Convert the dataset with as_pairs(dataset), or rename a column "
        f"with dataset.rename_column(old, '{IMAGE}')."
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
            hint = f"or rename a column with dataset.rename_column(old, '{name}')."
            hint = f"Convert the dataset with as_pairs(dataset), {hint}"
            raise missing_column_error(dataset, name, split, hint)
    if visual == IMAGE and not isinstance(features[IMAGE], datasets.Image):
        raise column_type_error(dataset, IMAGE, split, "an Image", CAST_IMAGE)
    if not is_string_list(features[CAPTIONS]):
        hint = (
            "One caption per row is a list of one: "
            f"dataset.map(lambda row: {{'{CAPTIONS}': [row['{CAPTIONS}']]}})."
            if is_string(features[CAPTIONS])
            else "Give every row a list of strings."
        )
        raise column_type_error(dataset, CAPTIONS, split, "a list of strings", hint)
    if not is_string(features[IMAGE_ID]):
        hint = f"Cast it with dataset.cast_column('{IMAGE_ID}', datasets.Value('string'))."
        raise column_type_error(dataset, IMAGE_ID, split, "a string", hint)
    if IS_NOISY in features and not is_list_of(features[IS_NOISY], is_bool):
        expected = "a list of booleans, one per caption"
        raise column_type_error(dataset, IS_NOISY, split, expected, "Cast it, or drop it.")


def validate_pairs(dataset: datasets.Dataset, split: str = "train", minimum_pairs: int = 0) -> None:
    """Checks every row for captions with text and finite regions, and the number of pairs.

    If region features exceed `CHECKED_BYTES`, only the first rows are checked here, because reading
    tens of gigabytes takes minutes. `PairDataset` checks the other rows as it reads them.

    Args:
        dataset: One split.
        split: Its name, for the messages.
        minimum_pairs: Minimum number of pairs, usually the batch size.

    Raises:
        DatasetError: A row violates the contract (the first one is named), or there are too few
            pairs.
    """
    validate_columns(dataset, split)
    names = [name for name in (CAPTIONS, IS_NOISY) if name in dataset.column_names]
    rows = dataset.select_columns(names).with_format("arrow")
    n_pairs = 0
    for first_row in range(0, len(rows), _BLOCK_ROWS):
        block = rows[first_row : first_row + _BLOCK_ROWS]
        if not _is_valid(block):
            _raise_first_fault(block, first_row, split)
        n_pairs += pc.sum(pc.list_value_length(block.column(CAPTIONS))).as_py() or 0
    if n_pairs < minimum_pairs:
        raise DatasetError(
            f"Split '{split}' has {n_pairs} pairs, fewer than the {minimum_pairs} of one batch. "
            "Use a smaller batch or a larger dataset."
        )
    if REGIONS in dataset.column_names:
        for first_row, block in column_blocks(dataset, REGIONS, _BLOCK_ROWS):
            for row, regions in enumerate(region_arrays(block), first_row):
                check_regions(regions, f"Row {row} of split '{split}'")
            if is_checked_as_read(dataset):
                break


def is_checked_as_read(dataset: datasets.Dataset) -> bool:
    """Whether the region features exceed `CHECKED_BYTES` and are checked when they are read."""
    return REGIONS in dataset.column_names and dataset.data.column(REGIONS).nbytes > CHECKED_BYTES


def check_regions(regions: np.ndarray, place: str) -> None:
    """Checks the region features of one row.

    Args:
        regions: (n_regions, dim).
        place: The row, for the message.

    Raises:
        DatasetError: There are no regions, or a value is not finite.
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
    """Reads one column as Python values."""
    return list(dataset.select_columns([name]).with_format("arrow")[:].column(name).to_pylist())


def column_blocks(
    dataset: datasets.Dataset, name: str, n_rows: int
) -> Iterator[tuple[int, pa.ChunkedArray]]:
    """Reads one column in blocks, so that only one block is in memory.

    Args:
        dataset: One split.
        name: The column.
        n_rows: Rows per block.

    Yields:
        The first row of a block, and the values of the block.
    """
    rows = dataset.select_columns([name]).with_format("arrow")
    for first_row in range(0, len(rows), n_rows):
        yield first_row, rows[first_row : first_row + n_rows].column(name)


def check_captions(
    texts: Sequence[str | None] | None, row: int, split: str, columns: Sequence[str] = (CAPTIONS,)
) -> None:
    """Checks that a row has captions and that each has text.

    Args:
        texts: The captions of the row.
        row: Its number, for the message.
        split: The name of the split, for the message.
        columns: The columns of the captions, for the message.

    Raises:
        DatasetError: The row has no captions, or an empty one.
    """
    where = (
        f"column {quoted(columns[0])}" if len(columns) == 1 else f"columns {quoted_list(columns)}"
    )
    if not texts:
        raise DatasetError(
            f"Row {row} of split '{split}' has no captions in {where}. Add one, or drop the row "
            "with dataset.filter."
        )
    for position, text in enumerate(texts):
        if text is None or not text.strip():
            raise DatasetError(
                f"Caption {position} of row {row} of split '{split}' is empty ({quoted(text)}) in "
                f"{where}. Write the caption, or remove it."
            )


def _is_valid(block: pa.Table) -> bool:
    """Whether all captions of a block have text, and a flag each if there are flags."""
    captions = block.column(CAPTIONS)
    lengths = pc.list_value_length(captions)
    texts = pc.list_flatten(captions)
    blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    if captions.null_count or texts.null_count or pc.any(blank).as_py():
        return False
    if pc.all(pc.greater(lengths, 0)).as_py() is False:
        return False
    if IS_NOISY not in block.column_names:
        return True
    n_flags = pc.list_value_length(block.column(IS_NOISY))
    return not n_flags.null_count and pc.all(pc.equal(n_flags, lengths)).as_py() is not False


def _raise_first_fault(block: pa.Table, first_row: int, split: str) -> None:
    """Raises an error that names the first invalid row of a block."""
    captions = block.column(CAPTIONS).to_pylist()
    is_noisy = block.column(IS_NOISY).to_pylist() if IS_NOISY in block.column_names else captions
    for row, (texts, flags) in enumerate(zip(captions, is_noisy, strict=True), first_row):
        check_captions(texts, row, split)
        if flags is None or len(flags) != len(texts):
            raise DatasetError(
                f"Row {row} of split '{split}' has {len(texts)} captions but "
                f"{0 if flags is None else len(flags)} values in '{IS_NOISY}'. Give one flag "
                "per caption, or drop the column."
            )
