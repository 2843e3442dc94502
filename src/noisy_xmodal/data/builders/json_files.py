"""Reading of large JSON files, of which only a part is needed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..columns import DatasetError


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
