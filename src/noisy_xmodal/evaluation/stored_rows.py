"""Arrays computed in blocks and stored in a file; an interrupted run is resumed."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm.auto import tqdm

from ..files import write_json

#: Seconds between two saves of the state, which a killed run may lose.
_SAVE_INTERVAL = 5.0


def stored_rows(
    path: str | os.PathLike[str],
    n_rows: int,
    make: Callable[[int, int], np.ndarray],
    block_size: int = 64,
    title: str = "",
    progress: bool = False,
) -> np.ndarray:
    """Compute the rows of an array that may be larger than memory, or read them from the file.

    `path` must identify the content of the rows: a complete file with the same number of rows is
    reused, any other is overwritten. A second process waits for the first.

    Args:
        path: `.npy` file. An incomplete file has another name in the same folder, with its state
            in a JSON file.
        n_rows: Number of rows.
        make: Function of a start and an end that returns these rows, (end - start, ...).
        block_size: Rows per block.
        title: Title of the progress bar.
        progress: Whether to show a progress bar.

    Returns:
        (n_rows, ...), mapped from the file, read-only.

    Raises:
        ValueError: If there are no rows, or a block has another shape or type than the file.
    """
    path = Path(path)
    if n_rows < 1 or block_size < 1:
        raise ValueError(
            f"{path} would have {n_rows} rows in blocks of {block_size}: give at least one"
        )
    rows = complete_rows(path, n_rows)
    if rows is not None:
        return rows
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if complete_rows(path, n_rows) is None:
            _make(path, n_rows, make, block_size, title, progress)
    return np.lib.format.open_memmap(path, mode="r")


def complete_rows(path: Path, n_rows: int) -> np.ndarray | None:
    """The rows of a complete file, mapped read-only; None if it is missing or incomplete.

    Args:
        path: `.npy` file.
        n_rows: Number of rows.
    """
    try:
        # Read-only: a writable map would extend a truncated file.
        rows = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError):
        return None
    return rows if rows.shape[:1] == (n_rows,) else None


def check_finite(block: np.ndarray, first_row: int, what: str) -> None:
    """Check that all values are finite.

    Args:
        block: (n_block, ...).
        first_row: Number of its first row.
        what: The noun for a row in the message.

    Raises:
        ValueError: If a value is not finite.
    """
    bad = np.flatnonzero(~np.isfinite(block).reshape(len(block), -1).all(axis=1))  # (n_bad,)
    if len(bad):
        raise ValueError(
            f"the vector of {what} {first_row + bad[0]} is not finite: look for a diverged model"
        )


def _make(
    path: Path,
    n_rows: int,
    make: Callable[[int, int], np.ndarray],
    block_size: int,
    title: str,
    progress: bool,
) -> None:
    aside, state = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.json")
    rows, done = _resume(aside, state, n_rows)
    saved = time.monotonic()
    with tqdm(total=n_rows, initial=done, desc=title, leave=False, disable=not progress) as bar:
        while done < n_rows:
            end = min(done + block_size, n_rows)
            block = make(done, end)  # (n_block, ...)
            if rows is None:
                state.unlink(missing_ok=True)
                shape = (n_rows, *block.shape[1:])
                rows = np.lib.format.open_memmap(aside, "w+", block.dtype, shape)
            _check_block(block, rows, done, end, aside)
            rows[done:end] = block
            bar.update(end - done)
            done = end
            if time.monotonic() - saved > _SAVE_INTERVAL:
                _save_state(rows, state, done)
                saved = time.monotonic()
    assert rows is not None, "there is a row"
    rows.flush()
    del rows
    os.replace(aside, path)
    state.unlink(missing_ok=True)


def _resume(aside: Path, state: Path, n_rows: int) -> tuple[np.memmap | None, int]:
    """The incomplete file of an earlier run and its number of complete rows, if it is usable."""
    try:
        done = json.loads(state.read_text(encoding="utf-8"))["done"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, 0
    fits = isinstance(done, int) and 0 < done <= n_rows
    if not fits or complete_rows(aside, n_rows) is None:
        return None, 0
    return np.lib.format.open_memmap(aside, mode="r+"), done


def _check_block(block: np.ndarray, rows: np.memmap, start: int, end: int, aside: Path) -> None:
    expected = (end - start, *rows.shape[1:])
    if block.shape != expected or block.dtype != rows.dtype:
        raise ValueError(
            f"rows {start} to {end - 1} have type {block.dtype} and shape {block.shape}, but "
            f"{aside} has {rows.dtype} and {expected}: delete the file if it has other content"
        )


def _save_state(rows: np.memmap, state: Path, done: int) -> None:
    """Flush the rows to the disk, then save their number."""
    rows.flush()
    write_json(state, {"done": done})
