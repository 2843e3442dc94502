"""Arrays that are computed once, in blocks, and kept in files; an interrupted run is resumed."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from filelock import FileLock
from torch import nn
from tqdm.auto import tqdm

from ..data.digests import Digests, array_digests, combined_digest
from ..files import read_json, write_json
from ..modules.processor_facts import processor_facts, words_by_id

#: Incremented when the arrays of the same inputs and models change.
_VERSION = "3"
#: Seconds between two saves of the state, which a killed run may lose.
_SAVE_INTERVAL = 5.0


def cache_folder(cache_dir: str | os.PathLike[str] | None) -> Path:
    """Folder of all arrays, by default in the cache of `datasets`."""
    return Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_vectors"


def cache_name(
    model: Any, processor: Any, *inputs: Digests | str, network: nn.Module | None = None
) -> str:
    """A hash of everything that the outputs of a model depend on.

    Args:
        model: A transformers model.
        processor: Its processor, hashed with its vocabulary.
        inputs: Digests of the inputs of the model.
        network: The part of the model whose config and weights matter; by default the whole model.
    """
    facts = repr(sorted(processor_facts(processor).items()))
    words = "\n".join(words_by_id(processor))
    return network_digest(model if network is None else network, *inputs, facts, words)


def network_digest(network: Any, *inputs: Digests | str) -> str:
    """A hash of the config and the weights of a network, and of what it reads.

    Args:
        network: A transformers model.
        inputs: Digests of its inputs.
    """
    state = sorted(network.state_dict().items())
    weights = array_digests(
        value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        for _, value in state
    )
    names = "\n".join(name for name, _ in state)
    config = network.config.to_diff_dict()
    config.pop("dtype", None)  # set when a model is saved
    return combined_digest(_VERSION, *inputs, repr(config), names, weights)


def stored_rows(
    path: str | os.PathLike[str],
    n_rows: int,
    make: Callable[[int, int], np.ndarray],
    block_size: int = 64,
    title: str = "vectors",
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
        title: What the rows are, for messages and the progress bar.
        progress: Whether to show a progress bar.

    Returns:
        (n_rows, ...), mapped from the file, read-only.

    Raises:
        ValueError: If there are no rows, a value is not finite, or a block has another shape or
            type than the file.
    """
    path = Path(path)
    if n_rows < 1 or block_size < 1:
        raise ValueError(
            f"{path} would have {n_rows} rows in blocks of {block_size}: give at least one"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = complete_rows(path, n_rows)
    if rows is None:
        with FileLock(path.with_name(f".{path.name}.lock")):
            if complete_rows(path, n_rows) is None:
                _make(path, n_rows, make, block_size, title, progress)
        rows = np.lib.format.open_memmap(path, mode="r")
    return rows


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


def _make(
    path: Path,
    n_rows: int,
    make: Callable[[int, int], np.ndarray],
    block_size: int,
    title: str,
    progress: bool,
) -> None:
    aside, state = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.json")
    done = _rows_done(aside, state, n_rows)
    rows = np.lib.format.open_memmap(aside, mode="r+") if done else None
    saved = time.monotonic()
    with tqdm(total=n_rows, initial=done, desc=title, leave=False, disable=not progress) as bar:
        while done < n_rows:
            end = min(done + block_size, n_rows)
            block = make(done, end)  # (n_block, ...)
            if rows is None:
                state.unlink(missing_ok=True)
                shape = (n_rows, *block.shape[1:])
                rows = np.lib.format.open_memmap(aside, "w+", block.dtype, shape)
            _check_block(block, rows, done, end, aside, title)
            rows[done:end] = block
            bar.update(end - done)
            done = end
            if time.monotonic() - saved > _SAVE_INTERVAL:
                rows.flush()
                write_json(state, {"done": done})
                saved = time.monotonic()
    assert rows is not None, "there is a row"
    rows.flush()
    del rows
    os.replace(aside, path)
    state.unlink(missing_ok=True)


def _rows_done(aside: Path, state: Path, n_rows: int) -> int:
    """The number of complete rows that an earlier run left, 0 if they cannot be used."""
    try:
        done = read_json(state)["done"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    fits = isinstance(done, int) and 0 < done <= n_rows
    return done if fits and complete_rows(aside, n_rows) is not None else 0


def _check_block(
    block: np.ndarray, rows: np.memmap, start: int, end: int, aside: Path, title: str
) -> None:
    expected = (end - start, *rows.shape[1:])
    if block.shape != expected or block.dtype != rows.dtype:
        raise ValueError(
            f"rows {start} to {end - 1} have type {block.dtype} and shape {block.shape}, but "
            f"{aside} has {rows.dtype} and {expected}: delete the file if it has other content"
        )
    bad = np.flatnonzero(~np.isfinite(block).reshape(len(block), -1).all(axis=1))  # (n_bad,)
    if len(bad):
        raise ValueError(
            f"row {start + bad[0]} of the {title} is not finite: look for a diverged model"
        )
