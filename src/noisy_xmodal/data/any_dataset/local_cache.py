"""Where `datasets` keeps the tables that it makes of local files.

It tells a file by its path and time, and a folder with a card by its path alone: what is written
anew there would be answered with what was there before. So tables of local files are kept under a
name made of the path, size and times of each of them.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import datasets

from ..digests import combined_digest, file_state


def local_cache(paths: Iterable[str | os.PathLike[str]]) -> str | None:
    """The folder of the cache for some files in the state that they are in.

    Args:
        paths: The files. What does not exist on this machine does not count.

    Returns:
        A `cache_dir` for `datasets.load_dataset`, or None, its usual one, where there is no file.
    """
    states = [
        f"{os.path.abspath(path)} {file_state(path)}" for path in paths if os.path.exists(path)
    ]
    if not states:
        return None
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_files"
    return str(folder / combined_digest(*sorted(states)))
