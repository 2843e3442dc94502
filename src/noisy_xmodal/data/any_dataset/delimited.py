"""Tables with a delimiter: CSV with commas or semicolons, tabs, bars.

| delimiter | a row is  | quotation marks                                               |
|-----------|-----------|---------------------------------------------------------------|
| `,` `;`   | RFC 4180  | `"a ""b"" c"`: a cell may contain delimiters and line ends    |
| tab       | a line    | removed around a whole cell, else part of it; RFC 4180 if     |
|           |           | only then all rows have as many cells as the header           |
| `|`       | a line    | part of the cell                                              |

The first line names the columns. If one of its cells is the file name of a picture, the table has
no header, and the line is the first row. (The CSV readers of Arrow and pandas do not name the line
of a wrong quotation mark, and know neither form.)
"""

import csv
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..columns import DatasetError
from ..messages import quoted, quoted_list
from .columns import ColumnOptions, looks_like_pairs
from .picture_files import has_picture_suffix

_MARKS = {  # longest first: the mark of UTF-32 starts with that of UTF-16
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_HEAD_BYTES = 200
_DELIMITERS = ",;|\t"
_QUOTED = re.compile(r'\s*"((?:[^"]|"")*)"\s*')
_RULES = {
    "|": "A table with bars has no quoting: a cell cannot contain a bar",
    "\t": "A cell cannot contain a tab or a line end",
}
_QUOTING = 'Double the quotation marks inside a quoted caption: "a ""black"" dog"'
_MAX_CELL_LENGTH = min(sys.maxsize, 2**31 - 1)
_N_CELLS = 8  # in a message
_PROSE_WORDS = 4  # a cell of as many words is not a column name
_N_SAMPLE_ROWS = 100  # to tell captions from numbers without a header


class TableRows(NamedTuple):
    """The rows of one file.

    Attributes:
        columns: The values of all rows, by column name.
        faults: A message per line that cannot be read; an error unless lines may be left out.
        notes: Further messages about the file.
    """

    columns: dict[str, list[Any]]
    faults: list[str]
    notes: list[str]


def read_text(file: Path) -> str:
    """Reads a text file in UTF-8, or in the encoding of a byte order mark, with its line ends.

    Raises:
        DatasetError: The file is empty, or not in its encoding; the message names the line.
    """
    data = file.read_bytes()
    encoding = _encoding(data)
    if encoding == "utf-8-sig" and b"\0" in data[:_HEAD_BYTES]:
        raise DatasetError(
            f"{file} is not text, or UTF-16 without a byte order mark: it contains zero bytes. "
            "Save it as UTF-8."
        )
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        excerpt = data[max(0, error.start - 10) : error.start + 10]
        name = encoding.removesuffix("-sig").upper()
        raise DatasetError(
            f"Line {line} of {file} is not {name} text: {quoted(excerpt)}. Save the file as UTF-8, "
            "for example with: iconv -f LATIN1 -t UTF-8 (if its encoding is LATIN1)."
        ) from error
    if not text.strip():
        raise DatasetError(f"{file} is empty.")
    return text


def first_line(file: Path) -> str:
    """The first non-blank line of a text file; invalid bytes are replaced."""
    with file.open("rb") as binary:
        encoding = _encoding(binary.read(4))
    with file.open(encoding=encoding, errors="replace") as lines:
        return next((line.rstrip("\n") for line in lines if line.strip()), "")


def read_delimited(
    file: Path, options: ColumnOptions, is_picture: Callable[[str], bool]
) -> TableRows:
    """Reads a table with a delimiter; cells are stripped, empty cells are null.

    Args:
        file: The table.
        options: The user's column options.
        is_picture: Whether a name matches a picture file of the table.

    Raises:
        DatasetError: The header names a column twice, or no row can be read.
    """
    text = read_text(file)
    first = next(line for line in io.StringIO(text, newline=None) if line.strip()).strip("\r\n")
    delimiter = _delimiter_of(first)
    cells = _split_line(first, delimiter)
    records = _records(text, delimiter, cells)
    faults = [f"{record.place} of {file} {record.fault}" for record in records if record.fault]
    rows = [record.cells for record in records if not record.fault]
    notes = []
    if _is_header(cells, options, is_picture):
        if records[0].fault:
            raise DatasetError(faults[0])
        names = rows.pop(0)
        if any(names.count(name) > 1 for name in names if name):
            raise DatasetError(f"{file} names a column twice: {quoted_list(names)}. Rename one.")
    elif not any(has_picture_suffix(cell) or is_picture(cell) for cell in cells):
        raise DatasetError(
            f"{file} names no pictures: its first line is {quoted_list(cells)}. Line i is not "
            "used as the caption of picture i, because the order of the pictures is not defined. "
            "Write a table with the columns file_name and text."
        )
    else:
        names = _names_without_header(rows, options, is_picture)
        notes.append(f"{file} has no header; its columns are read as {quoted_list(names)}")
    if not rows:
        raise DatasetError(f"{file} has no rows{': ' if faults else '.'}{'; '.join(faults[:1])}")
    columns = {name: [row[i] or None for row in rows] for i, name in enumerate(names)}
    columns.pop("", None)  # row numbers written by pandas
    return TableRows(columns, faults, notes)


def table_cells(file: Path) -> list[str]:
    """The cells of the first line of a table."""
    line = first_line(file)
    return _split_line(line, _delimiter_of(line))


def is_prose(cells: Sequence[str]) -> bool:
    """Whether a cell of the first line is a text, not the name of a column."""
    return any(len(cell.split()) >= _PROSE_WORDS for cell in cells)


def _encoding(start: bytes) -> str:
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8-sig")


class _Record(NamedTuple):
    """One row: its place in the file, and its cells or a fault."""

    place: str
    cells: list[str]
    fault: str | None = None


def _delimiter_of(line: str) -> str:
    """Detects the delimiter of a table from its first line."""
    for delimiter in reversed(_DELIMITERS):  # captions contain commas
        cells = _split_line(line, delimiter)
        if len(cells) > 1 and any(map(has_picture_suffix, cells)):
            return delimiter
    return max(_DELIMITERS, key=line.count)


def _split_line(line: str, delimiter: str) -> list[str]:
    if delimiter in ",;":
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
        except csv.Error:
            return [cell.strip() for cell in line.split(delimiter)]
    return [_cell(cell, delimiter) for cell in line.split(delimiter)]


def _cell(cell: str, delimiter: str) -> str:
    match = _QUOTED.fullmatch(cell) if delimiter == "\t" else None
    return (match[1].replace('""', '"') if match else cell).strip()


def _is_header(
    cells: Sequence[str], options: ColumnOptions, is_picture: Callable[[str], bool]
) -> bool:
    if len(cells) > 1 and any(map(has_picture_suffix, cells)):
        return False
    if looks_like_pairs(cells, options):
        return True
    return not is_prose(cells) and not any(is_picture(cell) for cell in cells if cell)


def _names_without_header(
    rows: Sequence[Sequence[str]], options: ColumnOptions, is_picture: Callable[[str], bool]
) -> list[str]:
    """Names columns by the user's options, if these are cells of the first row, or by content."""
    first = rows[0] if rows else []
    names = [
        cell if cell in options.names() else f"column_{number}"
        for number, cell in enumerate(first, 1)
    ]
    pictures = [i for i, cell in enumerate(first) if has_picture_suffix(cell) or is_picture(cell)]
    texts = [
        i
        for i in range(len(first))
        if i not in pictures
        and (len(first) == 2 or any(re.search(r"\w\s+\w", row[i]) for row in rows[:_N_SAMPLE_ROWS]))
    ]
    for columns, name in ((pictures, "image"), (texts, "caption")):
        if len(columns) == 1 and first[columns[0]] not in options.names():
            names[columns[0]] = name
    return names


def _records(text: str, delimiter: str, first: Sequence[str]) -> list[_Record]:
    """The rows of a table that are not blank; those unlike the first line have a fault."""
    if delimiter in ",;":
        return _checked(_by_rfc(text, delimiter), delimiter, first)
    lines = _checked(_by_line(text, delimiter), delimiter, first)
    if delimiter == "\t" and any(record.fault for record in lines):
        records = _checked(_by_rfc(text, delimiter), delimiter, first)
        if not any(record.fault for record in records):
            return records
    return lines


def _by_line(text: str, delimiter: str) -> Iterator[_Record]:
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        yield _Record(f"Line {number}", _split_line(line.rstrip("\n"), delimiter))


def _by_rfc(text: str, delimiter: str) -> Iterator[_Record]:
    limit = csv.field_size_limit(_MAX_CELL_LENGTH)  # a global setting, restored below
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        while True:
            line = rows.line_num + 1
            cells, fault = list[str](), None
            try:
                cells = [cell.strip() for cell in next(rows)]
            except StopIteration:
                return
            except csv.Error as error:
                fault = f"is not CSV ({error}). {_QUOTING}"
            last = max(line, rows.line_num)
            place = f"Line {line}" if last == line else f"The row in lines {line} to {last}"
            yield _Record(place, cells, fault)
    finally:
        csv.field_size_limit(limit)


def _checked(records: Iterator[_Record], delimiter: str, first: Sequence[str]) -> list[_Record]:
    rule = _RULES.get(delimiter, f"Put captions that contain {delimiter!r} in double quotes")
    checked = []
    for record in records:
        if any(record.cells) and len(record.cells) != len(first):
            fault = (
                f"has {len(record.cells)} fields ({quoted_list(record.cells, _N_CELLS)}), but the "
                f"first line has {len(first)}: {quoted_list(first)}. {rule}"
            )
            record = record._replace(fault=fault)
        if record.fault or any(record.cells):
            checked.append(record)
    return checked
