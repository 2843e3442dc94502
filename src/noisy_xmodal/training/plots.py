"""Figures of a run: divisions, metrics and losses over the epochs, features."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import beta, norm
from sklearn.manifold import TSNE
from sklearn.mixture import GaussianMixture

from ..evaluation.figures import RIGHT_COLOR, WRONG_COLOR, save_figure
from ..files import write_json
from ..noise import BetaMixture, Division

ALL_COLOR = "0.7"


def plot_divisions(
    path: str | Path,
    losses: np.ndarray,
    divisions: Sequence[Division],
    names: Sequence[str],
    is_noisy: np.ndarray | None = None,
) -> None:
    """Draw the histogram of the losses and the clean posterior, one panel per division.

    Args:
        path: PNG to write.
        losses: (n_rows, n_pairs).
        divisions: The division of each row.
        names: Title of each panel.
        is_noisy: The oracle, (n_rows, n_pairs), which colours the histograms, or None.
    """
    figure = Figure(figsize=(4.5 * len(divisions), 3.2))
    panels = figure.subplots(1, len(divisions), squeeze=False)[0]
    # Fixed margins are much faster than a layout engine.
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
    save_figure(figure, path)


def _draw_histogram(axes: Axes, losses: np.ndarray, is_noisy: np.ndarray | None) -> None:
    """Draw the density of the losses; with the oracle, wrong pairs stacked on right pairs."""
    edges = np.linspace(losses.min(), max(losses.max(), losses.min() + 1e-9), 60)
    parts = [("all pairs", ALL_COLOR, np.ones(len(losses), dtype=bool))]
    if is_noisy is not None:
        parts = [
            ("right pairs (oracle)", RIGHT_COLOR, ~is_noisy),
            ("wrong pairs (oracle)", WRONG_COLOR, is_noisy),
        ]
    baseline = np.zeros(len(edges) - 1)
    for label, color, mask in parts:
        counts = np.histogram(losses[mask], edges)[0]
        top = baseline + counts / (len(losses) * (edges[1] - edges[0]))
        axes.stairs(top, edges, baseline=baseline, fill=True, color=color, label=label)
        baseline = top


def plot_histograms(
    path: str | Path, edges: np.ndarray, counts: Mapping[str, Mapping[str, Sequence[int]]]
) -> None:
    """Draw histograms of pairs, one panel for each value and a line for each group of pairs.

    Args:
        path: PNG to write.
        edges: Edges of the bins, (n_bins + 1,).
        counts: Pairs in each bin, (n_bins,), by value and group.
    """
    figure = Figure(figsize=(4.2 * len(counts), 3.2))
    panels = figure.subplots(1, len(counts), squeeze=False)[0]
    figure.subplots_adjust(0.2 / len(counts), 0.16, 0.97, 0.9, wspace=0.3)
    colors = {"right pairs": RIGHT_COLOR, "wrong pairs": WRONG_COLOR}
    for axes, (name, groups) in zip(panels, counts.items(), strict=True):
        for group, bins in groups.items():
            color = colors.get(group, ALL_COLOR)
            axes.stairs(bins, edges, fill=True, color=color, alpha=0.6, label=group)
        axes.set(xlabel=name, ylabel="pairs")
        axes.legend(fontsize=7)
    save_figure(figure, path)


def plot_curve(
    path: str | Path,
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    warmup_epochs: int = 0,
) -> None:
    """Draw metrics over the epochs, one panel per split.

    Args:
        path: PNG to write.
        rows: Rows of `CurveCallback`: "epoch", and metrics by split.
        metrics: Names of the metrics to draw.
        warmup_epochs: Length of the warm-up, whose end is marked.
    """
    splits = [split for split in rows[-1] if split != "epoch"]
    figure = Figure(figsize=(4.2 * len(splits), 3.2), layout="constrained")
    panels = figure.subplots(1, len(splits), squeeze=False)[0]
    for axes, split in zip(panels, splits, strict=True):
        split_rows = [row for row in rows if split in row]
        for metric in [metric for metric in metrics if metric in split_rows[0][split]]:
            values = [row[split][metric] for row in split_rows]
            axes.plot([row["epoch"] for row in split_rows], values, lw=1.2, label=metric)
        if warmup_epochs:
            axes.axvline(warmup_epochs, color="0.6", lw=0.7, ls=":")
        axes.set(xlabel="epoch", title=split)
        axes.legend(fontsize=7)
    save_figure(figure, path)


def plot_loss_course(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw box plots of the losses over the epochs, one panel per row of the pair state.

    Boxes show the quartiles, whiskers the 5th and 95th percentile.

    Args:
        path: PNG to write.
        rows: Rows of `LossCourseCallback`: "epoch", and percentiles of each group of pairs by row
            of the pair state.
    """
    names = [name for name in rows[-1] if name != "epoch"]
    epochs = [row["epoch"] for row in rows]
    step = min(np.diff(epochs), default=1)
    width = min(3 + 0.3 * len(rows), 10)
    figure = Figure(figsize=(width * len(names), 3.2), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for group, color, place in (
            ("all", ALL_COLOR, 0.0),
            ("right", RIGHT_COLOR, -0.2),
            ("wrong", WRONG_COLOR, 0.2),
        ):
            group_rows = [row for row in rows if group in row[name]]
            axes.bxp(
                [_box(row[name][group]) for row in group_rows],
                positions=[row["epoch"] + place * step for row in group_rows],
                widths=0.35 * step,
                patch_artist=True,
                showfliers=False,
                manage_ticks=False,
                boxprops={"facecolor": color, "lw": 0.6},
                medianprops={"color": "k", "lw": 1},
                whiskerprops={"lw": 0.6},
                capprops={"lw": 0.6},
                label=f"{group} pairs" if group_rows else None,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="loss of the pair", title=name)
        axes.legend(fontsize=7)
    save_figure(figure, path)


def _box(percentiles: Mapping[str, float]) -> dict[str, float]:
    """The percentiles under the names of matplotlib."""
    names = {"whislo": "p5", "q1": "p25", "med": "p50", "q3": "p75", "whishi": "p95"}
    return {name: percentiles[percentile] for name, percentile in names.items()}


def plot_tsne(
    path: str | Path,
    features: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
    seed: int = 0,
    max_points: int = 2000,
) -> np.ndarray:
    """Draw features in two dimensions by t-SNE, coloured by group.

    Args:
        path: PNG to write; the points are written to the JSON file of the same name.
        features: (n, dim).
        groups: Group number of each feature vector, (n,).
        names: Name of each group.
        seed: Seed of the sample and of t-SNE.
        max_points: Maximum number of points, sampled evenly over the groups.

    Returns:
        Points of the sample, (n_sample, 2), in the order of the features.

    Raises:
        ValueError: If shapes do not fit, or there are fewer than two distinct feature vectors or
            dimensions.
    """
    if features.ndim != 2 or groups.shape != features.shape[:1]:
        raise ValueError(
            f"features of shape {features.shape} and groups of shape {groups.shape}: give "
            "features (n, dim) and a group number for each."
        )
    sample = _sample_evenly(groups, max_points, seed)
    features, groups = features[sample], groups[sample]
    if min(features.shape) < 2 or (features == features[0]).all():
        raise ValueError(
            f"t-SNE cannot be applied to features of shape {features.shape}: give at least two "
            "distinct vectors of at least two dimensions."
        )
    perplexity = min(30, (len(features) - 1) / 3)
    layout = TSNE(init="pca", perplexity=perplexity, random_state=seed)
    points = layout.fit_transform(features)  # (n_sample, 2)
    rows = [[*point, names[group]] for point, group in zip(points.tolist(), groups, strict=True)]
    write_json(Path(path).with_suffix(".json"), {"points": rows})
    _draw_groups(path, points, groups, names)
    return points


def _sample_evenly(groups: np.ndarray, max_points: int, seed: int) -> np.ndarray:
    """Positions of a random sample with the groups in turn, ascending."""
    order = np.random.default_rng(seed).permutation(len(groups))
    number = np.empty(len(groups), dtype=int)  # of each point within its group
    for group in np.unique(groups):
        members = order[groups[order] == group]
        number[members] = np.arange(len(members))
    return np.sort(order[np.argsort(number[order], kind="stable")][:max_points])


def _draw_groups(
    path: str | Path, points: np.ndarray, groups: np.ndarray, names: Sequence[str]
) -> None:
    colors = colormaps["tab10" if len(names) <= 10 else "tab20"]
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    for group in np.unique(groups):
        x, y = points[groups == group].T
        axes.scatter(x, y, s=6, color=colors(group % colors.N), label=names[group])
    axes.set(xticks=[], yticks=[])
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    save_figure(figure, path)


def _draw_components(axes: Axes, division: Division) -> None:
    """Draw the weighted components of a fitted mixture in units of the losses."""
    fit = division.posterior
    if fit is None or fit.mixture is None:
        return
    width = fit.highest_loss - fit.lowest_loss
    grid = np.linspace(1e-3, 1 - 1e-3, 300)
    for density in _component_densities(fit.mixture, grid):
        axes.plot(fit.lowest_loss + grid * width, density / width, lw=1, ls="--", color="0.25")


def _component_densities(mixture: Any, grid: np.ndarray) -> list[np.ndarray]:
    """Weighted density of each component over normalised losses; empty for other mixtures."""
    weights = getattr(mixture, "weights_", ())
    if isinstance(mixture, BetaMixture):
        densities = [
            beta.pdf(grid, a, b) for a, b in zip(mixture.alphas_, mixture.betas_, strict=True)
        ]
    elif isinstance(mixture, GaussianMixture):
        stds = np.sqrt(mixture.covariances_[:, 0, 0])
        densities = [
            norm.pdf(grid, mean, std) for mean, std in zip(mixture.means_[:, 0], stds, strict=True)
        ]
    else:
        return []
    return [weight * density for weight, density in zip(weights, densities, strict=True)]
