"""Prints what becomes of every option: it works, works in some combinations, or is refused.

    python tests/options_table.py > options.md

The rows come from the rules that refuse options, so they cannot differ from what happens.
"""

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PreTrainedConfig, TrainingArguments

from noisy_xmodal import LabelTrainingArguments, RcarTrainingArguments, RobustTrainingArguments
from noisy_xmodal.methods import CAPTION_METHODS, LABEL_METHODS
from noisy_xmodal.methods.building import PARTS
from noisy_xmodal.options import READ, Rule, never_read
from noisy_xmodal.training.supported_arguments import ACCELERATOR, ARGUMENTS, FSDP

Row = tuple[str, str, str]
ARGUMENT_CLASSES = (RobustTrainingArguments, RcarTrainingArguments, LabelTrainingArguments)
WORKS, DEPENDS, REFUSED = "works", "in some combinations", "refused"


def verdict(rule: Rule) -> str:
    """What becomes of an option with a rule."""
    if not rule.otherwise:
        return WORKS
    never: Any = never_read("").is_read
    read: Any = rule.is_read
    return REFUSED if read.__code__ is never.__code__ else DEPENDS


def of_rules(rules: Mapping[str, Rule]) -> Iterator[Row]:
    """A row for each rule."""
    for name, rule in rules.items():
        yield name, verdict(rule), rule.otherwise


def own_arguments() -> dict[str, str]:
    """The training arguments that this library adds, with their help texts."""
    inherited = {field.name for field in dataclasses.fields(TrainingArguments)}
    return {
        field.name: field.metadata["help"]
        for kind in ARGUMENT_CLASSES
        for field in dataclasses.fields(kind)
        if field.name not in inherited
    }


def config_fields(kind: Any) -> Iterator[Row]:
    """A row for each field of a config that the library adds."""
    inherited = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    for field in dataclasses.fields(kind):
        if field.init and field.name not in inherited:
            rule = kind.rules.get(field.name, READ)
            yield field.name, verdict(rule), rule.otherwise


def tables() -> dict[str, list[Row]]:
    """All rows by the name of their table."""
    found = {
        "Training arguments of transformers": sorted(of_rules(ARGUMENTS)),
        "Training arguments of this library": [
            (name, WORKS, text) for name, text in own_arguments().items()
        ],
        "`accelerator_config`": sorted(of_rules(ACCELERATOR)),
        "`fsdp_config`": sorted(of_rules(FSDP)),
    }
    found |= {f"Fields of `{kind.__name__}`": list(config_fields(kind)) for kind in PARTS}
    for name, method in {**CAPTION_METHODS, **LABEL_METHODS}.items():
        constants = [(option, WORKS, "") for option in method.options]
        rows = [*constants, *of_rules(method.argument_rules)]
        if rows:
            found[f"Constants of `{name}`, and arguments that it refuses"] = rows
    return found


def markdown() -> str:
    """All tables."""
    parts = []
    for title, rows in tables().items():
        lines = [f"| `{name}` | {state} | {text} |" for name, state, text in rows]
        parts.append("\n".join([f"## {title}\n", "| option | | |", "|---|---|---|", *lines]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
