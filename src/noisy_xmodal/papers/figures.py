"""The figures of tables: metrics over the noise, a constant or the epochs, and pictures of runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ..evaluation.figures import save_figure
from ..files import read_json
from .results import HEADS, UNITS
from .table import CHOICES, Drawing, Table

Entries = Sequence[Mapping[str, Any]]
_COLORS = colormaps["tab10"]
_PIXELS_PER_INCH = 110


def draw(path: Path, table: Table, entries: Entries) -> bool:
    """Draw the figure of a table.

    Args:
        path: PNG file.
        table: The table.
        entries: Its entries, see `results.entries`.

    Returns:
        Whether there was anything to draw.
    """
    done = [entry for entry in entries if table.choices[0] in entry]
    if not done:
        return False
    figure = DRAWINGS[table.drawing.kind](table, table.drawing, done)
    if figure is not None:
        save_figure(figure, path)
    return figure is not None


def over_noise(table: Table, drawing: Drawing, entries: Entries) -> Figure:
    """A panel for each dataset and metric, a line for each system; the paper's are dashed."""
    data = list(dict.fromkeys(entry["data"] for entry in entries))
    figure, panels = _panels(len(data) * len(drawing.metrics))
    places = [(name, metric) for name in data for metric in drawing.metrics]
    titles = list(dict.fromkeys(entry["title"] for entry in entries))
    for axes, (name, metric) in zip(panels, places, strict=True):
        own = [entry for entry in entries if entry["data"] == name]
        configs = list(dict.fromkeys(entry["config"] for entry in own))
        for number, title in enumerate(titles):
            line = [entry for entry in own if entry["title"] == title]
            x = [configs.index(entry["config"]) for entry in line]
            color = _COLORS(number % 10)
            _error_bars(axes, x, [entry[table.choices[0]][metric] for entry in line], title, color)
            theirs = [
                (configs.index(entry["config"]), entry["theirs"][metric])
                for entry in line
                if metric in entry.get("theirs", {})
            ]
            if theirs:
                axes.plot(*zip(*theirs, strict=True), "x--", ms=4, lw=0.8, color=color, alpha=0.6)
        axes.set(xlabel="noise", ylabel=HEADS[metric], title=f"{name} (dashed: published)")
        axes.set_xticks(range(len(configs)), configs, fontsize=8)
    _legend(panels[-1])
    return figure


def over_rows(table: Table, drawing: Drawing, entries: Entries) -> Figure:
    """The metrics over the number that the rows are named by, such as "m = 7"."""
    figure, panels = _panels(len(drawing.metrics))
    places = list(dict.fromkeys((entry["data"], entry["config"]) for entry in entries))
    for axes, metric in zip(panels, drawing.metrics, strict=True):
        for number, place in enumerate(places):
            own = [entry for entry in entries if (entry["data"], entry["config"]) == place]
            x = [float(entry["title"].split("=")[1]) for entry in own]
            for choice, alpha in zip(table.choices, (1.0, 0.5, 0.3), strict=False):
                values = [entry[choice][metric] for entry in own if choice in entry]
                if len(values) == len(own):
                    label = f"{' '.join(place)}, {CHOICES[choice]}"
                    _error_bars(axes, x, values, label, _COLORS(number % 10), alpha)
            theirs = [entry["theirs"][metric] for entry in own if "theirs" in entry]
            if theirs and len(theirs) == len(own):
                axes.plot(x, theirs, "--", lw=0.8, color="k", label="published")
        axes.set(xlabel=entries[0]["title"].split(" =")[0], ylabel=HEADS[metric])
    _legend(panels[-1])
    return figure


def over_epochs(table: Table, drawing: Drawing, entries: Entries) -> Figure:
    """The metrics on test after each epoch, a line for each system, means over the seeds."""
    figure, panels = _panels(len(drawing.metrics))
    for number, entry in enumerate(entries):
        curves = [read_json(Path(folder) / "curve.json") for folder in entry["folders"]]
        epochs = [point["epoch"] for point in curves[0]]
        for axes, metric in zip(panels, drawing.metrics, strict=True):
            values = [[point["test"][metric] for point in curve] for curve in curves]
            label = f"{entry['title']}, {entry['data']} {entry['config']}"
            means = np.mean(values, axis=0)  # (n_epochs,)
            axes.plot(epochs, means, lw=1.2, color=_COLORS(number % 10), label=label)
            axes.set(xlabel="epoch", ylabel=f"{HEADS[metric]} on test")
    _legend(panels[-1])
    return figure


def pictures(table: Table, drawing: Drawing, entries: Entries) -> Figure | None:
    """Pictures of the runs of the first seed, side by side."""
    shown: list[tuple[str, Image.Image]] = []
    for row, pattern, number in drawing.pictures:
        for entry in entries:
            files = sorted(Path(entry["folders"][0]).glob(pattern)) if entry["row"] == row else []
            if files:
                place = f"{entry['title']}, {entry['data']} {entry['config']}"
                with Image.open(files[number]) as file:
                    shown.append((f"{place}: {files[number].name}", file.convert("RGB")))
    if not shown:
        return None
    sizes = [(picture.width, picture.height) for _, picture in shown]
    width, height = sum(size[0] for size in sizes), max(size[1] for size in sizes)
    inches = (width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH + 0.4)
    figure = Figure(figsize=inches)
    ratios = [size[0] for size in sizes]
    panels = figure.subplots(1, len(shown), squeeze=False, width_ratios=ratios)[0]
    figure.subplots_adjust(0, 0, 1, 1 - 0.4 / inches[1], wspace=0)
    for axes, (title, picture) in zip(panels, shown, strict=True):
        axes.imshow(picture)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def bars(table: Table, drawing: Drawing, entries: Entries) -> Figure:
    """A panel for each metric, a bar for each system."""
    figure, panels = _panels(len(drawing.metrics))
    labels = [f"{entry['title']}, {entry['data']}" for entry in entries]
    for axes, metric in zip(panels, drawing.metrics, strict=True):
        means = [entry[table.choices[0]][metric]["mean"] for entry in entries]
        values = [mean * UNITS.get(metric, 1) for mean in means]
        axes.barh(range(len(values)), values, color="0.6")
        axes.set_yticks(range(len(values)), labels if axes is panels[0] else [""] * len(labels))
        axes.invert_yaxis()
        axes.set(xlabel=HEADS[metric])
    return figure


#: How a figure is drawn, by its kind.
DRAWINGS: dict[str, Callable[[Table, Drawing, Entries], Figure | None]] = {
    "noise": over_noise,
    "rows": over_rows,
    "epochs": over_epochs,
    "pictures": pictures,
    "bars": bars,
}


def _panels(n_panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(4.6 * n_panels + 1.6, 3.6), layout="constrained")
    return figure, list(figure.subplots(1, n_panels, squeeze=False)[0])


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def _error_bars(
    axes: Axes, x: Sequence[float], values: Entries, label: str, color: Any, alpha: float = 1.0
) -> None:
    means = [value["mean"] for value in values]
    spreads = [value["spread"] or 0 for value in values]
    bars = axes.errorbar(x, means, spreads, fmt="o-", capsize=2, lw=1.2, ms=3, label=label)
    for part in bars.get_children():
        part.set(color=color, alpha=alpha)
