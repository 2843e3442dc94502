"""Pictures of a division: the losses of all pairs and the mixture that was fitted to them."""

import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from ..noise import Division


def plot_division(
    path: str | Path,
    losses: np.ndarray,
    division: Division,
    is_noisy: np.ndarray | None = None,
    title: str = "",
) -> None:
    """Draw the histogram of the losses with the clean posterior over it.

    Args:
        path: PNG to write.
        losses: (n_pairs,).
        division: What was made of them.
        is_noisy: The oracle, (n_pairs,), which colours the histogram, or None.
        title: Title of the picture.
    """
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    bins = np.linspace(losses.min(), max(losses.max(), losses.min() + 1e-9), 60).tolist()
    if is_noisy is None:
        axes.hist(losses, bins, color="0.7", density=True, label="all pairs")
    else:
        parts = [losses[~is_noisy], losses[is_noisy]]
        labels = ["right pairs (oracle)", "wrong pairs (oracle)"]
        colors = ["#4c9f70", "#d1495b"]
        axes.hist(parts, bins, stacked=True, density=True, color=colors, label=labels)
    _draw_components(axes, division)
    order = np.argsort(losses)
    posterior = axes.twinx()
    posterior.plot(losses[order], division.clean_probability[order], color="k", lw=1)
    posterior.axhline(division.threshold, color="k", lw=0.5, ls=":")
    posterior.set(ylim=(0, 1.05), ylabel="p(clean | loss)")
    axes.set(xlabel="loss of the pair", ylabel="density")
    axes.set_title(f"{title}, {division.share_noisy:.1%} judged noisy", fontsize=9)
    axes.legend(fontsize=7, loc="upper center")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.partial.png")
    figure.savefig(aside, dpi=110)
    os.replace(aside, path)


def _draw_components(axes: Axes, division: Division) -> None:
    """Draw the weighted components of a fitted Gaussian mixture in units of the losses."""
    fit = division.posterior
    if fit is None or not isinstance(fit.mixture, GaussianMixture):
        return
    spread = fit.highest_loss - fit.lowest_loss
    grid = np.linspace(0, 1, 300)
    for weight, mean, variance in zip(
        fit.mixture.weights_,
        fit.mixture.means_[:, 0],
        fit.mixture.covariances_[:, 0, 0],
        strict=True,
    ):
        density = weight * norm.pdf(grid, mean, np.sqrt(variance)) / spread
        axes.plot(fit.lowest_loss + grid * spread, density, lw=1, ls="--", color="0.25")
