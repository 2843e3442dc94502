"""Constants of a method as fields of a config, from the options of a training script."""

import dataclasses
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any

from ..entry.options import json_option
from ..models.matching.configuration_matching import MatchingConfig
from ..models.ncr.configuration_ncr import NcrConfig
from ..models.rcar.configuration_rcar import RcarConfig
from ..training.script import Choice


def options_in(args: Any, names: Collection[str]) -> dict[str, Any]:
    """The options of a script with some names."""
    return {name: value for name, value in vars(args).items() if name in names}


def field_names(config_class: Any) -> set[str]:
    """The names of the fields of a config."""
    return {field.name for field in dataclasses.fields(config_class)}


def constant_fields(choice: Choice, values: Mapping[str, Any], args: Any) -> dict[str, Any]:
    """Fields of a config for the constants of a method that the options of a script set.

    Args:
        choice: The method, and which options were typed.
        values: Values of the options that are constants of some method, by name.
        args: The options of the script, with `method_options`.

    Raises:
        ValueError: If the method has no such constant, or `method_options` is not a JSON object.
    """
    options = json_option("method_options", args.method_options)
    typed = {name: values[name] for name in sorted(choice.typed & set(values))}
    if choice.method.constants_in_config:
        return {**values, **options, **typed}
    for name in typed:
        if name not in choice.method.options:
            raise ValueError(f"--{name} is no option of --method {choice.name}: leave it out.")
    options |= typed
    return {"method_options": options} if options else {}


def check_constants(choice: Choice, fields: Mapping[str, Any]) -> None:
    """Refuse values of constants that a method does not take, before the data are read.

    Args:
        choice: The method.
        fields: From `constant_fields`.

    Raises:
        ValueError: See `Method.read_constants`.
    """
    if choice.method.constants_in_config:
        assert choice.method.config_class is not None
        choice.method.config_class(**fields)
    else:
        choice.method().read_constants(SimpleNamespace(**fields))


def matching_constants(choice: Choice, args: Any) -> dict[str, Any]:
    """The fields of the config of a matching model that are constants of its method.

    Args:
        choice: The method.
        args: `MatchingArguments`.

    Raises:
        ValueError: See `constant_fields`.
    """
    names = field_names(NcrConfig) - field_names(MatchingConfig)
    return constant_fields(choice, options_in(args, names), args)


def stream_constants(choice: Choice, args: Any) -> dict[str, Any]:
    """The same of a single-stream model.

    Args:
        choice: The method.
        args: `SingleStreamArguments`.

    Raises:
        ValueError: See `constant_fields`.
    """
    return constant_fields(choice, options_in(args, RcarConfig.constants), args)
