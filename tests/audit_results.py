"""Results of audits that never ran, for tests of what is written of them."""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from noisy_xmodal.arguments.audit import AuditOptions
from noisy_xmodal.auditing.image_scan import ImageScan
from noisy_xmodal.auditing.judgement import Judgement
from noisy_xmodal.auditing.known_pairs import KnownPairs
from noisy_xmodal.auditing.loading import AuditRows
from noisy_xmodal.auditing.result import AuditResult
from noisy_xmodal.data import PairDataset
from noisy_xmodal.data.regions import region_feature
from noisy_xmodal.noise.random_pairs import WrongShare

SHARE = WrongShare(0.198, 0.191, 0.206, 0.95, 0.99, 0.0)


def result_of(
    columns: dict[str, list[Any]] | datasets.Dataset,
    clean_probability: np.ndarray,
    losses: np.ndarray,
    better_caption: np.ndarray | None = None,
    better_image: np.ndarray | None = None,
    random_losses: np.ndarray | None = None,
    share: WrongShare = SHARE,
    hashes: Sequence[int] = (),
    left_out: Sequence[str] = (),
    warnings: Sequence[str] = (),
    split: str = "train",
    known: KnownPairs | None = None,
    **options: Any,
) -> AuditResult:
    """The result for rows, or columns of pictures (PIL, or their bytes) or region features."""
    rows = columns
    if isinstance(columns, dict):
        rows = datasets.Dataset.from_dict({k: v for k, v in columns.items() if k != "regions"})
        if "regions" in columns:
            feature = region_feature(len(columns["regions"][0][0]))
            rows = rows.add_column("regions", columns["regions"], feature=feature)
        else:
            rows = rows.cast_column("image", datasets.Image())
    n_images = len(rows)
    nowhere = np.full(len(losses), -1)
    return AuditResult(
        AuditOptions(**{"dataset_name": "flowers"} | options),
        AuditRows(
            PairDataset(rows),
            split,
            ImageScan(
                {},
                np.arange(n_images, dtype=np.uint64),
                np.array(hashes, dtype=np.uint64),
                np.empty((0, 2), np.int64),
                np.empty(0, np.int64),
            ),
            left_out,
        ),
        Judgement(
            losses,
            np.array([2.5, 3.0, 3.5]) if random_losses is None else random_losses,
            losses.argsort().argsort() / len(losses),
            share,
            clean_probability,
            None,
            np.zeros(n_images, dtype=np.int64),
        ),
        nowhere if better_caption is None else better_caption,
        nowhere if better_image is None else better_image,
        warnings,
        known=known,
    )
