"""The options of a training script, and what its command line chooses."""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..entry.options import typed_options
from ..entry.quick_help import Recipes, add_recipe, argument_parser
from .method import Method


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
        recipes: Defaults of options by the name of a recipe; the first one is the default.
        methods: The methods that the script trains, by name; the first one is the default.

    Returns:
        The options, one instance of each class, and the `Choice`.

    Raises:
        SystemExit: With 2 if the command line cannot be read.
    """
    first = ArgumentParser(add_help=False, allow_abbrev=False)
    add_recipe(first, recipes)
    first.add_argument("--method", choices=list(methods), default=next(iter(methods)))
    first.add_argument("--similarity")
    early = first.parse_known_args(argv)[0]
    method = methods[early.method]
    parser = argument_parser(kinds)
    add_recipe(parser, recipes)
    options = {action.dest for action in parser._actions}
    defaults = dict(recipes[early.recipe])
    similarity = early.similarity or method.shape.get("similarity")
    if similarity not in (None, defaults.get("similarity")):
        # These suit the recipe's own head; another one begins from its own defaults.
        for name in ("similarity_options", "normalize_tokens"):
            defaults.pop(name, None)
    if "similarity" in options and similarity is not None:
        defaults["similarity"] = similarity
    parser.set_defaults(**defaults | dict(method.recipe))
    *values, _ = parser.parse_args_into_dataclasses(list(argv))
    choice = Choice(early.recipe, early.method, method, typed_options(parser, argv))
    return (*values, choice)
