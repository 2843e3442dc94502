"""What the other splits of a dataset have, to find what leaked from them into the audited one.

An image leaked if another split has the same file, or one whose difference hash is close and whose
thumbnail is that of a copy (`duplicates.py`). A caption leaked if another split has its text.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import faiss
import numpy as np
from numpy.typing import NDArray

from ..data.columns import CAPTIONS, IMAGE, IMAGE_ID, column_values, visual_column
from ..files import atomic_write, read_json, write_json
from .duplicates import ALIKE_BITS, THUMBNAIL, are_copies, hash_bytes, is_flat
from .image_scan import ImageScan, content_digest, look_at_images, thumbnails_of

_NAMES, _NOTES = "names.json", "notes.json"


@dataclass(frozen=True, eq=False)
class OtherSplits:
    """Images and captions of other splits.

    Attributes:
        names: "split: image id" of each image.
        digests: See `ImageScan`, (n_images,) uint64.
        hashes: Likewise; 0 for region features.
        texts: Digests of the distinct captions, ascending, (n_texts,) uint64.
        thumbnails: Thumbnails of the images at some positions, (n, 16, 16, 3).
    """

    names: Sequence[str]
    digests: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    texts: NDArray[np.uint64]
    thumbnails: Callable[[NDArray[np.int64]], NDArray[np.floating]]

    def leaked_images(self, dataset: datasets.Dataset, scan: ImageScan) -> dict[int, str]:
        """The image of another split that an image is a copy of, by row.

        Args:
            dataset: Rows by the column contract.
            scan: Their scan.
        """
        first = np.unique(self.digests, return_index=True)  # distinct digests, and where
        place_of = dict(zip(*(values.tolist() for values in first), strict=True))
        leaked = {
            row: self.names[place_of[digest]]
            for row, digest in enumerate(scan.digests.tolist())
            if digest in place_of
        }
        theirs = np.flatnonzero(~is_flat(self.hashes))
        ours = np.setdiff1d(np.flatnonzero(~is_flat(scan.hashes)), list(leaked))
        if not len(theirs) or not len(ours):
            return leaked
        index = faiss.IndexBinaryFlat(64)
        index.add(hash_bytes(self.hashes[theirs]))
        ends, _, near = index.range_search(hash_bytes(scan.hashes[ours]), ALIKE_BITS + 1)
        is_near = np.diff(ends.astype(np.int64)) > 0  # (n_ours,)
        groups = np.split(near, ends[1:-1].astype(np.int64))  # of each of ours
        needed = np.unique(near)
        if not len(needed):
            return leaked
        smalls = self.thumbnails(theirs[needed])
        rows = ours[is_near]
        for row, small, group in zip(
            rows.tolist(),
            thumbnails_of(dataset, rows),
            (np.sort(group) for group in groups if len(group)),
            strict=True,
        ):
            copies = np.flatnonzero(are_copies(smalls[np.searchsorted(needed, group)], small))
            if len(copies):
                leaked[row] = self.names[theirs[group[copies[0]]]]
        return leaked

    def leaked_pairs(self, captions: Sequence[str]) -> list[int]:
        """The captions that another split has too, ascending."""
        return np.flatnonzero(np.isin(_text_digests(captions), self.texts)).tolist()


def look_at_split(dataset: datasets.Dataset, split: str, progress: bool = False) -> OtherSplits:
    """Look at every image and caption of a split.

    Args:
        dataset: Its rows, by the column contract.
        split: Its name.
        progress: Whether to show a progress bar.
    """
    scan = look_at_images(dataset, progress)
    texts = [text for captions in column_values(dataset, CAPTIONS) for text in captions]
    is_usable = np.isin(np.arange(len(dataset)), list(scan.problems), invert=True)
    hashes = np.zeros(len(dataset), np.uint64)
    if visual_column(dataset) == IMAGE:
        hashes[is_usable] = scan.hashes[is_usable]
    return OtherSplits(
        [f"{split}: {name}" for name in column_values(dataset, IMAGE_ID)],
        scan.digests,
        hashes,
        np.unique(_text_digests(texts)),
        lambda rows: thumbnails_of(dataset, rows),
    )


def join_splits(parts: Sequence[OtherSplits]) -> OtherSplits:
    """Several splits, or parts of splits, as one."""
    starts = np.cumsum([0, *(len(part.names) for part in parts)])

    def thumbnails(places: NDArray[np.int64]) -> NDArray[np.floating]:
        number = np.searchsorted(starts, places, side="right") - 1
        pieces = [
            parts[n].thumbnails(places[number == n] - starts[n]) for n in np.unique(number).tolist()
        ]
        order = np.argsort(number, kind="stable").argsort()
        joined: NDArray[np.floating] = np.concatenate(pieces)[order]
        return joined

    def joined(name: str) -> NDArray[np.uint64]:
        nothing = np.zeros(0, np.uint64)
        return np.concatenate([nothing, *(getattr(part, name) for part in parts)])

    names = [name for part in parts for name in part.names]
    texts = np.unique(joined("texts"))
    return OtherSplits(names, joined("digests"), joined("hashes"), texts, thumbnails)


def keep_splits(parts: Iterable[OtherSplits], folder: Path, notes: Sequence[str] = ()) -> None:
    """Keep splits in a folder, which appears when it is complete.

    Args:
        parts: The splits; the images of one are available until the next one is asked for.
        folder: The folder.
        notes: Lines to keep beside them; they are read after the parts.
    """
    with atomic_write(folder) as aside:
        aside.mkdir()
        kept = []
        for part in parts:
            has_hash = np.flatnonzero(part.hashes)
            small = np.zeros((len(part.names), THUMBNAIL, THUMBNAIL, 3), np.float16)
            small[has_hash] = part.thumbnails(has_hash)
            kept.append((part, small))
        whole = join_splits([part for part, _ in kept])
        nothing = np.zeros((0, THUMBNAIL, THUMBNAIL, 3), np.float16)
        small = np.concatenate([nothing, *(one for _, one in kept)])
        write_json(aside / _NAMES, whole.names)
        write_json(aside / _NOTES, list(notes))
        for name, values in (
            ("digests", whole.digests),
            ("hashes", whole.hashes),
            ("texts", whole.texts),
            ("thumbnails", small),
        ):
            np.save(aside / f"{name}.npy", values, allow_pickle=False)


def kept_splits(folder: Path) -> OtherSplits:
    """The splits that `keep_splits` wrote."""
    digests, hashes, texts = (
        np.load(folder / f"{name}.npy", allow_pickle=False)
        for name in ("digests", "hashes", "texts")
    )

    def thumbnails(places: NDArray[np.int64]) -> NDArray[np.floating]:
        stored = np.load(folder / "thumbnails.npy", mmap_mode="r", allow_pickle=False)
        small: NDArray[np.floating] = stored[places]
        return small

    return OtherSplits(read_json(folder / _NAMES), digests, hashes, texts, thumbnails)


def kept_notes(folder: Path) -> list[str]:
    """The lines that `keep_splits` wrote."""
    lines: list[str] = read_json(folder / _NOTES)
    return lines


def _text_digests(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Digests of texts whose case and width of white space do not matter, (n,)."""
    digests = [content_digest(" ".join(text.casefold().split()).encode()) for text in texts]
    return np.array(digests, np.uint64)
