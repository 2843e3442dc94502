"""Atomic writing of files: a killed run leaves either the old file or the new one."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically and flush it to the disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    sync(aside)
    os.replace(aside, path)


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        ValueError: If the file is not JSON; the message names it.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also for huge numbers and deep nesting
        raise ValueError(f"{path} is not valid JSON: {error}.") from error


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
