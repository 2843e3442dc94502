"""The figures that the papers of the methods print for their own rows.

Nothing in this file was measured with this library. A model card shows these figures in a section
of their own, and only where a run was of the same method, dataset and noise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..papers import TABLES
from ..papers.table import MAPS
from ..papers.table import RECALLS as RECALLS_AND_SUM

RECALLS = RECALLS_AND_SUM[:-1]

#: How the name of a dataset, a folder or a repository tells which dataset of the papers it is.
DATASET_NAMES = {
    "Flickr30K": r"flickr[-_ ]?30k|(?<![a-z\d])f30k",
    "MS-COCO": r"(?<![a-z])(ms[-_ ]?)?coco(?![a-z])",
    "CC152K": r"cc[-_ ]?152k",
    "Wikipedia": r"(?<![a-z])wiki(pedia)?(?![a-z])",
    "Pascal Sentences": r"pascal[-_ ]?sentences?",
    "XMediaNet": r"xmedianet",
}


@dataclass(frozen=True)
class Figures:
    """One row of a paper.

    Attributes:
        source: Where it is printed.
        dataset: One of `DATASET_NAMES`.
        noise: Our name of the noise.
        values: One for each of the paper's metrics.
        remark: What kind of evaluation, where the paper has several.
    """

    source: str
    dataset: str
    noise: str
    values: tuple[float, ...]
    remark: str = ""


@dataclass(frozen=True)
class Paper:
    """The figures of a paper.

    Attributes:
        metrics: What its figures are.
        measure: The same in words.
        figures: The rows of its own method.
    """

    metrics: tuple[str, ...]
    measure: str
    figures: tuple[Figures, ...]


#: Dataset and kind of evaluation by their name in the tables of `papers`; cards have this order.
_DATASETS = {
    "flickr30k": ("Flickr30K", ""),
    "coco-1000": ("MS-COCO", "1K"),
    "coco": ("MS-COCO", "5K"),
    "cc152k": ("CC152K", ""),
    "wikipedia": ("Wikipedia", ""),
    "pascal": ("Pascal Sentences", ""),
    "xmedianet": ("XMediaNet", ""),
}


def _figures(row: str, *names: str) -> tuple[Figures, ...]:
    """The figures of a row in tables of `papers`, without rSum."""
    return tuple(
        Figures(f"Table {name[-1]}", title, config, values[: len(RECALLS)], remark)
        for key, (title, remark) in _DATASETS.items()
        for name in names
        for (own, dataset, config), values in TABLES[name].published.items()
        if (own, dataset) == (row, key)
    )


#: By the title of the method.
PAPERS = {
    "NCR": Paper(
        RECALLS,
        "Recall in percent of the two networks together, with SGR; single captions were shuffled.",
        _figures("ncr", "ncr-table1", "ncr-table2", "ncr-table3"),
    ),
    "RCAR": Paper(
        ("gain of i2t_r1", "gain of t2i_r1"),
        "What the text says of Table 3: recall at 1, in points of percent, above that of the "
        "single-stream transformer with image-text matching alone.",
        (Figures("Section 4.3", "Flickr30K", "cmp_40", (21.9, 13.6)),),
    ),
    "DMCM": Paper(
        MAPS,
        "Mean average precision over features of CLIP, with the noise rate known.",
        _figures("dmcm", "dmcm-table2"),
    ),
}


def published_figures(results: Mapping[str, Any]) -> tuple[Figures, ...]:
    """Finds what the paper of a run's method prints for the same dataset and noise.

    Args:
        results: What the training script wrote to `results.json`.

    Returns:
        Those rows; none for a variant of a method, or where nothing was published.
    """
    paper = PAPERS.get(results["method"])
    if paper is None:
        return ()
    name, noise = str(results.get("dataset_id") or results["dataset"]), noise_name(results)
    return tuple(
        row
        for row in paper.figures
        if row.noise == noise and re.search(DATASET_NAMES[row.dataset], name, re.IGNORECASE)
    )


def noise_name(results: Mapping[str, Any]) -> str | None:
    """Names the noise of a run as configurations do, by its protocol where there is one.

    Args:
        results: What the training script wrote to `results.json`.

    Returns:
        Such as "cmp_40", "sym_60", "clean" or "natural"; None for noise that no paper has, such as
        whole caption lists that were moved, or one wrong label for image and text.
    """
    protocol = results["noise"]
    if protocol is None:
        return str(results["dataset_config"])
    kind = protocol["type"]
    if kind in ("clean", "natural"):
        return str(kind)
    percent = f"{round(100 * (protocol.get('ratio') or 0), 6):g}"
    if kind == "complete_mismatch" and protocol["level"] == "caption":
        return f"cmp_{percent}"
    if kind == "symmetric_label_noise" and protocol["level"] == "modality":
        return None if protocol.get("exclude_true") else f"sym_{percent}"
    return None
