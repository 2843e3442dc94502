"""Facts about all shards of an audit by parts: kinds of trouble, copies, repeated keys."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..arguments.audit import TROUBLES
from .kept_shards import KeptShard
from .troubles import Trouble

#: Images whose digests are compared at a time, 8 bytes each.
_MOST_DIGESTS = 20_000_000
_EXAMPLES, _MEMBERS = 3, 6
_IMAGES, _KEYS = 0, 2  # rows of `KeptShard.looks`


def _reopened(shards: Sequence[KeptShard]) -> Iterator[KeptShard]:
    """The shards one by one, so that what is read of one is not kept beside the next."""
    return (KeptShard(shard.folder) for shard in shards)


def sample_troubles(shards: Sequence[KeptShard], sample: KeptShard) -> list[Trouble]:
    """The kinds of trouble that pairs have in their shards, with the pairs of the sample.

    Args:
        shards: All shards.
        sample: The sample.
    """
    troubles = []
    for column, kind in enumerate(TROUBLES):
        found = [s.info["troubles"][kind] for s in shards if kind in s.info["troubles"]]
        if found:
            has_it = sample.has_trouble[:, column]
            n_images = len(np.unique(sample.pairs.row_of_pair[has_it]))
            examples = [tuple(example) for _, some in found for example in some]
            troubles.append(Trouble(kind, has_it, n_images, examples[:_MEMBERS]))
    return troubles


def trouble_counts(shards: Sequence[KeptShard]) -> dict[str, dict[str, int]]:
    """The number of pairs and images of all shards with each kind of trouble."""
    filled = [shard for shard in shards if shard.info["troubles"]]
    nothing = np.zeros(len(TROUBLES), np.int64)
    n_pairs = sum((shard.has_trouble.sum(axis=0) for shard in _reopened(filled)), nothing)
    return {
        kind: {
            "n_pairs": int(n),
            "n_images": sum(shard.info["troubles"].get(kind, [0])[0] for shard in filled),
        }
        for kind, n in zip(TROUBLES, n_pairs.tolist(), strict=True)
    }


def copies(shards: Sequence[KeptShard], names: Sequence[str]) -> dict[str, Any]:
    """How many images have the same content as others, and some of them.

    Args:
        shards: All shards.
        names: Their names.
    """
    return _repeated(shards, names, _IMAGES)


def repeated_keys(shards: Sequence[KeptShard], names: Sequence[str]) -> dict[str, Any]:
    """How many images of tars have the same key as others, and some of them; see `copies`."""
    return _repeated(shards, names, _KEYS)


def _repeated(shards: Sequence[KeptShard], names: Sequence[str], look: int) -> dict[str, Any]:
    filled = [shard for shard in shards if shard.info["n_images"]]
    n_images = sum(shard.info["n_images"] for shard in filled)
    n_passes = -(-n_images // _MOST_DIGESTS)
    n_groups, n_members, largest = 0, 0, list[tuple[int, int]]()
    for number in range(n_passes):
        looks = (shard.looks[look] for shard in _reopened(filled))
        values = np.concatenate([v[v % np.uint64(n_passes) == number] for v in looks])
        distinct, counts = np.unique(values[values > 0], return_counts=True)
        distinct, counts = distinct[counts > 1], counts[counts > 1]
        n_groups, n_members = n_groups + len(counts), n_members + int(counts.sum())
        first = np.argsort(-counts, kind="stable")[:_EXAMPLES]
        largest += zip(counts[first].tolist(), distinct[first].tolist(), strict=True)
    most = sorted(largest)[::-1][:_EXAMPLES]
    examples = [_with_value(shards, names, look, value) for _, value in most]
    return {"groups": n_groups, "images": n_members, "examples": examples}


def _with_value(
    shards: Sequence[KeptShard], names: Sequence[str], look: int, value: int
) -> list[str]:
    """Names of the first images with a value."""
    found = list[str]()
    for shard, name in zip(_reopened(shards), names, strict=True):
        if len(found) < _MEMBERS and shard.info["n_images"]:
            rows = np.flatnonzero(shard.looks[look] == np.uint64(value))
            found += [f"{shard.image_ids[row]} in {name}" for row in rows.tolist()]
    return found[:_MEMBERS]
