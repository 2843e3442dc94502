"""The help of a script, and errors of its command line, before what takes seconds is imported.

A script defines its options first, then calls `answer_early`, then imports the rest:

    if __name__ == "__main__":
        answer_early(EvaluationArguments)  # the imports below take seconds

The parser is the one of transformers. Its file, and the options of `TrainingArguments`, are read
from the installed package, which is not imported.
"""

import ast
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal, NoReturn

from .door import enter

Recipes = Mapping[str, Mapping[str, Any]]

#: What people often type for options whose names are spelled otherwise.
_MEANT = {
    "--epochs": "--num_train_epochs",
    "--batch_size": "--per_device_train_batch_size",
    "--lr": "--learning_rate",
    "--noise": "--inject_noise",
    "--dataset": "--dataset_name",
    "--config": "--dataset_config_name",
    "--model": "--model_name_or_path",
    "--output": "--output_dir",
}


def answer_early(
    *kinds: Any,
    training: Any = None,
    recipes: Recipes | None = None,
    defaults: Mapping[str, Any] | None = None,
    description: str | None = None,
    passes_on: bool = False,
    words: Sequence[str] | None = None,
) -> None:
    """Print the help and exit, or end with an error, if the command line alone tells to.

    Otherwise Ctrl-C, while the script imports the rest, ends it by a line without a traceback.

    Args:
        kinds: Dataclasses of the script's options.
        training: A last dataclass, which gets the options of transformers' TrainingArguments too.
        recipes: Choices of the option --recipe, if the script has it.
        defaults: Defaults that differ from those of the dataclasses, where a recipe has none.
        description: First lines of the help.
        passes_on: Whether the script passes options that it does not have to other scripts.
        words: The command line; None for that of the process.

    Raises:
        SystemExit: With 0 after the help; with 2 if an option does not exist or its value cannot
            be read.
    """
    sys.excepthook = _end_quietly
    words = sys.argv[1:] if words is None else words
    if training is not None:
        try:
            kinds = (*kinds, with_training_arguments(training))
        except SourceError:
            return  # the script's own parser answers, some seconds later
    parser = argument_parser(kinds, description=description)
    if recipes is not None:
        add_recipe(parser, recipes)
    names = {word.partition("=")[0] for word in words}
    if names.isdisjoint({"-h", "--help"}):
        parser.parse_known_args(words) if passes_on else parse_all(parser, words)
        return
    if recipes is not None:
        if names & {"--method", "--similarity"}:
            return  # these have defaults, which only the script itself knows
        first = ArgumentParser(add_help=False, allow_abbrev=False)
        add_recipe(first, recipes)
        defaults = {**(defaults or {}), **recipes[first.parse_known_args(words)[0].recipe]}
    parser.set_defaults(**(defaults or {}))
    enter(parser.print_help)
    sys.exit(0)


def _end_quietly(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """`sys.excepthook` without the traceback of a Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        print("Stopped by SIGINT.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def add_recipe(parser: ArgumentParser, recipes: Recipes) -> None:
    """Add the option --recipe of the training scripts.

    Args:
        parser: The parser.
        recipes: Defaults of options by the name of a recipe; the first one is the default.
    """
    parser.add_argument(
        "--recipe",
        choices=list(recipes),
        default=next(iter(recipes)),
        help="Defaults of the other options: small for a laptop, paper for the method's own as "
        "published, paper-DATASET for those of another dataset.",
    )


def argument_parser(kinds: Sequence[Any], **options: Any) -> Any:
    """A parser of transformers, `HfArgumentParser`, without importing its package.

    It takes whole names alone, and an error is one line without the usage.

    Args:
        kinds: Dataclasses of the options.
        options: For the parser.
    """
    return _parser_class()(kinds, **{"allow_abbrev": False} | options)


def parse_all(parser: Any, words: Sequence[str]) -> Any:
    """The values of the options of a command line, as a Namespace.

    Args:
        parser: From `argument_parser`.
        words: The command line.

    Raises:
        SystemExit: With 2 if it cannot be parsed, or an option does not exist; the nearest name
            is named.
    """
    read, unknown = parser.parse_known_args(list(words))
    if unknown:
        wrong = next((word for word in unknown if word.startswith("-")), unknown[0]).split("=")[0]
        names = [name for action in parser._actions for name in action.option_strings]
        meant = _MEANT.get(wrong.replace("-", "_").replace("__", "--", 1))
        near = [meant] if meant in names else get_close_matches(wrong, names, n=1)
        remedy = f" Is it {near[0]}?" if near else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}.{remedy}")
    return read


class SourceError(ValueError):
    """The source of transformers' TrainingArguments has a form that is not understood."""


def with_training_arguments(kind: type) -> type:
    """A dataclass like a subclass of `kind` and of transformers' TrainingArguments.

    Args:
        kind: Dataclass of the options that come first.

    Raises:
        SourceError: The installed version of transformers writes them in a new form.
    """
    source = _Source(_folder() / "training_args.py")
    fields = [source.field(node) for node in source.body if isinstance(node, ast.AnnAssign)]
    base = make_dataclass("TrainingArguments", fields)
    return dataclass(type(kind.__name__, (kind, base), {}))


class _Source:
    """The class TrainingArguments in the text of its module.

    Attributes:
        body: Its statements.
        values: Constants by name; the last one, as those for newer versions of torch come last.
        types: What the annotations name; an enumeration is the Literal of its values.
    """

    def __init__(self, path: Path) -> None:
        module = _parse(path)
        self.body = _classes(module).get("TrainingArguments", [])
        if not self.body:
            raise SourceError(f"{path} has no class TrainingArguments")
        self.values: dict[str, Any] = {"list": list}
        for node in (node for statement in self.body for node in ast.walk(statement)):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                self.values |= {ast.unparse(name): node.value.value for name in node.targets}
        builtins = (str, int, float, bool, list, dict)
        self.types: dict[str, Any] = {kind.__name__: kind for kind in builtins}
        self.types |= {"Any": Any, "Literal": Literal} | _enums(module)
        for node in module.body:
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
                file = path.with_name(f"{node.module}.py")
                self.types |= _enums(_parse(file)) if file.is_file() else {}

    def field(self, node: ast.AnnAssign) -> tuple[str, Any, Any]:
        """Name, type and `dataclasses.field` of an option."""
        name, call = ast.unparse(node.target), node.value
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "field":
            raise SourceError(f"the option {name} is not written as a field")
        options: dict[str, Any] = {}
        for word in call.keywords:
            is_metadata = word.arg == "metadata" and isinstance(word.value, ast.Dict)
            read = self._metadata if is_metadata else self._value
            options[str(word.arg)] = read(word.value)
        return name, self._type(node.annotation), field(**options)

    def _metadata(self, node: Any) -> dict[str, Any]:
        """The metadata of an option; choices that the source computes are left out."""
        items = {self._value(key): value for key, value in zip(node.keys, node.values, strict=True)}
        if isinstance(items.get("choices"), ast.Call):
            del items["choices"]
        return {key: self._value(value) for key, value in items.items()}

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id in self.values:
            return self.values[node.id]
        try:
            return ast.literal_eval(node)
        except ValueError as error:
            raise SourceError(f"{ast.unparse(node)} is computed") from error

    def _type(self, node: ast.expr) -> Any:
        """A type. Classes whose values no command line gives are objects."""
        names = (part.id for part in ast.walk(node) if isinstance(part, ast.Name))
        known = dict.fromkeys(names, object) | self.types
        return eval(compile(ast.Expression(node), "<annotation>", "eval"), known)


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _classes(module: ast.Module, base: str = "") -> dict[str, list[ast.stmt]]:
    """The statements of the classes whose bases contain a word, by name."""
    return {
        node.name: node.body
        for node in module.body
        if isinstance(node, ast.ClassDef) and base in " ".join(map(ast.unparse, node.bases))
    }


def _enums(module: ast.Module) -> dict[str, Any]:
    """The values of each enumeration in a module, as a Literal, by its name."""
    found: dict[str, Any] = {}
    for name, body in _classes(module, "Enum").items():
        items = [statement.value for statement in body if isinstance(statement, ast.Assign)]
        values = tuple(item.value for item in items if isinstance(item, ast.Constant))
        found[name] = Literal[values] if values else object
    return found


def _folder() -> Path:
    """The folder of the installed transformers."""
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")
    return Path(spec.origin).parent


@cache
def _parser_class() -> Any:
    spec = spec_from_file_location("_hf_argparser", _folder() / "hf_argparser.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)

    base: Any = module.HfArgumentParser

    class Parser(base):
        def error(self, message: str) -> NoReturn:
            """End without the usage, which is a hundred lines long."""
            ending = "" if message.endswith((".", "?")) else "."
            print(f"{self.prog}: error: {message}{ending} See {self.prog} --help.", file=sys.stderr)
            sys.exit(2)

    return Parser
