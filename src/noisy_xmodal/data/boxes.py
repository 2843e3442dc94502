"""Boxes of regions, appended to their features."""

from collections.abc import Sequence

import datasets
import numpy as np
import pyarrow as pa

from .columns import REGIONS, DatasetError, column_type_error, missing_column_error
from .feature_types import is_matrix
from .lazy_rows import LazyRows
from .regions import region_arrays, region_feature, vector_column

BOXES, BOX_SIZE = "boxes", 4


def append_boxes(
    dataset: datasets.Dataset, split: str = "train", column: str = BOXES
) -> datasets.Dataset:
    """Appends the box of each region to its features, for models with box geometry.

    Args:
        dataset: One split with region features and a column of boxes: four numbers per region,
            left, top, right and bottom as fractions of the picture.
        split: Its name, for the messages.
        column: The column of boxes.

    Returns:
        The split with four more numbers per region, without the column of boxes.

    Raises:
        DatasetError: Regions or boxes are missing, or the boxes of a row do not match its regions.
    """
    for name in (REGIONS, column):
        if name not in dataset.column_names:
            hint = "Box geometry needs region features with their boxes."
            raise missing_column_error(dataset, name, split, hint)
    if not is_matrix(dataset.features[column]):
        hint = "Give each row a list with four numbers per region."
        raise column_type_error(dataset, column, split, "a list of boxes", hint)
    if not len(dataset):
        raise DatasetError(f"Split '{split}' has no rows.")

    def append(table: pa.Table, rows: list[int]) -> pa.Table:
        try:
            boxes = region_arrays(table.column(column))
        except ValueError as error:
            raise DatasetError(
                f"Column '{column}' of split '{split}', rows {rows[0]} to {rows[-1]}: {error}"
            ) from error
        features = region_arrays(table.column(REGIONS))
        for row, regions, row_boxes in zip(rows, features, boxes, strict=True):
            _check_boxes(row_boxes, len(regions), row, split, column)
        parts = zip(features, boxes, strict=True)
        matrices = [np.concatenate(pair, axis=1, dtype=np.float32) for pair in parts]
        offsets = np.cumsum([0, *map(len, matrices)]).astype(np.int32)
        longer = pa.ListArray.from_arrays(offsets, vector_column(np.concatenate(matrices)))
        index = table.column_names.index(REGIONS)
        return table.set_column(index, REGIONS, longer).drop_columns([column])

    plain = dataset.with_format("arrow")
    size = region_arrays(plain[:1].column(REGIONS))[0].shape[1]
    features = dataset.features.copy()
    features[REGIONS] = region_feature(size + BOX_SIZE)
    del features[column]
    result = plain.map(
        append, with_indices=True, batched=True, batch_size=256, features=features, desc="boxes"
    )
    return result.with_format(None)


def without_boxes(images: Sequence[np.ndarray]) -> LazyRows:
    """Region features, (n_regions, size + 4) per image, without the boxes at their ends."""
    read = images.read if isinstance(images, LazyRows) else lambda rows: [images[i] for i in rows]
    return LazyRows(lambda rows: [regions[:, :-BOX_SIZE] for regions in read(rows)], len(images))


def _check_boxes(boxes: np.ndarray, n_regions: int, row: int, split: str, column: str) -> None:
    if boxes.shape != (n_regions, BOX_SIZE):
        raise DatasetError(
            f"Row {row} of split '{split}' (counted from 0) has {n_regions} regions and '{column}' "
            f"of shape {boxes.shape}: give four numbers per region."
        )
    inside = (boxes >= 0).all() and (boxes <= 1).all()
    if not (inside and (boxes[:, :2] <= boxes[:, 2:]).all()):
        raise DatasetError(
            f"Row {row} of split '{split}' (counted from 0) has '{column}' that are not left, top, "
            "right and bottom as fractions of the picture, 0 to 1: divide pixels by its width and "
            "height."
        )
