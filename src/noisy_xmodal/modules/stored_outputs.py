"""Outputs of a frozen text encoder, computed once and looked up by the token ids of a text."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def token_digests(input_ids: Tensor, attention_mask: Tensor) -> NDArray[np.uint64]:
    """Hash the real token ids of each text, (n_texts,); padding has no effect.

    Args:
        input_ids: (n_texts, length).
        attention_mask: 1 for real tokens, (n_texts, length).
    """
    ids = input_ids.cpu().numpy().astype("<i8")
    rows = zip(ids, attention_mask.cpu().numpy().astype(bool), strict=True)
    hashes = (hashlib.blake2b(row[mask].tobytes(), digest_size=8) for row, mask in rows)
    return np.array([int.from_bytes(one.digest(), "little") for one in hashes], dtype=np.uint64)


@dataclass(frozen=True)
class TextOutputs:
    """Outputs of some texts, one after the other.

    Attributes:
        digests: Digest of each text, ascending, (n_texts,).
        starts: First row of each text, (n_texts,).
        lengths: Number of rows of each text, (n_texts,).
        rows: (n_rows, size), usually mapped from a file.
    """

    digests: NDArray[np.uint64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    rows: np.ndarray

    def find(self, digests: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Positions of texts, and whether each is here; the position of another one is arbitrary.

        Args:
            digests: Digests of the texts, (n_texts,).
        """
        places = np.searchsorted(self.digests, digests).clip(max=len(self.digests) - 1)
        return places, self.digests[places] == digests

    def read(self, place: int) -> np.ndarray:
        """The rows of a text, (length, size)."""
        start = self.starts[place]
        return self.rows[start : start + self.lengths[place]]


class StoredOutputs:
    """All outputs that a frozen encoder has at hand; several encoders may share one store."""

    def __init__(self) -> None:
        self._parts: dict[str, TextOutputs] = {}

    def __deepcopy__(self, memo: dict) -> "StoredOutputs":
        """A store with the same parts, which are never changed: a copy would fill the memory."""
        copy = StoredOutputs()
        copy._parts = dict(self._parts)
        return copy

    def add(self, name: str, outputs: TextOutputs) -> None:
        """Add outputs of texts.

        Args:
            name: What identifies the texts.
            outputs: Their outputs.
        """
        self._parts[name] = outputs

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Within this context nothing is stored, so that the encoder computes."""
        parts, self._parts = self._parts, {}
        try:
            yield
        finally:
            self._parts = parts

    def clear(self) -> None:
        """Forget all outputs, because the encoder has other weights."""
        self._parts.clear()

    def has(self, digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which texts are stored, (n_texts,).

        Args:
            digests: Digests of the texts, (n_texts,).
        """
        are_here = np.zeros(len(digests), dtype=bool)
        for part in self._parts.values():
            are_here |= part.find(digests)[1]
        return are_here

    def read(self, digests: NDArray[np.uint64]) -> list[np.ndarray | None]:
        """Rows of texts, (length, size) each; None for a text that is not stored.

        Args:
            digests: Digests of the texts, (n_texts,).
        """
        found: list[np.ndarray | None] = [None] * len(digests)
        for part in self._parts.values():
            places, are_here = part.find(digests)
            for index in np.flatnonzero(are_here):
                found[index] = part.read(places[index])
        return found
