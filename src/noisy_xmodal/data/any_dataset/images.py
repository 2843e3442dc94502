"""Which rows hold the same image, told by paths, names and, where needed, the bytes.

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
    """Finds which rows hold one image, and the name of each row's image.

    Rows hold one image where they have the same path, or the same content; where a column names the
    image for sure, also the same name.

    Args:
        dataset: One split.
        columns: Its columns.
        split: Its name, for the messages.

    Returns:
        For every row, the first row with the same image; and the name of the image, from the
        naming column, else the path (also one that is stored beside the picture), else the row
        number.

    Raises:
        DatasetError: A picture or a name is missing, or one name stands for different images.
    """
    paths, stored = _picture_paths(dataset, columns.visual, split)
    names = names_of_paths(stored)
    if columns.image_id is not None:
        names = _read_names(dataset, columns.image_id, split)
    counts = Counter(names)
    doubtful = [
        row
        for row, path in enumerate(paths)
        if path is None and (not columns.names_image or counts[names[row]] > 1)
    ]
    digests = _digests(dataset, columns.visual, doubtful)
    contents = [path if path is not None else digests.get(row) for row, path in enumerate(paths)]
    if columns.image_id is not None:
        _check_names(names, contents, columns.image_id, split)
    else:
        names = _names_of_one_content(names, contents)
    first_of_key: dict[tuple[object, object], int] = {}
    first_rows = []
    for row, content in enumerate(contents):
        sure = columns.names_image and paths[row] is None
        key = (names[row] if sure else None, row if content is None else content)
        first_rows.append(first_of_key.setdefault(key, row))
    return first_rows, names


def _names_of_one_content(
    names: Sequence[str], contents: Sequence[str | bytes | None]
) -> list[str]:
    """Names by path, but by row number where one path is stored beside different pictures."""
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
            found = "" if isinstance(both[0], bytes) else f" ({both[0]!r} and {both[1]!r})"
            raise DatasetError(
                f"Rows {first} and {row} of split '{split}' are both named {quoted(name)} in "
                f"column '{column}' but hold different images{found}. Give the column that names "
                "the image with id_column=NAME, or drop this one."
            )


def _picture_paths(
    dataset: datasets.Dataset, visual: str, split: str
) -> tuple[list[str | None], list[str | None]]:
    """Reads the path of every row's picture, None where the picture itself is in the row.

    Returns:
        The paths of files; and all paths, also those that are stored beside a picture.
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
    """Says of every row where its image is.

    Args:
        dataset: One split.
        visual: Its column of images.

    Yields:
        The row, whether the image stands in it, and the path that it has.
    """
    feature = dataset.features[visual]
    for first_row, column in column_blocks(dataset, visual, _BLOCK_ROWS):
        places = zip(*_block_paths(column, feature), strict=True)
        for row, (has_content, path) in enumerate(places, first_row):
            yield row, has_content, path


def _block_paths(column: pa.ChunkedArray, feature: object) -> tuple[list[bool], list[str | None]]:
    """For each row of a block: whether it holds the content, and its path."""
    nothing: list[str | None] = [None] * len(column)
    if is_string(feature):
        return [False] * len(column), column.to_pylist()
    if not is_picture(feature) or is_binary(feature):
        return column.is_valid().to_pylist(), nothing
    fields = {field.name for field in column.type}
    in_row = [False] * len(column)
    if "bytes" in fields:
        in_row = pc.struct_field(column, "bytes").is_valid().to_pylist()
    return in_row, pc.struct_field(column, "path").to_pylist() if "path" in fields else nothing


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
            f"column '{visual}', which is no file ({len(missing)} of {len(paths)} rows). Write "
            "full paths, or name another column with image_column=NAME."
        )


def _read_names(dataset: datasets.Dataset, name: str, split: str) -> list[str]:
    values = column_values(dataset, name)
    for row, value in enumerate(values):
        if value is None or value == "":
            raise DatasetError(
                f"Row {row} of split '{split}' has no name in column '{name}'. Write one, or name "
                "another column with id_column=NAME."
            )
    return [str(value) for value in values]


def names_of_paths(paths: Sequence[str | None]) -> list[str]:
    """Names images by their paths, as far as these tell them apart.

    Args:
        paths: The path of each, or None.

    Returns:
        Relative paths as they are, absolute ones without the folders that all share (which change
        with the machine), and "row-000003" where there is none.
    """
    folders = {os.path.dirname(path) for path in paths if path and os.path.isabs(path)}
    shared = os.path.commonpath(folders) if folders else ""
    return [
        row_name(row) if path is None else _below(path, shared) for row, path in enumerate(paths)
    ]


def row_name(row: int) -> str:
    """What an image is called that has no name."""
    return f"row-{row:06d}"


def _below(path: str, folder: str) -> str:
    return path.removeprefix(folder).lstrip(os.sep) if os.path.isabs(path) else path


def _digests(dataset: datasets.Dataset, visual: str, rows: Sequence[int]) -> dict[int, bytes]:
    """Hashes the content of some rows."""
    wanted = set(rows)
    found = {}
    for first_row, column in column_blocks(dataset, visual, _BLOCK_ROWS) if wanted else ():
        here = [row for row in range(first_row, first_row + len(column)) if row in wanted]
        if not here:
            continue
        feature = dataset.features[visual]
        if is_picture(feature):
            content = column if is_binary(feature) else pc.struct_field(column, "bytes")
            buffers = [content[row - first_row].as_buffer() for row in here]
        else:
            arrays = region_arrays(column)
            buffers = [arrays[row - first_row].tobytes() for row in here]
        found.update(
            {row: hashlib.sha256(data).digest() for row, data in zip(here, buffers, strict=True)}
        )
    return found
