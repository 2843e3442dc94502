"""Detection of rows with the same image, by paths, names and, if necessary, content.

Pictures are read in blocks and never decoded.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from ..columns import DatasetError, column_blocks, column_values
from ..feature_types import is_binary, is_picture, is_string
from ..messages import quoted
from ..regions import region_arrays
from .columns import PairColumns

_BLOCK_ROWS = 256


def image_rows(
    dataset: datasets.Dataset, columns: PairColumns, split: str
) -> tuple[list[int], list[str]]:
    """Finds rows with the same image, and the name of each row's image.

    Rows have the same image if they have the same path or the same content, and, if a column
    certainly names the image, the same name.

    Args:
        dataset: One split.
        columns: Its columns.
        split: Its name, for the messages.

    Returns:
        The first row with the same image, for every row; and the name of the image, from the
        naming column, else from the path (of a file, or stored with the picture), else from the
        row number.

    Raises:
        DatasetError: A picture or a name is missing, or one name stands for different images.
    """
    paths, stored = _picture_paths(dataset, columns.visual, split)
    names = names_of_paths(stored)
    if columns.image_id is not None:
        names = _read_names(dataset, columns.image_id, split)
    counts = Counter(names)
    ambiguous = {
        row
        for row, path in enumerate(paths)
        if path is None and (not columns.names_image or counts[names[row]] > 1)
    }
    digests = _digests(dataset, columns.visual, ambiguous)
    contents = [path if path is not None else digests.get(row) for row, path in enumerate(paths)]
    if columns.image_id is not None:
        _check_names(names, contents, columns.image_id, split)
    else:
        names = _unambiguous_names(names, contents)
    first_of_key: dict[tuple[object, object], int] = {}
    first_rows = []
    for row, content in enumerate(contents):
        by_name = columns.names_image and paths[row] is None
        key = (names[row] if by_name else None, row if content is None else content)
        first_rows.append(first_of_key.setdefault(key, row))
    return first_rows, names


def _unambiguous_names(names: Sequence[str], contents: Sequence[str | bytes | None]) -> list[str]:
    """Replaces names that several pictures share by row numbers."""
    content_of: dict[str, str | bytes | None] = {}
    clashes = {
        name
        for name, content in zip(names, contents, strict=True)
        if content_of.setdefault(name, content) != content
    }
    return [row_name(row) if name in clashes else name for row, name in enumerate(names)]


def _check_names(
    names: Sequence[str], contents: Sequence[str | bytes | None], column: str, split: str
) -> None:
    first_of_name: dict[str, int] = {}
    for row, name in enumerate(names):
        first = first_of_name.setdefault(name, row)
        if contents[first] != contents[row]:
            both = (contents[first], contents[row])
            paths = "" if isinstance(both[0], bytes) else f" ({both[0]!r} and {both[1]!r})"
            raise DatasetError(
                f"Rows {first} and {row} of split '{split}' are both named {quoted(name)} in "
                f"column '{column}' but have different images{paths}. Choose the column that names "
                "the image with id_column=NAME, or drop this one."
            )


def _picture_paths(
    dataset: datasets.Dataset, visual: str, split: str
) -> tuple[list[str | None], list[str | None]]:
    """Reads the path of every row's picture.

    Returns:
        The paths of files, None for pictures stored in their row; and all paths, including those
        that are stored with a picture.
    """
    paths: list[str | None] = []
    stored: list[str | None] = []
    for row, has_content, path in picture_places(dataset, visual):
        if not has_content and not path:
            raise DatasetError(
                f"Row {row} of split '{split}' has no image in column '{visual}'. Drop the row."
            )
        paths.append(None if has_content else path)
        stored.append(path or None)
    _check_files(paths, visual, split, links=not is_string(dataset.features[visual]))
    return paths, stored


def picture_places(
    dataset: datasets.Dataset, visual: str
) -> Iterator[tuple[int, bool, str | None]]:
    """Locates the image of every row.

    Args:
        dataset: One split.
        visual: Its column of images.

    Yields:
        The row, whether it stores the image, and the path.
    """
    feature = dataset.features[visual]
    for first_row, column in column_blocks(dataset, visual, _BLOCK_ROWS):
        places = zip(*_block_paths(column, feature), strict=True)
        for row, (has_content, path) in enumerate(places, first_row):
            yield row, has_content, path


def _block_paths(column: pa.ChunkedArray, feature: object) -> tuple[list[bool], list[str | None]]:
    """Whether each row of a block stores the content, and its path."""
    no_paths: list[str | None] = [None] * len(column)
    if is_string(feature):
        return [False] * len(column), column.to_pylist()
    if not is_picture(feature) or is_binary(feature):
        return column.is_valid().to_pylist(), no_paths
    fields = {field.name for field in column.type}
    is_stored = [False] * len(column)
    if "bytes" in fields:
        is_stored = pc.struct_field(column, "bytes").is_valid().to_pylist()
    return is_stored, pc.struct_field(column, "path").to_pylist() if "path" in fields else no_paths


def _check_files(paths: list[str | None], visual: str, split: str, links: bool) -> None:
    for row, path in enumerate(paths):
        if path and "://" in path and not links:
            raise DatasetError(
                f"Row {row} of split '{split}' has a link in column '{visual}' ({quoted(path)}), "
                "not a picture. Download the files first, or name another column with "
                "image_column=NAME."
            )
    exists = {path: "://" in path or os.path.isfile(path) for path in set(paths) if path}
    missing = [row for row, path in enumerate(paths) if path and not exists[path]]
    if missing:
        raise DatasetError(
            f"Row {missing[0]} of split '{split}' names the picture {quoted(paths[missing[0]])} in "
            f"column '{visual}', which does not exist ({len(missing)} of {len(paths)} rows). Write "
            "absolute paths, or name another column with image_column=NAME."
        )


def _read_names(dataset: datasets.Dataset, name: str, split: str) -> list[str]:
    values = column_values(dataset, name)
    for row, value in enumerate(values):
        if value is None or value == "":
            raise DatasetError(
                f"Row {row} of split '{split}' has no name in column '{name}'. Add one, or name "
                "another column with id_column=NAME."
            )
    return [str(value) for value in values]


def names_of_paths(paths: Sequence[str | None]) -> list[str]:
    """Names images by their paths.

    Args:
        paths: The path of each image, or None.

    Returns:
        Relative paths unchanged, absolute paths without the folders that all have in common (which
        depend on the machine), and "row-000003" for None.
    """
    folders = {os.path.dirname(path) for path in paths if path and os.path.isabs(path)}
    shared = os.path.commonpath(folders) if folders else ""
    return [
        row_name(row) if path is None else _below(path, shared) for row, path in enumerate(paths)
    ]


def row_name(row: int) -> str:
    """The name of an image without a path or a name."""
    return f"row-{row:06d}"


def _below(path: str, folder: str) -> str:
    return path.removeprefix(folder).lstrip(os.sep) if os.path.isabs(path) else path


def _digests(dataset: datasets.Dataset, visual: str, rows: set[int]) -> dict[int, bytes]:
    """Hashes the content of some rows."""
    digests = {}
    feature = dataset.features[visual]
    for first_row, column in column_blocks(dataset, visual, _BLOCK_ROWS) if rows else ():
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
