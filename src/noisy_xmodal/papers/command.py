"""The work of `examples/paper.py`: run what is missing of a table, then write it."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from ..arguments.papers import PaperOptions
from ..data.any_dataset import config_names
from ..methods import LABEL_METHODS
from ..methods.building import methods_for
from ..models.matching.configuration_matching import MatchingConfig
from ..models.rcar.configuration_rcar import RcarConfig
from . import TABLES
from .cells import Cell, Plan
from .figures import draw
from .results import as_markdown, entries, write_table
from .running import Runner


class CellsFailedError(RuntimeError):
    """Some cells of a table failed; the message names each with its log."""


def plan_of(options: PaperOptions, further: Sequence[str] = ()) -> Plan:
    """How a table is to be run.

    Args:
        options: What was asked for.
        further: Options for all training runs.

    Raises:
        ValueError: If there is no such table.
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
        tuple(further),
        methods_of_scripts(),
        _remembered(config_names),
    )


def methods_of_scripts() -> dict[str, list[str]]:
    """The methods that each training script takes."""
    return {
        "train_ncr": list(methods_for(MatchingConfig)),
        "train_rcar": list(methods_for(RcarConfig)),
        "train_dmcm": list(LABEL_METHODS),
    }


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
        further: Options for all training runs.
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
        further: Options for all training runs.
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
    runner = Runner(cells, scripts, options.workers, _told)
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


def _told(line: str) -> None:
    print(line, flush=True)


def _remembered(find: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    known: dict[str, list[str]] = {}
    return lambda name: known[name] if name in known else known.setdefault(name, find(name))
