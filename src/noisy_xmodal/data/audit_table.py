"""The table of an audit: the clean probability of each pair, by image id and caption."""

from pathlib import Path

import numpy as np
import pyarrow.dataset as parquet
from numpy.typing import NDArray

from ..arguments.audit import THRESHOLD
from .columns import IMAGE_ID, column_values
from .messages import DatasetError
from .pair_dataset import PairDataset

_COLUMNS = ["image_id", "caption", "clean_probability"]

#: Image ids, captions and clean probabilities, a list each.
AuditTable = dict[str, list]


def open_audit_table(path: Path, option: str) -> parquet.Dataset:
    """Open the table of an audit, one file or a folder of parts, without reading its rows.

    Args:
        path: The file or the folder.
        option: The option that names it, for the message.

    Raises:
        DatasetError: If it is no such table.
    """
    if not path.exists():
        raise DatasetError(f"{option} {path} does not exist: give the table of an earlier audit")
    try:
        table = parquet.dataset(path, format="parquet")
        columns = table.schema.names
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{option} {path} is no table of an audit ({error}): give an audit.parquet"
        ) from error
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise DatasetError(
            f"{option} {path} is no table of an audit: it lacks {', '.join(missing)}, and has "
            f"{', '.join(columns)}"
        )
    return table


def read_audit_table(path: Path, option: str) -> AuditTable:
    """Image ids, captions and clean probabilities of a table; see `open_audit_table`."""
    return open_audit_table(path, option).to_table(columns=_COLUMNS).to_pydict()


def clean_probabilities(path: Path, pairs: PairDataset, option: str) -> NDArray[np.float64]:
    """The clean probability of each pair by an audit.

    The pairs may be a part of the audited ones, in any order. Where an image has a caption twice,
    the last one in the table counts.

    Args:
        path: The table, a file or a folder of parts.
        pairs: The pairs.
        option: The option that names the table, for the message.

    Returns:
        (n_pairs,), 0 to 1.

    Raises:
        DatasetError: If the table lacks a pair, cannot tell two of them apart, believes none of
            them, or is no table of an audit.
    """
    names, captions, probabilities = read_audit_table(path, option).values()
    by_pair = dict(zip(zip(names, captions, strict=True), probabilities, strict=True))
    ids = column_values(pairs.dataset, IMAGE_ID)
    rows = pairs.row_of_pair.tolist()
    keys = [(ids[row], caption) for row, caption in zip(rows, pairs.captions(), strict=True)]
    missing = [key for key in keys if key not in by_pair]
    if missing:
        name, caption = missing[0]
        raise DatasetError(
            f"{option} {path} lacks {len(missing):,} of the {len(keys):,} training pairs, such as "
            f"image '{name[:80]}' with the caption '{caption[:80]}': audit this split, with this "
            "noise, or leave the option out. An audit by parts numbers the images within a shard "
            "unless the data have ids of their own. Noise that is injected depends on the images "
            "that are held out for validation: write the noisy dataset first, and audit that."
        )
    table = zip(zip(names, captions, strict=True), probabilities, strict=True)
    conflicts = {key for key, probability in table if probability != by_pair[key]}
    first_row: dict[tuple[str, str], int] = {}
    for key, row in zip(keys, rows, strict=True):
        if first_row.setdefault(key, row) != row and key in conflicts:
            raise DatasetError(
                f"{option} {path} cannot tell apart two images with the id '{key[0][:80]}' and the "
                f"caption '{key[1][:80]}': give the images of the dataset different ids, and "
                "audit again"
            )
    values = np.array([by_pair[key] for key in keys], dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise DatasetError(f"{option} {path} has clean probabilities outside 0 to 1: audit again")
    if not (values >= THRESHOLD).any():
        raise DatasetError(
            f"{option} {path} judges all {len(values):,} training pairs wrong (the highest clean "
            f"probability is {values.max():.3g}): leave the option out"
        )
    return values
