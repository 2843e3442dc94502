"""One image or text, or several: a string is never taken for a list of its letters."""

from collections.abc import Iterable
from typing import Any


def check_several(items: Any, name: str) -> None:
    """Refuses one image or text where a list of them is asked for.

    Args:
        items: What is given as the argument.
        name: The argument.

    Raises:
        ValueError: If it is one string, path, picture or another single thing.
    """
    is_sequence = isinstance(items, Iterable) or hasattr(items, "__getitem__")
    if isinstance(items, str | bytes) or not is_sequence:
        raise ValueError(f"`{name}` is one {type(items).__name__}: pass a list")


def text_or_texts(text: Any) -> str | list[str]:
    """What a tokenizer takes: one text as it is, several as a list.

    Args:
        text: One text, or any sequence of texts.

    Raises:
        ValueError: If there is no text, or one is no string.
    """
    if isinstance(text, str):
        return text
    check_several(text, "text")
    texts = list(text)
    if not texts:
        raise ValueError("no text was given: pass at least one.")
    for position, one in enumerate(texts):
        if not isinstance(one, str):
            raise ValueError(f"text {position} is a {type(one).__name__}: pass strings.")
    return texts
