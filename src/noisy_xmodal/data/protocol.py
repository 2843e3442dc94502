"""The noise protocol: which noise a dataset carries, stored so that it travels with the data.

`datasets` keeps the description of a dataset through its cache, and reads it back from the card of
a Parquet folder (`dataset_info` in the YAML), streaming included. So the last line of the
description is the protocol as JSON.
"""

import json
from typing import Any

from ..noise import CompleteMismatch, NoiseIndex, Pairs

_MARK = "Noise protocol: "


def describe_noise(
    source: CompleteMismatch | NoiseIndex | None, pairs: Pairs, **details: Any
) -> dict[str, Any]:
    """Describes the noise of a train split.

    Args:
        source: Where the noise comes from; None for clean data.
        pairs: The pairs after noise.
        details: More entries: configuration name, seed, version.

    Returns:
        A flat dict ready for JSON: type, level, the ratio that was asked (None where nobody asked),
        the share of the pairs that is really wrong, their number, and `details`.
    """
    asked: dict[str, Any] = {"type": "clean", "level": "none", "ratio": 0.0}
    if isinstance(source, NoiseIndex):
        asked = {"type": "noise_index", "level": source.level, "ratio": None}
    elif source is not None:
        asked = source.protocol()
    n_wrong = int(pairs.is_noisy.sum())
    return {
        **asked,
        "share_wrong": round(n_wrong / max(1, len(pairs.image)), 6),
        "n_wrong": n_wrong,
        "n_pairs": len(pairs.image),
        **details,
    }


def with_protocol(description: str, protocol: dict[str, Any]) -> str:
    """Appends `protocol` to a dataset description, as its last line."""
    return f"{description.strip()}\n{_MARK}{json.dumps(protocol)}"


def noise_protocol(dataset: Any) -> dict[str, Any] | None:
    """Reads the noise protocol of a dataset.

    Args:
        dataset: A `datasets.Dataset`, or anything else with an `info.description`.

    Returns:
        The protocol (see `describe_noise`), or None where the dataset carries none.
    """
    for line in reversed((dataset.info.description or "").splitlines()):
        if line.startswith(_MARK):
            return dict(json.loads(line[len(_MARK) :]))
    return None
