"""Tables with a delimiter: CSV with commas or semicolons, tabs, bars.

| delimiter | a row is  | quotation marks                                             |
|-----------|-----------|-------------------------------------------------------------|
| `,` `;`   | RFC 4180  | `"a ""b"" c"`: a cell may hold delimiters and line ends     |
| tab       | a line    | around a whole cell they are taken off, else part of it;    |
|           |           | a file that has the header's cells only by RFC 4180 goes by |
|           |           | that                                                        |
| `|`       | a line    | part of the cell                                            |

The first line names the columns. Where one of its cells is the file name of a picture, it is the
first row of a table without a header.
"""

import csv
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..columns import DatasetError
from ..messages import quoted_list
from .columns import GivenColumns, looks_like_pairs
from .picture_files import has_picture_suffix
from .table_rows import TableRows
from .text_files import read_text

_DELIMITERS = ",;|\t"
_QUOTED = re.compile(r'\s*"((?:[^"]|"")*)"\s*')
_RULES = {
    "|": "A table with bars does not quote: a cell cannot hold a bar",
    "\t": "A cell cannot hold a tab, and a caption stands on one line",
}
_QUOTING = 'Double the quotation marks inside a quoted caption: "a ""black"" dog"'
_LONGEST_CELL = min(sys.maxsize, 2**31 - 1)
_SHOWN = 8  # cells of a line in a message
_PROSE = 4  # words in a cell that names no column
_SEEN_ROWS = 100  # to tell captions from numbers where no header does


class _Record(NamedTuple):
    """One row: where it stands, and its cells or what is wrong with it."""

    place: str
    cells: list[str]
    fault: str | None = None


def read_delimited(file: Path, given: GivenColumns, is_picture: Callable[[str], bool]) -> TableRows:
    """Reads a table with a delimiter; cells without the blanks around them, empty ones as null.

    Args:
        file: The table.
        given: What the user said about the columns.
        is_picture: Whether a name is that of a picture beside the table.

    Raises:
        DatasetError: The header names a column twice, or no row can be read.
    """
    text = read_text(file)
    first = next(line for line in io.StringIO(text, newline=None) if line.strip()).strip("\r\n")
    delimiter = delimiter_of(first)
    cells = split_line(first, delimiter)
    records = _records(text, delimiter, cells)
    faults = [f"{record.place} of {file} {record.fault}" for record in records if record.fault]
    rows = [record.cells for record in records if not record.fault]
    notes = []
    if _is_header(cells, given, is_picture):
        if records[0].fault:
            raise DatasetError(faults[0])
        names = rows.pop(0)
        if any(names.count(name) > 1 for name in names if name):
            raise DatasetError(f"{file} names a column twice: {quoted_list(names)}. Rename one.")
    elif not any(has_picture_suffix(cell) or is_picture(cell) for cell in cells):
        raise DatasetError(
            f"{file} names no pictures: its first line is {quoted_list(cells)}. Line i is not "
            "taken for the caption of picture i, as nothing says in which order the pictures are. "
            "Write a table with the columns file_name and text."
        )
    else:
        names = _names_without_header(rows, given, is_picture)
        notes.append(f"{file} has no header; its columns are read as {quoted_list(names)}")
    if not rows:
        raise DatasetError(f"{file} has no rows{': ' if faults else '.'}{'; '.join(faults[:1])}")
    columns = {name: [row[at] or None for row in rows] for at, name in enumerate(names)}
    columns.pop("", None)  # the unnamed row numbers that pandas writes
    return TableRows(columns, tuple(faults), tuple(notes))


def delimiter_of(line: str) -> str:
    """The delimiter of a table by its first line."""
    for delimiter in reversed(_DELIMITERS):  # texts hold commas
        cells = split_line(line, delimiter)
        if len(cells) > 1 and any(map(has_picture_suffix, cells)):
            return delimiter
    return max(_DELIMITERS, key=line.count)


def split_line(line: str, delimiter: str) -> list[str]:
    """The cells of a line, without the blanks around them."""
    if delimiter in ",;":
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
        except csv.Error:
            return [cell.strip() for cell in line.split(delimiter)]
    return [_cell(cell, delimiter) for cell in line.split(delimiter)]


def _is_header(
    cells: Sequence[str], given: GivenColumns, is_picture: Callable[[str], bool]
) -> bool:
    if len(cells) > 1 and any(map(has_picture_suffix, cells)):
        return False
    if looks_like_pairs(cells, given):
        return True
    prose = any(len(cell.split()) >= _PROSE for cell in cells)
    return not prose and not any(is_picture(cell) for cell in cells if cell)


def _names_without_header(
    rows: Sequence[Sequence[str]], given: GivenColumns, is_picture: Callable[[str], bool]
) -> list[str]:
    """Names for columns: those that the user took from the first row, else by what is in them."""
    first = rows[0] if rows else []
    names = [f"column_{number}" for number in range(1, len(first) + 1)]
    for at, cell in enumerate(first):
        if cell in given.named():
            names[at] = cell
    pictures = [at for at, cell in enumerate(first) if has_picture_suffix(cell) or is_picture(cell)]
    texts = [
        at
        for at in range(len(first))
        if at not in pictures
        and (len(first) == 2 or any(re.search(r"\w\s+\w", row[at]) for row in rows[:_SEEN_ROWS]))
    ]
    for found, name in ((pictures, "image"), (texts, "caption")):
        if len(found) == 1 and first[found[0]] not in given.named():
            names[found[0]] = name
    return names


def _records(text: str, delimiter: str, first: Sequence[str]) -> list[_Record]:
    if delimiter in ",;":
        return _checked(_by_rfc(text, delimiter), delimiter, first)
    lines = _checked(_by_line(text, delimiter), delimiter, first)
    if delimiter == "\t" and any(record.fault for record in lines):
        whole = _checked(_by_rfc(text, delimiter), delimiter, first)
        if not any(record.fault for record in whole):
            return whole
    return lines


def _by_line(text: str, delimiter: str) -> Iterator[_Record]:
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        cells = [_cell(cell, delimiter) for cell in line.rstrip("\n").split(delimiter)]
        yield _Record(f"Line {number}", cells)


def _cell(cell: str, delimiter: str) -> str:
    whole = _QUOTED.fullmatch(cell) if delimiter == "\t" else None
    return (whole[1].replace('""', '"') if whole else cell).strip()


def _by_rfc(text: str, delimiter: str) -> Iterator[_Record]:
    limit = csv.field_size_limit(_LONGEST_CELL)  # of all readers of the process
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
                fault = f"is not CSV ({error})"
            last = max(line, rows.line_num)
            place = f"Line {line}" if last == line else f"The row in lines {line} to {last}"
            yield _Record(place, cells, fault)
    finally:
        csv.field_size_limit(limit)


def _checked(records: Iterator[_Record], delimiter: str, first: Sequence[str]) -> list[_Record]:
    """The records that are no blank lines, with what is wrong with each."""
    rule = _RULES.get(delimiter, f"Put captions that contain {delimiter!r} in double quotes")
    checked = []
    for record in records:
        fault = record.fault and f"{record.fault}. {_QUOTING}"
        if any(record.cells) and len(record.cells) != len(first):
            fault = (
                f"has {len(record.cells)} fields ({quoted_list(record.cells, _SHOWN)}), where the "
                f"first line has {len(first)}: {quoted_list(first)}. {rule}"
            )
        if fault or any(record.cells):
            checked.append(record._replace(fault=fault))
    return checked


def what_it_says(cells: Sequence[str]) -> str:
    """What the first line of a table is, for a message."""
    if any(len(cell.split()) >= _PROSE for cell in cells):
        return (
            f"its first line is {quoted_list(cells, 3)}, with no name of a picture; line i is not "
            "taken for the caption of picture i, as nothing says in which order the pictures are"
        )
    return f"columns {quoted_list(cells)}"
