"""Published code, run from clones that the user has; none of it is part of this project.

Research scripts import at their head what the function of interest never needs, and often no
longer exists. So only the wanted functions and classes are taken out of a file, and run with names
that the benchmark gives them.
"""

import __future__

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Repository:
    """A clone of a public repository.

    Args:
        path: Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(
        self, file: str, wanted: Sequence[str], namespace: Mapping[str, Any]
    ) -> SimpleNamespace:
        """Runs the wanted definitions of a file of the clone; see `names`."""
        return names(self.path / file, wanted, namespace)


def find_repository(folder: str | Path, repository: str) -> Repository:
    """Finds a clone by the repository's own name, with or without something before it.

    Args:
        folder: The folder that the clones are in.
        repository: "owner/name"; a folder `name`, `owner+name` or `my-name` is its clone.

    Raises:
        FileNotFoundError: There is none, or more than one.
    """
    folder, name = Path(folder), repository.rsplit("/", 1)[-1]
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: give one that holds clones.")
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and _is_clone(path, name)]
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no folder whose name ends with {name}: clone {repository} from GitHub "
            "into it, or leave the work out (--works)."
        )
    if len(found) > 1:
        raise FileNotFoundError(
            f"Several folders of {folder} may be the clone of {repository}: "
            f"{', '.join(path.name for path in found)}. Leave one."
        )
    return Repository(found[0])


def names(path: str | Path, wanted: Sequence[str], namespace: Mapping[str, Any]) -> SimpleNamespace:
    """Runs the wanted definitions of a Python file, and nothing else of it.

    Args:
        path: The file.
        wanted: Functions and classes at its top, or "main.train" for the function `train` inside
            the function `main`. All become globals beside each other, under their last name.
        namespace: The other globals that they need: modules, constants, variables of `main`.

    Returns:
        What was wanted, by last name, and `namespace`, their globals as a dict.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not Python 3, or lacks a definition.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: is the clone complete, and the right one?")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise ValueError(f"{path}, line {error.lineno}, is not Python 3: {error.msg}.") from error
    definitions = [_definition(path, tree, name) for name in wanted]
    # Annotations may name what was not given; nobody reads them.
    flags = __future__.annotations.compiler_flag
    module = ast.Module(body=list(definitions), type_ignores=[])
    variables = {"__name__": path.stem, **namespace}
    exec(compile(module, str(path), "exec", flags=flags, dont_inherit=True), variables)
    last = [name.rsplit(".", 1)[-1] for name in wanted]
    return SimpleNamespace(**{name: variables[name] for name in last}, namespace=variables)


@contextmanager
def cuda_calls_on(device: str) -> Iterator[None]:
    """Makes `.cuda()` of tensors and modules return them as they are, unless `device` is "cuda"."""
    with ExitStack() as stack:
        for kind in (torch.Tensor, torch.nn.Module) if device != "cuda" else ():
            stack.enter_context(patch.object(kind, "cuda", lambda self, *args, **options: self))
        yield


def _is_clone(path: Path, name: str) -> bool:
    before = path.name.removesuffix(name)
    return path.name.endswith(name) and not before[-1:].isalnum()


def _definition(path: Path, tree: ast.Module, name: str) -> _Definition:
    found: ast.AST = tree
    for part in name.split("."):
        inside = [node for node in _definitions(found) if node.name == part]
        if not inside:
            here = sorted({node.name for node in _definitions(found)})
            raise ValueError(f"{path} defines no {name}: no {part!r} among {', '.join(here)}.")
        found = inside[-1]  # as in Python, the last one counts
    assert isinstance(found, _Definition)
    return found


def _definitions(node: ast.AST) -> Iterator[_Definition]:
    """Functions and classes of a body, those under `if`, `for`, `with` and `try` included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Definition):
            yield child
        else:
            yield from _definitions(child)
