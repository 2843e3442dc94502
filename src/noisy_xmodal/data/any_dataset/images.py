"""Detection of rows with the same image, by paths, names and, if necessary, content.

Pictures are read in blocks and never decoded.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence

import datasets
import pyarrow.compute as pc

from ..columns import DatasetError, column_blocks, column_values
from ..feature_types import is_binary, is_picture, is_string
from ..messages import quoted
from ..regions import region_arrays
from .columns import PairColumns
from .picture_files import names_of_paths, row_name

#: Whether a row stores its image, and the path of the image.
Place = tuple[bool, str | None]


def picture_places(dataset: datasets.Dataset, visual: str) -> Iterator[Place]:
    """Locates the image of every row, in the column `visual`."""
    feature = dataset.features[visual]
    for _, column in column_blocks(dataset, visual):
        is_stored, paths = [False] * len(column), [None] * len(column)
        if is_string(feature):
            paths = column.to_pylist()
        elif not is_picture(feature) or is_binary(feature):
            is_stored = column.is_valid().to_pylist()
        else:
            fields = {field.name: pc.struct_field(column, field.name) for field in column.type}
            if "bytes" in fields:
                is_stored = fields["bytes"].is_valid().to_pylist()
            if "path" in fields:
                paths = fields["path"].to_pylist()
        yield from zip(is_stored, paths, strict=True)


def check_places(
    dataset: datasets.Dataset, visual: str, places: Sequence[Place], split: str
) -> None:
    """Raises an error that names the first row without an image, or with a missing file."""
    no_links = is_string(dataset.features[visual])
    for row, (is_stored, path) in enumerate(places):
        where = f"Row {row} of split '{split}' (counted from 0)"
        if not is_stored and not path:
            raise DatasetError(f"{where} has no image in column '{visual}'. Drop the row.")
        if no_links and path and "://" in path:
            raise DatasetError(
                f"{where} has a link in column '{visual}' ({quoted(path)}), not a picture. "
                "Download the files first, or name another column with image_column=NAME."
            )
    files = {path for is_stored, path in places if path and not is_stored}
    gone = {path for path in files if "://" not in path and not os.path.isfile(path)}
    missing = [
        row for row, (is_stored, path) in enumerate(places) if path in gone and not is_stored
    ]
    if missing:
        raise DatasetError(
            f"Row {missing[0]} of split '{split}' (counted from 0) names the picture "
            f"{quoted(places[missing[0]][1])} in column '{visual}', which does not exist "
            f"({len(missing)} of {len(places)} rows). Write absolute paths, or name another column "
            "with image_column=NAME."
        )


def image_rows(
    dataset: datasets.Dataset, columns: PairColumns, places: Sequence[Place], split: str
) -> tuple[list[int], list[str]]:
    """Finds rows with the same image, and the name of each row's image.

    Rows have the same image if they have the same path or the same content, and, if a column
    certainly names the image, the same name.

    Returns:
        The first row with the same image, for every row; and the name of the image, from the
        naming column, else from the path (of a file, or stored with the picture), else from the
        row number.

    Raises:
        DatasetError: A name is missing, or stands for different images.
    """
    files = [None if is_stored else path for is_stored, path in places]
    if columns.image_id is not None:
        names = _read_names(dataset, columns.image_id, split)
    else:
        names = names_of_paths([path or None for _, path in places])
    ambiguous = {row for row, path in enumerate(files) if path is None}
    if columns.names_image:
        counts = Counter(names)
        ambiguous = {row for row in ambiguous if counts[names[row]] > 1}
    digests = _digests(dataset, columns.visual, ambiguous)
    contents = [digests.get(row) if path is None else path for row, path in enumerate(files)]
    clashes = _clashes(names, contents)
    if columns.image_id is None:
        shared = {names[row] for row in clashes}
        names = [row_name(row) if name in shared else name for row, name in enumerate(names)]
    elif clashes:
        row, first = next(iter(clashes.items()))
        is_file = files[first] is not None
        paths = f" ({contents[first]!r} and {contents[row]!r})" if is_file else ""
        raise DatasetError(
            f"Rows {first} and {row} of split '{split}' are both named {quoted(names[row])} in "
            f"column '{columns.image_id}' but have different images{paths}. Choose the column that "
            "names the image with id_column=NAME, or drop this one."
        )
    first_of_key: dict[tuple[object, object], int] = {}
    first_rows = []
    for row, content in enumerate(contents):
        by_name = columns.names_image and files[row] is None
        key = (names[row] if by_name else None, row if content is None else content)
        first_rows.append(first_of_key.setdefault(key, row))
    return first_rows, names


def _clashes(names: Sequence[str], contents: Sequence[str | bytes | None]) -> dict[int, int]:
    """The rows with another image than the first row of the same name, and that first row."""
    first_of_name: dict[str, int] = {}
    return {
        row: first
        for row, name in enumerate(names)
        if contents[first := first_of_name.setdefault(name, row)] != contents[row]
    }


def _read_names(dataset: datasets.Dataset, name: str, split: str) -> list[str]:
    values = column_values(dataset, name)
    for row, value in enumerate(values):
        if value is None or value == "":
            raise DatasetError(
                f"Row {row} of split '{split}' (counted from 0) has no name in column '{name}'. "
                "Add one, or name another column with id_column=NAME."
            )
    return [str(value) for value in values]


def _digests(dataset: datasets.Dataset, visual: str, rows: set[int]) -> dict[int, bytes]:
    """Hashes the content of some rows."""
    digests = {}
    feature = dataset.features[visual]
    for first_row, column in column_blocks(dataset, visual) if rows else ():
        block_rows = [row for row in range(first_row, first_row + len(column)) if row in rows]
        if not block_rows:
            continue
        if is_picture(feature):
            content = column if is_binary(feature) else pc.struct_field(column, "bytes")
            buffers = [content[row - first_row].as_buffer() for row in block_rows]
        else:
            arrays = region_arrays(column)
            buffers = [arrays[row - first_row].tobytes() for row in block_rows]
        for row, data in zip(block_rows, buffers, strict=True):
            digests[row] = hashlib.sha256(data).digest()
    return digests
