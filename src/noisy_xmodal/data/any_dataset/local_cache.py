"""The cache folder of `datasets` for local files.

`datasets` identifies a file by its path and time, and a folder with a card by its path alone, and
would return stale tables after a file is rewritten. The folder of this module has a name that
depends on the path, size and times of every file.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import datasets

from ..digests import combined_digest, file_state


def local_cache(paths: Iterable[str | os.PathLike[str]]) -> str | None:
    """Returns the cache folder for files in their current state.

    Args:
        paths: The files; missing ones are ignored.

    Returns:
        A `cache_dir` for `datasets.load_dataset`; None, the default, if no file exists.
    """
    states = [
        f"{os.path.abspath(path)} {file_state(path)}" for path in paths if os.path.exists(path)
    ]
    if not states:
        return None
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_files"
    return str(folder / combined_digest(*sorted(states)))
