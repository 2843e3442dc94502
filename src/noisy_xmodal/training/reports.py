"""What is known of divisions and refurbished targets, as rows of JSON, pictures and log entries.

The oracle, if the data has one, is read for these reports alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..metrics import detection_metrics
from ..noise import Division
from .files import read_json, write_json
from .plots import plot_divisions

DIVISIONS_NAME = "divisions.json"
REFURBISHMENTS_NAME = "refurbishments.json"


def write_rows(
    path: str | Path, epoch: int, rows: Sequence[dict[str, Any]], first_epoch: int = 0
) -> None:
    """Put the rows of an epoch behind those that this run has written before it.

    Args:
        path: JSON to write.
        epoch: The epoch that they are for; later ones of an earlier run are forgotten.
        rows: What to add, each with its "epoch".
        first_epoch: The first epoch that this run has rows for; what stands before it is another
            run's.
    """
    path = Path(path)
    known = read_json(path) if path.is_file() else []
    write_json(path, [row for row in known if first_epoch <= row["epoch"] < epoch] + list(rows))


def report_divisions(
    folder: str | Path,
    epoch: int,
    rows: dict[str, Sequence[str]],
    losses: np.ndarray,
    divisions: Sequence[Division],
    is_noisy: np.ndarray | None = None,
    first_epoch: int = 0,
    plot: bool = True,
) -> dict[str, float]:
    """Add the divisions of an epoch to `divisions.json` and draw them.

    Args:
        folder: Where to write.
        epoch: The epoch that they are for; later ones of an earlier run are forgotten.
        rows: What a division is of, and the name of each, such as {"peer": ("a", "b")}.
        losses: (n_rows, n_pairs).
        divisions: One for each row.
        is_noisy: The oracle, (n_rows, n_pairs), or None.
        first_epoch: The first epoch that this run divides at; what stands before it is another
            run's.
        plot: Whether to draw them.

    Returns:
        Means over the rows, for the log.
    """
    ((kind, names),) = rows.items()
    found = []
    for i, (name, division) in enumerate(zip(names, divisions, strict=True)):
        row = {"epoch": epoch, kind: name, "share_noisy": division.share_noisy}
        if division.posterior is not None and division.posterior.mixture is not None:
            row["estimated_noise_rate"] = division.posterior.noise_rate
        wrong = None if is_noisy is None else is_noisy[i]
        if wrong is not None:
            row |= detection_metrics(division.clean_probability, wrong, division.is_clean)
        found.append(row)
    if plot:
        path = Path(folder) / f"epoch_{epoch:03d}.png"
        titles = [f"epoch {epoch}, {kind} {name}" for name in names]
        plot_divisions(path, losses, divisions, titles, is_noisy)
    write_rows(Path(folder) / DIVISIONS_NAME, epoch, found, first_epoch)
    # A precision or an AUROC can be undefined for one of the rows.
    measured = [
        name
        for name in found[0]
        if name not in ("epoch", kind) and all(isinstance(row.get(name), float) for row in found)
    ]
    return {f"division_{name}": float(np.mean([row[name] for row in found])) for name in measured}


def report_refurbishment(
    folder: str | Path,
    epoch: int,
    targets: np.ndarray,
    is_noisy: np.ndarray | None = None,
    first_epoch: int = 0,
) -> dict[str, float]:
    """Add the targets of an epoch to `refurbishments.json`.

    A pair counts as relabelled where its target is below 0.5.

    Args:
        folder: Where to write.
        epoch: The epoch that they are for; later ones of an earlier run are forgotten.
        targets: (n_rows, n_pairs), 1 where a pair keeps its label.
        is_noisy: The oracle, (n_rows, n_pairs), or None.
        first_epoch: The first epoch that this run refurbishes at; what stands before it is another
            run's.

    Returns:
        What is defined of it, over all rows together, for the log: `target_mean`,
        `target_mean_clean` and `target_mean_noisy` of right and wrong pairs, `refurbished_share`
        of relabelled pairs, `refurbished_precision`, the share of wrong pairs among them, and
        `refurbished_recall`, their share of the wrong pairs.
    """
    keeps = targets >= 0.5
    found = {"target_mean": float(targets.mean()), "refurbished_share": float((~keeps).mean())}
    if is_noisy is not None:
        if is_noisy.any() and not is_noisy.all():
            found["target_mean_clean"] = float(targets[~is_noisy].mean())
            found["target_mean_noisy"] = float(targets[is_noisy].mean())
        metrics = detection_metrics(keeps.ravel(), is_noisy.ravel(), keeps.ravel())
        for name in ("precision", "recall"):
            value = metrics[name]
            if value is not None:
                found[f"refurbished_{name}"] = value
    write_rows(Path(folder) / REFURBISHMENTS_NAME, epoch, [{"epoch": epoch, **found}], first_epoch)
    return found
