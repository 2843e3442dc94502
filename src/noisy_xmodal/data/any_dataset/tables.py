"""Tables of captions (CSV, JSON and JSON Lines), and the picture files that they name.

Values get the same types from CSV and JSON. Names of pictures, splits and images, and captions are
text, even if JSON has a number. NaN is null. A column of texts and numbers becomes text. A column
of captions and lists of captions becomes lists. Words such as `None` or `nan` are ordinary text.
"""

import base64
import binascii
import json
import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow as pa

from ..columns import IMAGE_FEATURES, IMAGE_ID, IS_NOISY, DatasetError, column_values, with_columns
from ..feature_types import is_string, is_vector
from ..messages import quoted, quoted_list
from .captions import flags_of
from .columns import ColumnOptions, find_columns, holds_text
from .delimited import TableRows, is_prose, read_delimited, read_text, table_cells
from .json_tables import is_json, json_names, read_json
from .picture_files import PictureFiles, names_of_paths, without_fragment

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
#: How messages end that are about pairs which can be left out.
LEAVE_OUT = " To leave out such pairs: left_out={}."
_MAX_DEPTH = 16
_N_FAULTS = 3  # in messages
_URL_SAFE = str.maketrans("-_", "+/")
_N_SAMPLE_ROWS = 20
_MIN_LENGTH = 64  # paths are shorter, or start differently
_PREFIX = re.compile(r"\s*data:image/[\w.+-]+;base64,|\s*")
# The first bytes of JPEG, PNG, GIF, WebP (RIFF) and TIFF in base64.
_STARTS = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "SUkqA", "TU0AK")


class RawSplit(NamedTuple):
    """A split before its conversion to the column contract.

    Attributes:
        dataset: The rows, maybe with rows of other splits.
        options: The user's column options.
        faults: Messages about rows that cannot be read; errors unless rows may be left out.
        notes: Messages about other things that were not read.
        pictures: The picture files of the rows, as absolute paths.
        rows: The rows of `dataset` that belong to the split; None for all.
    """

    dataset: datasets.Dataset
    options: ColumnOptions
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: frozenset[str] = frozenset()
    rows: Sequence[int] | None = None

    def view(self) -> datasets.Dataset:
        """Selects the rows of the split."""
        return self.dataset if self.rows is None else self.dataset.select(self.rows)


def reject_faults(name: str | Path, splits: Mapping[str, RawSplit]) -> None:
    """Raises an error if rows cannot be read, and warns about other things that were not read."""
    for split, raw in splits.items():
        if raw.faults:
            n_more = len(raw.faults) - _N_FAULTS
            more = f"; and {n_more:,} more" if n_more > 0 else ""
            faults = "; ".join(fault.rstrip(".") for fault in raw.faults[:_N_FAULTS])
            raise DatasetError(
                f"Split '{split}' of {name} is incomplete: {faults}{more}. Correct the "
                f"data.{LEAVE_OUT}"
            )
        for note in raw.notes:
            warnings.warn(f"Split '{split}' of {name}: {note}", stacklevel=2)


def table_header(file: Path) -> list[str]:
    """The cells of the first line of a table, or the keys of JSON; empty if there are none."""
    return json_names(file) if is_json(file) else table_cells(file)


def describe_table(file: Path) -> str:
    """Lists the columns of a table for a message, or says why it has none."""
    try:
        cells = list(read_json(file).columns) if is_json(file) else table_cells(file)
        if not cells:
            read_text(file)
    except DatasetError as error:
        return str(error).rstrip(".")
    if is_prose(cells):
        return (
            f"its first line is {quoted_list(cells, 3)}, without the name of a picture; line i is "
            "not used as the caption of picture i, because the order of pictures is not defined"
        )
    return f"columns {quoted_list(cells)}"


def read_table(file: Path, options: ColumnOptions, files: PictureFiles) -> RawSplit:
    """Reads a CSV, JSON or JSON Lines file, with names of pictures as in the file.

    Raises:
        DatasetError: The file is not such a table; the message names the faulty line.
    """
    if is_json(file):
        return raw_split(read_json(file), file, options)
    rows = read_delimited(file, options, lambda name: bool(files.matches(name)))
    return raw_split(rows, file, options)


def raw_split(rows: TableRows, file: Path, options: ColumnOptions) -> RawSplit:
    """Creates a dataset from the rows of a file or folder.

    Raises:
        DatasetError: A column has unsupported values, or there are no rows.
    """
    table = pa.table(
        {name: _array(name, values, file, options) for name, values in rows.columns.items()}
    )
    if not len(table):
        raise DatasetError(f"{file} has no rows.")
    return RawSplit(datasets.Dataset(table), options, tuple(rows.faults), tuple(rows.notes))


def resolve_pictures(
    raw: RawSplit, file: Path, split: str, files: PictureFiles, strict: bool
) -> RawSplit:
    """Replaces the names of pictures in a table by absolute paths, and base64 by bytes.

    Rows that contain the pictures, or vectors, are returned unchanged. Without `strict`, a missing
    file is no error, and its path is kept.

    Raises:
        DatasetError: A file does not exist, or a name matches several files.
    """
    if is_vector(raw.dataset.features.get(raw.options.image or IMAGE_FEATURES)):
        return raw
    if strict:
        reject_faults(file, {split: raw._replace(notes=())})
    columns = find_columns(raw.dataset, raw.options, split)
    dataset = decode_pictures(raw.dataset, columns.visual)
    if not is_string(dataset.features[columns.visual]):
        return raw._replace(dataset=dataset)
    names = column_values(dataset, columns.visual)
    full = _full_paths({name for name in names if name and "://" not in name}, file, files)
    missing = [row for row, name in enumerate(names) if name in full and full[name] is None]
    if missing and strict:
        raise DatasetError(
            f"Row {missing[0]} of {file} (counted from 0) names the picture "
            f"{quoted(names[missing[0]])}, which is not in {file.parent} or below it "
            f"({len(missing)} of {len(names)} rows have no file). Add the pictures there, or "
            f"correct the paths.{LEAVE_OUT}"
        )
    string, options, replaced = datasets.Value("string"), raw.options, dict[str, Any]()
    if columns.image_id is None:  # absolute paths are not names: they depend on the machine
        plain = [name and without_fragment(name) for name in names]
        replaced[IMAGE_ID] = (names_of_paths(plain), string)
        options = replace(options, id=IMAGE_ID)
    # Missing pictures get absolute paths, too: the working directory may have such a file.
    parent = os.path.abspath(file.parent)
    paths = [(full[name] or os.path.join(parent, name)) if name in full else name for name in names]
    replaced[columns.visual] = (paths, string)
    dataset = with_columns(dataset, replaced)
    pictures = frozenset(path for path in full.values() if path is not None)
    return raw._replace(dataset=dataset, options=options, pictures=pictures)


def decode_pictures(dataset: datasets.Dataset, visual: str) -> datasets.Dataset:
    """Decodes a column of pictures in base64, with or without `data:image/...;base64,`, to bytes.

    Returns:
        The dataset with a column of bytes, if one of the first values is a picture in base64; all
        other values are null then. Otherwise the dataset is returned unchanged.
    """
    if not is_string(dataset.features[visual]):
        return dataset
    sample = column_values(dataset.select(range(min(_N_SAMPLE_ROWS, len(dataset)))), visual)
    if not any(map(_is_encoded, sample)):
        return dataset
    content = [_decode(value) for value in column_values(dataset, visual)]
    return with_columns(dataset, {visual: (content, datasets.Value("binary"))})


def _full_paths(names: set[str], file: Path, files: PictureFiles) -> dict[str, str | None]:
    """Finds the file of each name; None if there is none."""
    full: dict[str, str | None] = {}
    for name in names:
        matches = files.matches(name)
        if len(matches) > 1:
            raise DatasetError(
                f"{file} names the picture {quoted(name)}, which matches {len(matches)} files "
                f"below {files.folder}: {quoted_list(matches[:2])}. Write the path from there."
            )
        full[name] = matches[0] if matches else None
    return full


def _is_encoded(text: str | None) -> bool:
    """Whether a text starts like a picture in base64."""
    code = _PREFIX.sub("", text, count=1) if text else ""
    return len(code) >= _MIN_LENGTH and code.startswith(_STARTS)


def _decode(text: str | None) -> bytes | None:
    if text is None or not _is_encoded(text):
        return None
    try:
        return base64.b64decode(_PREFIX.sub("", text, count=1).translate(_URL_SAFE))
    except (binascii.Error, ValueError):
        return None


def _array(name: str, values: list[Any], file: Path, options: ColumnOptions) -> pa.Array:
    """Converts a column; unsupported by Arrow or `datasets` are deep and mixed values."""
    cause: Exception
    try:
        name.encode()
        array = pa.array(_unify(name, values, options))
        if _depth(array.type) > _MAX_DEPTH:
            raise RecursionError
        return array
    except RecursionError as error:
        cause, fault = error, f"more than {_MAX_DEPTH} nested levels. Remove it"
    except UnicodeEncodeError as error:
        what = f"half of a surrogate pair, which is not a character ({quoted(str(error))})"
        cause, fault = error, f"{what}. Correct it"
    except (pa.ArrowException, OverflowError) as error:
        what = f"values of different types ({quoted(str(error))})"
        cause, fault = error, f"{what}. Use one type, or remove it"
    raise DatasetError(f"Column {quoted(name)} of {file} has {fault}.") from cause


def _unify(name: str, values: list[Any], options: ColumnOptions) -> list[Any]:
    """Converts the values of a column to one type, if they have one meaning."""
    if name == IS_NOISY:
        flags = [flags_of(value) for value in values]
        if None in flags:  # `read_flags` reports the row
            return [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        return flags
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {str}:
        return values
    if str in kinds or name in (*options.names(), IMAGE_ID, "split") or holds_text(name):
        values = [_text(value) for value in values]
        kinds = {type(value) for value in values} - {type(None)}
    if kinds == {str, list}:
        return [[value] if isinstance(value, str) else value for value in values]
    return values


def _text(value: Any) -> Any:
    """Converts a number or boolean to its text in JSON, and NaN to null."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return json.dumps(value) if isinstance(value, int | float) else value


def _depth(kind: pa.DataType) -> int:
    inner = (kind.field(number).type for number in range(kind.num_fields))
    return 1 + max(map(_depth, inner), default=0)
