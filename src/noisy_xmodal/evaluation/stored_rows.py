"""An array that is made block by block, kept in a file, and goes on where a killed run left it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm.auto import tqdm

#: Seconds of work that a kill may cost.
_SECONDS = 5.0


def stored_rows(
    path: str | os.PathLike[str],
    n_rows: int,
    make: Callable[[int, int], np.ndarray],
    block_size: int = 64,
    title: str = "",
    progress: bool = False,
) -> np.ndarray:
    """Make the rows of an array that may be larger than memory, or read those that are there.

    What the rows are made of must be told by `path`: a whole file of that name and as many rows is
    taken for what it is, and any other is made anew. Of two runs the second waits for the first.

    Args:
        path: `.npy` file. While it is not complete it lies beside this, with the state as JSON.
        n_rows: Number of rows.
        make: Given the first row and the one after the last, those rows, (n_block, ...).
        block_size: Rows that are made at once.
        title: What the progress bar says.
        progress: Whether to show one.

    Returns:
        (n_rows, ...), mapped from the file, read-only.

    Raises:
        ValueError: If there are no rows, or a block does not fit those before it.
    """
    path = Path(path)
    if n_rows < 1 or block_size < 1:
        raise ValueError(
            f"{path} would hold {n_rows} rows, made {block_size} at once: give at least one"
        )
    found = complete_rows(path, n_rows)
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if complete_rows(path, n_rows) is None:
            _make(path, n_rows, make, block_size, title, progress)
    return np.lib.format.open_memmap(path, mode="r")


def complete_rows(path: Path, n_rows: int) -> np.ndarray | None:
    """The rows of a file that holds so many, mapped read-only; None where it does not.

    Args:
        path: `.npy` file, or none.
        n_rows: Number of rows.
    """
    try:
        # Read-only: a map for writing would lengthen a file that was cut.
        rows = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError):
        return None
    return rows if rows.shape[:1] == (n_rows,) else None


def check_finite(block: np.ndarray, first_row: int, what: str) -> None:
    """Refuse rows with a number that is none.

    Args:
        block: (n_block, ...).
        first_row: Number of its first row.
        what: What a row is, for the message.

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
    rows, done = _left_over(aside, state, n_rows)
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
            if time.monotonic() - saved > _SECONDS:
                _save_state(rows, state, done)
                saved = time.monotonic()
    assert rows is not None, "there is a row"
    rows.flush()
    del rows
    os.replace(aside, path)
    state.unlink(missing_ok=True)


def _left_over(aside: Path, state: Path, n_rows: int) -> tuple[np.memmap | None, int]:
    """The rows that an earlier run left, and their number; none where they cannot be these."""
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
            f"rows {start} to {end - 1} are {block.dtype} of shape {block.shape}, where {aside} "
            f"takes {rows.dtype} of shape {expected}: delete it if something else was begun there"
        )


def _save_state(rows: np.memmap, state: Path, done: int) -> None:
    """Say how many rows are there, once they are on the disk."""
    rows.flush()
    aside = state.with_name(f"{state.name}.partial")
    aside.write_text(json.dumps({"done": done}), encoding="utf-8")
    os.replace(aside, state)
