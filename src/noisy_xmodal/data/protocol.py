"""The noise protocol: which noise a dataset has, stored with the data.

`datasets` keeps the description of a dataset in its cache, and reads it from the card of a Parquet
folder (`dataset_info` in the YAML), also when streaming. So the last line of the description is the
protocol as JSON.
"""

import json
from typing import Any

from ..noise import LabelNoise, NoiseIndex, NoiseType, NoisyLabels, Pairs

NOISE_VERSION = "1.1.0"  # raised whenever a seed draws other noise than before
TRAIN = "train"  # the split that gets noise
CLEAN = "clean"
NATURAL = "natural"  # config of data that was collected with noise
INDEX = NoiseIndex.kind  # config with the noise of a file

_MARK = "Noise protocol: "


def describe_noise(
    noise: NoiseType | None,
    pairs: Pairs | None,
    labels: NoisyLabels | None = None,
    **details: Any,
) -> dict[str, Any]:
    """Describes the noise of a train split.

    Args:
        noise: The noise; None for clean data.
        pairs: The pairs after noise, if rows have captions.
        labels: The labels after noise, if rows have classes.
        details: More entries: config name, seed.

    Returns:
        A flat dict ready for JSON: type, level, requested ratio (None without a request), the
        share that is wrong, of how many, the version of the noise, and `details`. Label noise
        counts labels (two per row), all else counts captions. `n_same_text`, if it is not 0, is
        the number of wrong captions whose text also describes their new image, because another
        image has the same text: published index files have some.
    """
    request: dict[str, Any] = {"type": CLEAN, "level": "none", "ratio": 0.0}
    if noise is not None:
        request = noise.protocol()
    if labels is not None and (pairs is None or isinstance(noise, LabelNoise)):
        n_image, n_text = int(labels.image_is_wrong.sum()), int(labels.text_is_wrong.sum())
        shares = _label_shares(n_image, n_text, len(labels.true))
    elif pairs is None:
        shares = _share(0, 0, "pair")
    else:
        shares = _share(int(pairs.is_noisy.sum()), len(pairs.image), "pair")
        if pairs.n_same_text:
            shares["n_same_text"] = pairs.n_same_text
    return {**request, **shares, **details, "version": NOISE_VERSION}


def describe_natural_noise(n_pairs: int, **details: Any) -> dict[str, Any]:
    """Describes a train split that was collected with noise: the wrong share is unknown."""
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
    """Writes `protocol` as the last line of a dataset description, in place of any other."""
    lines = [line for line in description.splitlines() if not line.startswith(_MARK)]
    return "\n".join([*lines, f"{_MARK}{json.dumps(protocol)}"])


def noise_protocol(dataset: Any) -> dict[str, Any] | None:
    """Reads the noise protocol of a dataset.

    Args:
        dataset: A `datasets.Dataset`, or anything else with an `info.description`; of a
            `DatasetDict` the train split, else the first.

    Returns:
        The protocol (see `describe_noise`), or None if the dataset has none.
    """
    if isinstance(dataset, dict):
        dataset = dataset.get(TRAIN) or next(iter(dataset.values()))
    for line in reversed((dataset.info.description or "").splitlines()):
        if line.startswith(_MARK):
            return dict(json.loads(line[len(_MARK) :]))
    return None


def counted_noise(dataset: Any, pairs: Any) -> dict[str, Any] | None:
    """Reads the noise protocol of a split, with the counts of the rows that it has now.

    Rows that were held out or left out after the noise do not count.

    Args:
        dataset: The split.
        pairs: Its pairs, with `is_noisy`, (n_pairs,), or for the labels of images and texts
            (2, n_pairs).

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
