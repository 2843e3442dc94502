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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

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
_QUOTING_DELIMITERS = ",;"
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

    `is_picture` tells whether a name matches a picture file of the table.

    Raises:
        DatasetError: The header names a column twice, or no row can be read.
    """
    text = read_text(file)
    cells, delimiter = _split_first(text)
    is_quoted = delimiter in _QUOTING_DELIMITERS
    records, faults = _records(text, delimiter, cells, file, is_quoted)
    if delimiter == "\t" and faults:
        quoted_records, quoted_faults = _records(text, delimiter, cells, file, True)
        records, faults = (records, faults) if quoted_faults else (quoted_records, [])
    rows = [record for record in records if record is not None]
    notes = []
    if _is_header(cells, options, is_picture):
        if records[0] is None:
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
    return _split_first(first_line(file))[0]


def is_prose(cells: Sequence[str]) -> bool:
    """Whether a cell of the first line is a text, not the name of a column."""
    return any(len(cell.split()) >= _PROSE_WORDS for cell in cells)


def _encoding(start: bytes) -> str:
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8-sig")


def _split_first(text: str) -> tuple[list[str], str]:
    """The cells of the first line of a table, and its delimiter."""
    line = next((line for line in io.StringIO(text, newline=None) if line.strip()), "").rstrip("\n")
    for delimiter in reversed(_DELIMITERS):  # captions contain commas
        cells = _split_line(line, delimiter)
        if len(cells) > 1 and any(map(has_picture_suffix, cells)):
            return cells, delimiter
    delimiter = max(_DELIMITERS, key=line.count)
    return _split_line(line, delimiter), delimiter


def _split_line(line: str, delimiter: str) -> list[str]:
    if delimiter not in _QUOTING_DELIMITERS:
        return [_cell(cell, delimiter) for cell in line.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return [cell.strip() for cell in line.split(delimiter)]


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


def _records(
    text: str, delimiter: str, first: Sequence[str], file: Path, is_quoted: bool
) -> tuple[list[list[str] | None], list[str]]:
    """The cells of the rows that are not blank, None for a fault, and a message per fault."""
    rule = _RULES.get(delimiter, f"Put captions that contain {delimiter!r} in double quotes")
    records, faults = list[list[str] | None](), list[str]()
    limit = csv.field_size_limit(_MAX_CELL_LENGTH)  # a global setting, restored below
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    try:
        while True:
            number, cells, fault = reader.line_num + 1, list[str](), None
            try:
                cells = [
                    cell.strip() if is_quoted else _cell(cell, delimiter) for cell in next(reader)
                ]
            except StopIteration:
                return records, faults
            except csv.Error as error:
                fault = f"is not CSV ({error}). {_QUOTING}"
            if any(cells) and len(cells) != len(first):
                fault = (
                    f"has {len(cells)} fields ({quoted_list(cells, _N_CELLS)}), but the first line "
                    f"has {len(first)}: {quoted_list(first)}. {rule}"
                )
            if fault is not None:
                last = max(number, reader.line_num)
                place = f"Line {number}"
                place = place if last == number else f"The row in lines {number} to {last}"
                faults.append(f"{place} of {file} {fault}")
            if fault is not None or any(cells):
                records.append(None if fault is not None else cells)
    finally:
        csv.field_size_limit(limit)
