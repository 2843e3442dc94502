"""Checks that tell one image or text from a list; a string is not a list of letters."""

from collections.abc import Iterable
from typing import Any


def check_list(items: Any, name: str) -> None:
    """Check that an argument is a list of images or texts.

    Args:
        items: The value of the argument.
        name: The name of the argument.

    Raises:
        ValueError: If it is one string, path, image or another single object.
    """
    is_sequence = isinstance(items, Iterable) or hasattr(items, "__getitem__")
    if isinstance(items, str | bytes) or not is_sequence:
        raise ValueError(f"`{name}` is one {type(items).__name__}: pass a list")


def tokenizer_input(text: Any) -> str | list[str]:
    """Input of a tokenizer: one text unchanged, several as a list.

    Args:
        text: One text, or any sequence of texts.

    Raises:
        ValueError: If there is no text, or one is not a string.
    """
    if isinstance(text, str):
        return text
    check_list(text, "text")
    texts = list(text)
    if not texts:
        raise ValueError("there is no text: pass at least one.")
    for position, one in enumerate(texts):
        if not isinstance(one, str):
            raise ValueError(f"text {position} is a {type(one).__name__}: pass strings.")
    return texts
