"""Atomic writing: a killed process leaves the old content of a path or the new one."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: str | os.PathLike[str], shared: bool = False) -> Iterator[Path]:
    """Write a file or folder aside, and rename it once the block has succeeded.

    A file is flushed to the disk first; of a folder see `sync_folder`. After an error nothing is
    left aside. After a kill, the next call for this path removes what was left.

    Args:
        path: The file or folder; missing parent folders are created.
        shared: Whether other processes may write the same content at the same time, as in a cache.
            The first folder then stays.

    Yields:
        A path in the same folder that does not exist yet.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f".{uuid.uuid4().hex}" if shared else ""
    aside = path.with_name(f".{path.name}{own}.partial")
    old = _place_of_old(path)
    if old.exists() and not path.exists():  # killed between the two renames of a folder
        os.replace(old, path)
    _remove(aside)
    try:
        yield aside
        if aside.is_file():
            sync(aside)
        if not shared:
            put_in_place(aside, path)
            return
        try:
            os.replace(aside, path)
        except OSError:
            if not path.is_dir():  # otherwise another process was faster
                raise
    finally:
        _remove(aside)


def put_in_place(aside: Path, path: Path) -> None:
    """Rename a file or folder; a folder that it replaces is put back if that fails."""
    if not path.is_dir():
        os.replace(aside, path)
        return
    old = _place_of_old(path)
    _remove(old)
    os.replace(path, old)
    try:
        os.replace(aside, path)
    except BaseException:
        os.replace(old, path)
        raise
    _remove(old)


def remove_folder(folder: Path) -> None:
    """Remove a folder, renaming it first so that a partly removed one is not used."""
    old = _place_of_old(folder)
    _remove(old)
    os.replace(folder, old)
    _remove(old)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        ValueError: If the file is not JSON; the message names it.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also for huge numbers and deep nesting
        raise ValueError(f"{path} is not valid JSON: {error}.") from error


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def sync(path: str | Path) -> None:
    """Flush the content of a file, or the names in a folder, to the disk."""
    if Path(path).is_dir():
        if os.name != "posix":
            return  # other systems cannot open folders
        handle = os.open(path, os.O_RDONLY)
    else:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: str | Path) -> None:
    """Flush everything in a folder to the disk, so that it precedes a renaming of the folder."""
    for path in Path(folder).rglob("*"):
        sync(path)
    sync(folder)


def _place_of_old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old.partial")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
