"""The plot of the losses of right and wrong pairs, as SVG for light and dark pages."""

import io
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..evaluation.figures import RIGHT_COLOR, WRONG_COLOR

WIDE, NARROW = (9.4, 4.6), (4.1, 4.9)  # inches

_INK = "#010203"  # placeholder for the text colour of the page
_STYLE = (
    "<style>svg{color:#1c2733}@media (prefers-color-scheme:dark){svg{color:#e6eaee}}"
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif!important}</style>"
)
_PARAMETERS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "audit",
    "font.size": 10.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_MAX_BINS, _MIN_BINS = 60, 10
#: The share at each end that is cut off if the range without it is _FAR times smaller.
_OUTLIERS, _FAR = 0.001, 3


class LossHistogram(NamedTuple):
    """Histogram of the losses.

    Attributes:
        edges: Edges of the bins, (n_bins + 1,).
        pairs: Number of pairs in each bin, (n_bins,).
        wrong: Number of wrong pairs expected from random re-pairings, (n_bins,).
        clean_probability: Mean over the pairs of each bin, NaN for empty bins, (n_bins,).
        is_cut: Whether the outermost bins include all values beyond the edges.
    """

    edges: np.ndarray
    pairs: np.ndarray
    wrong: np.ndarray
    clean_probability: np.ndarray
    is_cut: bool


def loss_histogram(
    losses: np.ndarray,
    random_losses: np.ndarray,
    clean_probability: np.ndarray,
    wrong_share: float,
) -> LossHistogram:
    """Compute the histogram of all pairs and the part of wrong ones.

    Args:
        losses: Of all pairs, (n_pairs,).
        random_losses: Of random re-pairings, (n_random,).
        clean_probability: Of each pair, (n_pairs,).
        wrong_share: Share of wrong pairs.
    """
    values = np.concatenate([losses, random_losses]).astype(np.float64)
    low, high = values.min(), values.max()
    inner_low, inner_high = np.quantile(values, [_OUTLIERS, 1 - _OUTLIERS])
    is_cut = bool(high - low > _FAR * (inner_high - inner_low) > 0)
    if is_cut:
        low, high = inner_low, inner_high
    n_bins = int(np.clip(np.sqrt(min(len(losses), len(random_losses))), _MIN_BINS, _MAX_BINS))
    edges = np.linspace(low, high, n_bins + 1)
    if not (np.diff(edges) > 0).all():  # all losses are (nearly) equal
        edges = np.linspace(low - 0.5, high + 0.5, n_bins + 1)
    inside = np.clip(losses, edges[0], edges[-1])
    pairs = np.histogram(inside, edges)[0]
    random = np.histogram(np.clip(random_losses, edges[0], edges[-1]), edges)[0]
    wrong = random / len(random_losses) * wrong_share * len(losses)
    sums = np.histogram(inside, edges, weights=clean_probability)[0]
    mean = np.divide(sums, pairs, out=np.full(n_bins, np.nan), where=pairs > 0)
    return LossHistogram(edges, pairs, wrong, mean, is_cut)


def histogram_svg(bins: LossHistogram, size: tuple[float, float] = WIDE) -> str:
    """Draw the histogram, with the clean probability below it.

    Args:
        bins: The histogram.
        size: Width and height, inches.

    Returns:
        A self-contained SVG whose colours follow the colour scheme.
    """
    file = io.StringIO()
    with rc_context(_PARAMETERS):
        figure = _figure(bins, size)
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    end = svg.index(">") + 1
    return svg[:end] + _STYLE + svg[end:]


def _figure(bins: LossHistogram, size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1])
    has_wrong = bool(bins.wrong.any())
    upper.stairs(bins.pairs, bins.edges, color=_INK, lw=1.1, label="all pairs")
    right = np.maximum(bins.pairs - bins.wrong, 0)
    parts = [(right, RIGHT_COLOR, "right pairs" if has_wrong else "pairs")]
    if has_wrong:
        parts.append((bins.wrong, WRONG_COLOR, "wrong pairs (from random re-pairings)"))
    for counts, color, label in parts:
        upper.stairs(counts, bins.edges, fill=True, color=color, alpha=0.5, lw=0, label=label)
    upper.set_ylabel("pairs")
    upper.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    upper.yaxis.set_major_formatter("{x:,.0f}")
    n_columns = 3 if size[0] > size[1] else 1
    figure.legend(loc="outside upper left", ncols=n_columns, frameon=False)
    centres = (bins.edges[:-1] + bins.edges[1:]) / 2
    finite = np.isfinite(bins.clean_probability)
    marker = "o" if finite.sum() < _MIN_BINS else None
    lower.axhline(0.5, color=_INK, lw=0.8, ls=":", alpha=0.7)
    lower.plot(
        centres[finite], bins.clean_probability[finite], color=_INK, lw=1.6, marker=marker, ms=4
    )
    label = "loss of the pair (larger: worse match)"
    if bins.is_cut:
        label += "\noutermost bars include all values beyond"
    lower.set(ylim=(-0.05, 1.05), yticks=(0, 0.5, 1), ylabel="clean\nprobability", xlabel=label)
    for axes in (upper, lower):
        axes.grid(axis="y", color=_INK, alpha=0.12, lw=0.8)
        axes.set_axisbelow(True)
    figure.align_ylabels()
    return figure
