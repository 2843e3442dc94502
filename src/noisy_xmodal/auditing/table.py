"""The table of an audit: one row per pair, worst first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..files import atomic_write

_GROUP_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class AuditTable:
    """Results of an audit by pair id.

    Attributes:
        image_ids: Name of each image, (n_images,).
        captions: (n_pairs,).
        row_of_pair: Image of each pair, (n_pairs,).
        clean_probability: (n_pairs,).
        losses: (n_pairs,).
        order: Pair ids, worst first, (n_pairs,).
        suggested_caption: Pair of a better caption for the image, -1 for none, (n_pairs,).
        suggested_image: Row of a better image for the caption, -1 for none, (n_pairs,).
        is_noisy: The oracle, (n_pairs,), or None.
    """

    image_ids: Sequence[str]
    captions: Sequence[str]
    row_of_pair: NDArray[np.int64]
    clean_probability: NDArray[np.float64]
    losses: NDArray[np.float64]
    order: NDArray[np.int64]
    suggested_caption: NDArray[np.int64]
    suggested_image: NDArray[np.int64]
    is_noisy: NDArray[np.bool_] | None = None

    def write(self, path: Path) -> None:
        """Write Parquet, some rows at a time, aside and renamed.

        Columns: `pair_id`, `image_id`, `caption`, `clean_probability`, `loss`,
        `suggested_caption` (of another image, null if there is none), `suggested_image_id` and, if
        the truth is known, `is_noisy`.

        Args:
            path: The file.
        """
        first = self._rows(self.order[:_GROUP_ROWS])
        with (
            atomic_write(path) as aside,
            pq.ParquetWriter(aside, first.schema, compression="zstd") as writer,
        ):
            writer.write_table(first)
            for start in range(_GROUP_ROWS, len(self.order), _GROUP_ROWS):
                writer.write_table(self._rows(self.order[start : start + _GROUP_ROWS]))

    def _rows(self, pairs: NDArray[np.int64]) -> pa.Table:
        ids, texts = self.image_ids, self.captions
        better_text = self.suggested_caption[pairs].tolist()
        better_row = self.suggested_image[pairs].tolist()
        columns = {
            "pair_id": pa.array(pairs),
            "image_id": pa.array([ids[row] for row in self.row_of_pair[pairs].tolist()]),
            "caption": pa.array([texts[pair] for pair in pairs.tolist()]),
            "clean_probability": pa.array(self.clean_probability[pairs]),
            "loss": pa.array(self.losses[pairs]),
            "suggested_caption": pa.array(
                [texts[pair] if pair >= 0 else None for pair in better_text], pa.string()
            ),
            "suggested_image_id": pa.array(
                [ids[row] if row >= 0 else None for row in better_row], pa.string()
            ),
        }
        if self.is_noisy is not None:
            columns["is_noisy"] = pa.array(self.is_noisy[pairs])
        return pa.table(columns)
