"""What `examples/paper.py` and `study_pairs.py` do: run what is missing of a table and write it."""

import shlex
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from ..arguments.labels import LabelDataArguments, LabelMethodArguments
from ..arguments.matching import MatchingArguments
from ..arguments.pairs import PairArguments
from ..arguments.papers import PaperOptions
from ..arguments.single_stream import ScoringArguments, SingleStreamArguments
from ..data.any_dataset import config_names
from ..entry.command_line import argument_parser
from ..methods import LABEL_METHODS
from ..methods.building import methods_for
from ..models.matching.configuration_matching import MatchingConfig
from ..models.rcar.configuration_rcar import RcarConfig
from ..training import (
    LabelTrainingArguments,
    RcarTrainingArguments,
    RobustTrainingArguments,
)
from . import TABLES
from .cells import Cell, Plan
from .figures import draw
from .results import as_markdown, entries, write_table
from .running import Runner
from .table import Words

#: The options of each training script.
_KINDS = {
    "train_ncr": (PairArguments, MatchingArguments, RobustTrainingArguments),
    "train_rcar": (
        *(PairArguments, SingleStreamArguments, ScoringArguments),
        RcarTrainingArguments,
    ),
    "train_dmcm": (LabelDataArguments, LabelMethodArguments, LabelTrainingArguments),
}


class CellsFailedError(RuntimeError):
    """Some cells of a table failed; the message names each with its log."""


def run_command(argv: Sequence[str], scripts: Path) -> None:
    """Do what a command line asks for: run a table, or list its cells.

    Args:
        argv: Words of the command line; those that are no option of the table go to its runs.
        scripts: Folder of the scripts.
    """
    options, further = argument_parser([PaperOptions]).parse_args_into_dataclasses(
        list(argv), return_remaining_strings=True
    )
    if options.list_cells:
        list_cells(options, further)
    else:
        run_table(options, further, scripts)


def plan_of(options: PaperOptions, further: Sequence[str] = ()) -> Plan:
    """How a table is to be run.

    Args:
        options: What was asked for.
        further: Options for the training runs whose scripts take them.

    Raises:
        ValueError: If there is no such table, or no script takes an option.
    """
    if options.table not in TABLES:
        raise ValueError(f"there is no table {options.table!r}; there are: {', '.join(TABLES)}.")
    return Plan(
        TABLES[options.table],
        Path(options.output_dir),
        options.scale,
        tuple(options.seeds),
        None if options.data_dir is None else Path(options.data_dir),
        options.dataset_name,
        None if options.configs is None else tuple(options.configs),
        options_by_script(further),
        methods_of_scripts(),
        cache(config_names),
    )


def methods_of_scripts() -> dict[str, list[str]]:
    """The methods that each training script takes."""
    return {
        "train_ncr": list(methods_for(MatchingConfig)),
        "train_rcar": list(methods_for(RcarConfig)),
        "train_dmcm": list(LABEL_METHODS),
    }


def options_by_script(words: Sequence[str]) -> dict[str, Words]:
    """The options that each training script takes.

    Args:
        words: Options with their values.

    Raises:
        ValueError: If no script takes one of them.
    """
    groups: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not groups:
            groups.append([])
        groups[-1].append(word)
    taken: dict[str, list[str]] = {}
    known = {script: _option_names(kinds) for script, kinds in _KINDS.items()} if groups else {}
    for group in groups:
        name = group[0].partition("=")[0]
        scripts = [script for script, names in known.items() if name in names]
        if not scripts:
            raise ValueError(f"{name} is no option of paper.py, and no training script has it.")
        for script in scripts:
            taken.setdefault(script, []).extend(group)
    return {script: tuple(own) for script, own in taken.items()}


def _option_names(kinds: Sequence[Any]) -> set[str]:
    return {name for action in argument_parser(kinds)._actions for name in action.option_strings}


def chosen_cells(plan: Plan, patterns: Sequence[str] | None) -> list[Cell]:
    """The cells to run.

    Raises:
        ValueError: If a pattern selects none.
    """
    cells = plan.cells()
    if not cells:
        reasons = [plan.lacks(row, data) for data in plan.data() for row in plan.rows]
        raise ValueError(f"{plan.table.name} has no cell that can be run: {reasons[0]}.")
    for pattern in patterns or ():
        if not any(cell.is_chosen([pattern]) for cell in cells):
            rows = ", ".join(dict.fromkeys(cell.row.key for cell in cells))
            raise ValueError(
                f"--cells {pattern} selects no cell of {plan.table.name}. Its rows are {rows}; a "
                f"cell is named like {cells[0].name}."
            )
    return [cell for cell in cells if cell.is_chosen(patterns)]


def list_cells(options: PaperOptions, further: Sequence[str]) -> None:
    """Print the commands of the cells that are missing.

    Args:
        options: What was asked for.
        further: See `plan_of`.
    """
    plan = plan_of(options, further)
    steps = [step for cell in chosen_cells(plan, options.cells) for step in cell.steps]
    for step in dict.fromkeys(steps):
        if not step.is_done:
            print(f"# {step.name}\npython {step.command} {shlex.join(step.outputs)}")
    for line in _left_out(plan):
        print(f"# {line}")


def run_table(options: PaperOptions, further: Sequence[str], scripts: Path) -> Path:
    """Run what is missing of a table, and write it.

    Args:
        options: What was asked for.
        further: See `plan_of`.
        scripts: Folder of the scripts.

    Returns:
        The Markdown file.

    Raises:
        CellsFailedError: If some cells failed; the table has the others.
        ValueError: If the options fit no table, or a folder is of another run.
    """
    plan = plan_of(options, further)
    cells = chosen_cells(plan, options.cells)
    for line in _left_out(plan):
        print(line)
    runner = Runner(cells, scripts, options.workers, partial(print, flush=True))
    runner.run()
    found = entries(plan, runner.failures)
    path = write_table(plan, found, runner.failures)
    print(as_markdown(plan, found, runner.failures))
    written = [path, path.with_suffix(".json")]
    if draw(path.with_suffix(".png"), plan.table, found):
        written.append(path.with_suffix(".png"))
    print(f"written to {', '.join(map(str, written))}")
    if runner.failures:
        logs = "; ".join(f"{name}: {log}" for name, log in runner.failures.items())
        raise CellsFailedError(f"{len(runner.failures)} of {len(cells)} cells failed. {logs}")
    return path


def _left_out(plan: Plan) -> list[str]:
    """The rows that cannot be run on a dataset, each with the reason."""
    return [
        f"{row.key}/{data.name}: {reason}"
        for data in plan.data()
        for row in plan.rows
        if (reason := plan.lacks(row, data)) is not None
    ]
