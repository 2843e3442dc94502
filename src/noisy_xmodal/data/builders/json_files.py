"""JSON files of hundreds of megabytes, of which only a part is wanted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..columns import DatasetError


def read_json(path: Path, reduce: Callable[[dict[str, Any]], Any]) -> Any:
    """Reads a JSON file; every object in it is reduced as soon as it is parsed.

    What `reduce` drops (polygons, tokens) is freed at once, so that memory holds the text of the
    file and what is kept of it, never the whole tree.

    Args:
        path: The file.
        reduce: Gives what to keep of an object; inner objects come first.

    Raises:
        DatasetError: The file is missing, not UTF-8, or no whole JSON.
    """
    if not path.exists():
        raise DatasetError(f"{path} is missing.")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file, object_hook=reduce)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error}). Copy or download it again.") from error
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise DatasetError(
            f"{path} is truncated or no JSON file ({error}). Copy or download it again."
        ) from error
