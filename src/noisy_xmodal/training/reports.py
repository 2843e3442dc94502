"""Reports of divisions and refurbished targets: JSON rows, figures and log entries.

The oracle, if the data has one, is only used for these reports.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_json, write_json
from ..metrics import detection_metrics
from ..noise import Division
from .plots import plot_divisions, plot_histograms

DIVISIONS_NAME = "divisions.json"
REFURBISHMENTS_NAME = "refurbishments.json"
TARGETS_NAME = "targets.json"


def write_rows(
    path: str | Path, epoch: float, rows: Sequence[dict[str, Any]], first_epoch: int = 0
) -> None:
    """Append the rows of an epoch to a JSON file.

    Args:
        path: JSON file.
        epoch: Epoch of the rows; rows of this and later epochs are replaced.
        rows: Rows to add, each with its "epoch".
        first_epoch: First epoch with rows in this run; earlier rows belong to another run and are
            removed.
    """
    path = Path(path)
    previous = read_json(path) if path.is_file() else []
    write_json(path, [row for row in previous if first_epoch <= row["epoch"] < epoch] + list(rows))


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
        folder: Folder to write to.
        epoch: Epoch of the divisions, see `write_rows`.
        rows: Kind and names of the rows, such as {"peer": ("a", "b")}.
        losses: (n_rows, n_pairs).
        divisions: One division per row.
        is_noisy: The oracle, (n_rows, n_pairs), or None.
        first_epoch: First epoch with a division in this run, see `write_rows`.
        plot: Whether to draw the divisions.

    Returns:
        Means over the rows, for the log.
    """
    ((kind, names),) = rows.items()
    metrics = []
    for i, (name, division) in enumerate(zip(names, divisions, strict=True)):
        row = {"epoch": epoch, kind: name, "share_noisy": division.share_noisy}
        if division.posterior is not None and division.posterior.mixture is not None:
            row["estimated_noise_rate"] = division.posterior.noise_rate
        wrong = None if is_noisy is None else is_noisy[i]
        if wrong is not None:
            row |= detection_metrics(division.clean_probability, wrong, division.is_clean)
        metrics.append(row)
    if plot:
        path = Path(folder) / f"epoch_{epoch:03d}.png"
        titles = [f"epoch {epoch}, {kind} {name}" for name in names]
        plot_divisions(path, losses, divisions, titles, is_noisy)
    write_rows(Path(folder) / DIVISIONS_NAME, epoch, metrics, first_epoch)
    # A precision or an AUROC can be undefined for one of the rows.
    return {
        f"division_{name}": float(np.mean([row[name] for row in metrics]))
        for name in metrics[0]
        if name not in ("epoch", kind) and all(isinstance(row.get(name), float) for row in metrics)
    }


def report_refurbishment(
    folder: str | Path,
    epoch: int,
    targets: np.ndarray,
    is_noisy: np.ndarray | None = None,
    first_epoch: int = 0,
) -> dict[str, float]:
    """Add the targets of an epoch to `refurbishments.json`.

    A pair counts as relabelled if its target is below 0.5.

    Args:
        folder: Folder to write to.
        epoch: Epoch of the targets, see `write_rows`.
        targets: (n_rows, n_pairs), 1 where a pair keeps its label.
        is_noisy: The oracle, (n_rows, n_pairs), or None.
        first_epoch: First epoch with refurbished targets in this run, see `write_rows`.

    Returns:
        Metrics over all rows for the log, if they are defined: `target_mean`, `target_mean_clean`
        and `target_mean_noisy` of right and wrong pairs; `refurbished_share`, the share of
        relabelled pairs; `refurbished_precision`, the share of wrong pairs among the relabelled;
        and `refurbished_recall`, the share of relabelled pairs among the wrong.
    """
    keeps = targets >= 0.5
    metrics = {"target_mean": float(targets.mean()), "refurbished_share": float((~keeps).mean())}
    if is_noisy is not None:
        if is_noisy.any() and not is_noisy.all():
            metrics["target_mean_clean"] = float(targets[~is_noisy].mean())
            metrics["target_mean_noisy"] = float(targets[is_noisy].mean())
        detection = detection_metrics(keeps.ravel(), is_noisy.ravel(), keeps.ravel())
        for name in ("precision", "recall"):
            value = detection[name]
            if value is not None:
                metrics[f"refurbished_{name}"] = value
    row = {"epoch": epoch, **metrics}
    write_rows(Path(folder) / REFURBISHMENTS_NAME, epoch, [row], first_epoch)
    return metrics


def report_targets(
    folder: str | Path, values: Mapping[str, np.ndarray], is_noisy: np.ndarray | None = None
) -> None:
    """Write and draw histograms of predictions and targets, `targets.json` and `targets.png`.

    Source: Huang et al., NeurIPS 2021, Fig. 3c.

    Args:
        folder: Folder to write to.
        values: Values in [0, 1] by name, (n_pairs,) each; nothing is written of no pair.
        is_noisy: The oracle, (n_pairs,), or None.
    """
    groups: dict[str, Any] = {"all pairs": slice(None)}
    if is_noisy is not None:
        groups = {"right pairs": ~is_noisy, "wrong pairs": is_noisy}
    edges = np.linspace(0, 1, 21)
    counts = {
        name: {group: np.histogram(own[mask], edges)[0].tolist() for group, mask in groups.items()}
        for name, own in values.items()
    }
    if any(len(own) for own in values.values()):
        path = Path(folder) / TARGETS_NAME
        write_json(path, {"edges": edges.tolist(), "counts": counts})
        plot_histograms(path.with_suffix(".png"), edges, counts)
