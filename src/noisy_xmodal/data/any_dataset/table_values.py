"""Conversion of table values to a dataset, with the same types for CSV and JSON.

Names of pictures, splits and images, and captions are text, even if JSON has a number. NaN is null.
A column of texts and numbers becomes text. A column of captions and lists of captions becomes
lists. Words such as `None` or `nan` are ordinary text.
"""

import json
import math
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from ..columns import IMAGE_ID, IS_NOISY, DatasetError
from ..messages import quoted
from .captions import flags_of
from .columns import ColumnOptions, holds_text
from .table_rows import TableRows

_MAX_DEPTH = 16


def as_dataset(rows: TableRows, file: Path, options: ColumnOptions) -> datasets.Dataset:
    """Creates a dataset from the rows of a file.

    Args:
        rows: The rows.
        file: The file, for the messages.
        options: The user's column options.

    Raises:
        DatasetError: A column has unsupported values, or there are no rows.
    """
    table = pa.table(
        {name: _array(name, values, file, options) for name, values in rows.columns.items()}
    )
    if not len(table):
        raise DatasetError(f"{file} has no rows.")
    return datasets.Dataset(table)


def _array(name: str, values: list[Any], file: Path, options: ColumnOptions) -> pa.Array:
    try:
        name.encode()
        array = pa.array(_unify(name, values, options))
        too_deep = _depth(array.type) > _MAX_DEPTH
    except RecursionError:
        too_deep = True
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"Column {name!a} of {file} has half of a surrogate pair, which is not a character "
            f"({quoted(str(error))}). Correct it."
        ) from error
    except (pa.ArrowException, OverflowError) as error:
        raise DatasetError(
            f"Column {quoted(name)} of {file} has values of different types "
            f"({quoted(str(error))}). Use one type, or remove it."
        ) from error
    if too_deep:  # unsupported by datasets and Arrow
        raise DatasetError(
            f"Column {quoted(name)} of {file} has more than {_MAX_DEPTH} nested levels. Remove it."
        )
    return array


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
