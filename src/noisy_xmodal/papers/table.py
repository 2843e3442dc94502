"""A table or figure of a paper as data: systems, data with their noise, and published figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Options of a script, as words of a command line.
Words = tuple[str, ...]
#: Published figures by row, data and config, in the order of the table's metrics.
Published = Mapping[tuple[str, str, str], tuple[float, ...]]

RECALLS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")
MAPS = ("i2t_map", "t2i_map")
COSTS = ("parameters", "train_seconds", "seconds_per_image_query", "seconds_per_text_query")

#: The checkpoints that a table shows, by their keys in `results.json`.
CHOICES = {
    "best": "best epoch on validation",
    "last": "last epoch",
    "best_on_clean": "best epoch on the right validation pairs, an oracle",
    "best_on_test": "best epoch on test, an oracle",
}


@dataclass(frozen=True)
class Data:
    """A dataset of a table, and the noise in it.

    Attributes:
        key: Its folder in `--data_dir`, and its name in recipes and published figures.
        title: Its name in print.
        configs: Config names.
        fold_size: Images per fold of the evaluation, such as 1,000 for COCO 1K.
    """

    key: str
    title: str
    configs: Words
    fold_size: int | None = None

    @property
    def name(self) -> str:
        """The key, with the fold size if there is one: other metrics of the same runs."""
        return self.key if self.fold_size is None else f"{self.key}-{self.fold_size}"


@dataclass(frozen=True)
class Row:
    """A system: how a script of `examples/` trains it.

    Attributes:
        key: Its name in `--cells` and in the folder of its runs.
        title: Its name in print.
        script: The script, without its ending.
        options: What is typed for it at any scale.
        small: Further options at the scale `small`; None if it cannot be run at it.
        paper: Further options at the scale `paper`; None if it has no row at it.
        noise: Whether it is run on all configs, on `clean` alone, or on all others.
        parts: Systems that are trained apart and whose scores are averaged, in place of a script.
        reads_labels: False if label noise does not reach it: one config stands for all.
        features: What the names of its datasets end with, where it reads other features.
        is_audited: Whether the training pairs are audited first, for their division.
    """

    key: str
    title: str
    script: str = "train_ncr"
    options: Words = ()
    small: Words | None = ()
    paper: Words | None = ()
    noise: str = "all"
    parts: "tuple[Row, ...]" = ()
    reads_labels: bool = True
    features: str = ""
    is_audited: bool = False

    @property
    def method(self) -> str | None:
        """The method that it trains; None for the script's own."""
        words = list(self.options)
        return words[words.index("--method") + 1] if "--method" in words else None

    def runs_on(self, config: str) -> bool:
        """Whether the table has a figure of it for a config."""
        return self.noise == "all" or (self.noise == "clean") == (config == "clean")


@dataclass(frozen=True)
class Drawing:
    """A figure of a table.

    Attributes:
        kind: A key of `figures.DRAWINGS`.
        metrics: What is drawn.
        pictures: Row, pattern of picture files and number of the file of each panel, for figures
            that consist of pictures of runs.
    """

    kind: str
    metrics: Words = ()
    pictures: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True)
class Table:
    """A table or figure of a paper.

    Attributes:
        name: Its name on the command line.
        title: What it shows.
        data: Its datasets, with the noise.
        rows: Its systems.
        metrics: What is printed of each cell.
        digits: Their decimals.
        choices: The checkpoints, a part of the table each; the first one is the paper's.
        protocol: The data, features and noise of the published figures; "" if there are none.
        published: The published figures.
        drawing: The figure.
        note: What else a reader must know.
    """

    name: str
    title: str
    data: tuple[Data, ...]
    rows: tuple[Row, ...]
    metrics: Words = RECALLS
    digits: int = 1
    choices: Words = ("best", "last")
    protocol: str = ""
    published: Published = field(default_factory=dict)
    drawing: Drawing = Drawing("noise", ("rsum",))
    note: str = ""


def read_published(text: str, datasets: Words, add: bool = False) -> Published:
    """Read published figures that are written as lines of text.

    Args:
        text: Lines of a config and a row, and the figures for each dataset, separated by "|".
        datasets: Keys of the datasets, in the order of the columns.
        add: Whether the sum of the figures is one more: rSum after six recalls.
    """
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        head, *columns = line.split("|")
        config, row = head.split()
        for dataset, column in zip(datasets, columns, strict=True):
            values = tuple(float(word) for word in column.split())
            if values:
                found[row, dataset, config] = (*values, round(sum(values), 1)) if add else values
    return found
