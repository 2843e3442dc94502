"""Options that nothing reads: one table a class, and one way to refuse them.

An option that is set and has no effect misleads as much as a wrong result. A class with options has
a table of rules; an option that differs from its default where nothing reads it is refused with a
line that says why and what to use.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Rule:
    """When an option is read, and what to say where it is not.

    Attributes:
        is_read: Function of all options of the class (by attribute) that tells whether this one has
            an effect.
        otherwise: Why it has none, and what to do; follows "`name` is value: ".
        same: Values that mean the same as the default.
    """

    is_read: Callable[[Any], bool]
    otherwise: str = ""
    same: tuple[Any, ...] = ()


#: The rule of an option that always has an effect.
READ = Rule(lambda _: True)


def never_read(otherwise: str, same: tuple[Any, ...] = ()) -> Rule:
    """The rule of an option that nothing reads, see `Rule`."""
    return Rule(lambda _: False, otherwise, same)


def field_defaults(kind: Any) -> dict[str, Any]:
    """The default of each field of a dataclass; fields without one are left out."""
    found = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(kind)
    }
    return {name: value for name, value in found.items() if value is not MISSING}


def unread(
    options: Mapping[str, Any], defaults: Mapping[str, Any], rules: Mapping[str, Rule]
) -> dict[str, str]:
    """Find the options that differ from their defaults and that nothing reads.

    Args:
        options: Values by name. An option without a default counts as set.
        defaults: Default values by name; None, False, 0 and empty values are one.
        rules: Rules by name.

    Returns:
        What to say of each, by name.
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
    """Give the options of a script that nothing reads the defaults of what takes them.

    A recipe gives options for all combinations. One that a person has typed is refused instead.

    Args:
        options: The options, a dataclass; changed in place.
        beside: What else the rules look at, by name.
        kind: Dataclass whose defaults they get.
        rules: Rules by name.
        typed: Names of the options that were typed.

    Raises:
        ValueError: If a person typed an option that nothing reads.
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
    """Refuse options that differ from their defaults and that nothing reads.

    Args:
        options: Values by name.
        defaults: Default values by name.
        rules: Rules by name.
        form: How the interface at hand writes the name of an option.

    Raises:
        ValueError: If there is such an option; the first one is named.
    """
    for name, otherwise in unread(options, defaults, rules).items():
        value = options[name]
        shown = value if isinstance(value, bool | int | float | str | list | dict) else None
        given = "set" if shown is None else repr(shown)
        raise ValueError(f"{form.format(name)} is {given}: {otherwise}")
