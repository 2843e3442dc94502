"""Refuse options that have no effect in their combination.

A class with options has a table of rules. An option that differs from its default although nothing
reads it is refused with a line that says why and what to use.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Rule:
    """When an option has an effect, and the error message when it has none.

    Attributes:
        is_read: Whether the option has an effect, a function of all options (by attribute).
        otherwise: Why it has none and what to do; the message begins with "`name` is value: ".
        same: Values that are equivalent to the default.
    """

    is_read: Callable[[Any], bool]
    otherwise: str = ""
    same: tuple[Any, ...] = ()


#: An option that always has an effect.
READ = Rule(lambda _: True)


def never_read(otherwise: str, same: tuple[Any, ...] = ()) -> Rule:
    """The rule of an option that never has an effect, see `Rule`."""
    return Rule(lambda _: False, otherwise, same)


def field_defaults(kind: Any) -> dict[str, Any]:
    """The defaults of the fields of a dataclass, for fields with a default."""
    defaults = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(kind)
    }
    return {name: value for name, value in defaults.items() if value is not MISSING}


def unread(
    options: Mapping[str, Any], defaults: Mapping[str, Any], rules: Mapping[str, Rule]
) -> dict[str, str]:
    """Find the options that differ from their defaults and have no effect.

    Args:
        options: Values by name. An option without a default counts as set.
        defaults: Default values by name; None, False, 0 and empty values are equivalent.
        rules: Rules by name.

    Returns:
        The message of each, by name.
    """
    every = SimpleNamespace(**{**defaults, **options})
    return {
        name: rule.otherwise
        for name, rule in rules.items()
        if name in options
        and not (name in defaults and _same(options[name], defaults[name], rule.same))
        and not rule.is_read(every)
    }


def _same(value: Any, default: Any, same: tuple[Any, ...]) -> bool:
    if value is default or value in same:
        return True
    return bool(value == default) if value or default else True


def settle_unread(
    options: Any, beside: Mapping[str, Any], kind: Any, rules: Mapping[str, Rule], typed: set[str]
) -> None:
    """Reset options without an effect to their defaults, unless they are in the command line.

    A recipe sets options for all combinations, so some have no effect.

    Args:
        options: A dataclass instance; changed in place.
        beside: Further values that the rules read, by name.
        kind: Dataclass with the defaults.
        rules: Rules by name.
        typed: Names of the options in the command line.

    Raises:
        ValueError: An option in the command line has no effect.
    """
    values, defaults = vars(options), field_defaults(kind)
    idle = unread({**values, **beside}, {}, rules)
    for name in idle.keys() & values.keys():
        if name in typed:
            raise ValueError(f"--{name} is {values[name]!r}: {idle[name]}")
        setattr(options, name, defaults[name])


def refuse_unread(
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
    rules: Mapping[str, Rule],
    form: str = "`{}`",
) -> None:
    """Refuse options that differ from their defaults and have no effect.

    Args:
        options: Values by name.
        defaults: Default values by name.
        rules: Rules by name.
        form: Format of an option name in messages.

    Raises:
        ValueError: An option has no effect; the message names the first one.
    """
    for name, otherwise in unread(options, defaults, rules).items():
        value = options[name]
        shown = value if isinstance(value, bool | int | float | str | list | dict) else None
        text = "set" if shown is None else repr(shown)
        raise ValueError(f"{form.format(name)} is {text}: {otherwise}")
