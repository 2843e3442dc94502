"""The noise protocol: which noise a dataset carries, stored so that it travels with the data.

`datasets` keeps the description of a dataset through its cache, and reads it back from the card of
a Parquet folder (`dataset_info` in the YAML), streaming included. So the last line of the
description is the protocol as JSON.
"""

import json
from typing import Any

from ..noise import NoiseIndex, NoiseType, NoisyLabels, Pairs, SymmetricLabelNoise

NOISE_VERSION = "1.1.0"  # raised whenever a seed draws other noise than before
TRAIN = "train"  # the split that noise is for
CLEAN = "clean"
NATURAL = "natural"  # config of data that is noisy as it comes
INDEX = "noise_index"  # config whose noise comes from a file

_MARK = "Noise protocol: "


def describe_noise(
    source: NoiseType | NoiseIndex | None,
    pairs: Pairs | None,
    labels: NoisyLabels | None = None,
    **details: Any,
) -> dict[str, Any]:
    """Describes the noise of a train split.

    Args:
        source: Where the noise comes from; None for clean data.
        pairs: The pairs after noise, where rows have captions.
        labels: The labels after noise, where rows have classes.
        details: More entries: configuration name, seed.

    Returns:
        A flat dict ready for JSON: type, level, the ratio that was asked (None where nobody asked),
        the share that is really wrong, of how many, the version of the noise, and `details`.
        Label noise counts labels (two a row); all else counts captions. `n_same_text`, where it is
        not 0, says how many of the wrong captions have a text that describes their new image, too,
        as another image has the very same: published index files have some.
    """
    asked: dict[str, Any] = {"type": "clean", "level": "none", "ratio": 0.0}
    if isinstance(source, NoiseIndex):
        asked = {"type": "noise_index", "level": source.level, "ratio": None}
    elif source is not None:
        asked = source.protocol()
    if labels is not None and (pairs is None or isinstance(source, SymmetricLabelNoise)):
        n_image, n_text = int(labels.image_is_wrong.sum()), int(labels.text_is_wrong.sum())
        found = _label_shares(n_image, n_text, len(labels.true))
    else:
        n_captions = 0 if pairs is None else len(pairs.image)
        found = _share(0 if pairs is None else int(pairs.is_noisy.sum()), n_captions, "pair")
        n_same = 0 if pairs is None else pairs.n_same_text
        found |= {"n_same_text": n_same} if n_same else {}
    return {**asked, **found, **details, "version": NOISE_VERSION}


def describe_natural_noise(n_pairs: int, **details: Any) -> dict[str, Any]:
    """Describes a train split that is noisy as it comes: nobody knows how much of it is wrong."""
    unknown = {"level": "caption", "ratio": None, "share_wrong": None, "n_wrong": None}
    return {"type": NATURAL, **unknown, "n_pairs": n_pairs, **details, "version": NOISE_VERSION}


def _share(n_wrong: int, n_all: int, unit: str) -> dict[str, Any]:
    share = round(n_wrong / max(1, n_all), 6)
    return {"share_wrong": share, "n_wrong": n_wrong, f"n_{unit}s": n_all}


def _label_shares(n_image: int, n_text: int, n_rows: int) -> dict[str, Any]:
    return _share(n_image + n_text, 2 * n_rows, "label") | {
        "share_wrong_image": round(n_image / max(1, n_rows), 6),
        "share_wrong_text": round(n_text / max(1, n_rows), 6),
    }


def with_protocol(description: str, protocol: dict[str, Any]) -> str:
    """Appends `protocol` to a dataset description, as its last line, in place of any other."""
    lines = [line for line in description.splitlines() if not line.startswith(_MARK)]
    return "\n".join([*lines, f"{_MARK}{json.dumps(protocol)}"])


def noise_protocol(dataset: Any) -> dict[str, Any] | None:
    """Reads the noise protocol of a dataset.

    Args:
        dataset: A `datasets.Dataset`, or anything else with an `info.description`; of a
            `DatasetDict` its train split, else its first.

    Returns:
        The protocol (see `describe_noise`), or None where the dataset carries none.
    """
    if isinstance(dataset, dict):
        dataset = dataset.get(TRAIN) or next(iter(dataset.values()))
    for line in reversed((dataset.info.description or "").splitlines()):
        if line.startswith(_MARK):
            return dict(json.loads(line[len(_MARK) :]))
    return None


def counted_noise(dataset: Any, pairs: Any) -> dict[str, Any] | None:
    """Reads the noise protocol of a split, and counts anew in the rows that it has now.

    Rows that were held out or left out since the noise came are not among them.

    Args:
        dataset: The split.
        pairs: Its pairs, with `is_noisy`, (n_pairs,) or of images' and texts' labels (2, n_pairs).

    Returns:
        As `noise_protocol`.
    """
    protocol = noise_protocol(dataset)
    if protocol is None:
        return None
    is_noisy = pairs.is_noisy
    if is_noisy is None:
        sizes = {"n_pairs": len(pairs), "n_labels": 2 * len(pairs)}
        return protocol | {name: size for name, size in sizes.items() if name in protocol}
    if is_noisy.ndim == 1:
        return protocol | _share(int(is_noisy.sum()), len(pairs), "pair")
    n_image, n_text = is_noisy.sum(axis=1).tolist()
    return protocol | _label_shares(n_image, n_text, len(pairs))
