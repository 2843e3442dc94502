"""Checks of options before any work: their values, and the options that they need.

An option without an effect is refused. Names are those of the scripts (`--clean_threshold`); an
interface with other names replaces them in messages with `spelled`.
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

from .command_line import argument_parser, parse_all

Arguments = TypeVar("Arguments", bound=Any)


@dataclass(frozen=True)
class Limits:
    """When an option has an effect, and its values.

    Attributes:
        needs: Options of which at least one must be set.
        excludes: Options that must not be set.
        least: Smallest value.
        most: Largest value.
        one_of: All values.
    """

    needs: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    one_of: tuple[str, ...] = ()


class OptionError(ValueError):
    """An option has a wrong value, or no effect."""


def check_options(table: Mapping[str, Limits], values: Mapping[str, Any], typed: set[str]) -> None:
    """Refuse options with a wrong value or without an effect.

    Args:
        table: The limits of options.
        values: The value of every option.
        typed: The options that are in the command line.

    Raises:
        OptionError: A value is out of range, or an option has no effect.
    """
    for name, value in values.items():
        if name in typed and value in ("", Path("")):
            raise OptionError(f"--{name} is empty: give a value, or leave it out")
        check_value(name, value, table.get(name, Limits()))
    active = {name for name in typed if values[name] is not None and values[name] is not False}
    for name in sorted(active):
        limits = table.get(name, Limits())
        if limits.needs and not active.intersection(limits.needs):
            needed = " or ".join(f"--{other}" for other in limits.needs)
            raise OptionError(
                f"--{name} does nothing without {needed}: give that as well, or leave --{name} out"
            )
        for other in limits.excludes:
            if other in active:
                raise OptionError(f"--{name} does nothing beside --{other}: leave one of them out")


def read_options(
    kind: type[Arguments],
    table: Mapping[str, Limits],
    argv: Sequence[str] | None = None,
    description: str | None = None,
) -> Arguments:
    """Read and check the options of a script.

    Args:
        kind: Dataclass of the options.
        table: The limits of options.
        argv: The command line; that of the process by default.
        description: First lines of the help.

    Raises:
        OptionError: See `check_options`.
        SystemExit: With 2 if the command line cannot be parsed.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argument_parser([kind], description=description)
    read = parse_all(parser, words)
    typed = typed_options(parser, words)
    values = {field.name: getattr(read, field.name) for field in dataclasses.fields(kind)}
    check_options(table, values, typed)
    return kind(**values)


def json_option(name: str, text: str) -> dict[str, Any]:
    """Parse the value of an option that takes a JSON object.

    Args:
        name: Name of the option.
        text: The value.

    Raises:
        OptionError: The text is not a JSON object.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise OptionError(f"--{name} is {text!r}, which is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise OptionError(f'--{name} is {text!r}: give a JSON object, such as {{"dropout": 0.2}}')
    return value


def typed_options(parser: ArgumentParser, words: Sequence[str]) -> set[str]:
    """The options that are in a command line. The parser loses its defaults.

    Args:
        parser: The parser of a script, which has parsed the words without an error.
        words: The command line.
    """
    for action in parser._actions:
        action.default = SUPPRESS
        action.required = False
    parser._defaults.clear()
    return set(vars(parser.parse_known_args(words)[0]))


def spelled(message: str, names: Mapping[str, str]) -> str:
    """Replace the option names in a message by those of an interface.

    Args:
        message: A message with the names of the scripts.
        names: Names of the interface, by those of the scripts.
    """
    return re.sub(r"--(\w+)", lambda match: names.get(match[1], match[0]), message)


def check_value(name: str, value: Any, limits: Limits) -> None:
    """Refuse a value that is out of range.

    Args:
        name: Name of the option.
        value: Its value, or a list of values; None is not checked.
        limits: Its limits.

    Raises:
        OptionError: The value is out of range.
    """
    if value is None:
        return
    if limits.one_of and value not in limits.one_of:
        raise OptionError(f"--{name} is {value!r}: give one of {', '.join(limits.one_of)}")
    for number in value if isinstance(value, list | tuple) else [value]:
        least, most = limits.least, limits.most
        if (least is None or number >= least) and (most is None or number <= most):
            continue
        span = f"at least {least:g}" if most is None else f"a value from {least:g} to {most:.10g}"
        raise OptionError(f"--{name} is {number}: give {span}")
