"""Options that are checked before any work: by their range, and by what they need beside them.

An option that would do nothing in a combination is refused. The names here are those of the scripts
(`--clean_threshold`); an interface with other names writes its own into messages with `spell`.
"""

import dataclasses
import json
import re
import sys
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .quick_help import argument_parser

Arguments = TypeVar("Arguments", bound=Any)


@dataclass(frozen=True)
class Rule:
    """When an option can be given, and what values it takes.

    Attributes:
        needs: Options of which one must be given, or on, for this one to do anything.
        excludes: Options beside which this one does nothing.
        least: Smallest value.
        most: Largest value.
        one_of: The values that there are.
    """

    needs: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    one_of: tuple[str, ...] = ()


Rules = Mapping[str, Rule]


class OptionError(ValueError):
    """An option whose value does not fit, or that would do nothing."""


def check_options(rules: Rules, values: Mapping[str, Any], typed: set[str]) -> None:
    """Refuse what does not fit, naming the option.

    Args:
        rules: A rule for every option of the interface, and perhaps for others.
        values: The value of every option.
        typed: The options that were typed, whatever their value.

    Raises:
        OptionError: A value is out of range, or an option would do nothing.
    """
    for name, value in values.items():
        if name in typed and value in ("", Path("")):
            raise OptionError(f"--{name} is empty: give a value, or leave it out")
        _check_value(name, value, rules[name])
    active = {name for name in typed if values[name] is not None and values[name] is not False}
    for name in sorted(active):
        rule = rules[name]
        if rule.needs and not active.intersection(rule.needs):
            needed = " or ".join(f"--{other}" for other in rule.needs)
            raise OptionError(
                f"--{name} does nothing without {needed}: give that as well, or leave --{name} out"
            )
        for other in rule.excludes:
            if other in active:
                raise OptionError(f"--{name} does nothing beside --{other}: leave one of them out")


def read_options(
    kind: type[Arguments],
    rules: Rules,
    argv: Sequence[str] | None = None,
    description: str | None = None,
) -> Arguments:
    """Read the options of a script, and check them.

    Args:
        kind: Dataclass of the options.
        rules: A rule for every one of them.
        argv: What was typed; the process's arguments by default.
        description: What the help says first.

    Raises:
        OptionError: As for `check_options`.
        SystemExit: With 2 if the command line cannot be read.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argument_parser([kind], description=description)
    read, unknown = parser.parse_known_args(words)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    typed = typed_options(parser, words)
    values = {field.name: getattr(read, field.name) for field in dataclasses.fields(kind)}
    check_options(rules, values, typed)
    return kind(**values)


def json_option(name: str, text: str) -> dict[str, Any]:
    """The value of an option that takes a JSON object.

    Args:
        name: The option.
        text: What was typed.

    Raises:
        OptionError: It is no such object.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise OptionError(f"--{name} is {text!r}, which is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise OptionError(f'--{name} is {text!r}: give a JSON object, such as {{"dropout": 0.2}}')
    return found


def typed_options(parser: ArgumentParser, words: Sequence[str]) -> set[str]:
    """The options that were typed, whatever their value; the parser has no defaults afterwards.

    Args:
        parser: The parser of a script, which has read the words without an error.
        words: The command line.
    """
    for action in parser._actions:
        action.default = SUPPRESS
        action.required = False
    parser._defaults.clear()
    return set(vars(parser.parse_known_args(words)[0]))


def spelled(message: str, names: Mapping[str, str]) -> str:
    """A message with the options as an interface calls them.

    Args:
        message: A message that names options as the scripts do.
        names: What the interface calls them, by the scripts' names.
    """
    return re.sub(r"--(\w+)", lambda found: names.get(found[1], found[0]), message)


def _check_value(name: str, value: Any, rule: Rule) -> None:
    if value is None:
        return
    if rule.one_of and value not in rule.one_of:
        raise OptionError(f"--{name} is {value!r}: give one of {', '.join(rule.one_of)}")
    for number in value if isinstance(value, list | tuple) else [value]:
        least, most = rule.least, rule.most
        if (least is None or number >= least) and (most is None or number <= most):
            continue
        span = f"at least {least:g}" if most is None else f"a value from {least:g} to {most:.10g}"
        raise OptionError(f"--{name} is {number}: give {span}")
