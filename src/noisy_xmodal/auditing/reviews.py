"""Decisions of people about pairs: a Parquet file with a row for each decision.

The file only grows. Undoing is a decision too, and of each pair the last one that was not undone
counts. To add a decision, the whole file is written aside under a lock and renamed: a person
decides about once a second, and with a file of 10,000 decisions it takes a tenth of one. So there
is one file that is complete at any time, for any reader of Parquet; a killed process leaves
the old content or the new one, and pages and servers with the same file wait for each other.
"""

import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from ..files import atomic_write, sync

RIGHT, WRONG, CORRECTED, UNDO = "right", "wrong", "corrected", "undo"
_DECISIONS = (RIGHT, WRONG, CORRECTED, UNDO)
_LOCK_SECONDS = 30

#: An image id and a caption.
Pair = tuple[str, str]

_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "time": pa.timestamp("us", tz="UTC"),
        "reviewer": pa.string(),
        "image_id": pa.string(),
        "caption": pa.string(),
        "decision": pa.string(),
        "new_caption": pa.string(),
        "undone_id": pa.string(),
    }
)


class ReviewsError(ValueError):
    """A file of reviews is missing, damaged, or another kind of file."""


@dataclass(frozen=True)
class Decision:
    """What a person decided about a pair.

    Attributes:
        image_id: The image of the pair.
        caption: The caption of the pair.
        decision: `right`; `wrong`; `corrected` if another caption is right; or `undo`.
        new_caption: The right caption, where the decision is `corrected`.
        reviewer: Name of the person, if it is known.
        undone_id: The `id` of the decision that this one undoes.
        id: A unique name.
        time: When it was made.
    """

    image_id: str
    caption: str
    decision: str
    new_caption: str | None = None
    reviewer: str | None = None
    undone_id: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        if self.decision not in _DECISIONS:
            raise ReviewsError(f"the decision {self.decision!r} is none of {', '.join(_DECISIONS)}")
        if (self.decision == CORRECTED) != bool(self.new_caption):
            raise ReviewsError(
                f"the decision '{self.decision}' of image '{self.image_id}' has the new caption "
                f"{self.new_caption!r}: '{CORRECTED}' needs one, and no other has one"
            )

    @property
    def pair(self) -> Pair:
        """The pair that it is about."""
        return self.image_id, self.caption


class ReviewFile:
    """A file of decisions, which other processes may add to.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._guard = threading.Lock()
        self._forget()

    def decisions(self) -> Mapping[Pair, Decision]:
        """The decision that counts of each reviewed pair, oldest first.

        Raises:
            ReviewsError: If the file is not one of reviews.
        """
        with self._guard:
            self._refresh()
            return {pair: own[-1] for pair, own in self._of_pair.items() if own}

    def add(self, decision: Decision) -> None:
        """Add a decision; it is on the disk when this returns.

        Args:
            decision: The decision.

        Raises:
            ReviewsError: If the file is not one of reviews, or another process keeps its lock.
            OSError: If it cannot be written.
        """
        row = pa.Table.from_pylist([asdict(decision)], schema=_SCHEMA)
        with self._lock():
            table = read_reviews(self.path) if self.path.exists() else _SCHEMA.empty_table()
            with atomic_write(self.path) as aside:
                pq.write_table(pa.concat_tables([table, row]).combine_chunks(), aside)
            sync(self.path.parent)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=_LOCK_SECONDS)
        try:
            with lock:
                yield
        except Timeout as error:
            raise ReviewsError(
                f"another process has kept the lock of {self.path} for {_LOCK_SECONDS} seconds: "
                "end it, and decide again"
            ) from error

    def _forget(self) -> None:
        self._stamp: tuple[int, ...] | None = None
        self._n_rows = 0
        self._last_id: str | None = None
        self._of_pair: dict[Pair, list[Decision]] = {}

    def _refresh(self) -> None:
        """Read the rows that the file has gained."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            self._forget()
            return
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if stamp == self._stamp:
            return
        table = read_reviews(self.path)
        n_known = self._n_rows
        if n_known and (len(table) < n_known or table["id"][n_known - 1].as_py() != self._last_id):
            self._forget()  # another file was put in its place
        for number, row in enumerate(table.slice(self._n_rows).to_pylist(), self._n_rows):
            try:
                decision = Decision(**row)
            except ReviewsError as error:
                raise ReviewsError(f"{self.path}, row {number}: {error}") from error
            own = self._of_pair.setdefault(decision.pair, [])
            if decision.decision == UNDO:
                own[:] = [one for one in own if one.id != decision.undone_id]
            else:
                own.append(decision)
            self._n_rows, self._last_id = number + 1, decision.id
        self._stamp = stamp


def read_reviews(path: str | Path) -> pa.Table:
    """Read a file of reviews.

    Args:
        path: The file.

    Returns:
        A row for each decision, oldest first.

    Raises:
        ReviewsError: If it does not exist, cannot be read, or has other columns.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = {name.name for name in fields(Decision)}
            lacking = names - set(file.schema_arrow.names)
            if lacking:
                raise ReviewsError(
                    f"{path} is not a file of reviews: it lacks the columns "
                    f"{', '.join(sorted(lacking))}. Give the file that `noisy-xmodal review` wrote."
                )
            table: Any = file.read(columns=_SCHEMA.names)
            return table.cast(_SCHEMA)
    except FileNotFoundError:
        raise ReviewsError(
            f"{path} does not exist: give the file that `noisy-xmodal review` wrote"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise ReviewsError(f"{path} is not a file of reviews: {error}") from error
