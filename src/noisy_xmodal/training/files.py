"""Writing results so that a killed run leaves either the old file or the new one."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON aside, see it on the disk and rename it into place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    sync(aside)
    os.replace(aside, path)


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        ValueError: If the file is not JSON, naming it.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also of numbers and nesting without end
        raise ValueError(f"{path} is not valid JSON: {error}.") from error


def sync(path: str | Path) -> None:
    """See a file's content, or the names in a folder, on the disk."""
    if Path(path).is_dir():
        if os.name != "posix":
            return  # no other system opens folders
        handle = os.open(path, os.O_RDONLY)
    else:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: str | Path) -> None:
    """See everything under a folder on the disk, so that renaming it cannot come before."""
    for path in Path(folder).rglob("*"):
        sync(path)
    sync(folder)
