"""The figures that the papers of the methods print for their own rows.

Nothing in this file was measured with this library. A model card shows these figures in a section
of their own, and only where a run was of the same method, dataset and noise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RECALLS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")

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


_DMCM_RATIOS = ("sym_20", "sym_40", "sym_60", "sym_80")
_DMCM_TABLE_2 = {
    "Wikipedia": ((0.624, 0.621, 0.601, 0.572), (0.592, 0.593, 0.578, 0.550)),
    "Pascal Sentences": ((0.717, 0.715, 0.697, 0.655), (0.716, 0.720, 0.699, 0.657)),
    "XMediaNet": ((0.717, 0.701, 0.679, 0.652), (0.723, 0.711, 0.681, 0.654)),
}

#: By the title of the method.
PAPERS = {
    "NCR": Paper(
        RECALLS,
        "Recall in percent of the two networks together, with SGR; single captions were shuffled.",
        (
            Figures("Table 1", "Flickr30K", "clean", (77.3, 94.0, 97.5, 59.6, 84.4, 89.9)),
            Figures("Table 1", "Flickr30K", "cmp_20", (75.0, 93.9, 97.5, 58.3, 83.0, 89.0)),
            Figures("Table 1", "Flickr30K", "cmp_50", (72.9, 93.0, 96.3, 54.3, 79.8, 86.5)),
            Figures("Table 1", "MS-COCO", "clean", (78.7, 95.8, 98.5, 63.3, 90.4, 95.8), "1K"),
            Figures("Table 1", "MS-COCO", "cmp_20", (77.7, 95.5, 98.2, 62.5, 89.3, 95.3), "1K"),
            Figures("Table 1", "MS-COCO", "cmp_50", (74.6, 94.6, 97.8, 59.1, 87.8, 94.5), "1K"),
            Figures("Table 3", "MS-COCO", "clean", (58.2, 84.2, 91.5, 41.7, 71.0, 81.3), "5K"),
            Figures("Table 3", "MS-COCO", "cmp_20", (56.9, 83.6, 91.0, 40.6, 69.8, 80.1), "5K"),
            Figures("Table 3", "MS-COCO", "cmp_50", (53.1, 80.7, 88.5, 37.9, 66.6, 77.8), "5K"),
            Figures("Table 2", "CC152K", "natural", (39.5, 64.5, 73.5, 40.3, 64.6, 73.2)),
        ),
    ),
    "RCAR": Paper(
        ("gain of i2t_r1", "gain of t2i_r1"),
        "What the text says of Table 3: recall at 1, in points of percent, above that of the "
        "single-stream transformer with image-text matching alone.",
        (Figures("Section 4.3", "Flickr30K", "cmp_40", (21.9, 13.6)),),
    ),
    "DMCM": Paper(
        ("i2t_map", "t2i_map"),
        "Mean average precision over features of CLIP, with the noise rate known.",
        tuple(
            Figures("Table 2", dataset, noise, (i2t, t2i))
            for dataset, (by_image, by_text) in _DMCM_TABLE_2.items()
            for noise, i2t, t2i in zip(_DMCM_RATIOS, by_image, by_text, strict=True)
        ),
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
