"""The options of a training script, and what its command line chooses."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arguments.published import recipe_options
from ..entry.command_line import Recipes, add_recipe, argument_parser, parse_all
from ..entry.options import typed_options
from ..modules.similarity import SIMILARITY_HEADS
from .method import Method
from .supported_arguments import ARGUMENTS

#: Options of a recipe that suit only its own value of another option.
_SUIT = {
    "similarity": ("similarity_options", "normalize_tokens"),
    "lr_scheduler_type": ("lr_decay_epoch",),
    "clean_threshold": ("noise_rate",),
}


@dataclass(frozen=True)
class Choice:
    """What the command line chooses beside the values of options.

    Attributes:
        recipe: Name of the recipe.
        name: Name of the method.
        method: Its class.
        typed: Names of the options that were typed.
    """

    recipe: str
    name: str
    method: type[Method]
    typed: set[str]


def read_options(
    argv: Sequence[str],
    kinds: Sequence[Any],
    recipes: Recipes,
    methods: Mapping[str, type[Method]],
) -> tuple[Any, ...]:
    """Read the options of a training script; recipe and method only change defaults.

    Args:
        argv: What was typed.
        kinds: Dataclasses of the options; one has the field `method`.
        recipes: Defaults of options by the name of a recipe; the first one, `small`, is the default
            and for all methods, the others are those of the first method.
        methods: The methods that the script trains, by name; the first one is the default.

    Returns:
        The options, one instance of each class, and the `Choice`.

    Raises:
        NoRecipeError: If the method has no such recipe.
        SystemExit: With 2 if the command line cannot be read.
    """
    first = ArgumentParser(add_help=False, allow_abbrev=False)
    add_recipe(first, recipes)
    first.add_argument("--method", choices=list(methods), default=next(iter(methods)))
    for name in _SUIT:
        first.add_argument(f"--{name}")
    early = first.parse_known_args(argv)[0]
    parser = argument_parser(kinds)
    add_recipe(parser, recipes)
    shown = {action.dest: action.default for action in parser._actions}
    defaults = _defaults(early, recipes["small"], methods[early.method], set(shown))
    parser.set_defaults(**defaults)
    read = parse_all(parser, argv)
    for name in defaults.keys() & ARGUMENTS.keys():  # what another typed option makes idle
        if not ARGUMENTS[name].is_read(read):
            parser.set_defaults(**{name: shown[name]})
    *values, _ = parser.parse_args_into_dataclasses(list(argv))
    typed = typed_options(parser, argv)
    return (*values, Choice(early.recipe, early.method, methods[early.method], typed))


def _defaults(
    early: Namespace, small: Mapping[str, Any], method: type[Method], names: set[str]
) -> dict[str, Any]:
    """The defaults of the options `names`, by what was typed of recipe, method and `_SUIT`."""
    shape = {name: _typed_form(value) for name, value in method.shape.items() if name in names}
    recipe = recipe_options(small, early.method, early.recipe)
    is_small = early.recipe == "small"
    layers = (recipe, method.recipe, shape) if is_small else (method.recipe, shape, recipe)
    typed = {name: value for name in _SUIT if (value := getattr(early, name)) is not None}
    defaults: dict[str, Any] = {}
    for layer in (*layers, typed):
        for name, suited in _SUIT.items():
            if name in layer and layer[name] != defaults.get(name):
                defaults = {other: defaults[other] for other in defaults if other not in suited}
        head = layer.get("similarity")
        if head != defaults.get("similarity") and head in SIMILARITY_HEADS:
            defaults |= SIMILARITY_HEADS[head].config_fields
        defaults |= layer
    return {name: value for name, value in defaults.items() if name in names}


def _typed_form(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value
