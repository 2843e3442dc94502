"""What a reader of tables gives: columns of plain values, and what of the file is not in them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TableRows:
    """The rows of one file.

    Attributes:
        columns: By name, the values of all rows.
        faults: Lines that could not be read, one each: errors where nothing may be left out.
        notes: What else a reader must know, a line each.
    """

    columns: dict[str, list[Any]]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
