"""Raw files: text with one entry a line, ids, and the state that they are in."""

from pathlib import Path

from datasets.fingerprint import Hasher

from ..columns import DatasetError


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a file, stripped; only the end of the file may be an empty one.

    Raises:
        DatasetError: The file is missing, not UTF-8, or has an empty line.
    """
    if not path.exists():
        raise DatasetError(f"{path} is missing.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error}). Convert it first.") from error
    # Not str.splitlines(), which would also break at characters that captions may hold.
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DatasetError(
                f"{path}, line {number}: the line is empty. Write it, or remove it together with "
                "what it belongs to."
            )
    return lines


def check_ids(ids: list[str], where: str) -> None:
    """Refuses ids that repeat.

    Args:
        ids: One id a row.
        where: What to name in the message.

    Raises:
        DatasetError: Two rows have the same id.
    """
    seen: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name in seen:
            raise DatasetError(
                f"{where}: the id '{name}' stands at rows {seen[name]} and {row} (counted from 0). "
                "An id names one row: write them anew, or merge the rows."
            )
        seen[name] = row


def file_state(data_dir: str | Path | None, *patterns: str) -> str | None:
    """Names the state of some files of a folder by their sizes and times.

    Args:
        data_dir: The folder, or None where none was given.
        patterns: Which files, as `Path.glob` takes them; all below the folder by default.
    """
    if data_dir is None:
        return None
    found = {file for name in patterns or ("**/*",) for file in Path(data_dir).glob(name)}
    files = sorted(file for file in found if file.is_file())
    return str(Hasher.hash([(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]))
