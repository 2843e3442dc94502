"""What is known of a division, as rows of a JSON file, pictures and log entries.

The oracle, if the data has one, is read for these reports alone.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..metrics import detection_metrics
from ..noise import Division
from .files import read_json, write_json
from .plots import plot_divisions

DIVISIONS_NAME = "divisions.json"


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
    path = Path(folder) / DIVISIONS_NAME
    known = read_json(path) if path.is_file() else []
    write_json(path, [r for r in known if first_epoch <= r["epoch"] < epoch] + found)
    # A precision or an AUROC can be undefined for one of the rows.
    measured = [
        name
        for name in found[0]
        if name not in ("epoch", kind) and all(isinstance(row.get(name), float) for row in found)
    ]
    return {f"division_{name}": float(np.mean([row[name] for row in found])) for name in measured}
