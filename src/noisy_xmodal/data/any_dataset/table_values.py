"""Values of a table as a dataset: a number, a null or a list means the same in CSV and in JSON.

What names a picture, a caption, a split or an image is text, also where JSON holds a number. NaN is
null. A column of texts and numbers is text; one of captions and lists of captions is lists. Words
as `None` or `nan` are text as any other.
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
from .columns import GivenColumns, holds_text
from .table_rows import TableRows

_DEEPEST = 16


def as_dataset(rows: TableRows, file: Path, given: GivenColumns) -> datasets.Dataset:
    """Makes a dataset of the rows of a file.

    Args:
        rows: Its columns.
        file: The file, for the messages.
        given: What the user said about the columns.

    Raises:
        DatasetError: A column holds what no dataset can, or there are no rows.
    """
    table = pa.table(
        {name: _array(name, values, file, given) for name, values in rows.columns.items()}
    )
    if not len(table):
        raise DatasetError(f"{file} has no rows.")
    return datasets.Dataset(table)


def _array(name: str, values: list[Any], file: Path, given: GivenColumns) -> pa.Array:
    try:
        name.encode()
        array = pa.array(_alike(name, values, given))
        too_deep = _depth(array.type) > _DEEPEST
    except RecursionError:
        too_deep = True
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"Column {name!a} of {file} holds half of a surrogate pair, which is no character "
            f"({quoted(str(error))}). Correct it."
        ) from error
    except (pa.ArrowException, OverflowError) as error:
        raise DatasetError(
            f"Column {quoted(name)} of {file} holds values of different types "
            f"({quoted(str(error))}). Give it one type, or remove it."
        ) from error
    if too_deep:  # neither datasets nor Arrow can handle it
        raise DatasetError(
            f"Column {quoted(name)} of {file} is nested more than {_DEEPEST} deep. Remove it."
        )
    return array


def _alike(name: str, values: list[Any], given: GivenColumns) -> list[Any]:
    """The values of a column with one type, as far as they have one meaning."""
    if name == IS_NOISY:
        flags = [flags_of(value) for value in values]
        if None in flags:  # which is refused with its row, once that is read
            return [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        return flags
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {str}:
        return values
    if str in kinds or name in (*given.named(), IMAGE_ID, "split") or holds_text(name):
        values = [_text(value) for value in values]
        kinds = {type(value) for value in values} - {type(None)}
    if kinds == {str, list}:
        return [[value] if isinstance(value, str) else value for value in values]
    return values


def _text(value: Any) -> Any:
    """A number or a truth value as it stands in a file; NaN is nothing."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return json.dumps(value) if isinstance(value, int | float) else value


def _depth(kind: pa.DataType) -> int:
    inner = (kind.field(number).type for number in range(kind.num_fields))
    return 1 + max(map(_depth, inner), default=0)
