"""Boxes of regions, put behind their features."""

import datasets
import numpy as np

from .columns import REGIONS, DatasetError
from .regions import region_arrays, region_feature

BOXES = "boxes"


def append_boxes(
    dataset: datasets.Dataset, split: str = "train", column: str = BOXES
) -> datasets.Dataset:
    """Puts the box of each region behind its features, for models with box geometry.

    Args:
        dataset: One split with region features and a column of boxes: a list of four numbers a
            region, left, top, right and bottom as shares of the picture.
        split: Its name, for the messages.
        column: The column of boxes.

    Returns:
        The split with regions that are four numbers longer, without the column of boxes.

    Raises:
        DatasetError: There are no regions or no boxes, or the boxes of a row do not fit.
    """
    for name in (REGIONS, column):
        if name not in dataset.column_names:
            raise DatasetError(
                f"Split '{split}' has no '{name}' column; its columns are {dataset.column_names}. "
                "Box geometry needs region features with their boxes."
            )

    def append(batch: dict, rows: list[int]) -> dict:
        table = dataset.with_format("arrow")[rows]
        joined = []
        for row, regions, boxes in zip(
            rows,
            region_arrays(table.column(REGIONS)),
            region_arrays(table.column(column)),
            strict=True,
        ):
            _check_boxes(boxes, len(regions), row, split, column)
            joined.append(np.concatenate([regions.astype(np.float32), boxes], axis=1).tolist())
        return {REGIONS: joined}

    size = region_arrays(dataset.with_format("arrow")[:1].column(REGIONS))[0].shape[1]
    features = dataset.features.copy()
    features[REGIONS] = region_feature(size + 4)
    del features[column]
    return dataset.map(
        append,
        with_indices=True,
        batched=True,
        batch_size=256,
        remove_columns=[column],
        features=features,
        desc="boxes",
    )


def _check_boxes(boxes: np.ndarray, n_regions: int, row: int, split: str, column: str) -> None:
    if boxes.shape != (n_regions, 4):
        raise DatasetError(
            f"Row {row} of split '{split}' has {n_regions} regions and '{column}' of shape "
            f"{boxes.shape}: give four numbers a region."
        )
    inside = (boxes >= 0).all() and (boxes <= 1).all()
    if not (inside and (boxes[:, :2] <= boxes[:, 2:]).all()):
        raise DatasetError(
            f"Row {row} of split '{split}' has '{column}' that are not left, top, right and bottom "
            "as shares of the picture, 0 to 1: divide pixels by its width and height."
        )
