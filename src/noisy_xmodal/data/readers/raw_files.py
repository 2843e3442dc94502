"""Reading of text files with one entry per line and of large JSON files, and checks of ids."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datasets.fingerprint import Hasher

from ..columns import DatasetError


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Finds the first existing file of some names, in a folder or one level down."""
    for name in names:
        for path in (folder / name, *sorted(folder.glob(f"*/{name}"))):
            if path.is_file():
                return path
    return None


def read_lines(path: Path) -> list[str]:
    """Reads the stripped lines of a file; only the last line may be empty.

    Raises:
        DatasetError: The file is missing, not UTF-8, or has an empty line.
    """
    if not path.exists():
        raise DatasetError(f"{path} is missing.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error}). Convert it first.") from error
    # str.splitlines() would also split at characters that captions may contain.
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DatasetError(
                f"{path}, line {number}: the line is empty. Fill it, or remove it together with "
                "the entries of the other files."
            )
    return lines


def read_json(path: Path, reduce: Callable[[dict[str, Any]], Any]) -> Any:
    """Reads a JSON file, and reduces every object in it as soon as it is parsed.

    Data that `reduce` drops (polygons, tokens) is freed at once. Memory holds the text of the file
    and the reduced objects, never the whole tree.

    Args:
        path: The file.
        reduce: Function from an object to its reduced value; called for inner objects first.

    Raises:
        DatasetError: The file is missing, not UTF-8, or not complete JSON.
    """
    if not path.exists():
        raise DatasetError(f"{path} is missing.")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file, object_hook=reduce)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error}). Copy or download it again.") from error
    except (ValueError, RecursionError) as error:  # includes numbers with thousands of digits
        raise DatasetError(
            f"{path} is truncated or not a JSON file ({error}). Copy or download it again."
        ) from error


def check_ids(ids: list[str], where: str) -> None:
    """Checks that ids are unique.

    Args:
        ids: One id per row.
        where: The file, for the message.

    Raises:
        DatasetError: Two rows have the same id.
    """
    first_rows: dict[str, int] = {}
    for row, name in enumerate(ids):
        first = first_rows.setdefault(name, row)
        if first != row:
            raise DatasetError(
                f"{where}: rows {first} and {row} (counted from 0) have the same id '{name}'. "
                "An id names one row: change one of them, or merge the rows."
            )


def file_state(data_dir: str | Path | None, *patterns: str) -> str | None:
    """Hashes the paths, sizes and times of files in a folder.

    Args:
        data_dir: The folder, or None.
        patterns: Patterns of `Path.glob`; all files below the folder by default.
    """
    if data_dir is None:
        return None
    paths = {path for name in patterns or ("**/*",) for path in Path(data_dir).glob(name)}
    files = sorted(path for path in paths if path.is_file())
    return str(Hasher.hash([(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]))
