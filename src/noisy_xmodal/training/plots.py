"""Pictures of a run: the losses of a division with their mixture, and metrics over the epochs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import beta, norm
from sklearn.mixture import GaussianMixture

from ..noise import BetaMixture, Division


def plot_divisions(
    path: str | Path,
    losses: np.ndarray,
    divisions: Sequence[Division],
    names: Sequence[str],
    is_noisy: np.ndarray | None = None,
) -> None:
    """Draw the histogram of the losses with the clean posterior over it, a panel a division.

    Args:
        path: PNG to write.
        losses: (n_rows, n_pairs).
        divisions: What was made of each row.
        names: Title of each panel.
        is_noisy: The oracle, (n_rows, n_pairs), which colours the histograms, or None.
    """
    figure = Figure(figsize=(4.5 * len(divisions), 3.2))
    panels = figure.subplots(1, len(divisions), squeeze=False)[0]
    # Fixed margins: fitting them to the text would cost more than all the rest.
    figure.subplots_adjust(0.12 / len(divisions), 0.16, 1 - 0.12 / len(divisions), 0.9, wspace=0.45)
    for row, (axes, division) in enumerate(zip(panels, divisions, strict=True)):
        wrong = None if is_noisy is None else is_noisy[row]
        _draw_histogram(axes, losses[row], wrong)
        _draw_components(axes, division)
        order = np.argsort(losses[row])
        posterior = axes.twinx()
        posterior.plot(losses[row][order], division.clean_probability[order], color="k", lw=1)
        if division.threshold is not None:
            posterior.axhline(division.threshold, color="k", lw=0.5, ls=":")
        posterior.set(ylim=(0, 1.05), ylabel="p(clean | loss)")
        axes.set(xlabel="loss of the pair", ylabel="density")
        axes.set_title(f"{names[row]}, {division.share_noisy:.1%} judged noisy", fontsize=9)
        axes.legend(fontsize=7, loc="upper center")
    _save(figure, path)


def _draw_histogram(axes: Axes, losses: np.ndarray, is_noisy: np.ndarray | None) -> None:
    """Draw the density of the losses; with the oracle, right pairs below and wrong ones on top."""
    edges = np.linspace(losses.min(), max(losses.max(), losses.min() + 1e-9), 60)
    parts = [("all pairs", "0.7", np.ones(len(losses), dtype=bool))]
    if is_noisy is not None:
        parts = [
            ("right pairs (oracle)", "#4c9f70", ~is_noisy),
            ("wrong pairs (oracle)", "#d1495b", is_noisy),
        ]
    below = np.zeros(len(edges) - 1)
    for label, color, chosen in parts:
        counts = np.histogram(losses[chosen], edges)[0]
        top = below + counts / (len(losses) * (edges[1] - edges[0]))
        axes.stairs(top, edges, baseline=below, fill=True, color=color, label=label)
        below = top


def plot_curve(
    path: str | Path,
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    warmup_epochs: int = 0,
) -> None:
    """Draw metrics over the epochs, one panel a split.

    Args:
        path: PNG to write.
        rows: What `CurveCallback` keeps: "epoch", and metrics by split.
        metrics: Names of the metrics to draw.
        warmup_epochs: Where to mark the end of the warm-up.
    """
    splits = [split for split in rows[-1] if split != "epoch"]
    figure = Figure(figsize=(4.2 * len(splits), 3.2), layout="constrained")
    panels = figure.subplots(1, len(splits), squeeze=False)[0]
    for axes, split in zip(panels, splits, strict=True):
        known = [row for row in rows if split in row]
        for metric in [metric for metric in metrics if metric in known[0][split]]:
            values = [row[split][metric] for row in known]
            axes.plot([row["epoch"] for row in known], values, lw=1.2, label=metric)
        if warmup_epochs:
            axes.axvline(warmup_epochs, color="0.6", lw=0.7, ls=":")
        axes.set(xlabel="epoch", title=split)
        axes.legend(fontsize=7)
    _save(figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.partial.png")
    figure.savefig(aside, dpi=110)
    os.replace(aside, path)


def _draw_components(axes: Axes, division: Division) -> None:
    """Draw the weighted components of a fitted mixture in units of the losses."""
    fit = division.posterior
    if fit is None or fit.mixture is None:
        return
    spread = fit.highest_loss - fit.lowest_loss
    grid = np.linspace(1e-3, 1 - 1e-3, 300)
    for density in _component_densities(fit.mixture, grid):
        axes.plot(fit.lowest_loss + grid * spread, density / spread, lw=1, ls="--", color="0.25")


def _component_densities(mixture: Any, grid: np.ndarray) -> list[np.ndarray]:
    """Weighted density of each component over normalised losses; none of an unknown kind."""
    weights = getattr(mixture, "weights_", ())
    if isinstance(mixture, BetaMixture):
        densities = [
            beta.pdf(grid, a, b) for a, b in zip(mixture.alphas_, mixture.betas_, strict=True)
        ]
    elif isinstance(mixture, GaussianMixture):
        spreads = np.sqrt(mixture.covariances_[:, 0, 0])
        densities = [
            norm.pdf(grid, mean, spread)
            for mean, spread in zip(mixture.means_[:, 0], spreads, strict=True)
        ]
    else:
        return []
    return [weight * density for weight, density in zip(weights, densities, strict=True)]
