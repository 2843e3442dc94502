"""What the runs of a table gave: means over the seeds, as JSON and Markdown, beside the paper's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ..files import read_json, write_json, write_text
from .cells import Cell, Plan, Step
from .table import CHOICES, Data, Row, Table

#: The metrics in print.
HEADS = {
    "i2t_r1": "i2t R@1",
    "i2t_r5": "R@5",
    "i2t_r10": "R@10",
    "t2i_r1": "t2i R@1",
    "t2i_r5": "R@5",
    "t2i_r10": "R@10",
    "rsum": "rSum",
    "i2t_map": "I2T mAP",
    "t2i_map": "T2I mAP",
    "parameters": "million parameters",
    "train_seconds": "training, minutes",
    "seconds_per_image_query": "image query, ms",
    "seconds_per_text_query": "text query, ms",
}
#: Units of print for what has another one in the results.
UNITS = {
    "parameters": 1e-6,
    "train_seconds": 1 / 60,
    "seconds_per_image_query": 1e3,
    "seconds_per_text_query": 1e3,
}


def readings(cell: Cell) -> dict[str, dict[str, Any]]:
    """The metrics of a cell by choice of the checkpoint, and its `cost`.

    Args:
        cell: A cell that is done.
    """
    *before, last = cell.steps
    found = read_json(last.result)
    if last.script == "evaluate":  # the saved models are the best ones on validation
        train = sum(map(_train_seconds, before))
        return {"best": found, "cost": {**found["cost"], "train_seconds": train}}
    split = "test" if "test" in found["last"] else next(reversed(found["last"]))
    choices = {choice: found[choice][split] for choice in CHOICES if found.get(choice)}
    cost = {**found["cost"], "train_seconds": sum(map(_train_seconds, cell.steps))}
    return {**choices, "cost": cost, "split": {"name": split}}


def _train_seconds(step: Step) -> float:
    """The seconds of a training; of an audit or a resumed training, those of all its processes."""
    found = {} if step.script == "audit" else read_json(step.result)
    if found and found["resumed_at"] is None:
        return found["train_seconds"]
    return step.record().get(step.result.name, {}).get("seconds", found.get("train_seconds", 0))


def entries(plan: Plan, failures: Mapping[str, Path]) -> list[dict[str, Any]]:
    """A dict for each row, dataset and config of a table.

    Args:
        plan: The table and its runs.
        failures: The logs of cells that failed, by name.
    """
    by_place: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in plan.cells():
        by_place.setdefault((cell.row.key, cell.data.name, cell.config), []).append(cell)
    return [
        _entry(plan, row, data, config, by_place, failures)
        for data in plan.data()
        for config in data.configs
        for row in plan.rows
        if row.runs_on(config)
    ]


def _entry(
    plan: Plan,
    row: Row,
    data: Data,
    config: str,
    by_place: Mapping[tuple[str, str, str], list[Cell]],
    failures: Mapping[str, Path],
) -> dict[str, Any]:
    source = config if row.reads_labels else plan.first_noise(data)
    cells = by_place.get((row.key, data.name, source), [])
    done = [cell for cell in cells if cell.is_done]
    status = f"{len(done)} of {len(cells)} seeds" if done else "not run"
    if done and len(done) == len(cells):
        steps = [step for cell in done for step in cell.steps]
        is_same = all(step.begun == step.command for step in steps)
        status = "done" if is_same else "done with other options, see `commands` in the JSON file"
    if any(cell.name in failures for cell in cells):
        status = "failed"
    status = plan.lacks(row, data) or status
    read = [readings(cell) for cell in done]
    entry: dict[str, Any] = {
        "row": row.key,
        "title": row.title,
        "data": data.name,
        "config": config,
        "status": status,
        "seeds": [cell.seed for cell in done],
        "commands": [step.begun for cell in done[:1] for step in cell.steps],
        "folders": [str(cell.steps[-1].folder) for cell in done],
    }
    for choice in (*CHOICES, "cost"):
        if read and all(choice in each for each in read):
            entry[choice] = _means([each[choice] for each in read])
    if read:
        entry["machine"] = read[0]["cost"]["machine"]
        entry["split"] = read[0].get("split", {"name": "test"})["name"]
    theirs = _published(plan, row, data, config)
    return entry | ({"theirs": theirs} if theirs else {})


def _means(read: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean and spread of each metric over the seeds."""
    found = {}
    for metric, first in read[0].items():
        if isinstance(first, int | float) and not isinstance(first, bool):
            values = [float(each[metric]) for each in read]
            spread = stdev(values) if len(values) > 1 else None
            found[metric] = {"mean": fmean(values), "spread": spread, "values": values}
    return found


def _published(plan: Plan, row: Row, data: Data, config: str) -> dict[str, float]:
    """The paper's figures: for data of a person's own, those on its first dataset."""
    table = plan.table
    names = {given.name for given in table.data}
    name = data.name if data.name in names else table.data[0].name
    values = table.published.get((row.key, name, config), ())
    return dict(zip(table.metrics, values, strict=True)) if values else {}


def write_table(plan: Plan, found: list[dict[str, Any]], failures: Mapping[str, Path]) -> Path:
    """Write the table as Markdown and JSON.

    Args:
        plan: The table and its runs.
        found: Its entries.
        failures: The logs of cells that failed, by name.

    Returns:
        The Markdown file.
    """
    table = plan.table
    path = plan.output_dir / f"{table.name}.md"
    facts = {
        "table": table.name,
        "title": table.title,
        "scale": plan.scale,
        "published": table.protocol,
        "failed": {name: str(log) for name, log in failures.items()},
    }
    write_json(path.with_suffix(".json"), facts | {"cells": found})
    write_text(path, as_markdown(plan, found, failures))
    return path


def as_markdown(plan: Plan, found: list[dict[str, Any]], failures: Mapping[str, Path]) -> str:
    """The table in Markdown: a part for each choice of the checkpoint, ours beside theirs."""
    table, parts = plan.table, [f"# {plan.table.title}"]
    about = "Mean ± standard deviation over the seeds, where there are several."
    if table.protocol:
        about += f" **Theirs**: as published, {table.protocol}."
        if plan.dataset_name is not None or plan.scale == "small":
            about += " Ours are on other data, so the levels cannot be compared."
    others = sorted({entry["split"] for entry in found if entry.get("split", "test") != "test"})
    if others:
        about += (
            f" **Measured on {', '.join(others)}**, which chose the best epoch: there is no test."
        )
    parts.append(" ".join(filter(None, (about, table.note))))
    for number, choice in enumerate(table.choices):
        if number and not any(choice in entry for entry in found):
            continue
        parts.append(f"## {CHOICES.get(choice, 'Size and time').capitalize()}")
        parts.append(_part(table, found, choice, with_theirs=number == 0))
    left = [entry for entry in found if entry["status"] != "done"]
    if left:
        lines = [
            f"- {entry['title']}, {entry['data']} {entry['config']}: {entry['status']}"
            for entry in left
        ]
        parts += ["## Not complete", "\n".join(dict.fromkeys(lines))]
    if failures:
        lines = [f"- `{name}`: {log}" for name, log in failures.items()]
        parts += ["## Failed", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _part(table: Table, found: list[dict[str, Any]], choice: str, with_theirs: bool) -> str:
    with_theirs = with_theirs and any("theirs" in entry for entry in found)
    metrics = [metric for metric in table.metrics if metric in HEADS]
    heads = [HEADS[metric] for metric in metrics]
    lines = [["data", "noise", "system", "seeds", *heads]]
    lines[0] += [f"theirs: {head}" for head in heads] if with_theirs else []
    lines.append(["---"] * len(lines[0]))
    for entry in found:
        if choice not in entry and not (with_theirs and "theirs" in entry):
            continue
        n_seeds = str(len(entry["seeds"]) or "")
        cells = [entry["data"], entry["config"], entry["title"], n_seeds]
        own = entry.get("cost", {}) | entry.get(choice, {})
        cells += [_text(own.get(metric), metric, table.digits) for metric in metrics]
        if with_theirs:
            theirs = entry.get("theirs", {})
            cells += [
                f"{theirs[metric]:.{table.digits}f}" if metric in theirs else ""
                for metric in metrics
            ]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: Mapping[str, Any] | None, metric: str, digits: int) -> str:
    if value is None:
        return ""
    unit = UNITS.get(metric, 1)
    numbers = [value["mean"]] + ([] if value["spread"] is None else [value["spread"]])
    return " ± ".join(f"{number * unit:.{digits}f}" for number in numbers)
