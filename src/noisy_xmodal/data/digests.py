"""Hashes of contents: 64-bit digests of items, and names for combinations of digests."""

import hashlib
import os
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]


def digest_of(*parts: bytes | str) -> int:
    """Hashes contents to a 64-bit number."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part)
    return int.from_bytes(digest.digest(), "little")


def text_digests(texts: Iterable[str]) -> Digests:
    """Hashes each text, (n_texts,)."""
    return np.array([digest_of(text) for text in texts], dtype=np.uint64)


def array_digests(rows: Iterable[np.ndarray]) -> Digests:
    """Hashes the shape, type and values of each array, (n_rows,)."""
    digests = [digest_of(f"{row.shape} {row.dtype}", row.tobytes()) for row in rows]
    return np.array(digests, dtype=np.uint64)


def combined_digest(*parts: Digests | str) -> str:
    """Hashes digests and texts, in this order, to a name of 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part.tobytes()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:32]


def file_state(path: str | os.PathLike[str]) -> int:
    """Hashes size, times and inode of a file, which change with its content; 0 without a file."""
    try:
        state = os.stat(path)
    except OSError:
        return 0
    return digest_of(f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino}")
