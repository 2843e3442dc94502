"""What the report shows of the rows: the worst pairs with their pictures, and duplicates."""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from ..data.columns import IMAGE, IMAGE_ID, REGIONS
from ..data.pictures import open_picture, stored_pictures
from .contents import DoubtfulPair, Duplicates
from .loading import LoadedRows
from .options import THRESHOLD
from .table import AuditTable

_GROUPS, _MEMBERS = 8, 6


def doubtful_pairs(table: AuditTable, dataset: datasets.Dataset, n: int) -> list[DoubtfulPair]:
    """The worst pairs, with pictures where there are any; suggestions for those judged wrong.

    Args:
        table: What is known of all pairs.
        dataset: Their rows.
        n: How many.
    """
    found = []
    for pair in table.order[:n].tolist():
        row = int(table.row_of_pair[pair])
        text, other = -1, -1
        if table.clean_probability[pair] < THRESHOLD:  # of a right pair nothing else is better
            text, other = int(table.suggested_caption[pair]), int(table.suggested_image[pair])
        found.append(
            DoubtfulPair(
                pair,
                table.image_ids[row],
                table.captions[pair],
                float(table.clean_probability[pair]),
                float(table.losses[pair]),
                _picture(dataset, row),
                table.captions[text] if text >= 0 else None,
                table.image_ids[other] if other >= 0 else None,
                _picture(dataset, other) if other >= 0 else None,
            )
        )
    return found


def found_duplicates(
    rows: LoadedRows, alike: Sequence[np.ndarray], repeated: Sequence[tuple[str, np.ndarray]]
) -> list[Duplicates]:
    """The largest groups of pictures that look alike, and the captions on most images.

    Args:
        rows: The rows.
        alike: Groups of rows.
        repeated: Captions with their rows.
    """
    found = [_group(rows, "picture", "", group) for group in alike[:_GROUPS]]
    return found + [_group(rows, "caption", text, group) for text, group in repeated[:_GROUPS]]


def _group(rows: LoadedRows, kind: str, what: str, group: np.ndarray) -> Duplicates:
    some = group[:_MEMBERS].tolist()
    pictures = [_picture(rows.dataset, row) for row in some]
    return Duplicates(
        kind,
        what,
        [rows.dataset[row][IMAGE_ID] for row in some],
        len(group),
        [picture for picture in pictures if picture is not None],
    )


def _picture(dataset: datasets.Dataset, row: int) -> Any:
    names = dataset.column_names
    if IMAGE not in names or REGIONS in names:
        return None
    return open_picture(stored_pictures(dataset.select([row]))[0][IMAGE])
