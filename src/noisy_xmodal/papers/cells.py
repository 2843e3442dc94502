"""The cells of a table: a system on a dataset, with a noise and a seed, as commands to run."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..arguments.published import published_recipes
from ..files import read_json
from .step import beside
from .table import Data, Row, Table, Words

#: Data of the scale `small`, where no other is named: OpenMoji, which the scripts have by default.
EMBEDDED = "openmoji"
#: Options of training and audit that name encoders.
_VISION, _TEXT = "--vision_model_name_or_path", "--text_model_name_or_path"
#: What stands for the noise of the Web on other data.
NATURAL = "cmp_20"


@dataclass(frozen=True)
class Step:
    """A run of a script of `examples/`.

    Attributes:
        name: What it is, for messages and logs.
        script: The script, without its ending.
        options: What identifies the run.
        outputs: Options that name what it writes.
        folder: Its output folder; a lock, a log and a record of it are beside it.
        result: The file that it writes when it has succeeded.
    """

    name: str
    script: str
    options: Words
    outputs: Words
    folder: Path
    result: Path

    @property
    def command(self) -> str:
        """What identifies the run, as one line."""
        return shlex.join([f"examples/{self.script}.py", *self.options])

    def beside(self, ending: str) -> Path:
        """A file beside the folder: its lock, its log or its record."""
        return beside(self.folder, ending)

    @property
    def is_done(self) -> bool:
        """Whether it has succeeded."""
        return self.result.is_file()

    def record(self) -> dict[str, Any]:
        """What was recorded of the runs in its folder, by the name of the result."""
        path = self.beside(".json")
        return read_json(path) if path.is_file() else {}

    @property
    def begun(self) -> str:
        """The command by which it was begun, or would be."""
        return self.record().get(self.result.name, {}).get("command", self.command)

    def check_same(self) -> None:
        """Refuse a folder in which another run was begun.

        Raises:
            ValueError: If there is one.
        """
        if self.begun != self.command:
            raise ValueError(
                f"{self.folder} is of another run ({self.begun}, now {self.command}): give another "
                "--output_dir, or remove it."
            )


@dataclass(frozen=True)
class Cell:
    """A system on one dataset, with one noise and one seed.

    Attributes:
        row: The system.
        data: The dataset.
        config: The noise.
        seed: Seed of the training.
        steps: What is to run, in this order; the results are those of the last ones.
    """

    row: Row
    data: Data
    config: str
    seed: int
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """Its name in messages and for `--cells`."""
        return f"{self.row.key}/{self.data.name}/{self.config}/seed{self.seed}"

    @property
    def is_done(self) -> bool:
        """Whether it has results."""
        return all(step.is_done for step in self.steps)

    def is_chosen(self, patterns: Sequence[str] | None) -> bool:
        """Whether `--cells` selects it: by its name, the begin of it, or a part of it."""
        parts = self.name.split("/")
        starts = {"/".join(parts[:n]) for n in range(1, len(parts) + 1)} | set(parts)
        return patterns is None or any(
            fnmatchcase(start, pattern) for pattern in patterns for start in starts
        )


@dataclass(frozen=True)
class Plan:
    """How the cells of a table are run.

    Attributes:
        table: The table.
        output_dir: Folder of the runs and of what is written.
        scale: `small` or `paper`.
        seeds: Seeds of the training.
        data_dir: Folder of the table's datasets, by their keys.
        dataset_name: One dataset in place of all of them.
        configs: Noise in place of the table's.
        further: Further options for the runs of each training script.
        methods: The methods that each training script takes.
        configs_of: Config names of a dataset.
    """

    table: Table
    output_dir: Path
    scale: str
    seeds: tuple[int, ...]
    data_dir: Path | None = None
    dataset_name: str | None = None
    configs: Words | None = None
    further: Mapping[str, Words] = field(default_factory=dict)
    methods: Mapping[str, Sequence[str]] = field(default_factory=dict)
    configs_of: Callable[[str], list[str]] = lambda name: []

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows at this scale, also those that cannot be run."""
        at_all = self.table.rows
        return at_all if self.scale == "small" else tuple(r for r in at_all if r.paper is not None)

    def data(self) -> tuple[Data, ...]:
        """The datasets, with the noise that is run."""
        given = self.table.data
        if self.dataset_name is not None or self.scale == "small":
            named = [config for data in given for config in data.configs]
            configs = tuple(dict.fromkeys(NATURAL if c == "natural" else c for c in named))
            name = EMBEDDED if self.dataset_name is None else Path(self.dataset_name).name
            given = (Data(name, name, configs),)
        if self.configs is None:
            return given
        return tuple(Data(data.key, data.title, self.configs, data.fold_size) for data in given)

    def source(self, row: Row, data: Data) -> str | None:
        """Name or folder of a row's dataset; None for the embedded one.

        Raises:
            ValueError: If no option names the table's datasets.
        """
        if self.dataset_name is not None or self.scale == "small":
            return self.dataset_name
        if self.data_dir is None:
            raise ValueError(
                f"{self.table.name} needs --data_dir, a folder with "
                f"{', '.join(dict.fromkeys(data.key for data in self.table.data))}; or give "
                "--dataset_name, or --scale small for the embedded data."
            )
        return str(self.data_dir / f"{data.key}{row.features}")

    def lacks(self, row: Row, data: Data) -> str | None:
        """Why a row cannot be run on a dataset, or None."""
        if row.key in self.unavailable:
            return f"not available: {self.unavailable[row.key]}"
        source = self.source(row, data)
        if source is None or self.dataset_name is not None or Path(source).is_dir():
            return None
        return f"no data: {source} is missing, which a script of dataset_scripts/ writes"

    def cells(self) -> list[Cell]:
        """All cells, in the order in which they are run."""
        return [
            Cell(row, data, config, seed, self.steps(row, data, config, seed))
            for seed in self.seeds
            for data in self.data()
            for config in data.configs
            for row in self.rows
            if self.is_run(row, data, config)
        ]

    @cached_property
    def unavailable(self) -> dict[str, str]:
        """The rows that cannot be run, by their keys, each with the reason."""
        reasons = {}
        for row in self.rows:
            for part in row.parts or (row,):
                if self.scale == "small" and part.small is None:
                    reasons[row.key] = "it needs models or features that --scale small has not"
                elif part.method not in (None, *self.methods.get(part.script, ())):
                    reasons[row.key] = f"{part.script}.py has no --method {part.method}"
                elif self.scale == "paper" and part.method and not published_recipes(part.method):
                    reasons[row.key] = f"--method {part.method} has no published recipe"
        return reasons

    def is_run(self, row: Row, data: Data, config: str) -> bool:
        """Whether a row has a cell of its own here."""
        if self.lacks(row, data) is not None:
            return False
        if row.is_audited and self.is_injected(self.source(row, data), config):
            return False  # an audit would draw other noise than the training
        return row.runs_on(config) and (row.reads_labels or config == self.first_noise(data))

    def first_noise(self, data: Data) -> str:
        """The config that stands for all where noise does not reach a system."""
        return data.configs[0]

    def folder(self, row: Row, data: Data, config: str, seed: int) -> Path:
        """Output folder of a run; other metrics of the same run have the same one."""
        return self.output_dir / "runs" / row.key / data.key / config / f"seed{seed}"

    def steps(self, row: Row, data: Data, config: str, seed: int) -> tuple[Step, ...]:
        """The runs of scripts that a cell consists of."""
        folder, source = self.folder(row, data, config, seed), self.source(row, data)
        name = f"{row.key}/{data.key}/{config}/seed{seed}"

        def step(script: str, options: Sequence[str], outputs: Sequence[str], result: str) -> Step:
            return Step(name, script, (*options,), (*outputs,), folder, folder / result)

        evaluated = ("--split", "test", *self.evaluation_options(source, config))
        if data.fold_size is not None:
            evaluated = (*evaluated, "--fold_size", str(data.fold_size))
        if row.parts:
            before = [run for part in row.parts for run in self.steps(part, data, config, seed)[:1]]
            models = [str(run.folder) for run in before]
            outputs = ["--model_name_or_path", *models]
            file = "folds.json" if data.fold_size else "results.json"
            outputs += ["--results_file", str(folder / file)]
            return (*before, step("evaluate", evaluated, outputs, file))
        own = row.options + ((row.small if self.scale == "small" else row.paper) or ())
        if row.script == "evaluate":
            outputs = ["--results_file", str(folder / "results.json")]
            return (step("evaluate", (*own, *evaluated), outputs, "results.json"),)
        options = [*own, *self.training_options(row, data, source, config), "--seed", str(seed)]
        outputs = ["--output_dir", str(folder), "--disable_tqdm", "True"]
        audits = (self.audit(row, data, source, config),) if row.is_audited else ()
        for audit in audits:
            outputs += ["--audit_table", str(audit.result)]
        train = step(row.script, options, outputs, "results.json")
        if data.fold_size is None:
            return (*audits, train)
        folds = str(folder / "folds.json")
        outputs = ["--model_name_or_path", str(folder), "--results_file", folds]
        return (*audits, train, step("evaluate", evaluated, outputs, "folds.json"))

    def audit(self, row: Row, data: Data, source: str | None, config: str) -> Step:
        """The audit of the training pairs, one for all seeds; it knows no more than the training.

        Its text model is that of the training, or none, and so is its vision model of OpenMoji.
        """
        folder = self.output_dir / "runs" / "audit" / data.key / config / "seed0"
        options = [] if source is None else ["--dataset_name", source]
        if source is None or config in self.configs_of(source):
            options += ["--dataset_config_name", config]
        encoders = {_VISION: "none"} if source is None else {}
        encoders |= {_TEXT: "none"}
        further = pairwise(self.further.get(row.script, ()))
        encoders |= {word: name for word, name in further if word in (_VISION, _TEXT)}
        options += [word for option in encoders.items() for word in option]
        outputs = ("--output", str(folder / "audit.parquet"), "--disable_tqdm", "True")
        words = (*options, "--split", "train")
        title = f"audit/{data.key}/{config}"
        return Step(title, "audit", words, outputs, folder, folder / "audit.parquet")

    def is_injected(self, source: str | None, config: str) -> bool:
        """Whether noise is injected, because the dataset has no config for it."""
        return source is not None and config not in (*self.configs_of(source), "clean")

    def training_options(self, row: Row, data: Data, source: str | None, config: str) -> Words:
        """Recipe, data and noise of a training run, and the options for all of them."""
        recipes = () if self.scale == "small" else published_recipes(row.method or "")
        own = f"paper-{data.key}"
        recipe = own if own in recipes else "paper" if recipes else "small"
        options = ["--recipe", recipe]
        if source is None:
            options += ["--dataset_config_name", config]
            needs_objects, objects = config.startswith("part_"), "tags"
        else:
            known, objects = self.configs_of(source), "captions"
            is_config = config in known
            options += ["--dataset_name", source]
            if is_config or "clean" in known:
                options += ["--dataset_config_name", config if is_config else "clean"]
            is_injected = self.is_injected(source, config)
            options += ["--inject_noise", config] if is_injected else []
            needs_objects = is_injected and config.startswith("part_")
        options += ["--objects_from", objects] if needs_objects else []
        return (*options, *self.further.get(row.script, ()))

    def evaluation_options(self, source: str | None, config: str) -> Words:
        """The data of an evaluation, whose splits have no noise."""
        if source is None:
            return ("--dataset_config_name", config)
        known = self.configs_of(source)
        config = config if config in known else "clean"
        config_words = ("--dataset_config_name", config) if config in known else ()
        return ("--dataset_name", source, *config_words)
