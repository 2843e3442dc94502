"""The result of a table reader."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TableRows:
    """The rows of one file.

    Attributes:
        columns: The values of all rows, by column name.
        faults: A message per line that cannot be read; an error unless lines may be left out.
        notes: Further messages about the file.
    """

    columns: dict[str, list[Any]]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
