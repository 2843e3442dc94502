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

from ..columns import DatasetError
from ..regions import region_arrays
from .captions import column_values, is_string
from .columns import PairColumns, is_binary, is_picture

_BLOCK_ROWS = 256


def image_rows(
    dataset: datasets.Dataset, columns: PairColumns, split: str
) -> tuple[list[int], list[str]]:
    """Finds which rows hold one image, and the name of each row's image.

    Rows hold one image where they have the same path, or the same name and the same content.

    Args:
        dataset: One split.
        columns: Its columns.
        split: Its name, for the messages.

    Returns:
        For every row, the first row with the same image; and the name of the image, from the
        naming column, else the path, else the row number.

    Raises:
        DatasetError: A picture or a name is missing, or one name stands for different images.
    """
    paths = _picture_paths(dataset, columns.visual, split)
    if columns.image_id is None:
        whole = is_string(dataset.features[columns.visual])
        return _first_rows(paths), _names_from_paths(paths, whole)
    names = _read_names(dataset, columns.image_id, split)
    counts = Counter(names)
    repeated = [row for row, name in enumerate(names) if counts[name] > 1 and paths[row] is None]
    digests = _digests(dataset, columns.visual, repeated)
    contents = [digests.get(row, path) for row, path in enumerate(paths)]
    first_rows = _first_rows(paths)
    first_of_name: dict[str, int] = {}
    for row, name in enumerate(names):
        first = first_of_name.setdefault(name, row)
        if contents[first] != contents[row]:
            found = "" if paths[row] is None else f" ({paths[first]!r} and {paths[row]!r})"
            raise DatasetError(
                f"Rows {first} and {row} of split '{split}' are both named {name!r} in column "
                f"'{columns.image_id}' but hold different images{found}. Give the column that "
                "names the image with id_column=, or drop this one."
            )
        if paths[row] is None:
            first_rows[row] = first
    return first_rows, names


def _picture_paths(dataset: datasets.Dataset, visual: str, split: str) -> list[str | None]:
    """Reads the path of every row's picture; None where the picture itself is in the row."""
    feature = dataset.features[visual]
    paths: list[str | None] = []
    for first_row, column in _blocks(dataset, visual):
        in_row, found = _block_paths(column, feature)
        for row, (has_content, path) in enumerate(zip(in_row, found, strict=True), first_row):
            if not has_content and not path:
                raise DatasetError(
                    f"Row {row} of split '{split}' has no image in column '{visual}'. Drop the row."
                )
            paths.append(None if has_content else path)
    _check_files(paths, visual, split, links=not is_string(feature))
    return paths


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
                f"Row {row} of split '{split}' has a link in column '{visual}' ({path!r}), not a "
                "picture. Download the files first, or name another column with image_column=."
            )
    exists = {path: "://" in path or os.path.isfile(path) for path in set(paths) if path}
    missing = [row for row, path in enumerate(paths) if path and not exists[path]]
    if missing:
        raise DatasetError(
            f"Row {missing[0]} of split '{split}' names the picture {paths[missing[0]]!r} in "
            f"column '{visual}', which is no file ({len(missing)} of {len(paths)} rows). Write "
            "full paths, or name another column with image_column=."
        )


def _read_names(dataset: datasets.Dataset, name: str, split: str) -> list[str]:
    values = column_values(dataset, name)
    for row, value in enumerate(values):
        if value is None or value == "":
            raise DatasetError(
                f"Row {row} of split '{split}' has no name in column '{name}'. Write one, or name "
                "another column with id_column=."
            )
    return [str(value) for value in values]


def _first_rows(paths: Sequence[str | None]) -> list[int]:
    first_of_path: dict[str, int] = {}
    return [
        row if path is None else first_of_path.setdefault(path, row)
        for row, path in enumerate(paths)
    ]


def _names_from_paths(paths: list[str | None], whole: bool) -> list[str]:
    """Names images by path, `whole` or without the folders that all share, else by row number."""
    full = {os.path.dirname(path) for path in paths if path and os.path.isabs(path)}
    shared = "" if whole or not full else os.path.commonpath(full)
    names = [_below(path, shared) if path and shared else path for path in paths]
    return [f"row-{row:06d}" if name is None else name for row, name in enumerate(names)]


def _below(path: str, folder: str) -> str:
    return path.removeprefix(folder).lstrip(os.sep) if os.path.isabs(path) else path


def _digests(dataset: datasets.Dataset, visual: str, rows: Sequence[int]) -> dict[int, bytes]:
    """Hashes the content of some rows."""
    wanted = set(rows)
    found = {}
    for first_row, column in _blocks(dataset, visual) if wanted else ():
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


def _blocks(dataset: datasets.Dataset, name: str) -> Iterator[tuple[int, pa.ChunkedArray]]:
    rows = dataset.select_columns([name]).with_format("arrow")
    for first_row in range(0, len(rows), _BLOCK_ROWS):
        yield first_row, rows[first_row : first_row + _BLOCK_ROWS].column(name)
