"""A pair as HTML for the review page. All texts are escaped, pictures are `data:` URIs."""

from functools import lru_cache

import datasets

from ..data import DatasetError
from ..data.columns import IMAGE, IMAGE_ID, column_values, visual_column
from ..data.pictures import stored_pictures
from .report import template, thumbnail_uri
from .review_queue import AuditedPair
from .reviews import Decision

_LARGE, _SMALL = 800, 240  # pixels on the long side


class Pictures:
    """The pictures of a dataset by image id.

    Args:
        rows: Rows by the column contract; region features have no pictures.
        name: Name of the dataset, for the message.
        image_ids: Image ids of an audit, some of which the dataset must have.

    Raises:
        DatasetError: If the dataset has none of the images.
    """

    def __init__(self, rows: datasets.Dataset, name: str, image_ids: set[str]) -> None:
        self._row_of_id: dict[str, int] = {}
        for row, image_id in enumerate(column_values(rows, IMAGE_ID)):
            if image_id in image_ids:
                self._row_of_id.setdefault(image_id, row)
        if not self._row_of_id:
            raise DatasetError(
                f"{name} has none of the {len(image_ids):,} images of the table, such as "
                f"'{min(image_ids)[:80]}': give the dataset that was audited, with the same "
                "--dataset_config_name, --split and --id_column."
            )
        self._pictures = stored_pictures(rows) if visual_column(rows) == IMAGE else None
        self.uri = lru_cache(maxsize=64)(self._uri)

    @property
    def exist(self) -> bool:
        """Whether the dataset has pictures."""
        return self._pictures is not None

    def _uri(self, image_id: str, size: int) -> str | None:
        row = self._row_of_id.get(image_id)
        if row is None or self._pictures is None:
            return None
        return thumbnail_uri(self._pictures[row][IMAGE], size)


class CardPrinter:
    """Prints pairs as HTML.

    Args:
        pictures: The pictures.
        n_pairs: Number of pairs of the audit.
    """

    def __init__(self, pictures: Pictures, n_pairs: int) -> None:
        self.pictures = pictures
        self.n_pairs = n_pairs
        self._template = template("review_card.html.jinja")

    def card(self, pair: AuditedPair, decision: Decision | None) -> str:
        """A pair with its picture and suggestions.

        Args:
            pair: The pair.
            decision: What was decided about it, if anything.
        """
        other = pair.suggested_image_id
        return self._template.render(
            pair=pair,
            decision=decision,
            n_pairs=self.n_pairs,
            has_pictures=self.pictures.exist,
            picture=self.pictures.uri(pair.image_id, _LARGE),
            other_picture=None if other is None else self.pictures.uri(other, _SMALL),
        )
