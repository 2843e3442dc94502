"""The worst pairs with their images, and the groups of duplicates, for the report."""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from ..data.columns import IMAGE, IMAGE_ID, REGIONS
from ..data.pictures import open_picture, stored_pictures
from .contents import DoubtfulPair, Duplicates
from .loading import AuditRows
from .options import THRESHOLD
from .table import AuditTable

_GROUPS, _MEMBERS = 8, 6


def doubtful_pairs(table: AuditTable, dataset: datasets.Dataset, n: int) -> list[DoubtfulPair]:
    """The worst pairs with their images; suggestions for those judged wrong.

    Args:
        table: The table of all pairs.
        dataset: Their rows.
        n: Number of pairs.
    """
    worst = []
    for pair in table.order[:n].tolist():
        row = int(table.row_of_pair[pair])
        text, other = -1, -1
        if table.clean_probability[pair] < THRESHOLD:
            text, other = int(table.suggested_caption[pair]), int(table.suggested_image[pair])
        worst.append(
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
    return worst


def duplicate_groups(
    rows: AuditRows, alike: Sequence[np.ndarray], repeated: Sequence[tuple[str, np.ndarray]]
) -> list[Duplicates]:
    """The largest groups of images that look alike, and the captions of most images.

    Args:
        rows: The rows.
        alike: Groups of rows.
        repeated: Captions with their rows.
    """
    images = [_group(rows, "picture", "", group) for group in alike[:_GROUPS]]
    return images + [_group(rows, "caption", text, group) for text, group in repeated[:_GROUPS]]


def _group(rows: AuditRows, kind: str, what: str, group: np.ndarray) -> Duplicates:
    members = group[:_MEMBERS].tolist()
    pictures = [_picture(rows.dataset, row) for row in members]
    return Duplicates(
        kind,
        what,
        [rows.dataset[row][IMAGE_ID] for row in members],
        len(group),
        [picture for picture in pictures if picture is not None],
    )


def _picture(dataset: datasets.Dataset, row: int) -> Any:
    names = dataset.column_names
    if IMAGE not in names or REGIONS in names:
        return None
    return open_picture(stored_pictures(dataset.select([row]))[0][IMAGE])
