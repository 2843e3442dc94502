"""The example scripts as modules, to be run in this process."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"


def script(name: str) -> ModuleType:
    """The module of an example."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))  # last: evaluate is a library too
    found = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


class RunBeginsError(Exception):
    """Stands for the run that would begin."""


def options_of(name: str, argv: Sequence[str]) -> tuple[Any, ...]:
    """What a training script makes of a command line, by the point at which its run would begin.

    Returns:
        What the script passes to the function that refuses options without effect.
    """
    module, found = script(name), []
    (settle,) = (value for name, value in vars(module).items() if name.startswith("settle_"))

    def keep(*options: Any) -> None:
        settle(*options)
        found.extend(options)

    def stop(_: Any) -> None:
        raise RunBeginsError

    setattr(module, settle.__name__, keep)
    module.begin_run = stop
    try:
        module.main(list(argv))
    except RunBeginsError:
        return tuple(found)
    raise AssertionError(f"{name} has no begin_run(...)")
