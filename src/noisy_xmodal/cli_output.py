"""How the commands check their options, run, and print results as text or JSON."""

import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import rich.console
import typer
from rich.table import Table

from .auditing.summary import AuditSummary
from .entry.door import enter
from .entry.options import Limits, check_options
from .entry.terminal import plain_values


class Console(rich.console.Console):
    """A console that raises BrokenPipeError, which `enter` handles, if its reader exits."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def answer(
    context: typer.Context,
    table: Mapping[str, Limits],
    names: Mapping[str, str],
    run: Callable[[], dict[str, Any]],
    show: Callable[[dict[str, Any]], None],
) -> None:
    """Check the options of a command, run it, and print its result or its error.

    Args:
        context: The parsed command line.
        table: The limits of every option.
        names: The names of parameters in the table, where they differ.
        run: The work; returns a result for JSON.
        show: Prints a result as text.

    Raises:
        SystemExit: With 1 after an error, with 128 + the signal number after a signal.
    """
    as_json = context.params["as_json"]
    own = {names.get(name, name): name for name in context.params}
    written = {
        names.get(str(option.name), str(option.name)): next(
            (form for form in option.opts if form.startswith("--")), str(option.metavar)
        )
        for option in context.command.params
    }

    def work() -> None:
        sources = {name: context.get_parameter_source(own[name]) for name in own}
        typed = {
            name for name, source in sources.items() if source and source.name == "COMMANDLINE"
        }
        check_options(table, {name: context.params[own[name]] for name in own}, typed)
        quieten()
        result = run()
        if not result:
            return  # another process has it
        if as_json:
            sys.stdout.write(json.dumps(result, indent=2) + "\n")
        else:
            show(plain_values(result, spell))

    def spell(line: str) -> str:
        from .data.messages import spelling

        return spelling(written)(line)

    after_stop = "Finished parts are kept: the same command resumes."
    enter(work, as_json, after_stop, spell)


def quieten() -> None:
    """Keep warnings of libraries away from the output."""
    import datasets
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)


def typed_command() -> str:
    """The command line, for reports."""
    return shlex.join(["noisy-xmodal", *sys.argv[1:]])


def show_audit(result: dict[str, Any]) -> None:
    """Print the summary of an audit.

    Args:
        result: The summary, as `audit` returns it.
    """
    console = Console()
    console.print(f"\n{AuditSummary(result).sentence}", highlight=False)
    console.print(result["judge"], markup=False, highlight=False)
    if result["reviews"]:
        console.print(result["reviews"]["sentence"], markup=False, highlight=False)
    for title, lines in (("Left out", result["left_out"]), ("Note", result["warnings"])):
        for line in lines[:10]:
            console.print(f"{title}: {line}", markup=False, highlight=False, soft_wrap=True)
        if len(lines) > 10:
            console.print(f"{title}: {len(lines) - 10} more, see the report", highlight=False)
    for name, trouble in result["troubles"].items():
        console.print(
            f"{name}: {trouble['n_pairs']:,} pair{'s' * (trouble['n_pairs'] != 1)}, "
            f"{trouble['title']}",
            markup=False,
            highlight=False,
        )
    if result["oracle"]:
        oracle = {k: v for k, v in result["oracle"].items() if v is not None}
        table = Table("against the truth", "", box=None, pad_edge=False)
        for name, value in oracle.items():
            table.add_row(name.replace("_", " "), f"{value:.3f}")
        console.print(table)
    if changes := result["comparison"]:
        console.print(
            f"Since {changes['table']}: {changes['newly_wrong']:,} newly judged wrong, "
            f"{changes['no_longer_wrong']:,} no longer, {changes['wrong_in_both']:,} in both; "
            f"{changes['new_pairs']:,} pairs are new, {changes['gone_pairs']:,} gone.",
            markup=False,
            highlight=False,
        )
    cleaned = result["cleaned"]
    if cleaned:
        console.print(
            f"{cleaned['folder']}: {cleaned['pairs_kept']:,} pairs kept, "
            f"{cleaned['pairs_dropped']:,} dropped (dropped.jsonl lists them), "
            f"{cleaned['images_dropped']:,} images with all of theirs.",
            markup=False,
            highlight=False,
        )
    for name in ("report", "table", "summary"):
        console.print(f"{name:8} {result[name]}", markup=False, highlight=False, soft_wrap=True)


def show_review(result: dict[str, Any]) -> None:
    """Print how many pairs are reviewed.

    Args:
        result: The counts, as `review` returns them.
    """
    Console().print(
        f"{result['reviews']}: {result['reviewed']:,} pairs reviewed, {result['right']:,} right, "
        f"{result['wrong']:,} wrong, {result['corrected']:,} with another caption.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def show_search(result: dict[str, Any]) -> None:
    """Print the results of a search.

    Args:
        result: The results, as `search` returns them.
    """
    console = Console()
    table = Table("rank", "score", "image", "caption", box=None, pad_edge=False)
    for row in result["results"]:
        table.add_row(str(row["rank"]), f"{row['score']:.3f}", row["image_id"], row["caption"])
    console.print(table, markup=False, highlight=False)
    for note in result["notes"]:
        console.print(f"Note: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{result['index']['n']:,} vectors", highlight=False)
    for name in ("grid", "json"):
        console.print(f"{name:8} {result[name]}", markup=False, highlight=False, soft_wrap=True)
