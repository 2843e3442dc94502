"""Digests of 64 bits, and names made of them."""

import hashlib
import os
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]


def digest_of(*parts: bytes | str) -> int:
    """A number of 64 bits for some contents."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part)
    return int.from_bytes(digest.digest(), "little")


def text_digests(texts: Iterable[str]) -> Digests:
    """One digest a text, (n_texts,)."""
    return np.array([digest_of(text) for text in texts], dtype=np.uint64)


def array_digests(rows: Iterable[np.ndarray]) -> Digests:
    """One digest an array, of its shape, type and values, (n_rows,)."""
    found = (digest_of(f"{row.shape} {row.dtype}", row.tobytes()) for row in rows)
    return np.array(list(found), dtype=np.uint64)


def joined(*parts: Digests | str) -> str:
    """A name for all of some digests and texts together, in this order."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part.tobytes()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:32]


def file_state(path: str | os.PathLike[str]) -> int:
    """What changes when a file does, whatever its times are set to; 0 where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return 0
    return digest_of(f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}")
