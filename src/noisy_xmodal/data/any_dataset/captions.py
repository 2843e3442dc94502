"""Conversion of captions in any form to lists of strings.

A caption column may hold a string, a list of strings, a list of objects (`{"raw": ..., "tokens":
...}`), an object, a list as text (`'["a", "b"]'`), or a conversation, whose first answer is the
caption. Numbered columns form one list.
"""

import ast
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import datasets

from ..columns import IS_NOISY, DatasetError, check_captions, column_values
from ..feature_types import is_string
from ..messages import quoted

_TEXT_FIELDS = (
    *("raw", "caption", "captions", "text", "texts", "sentence", "sentences", "value", "txt"),
    *("description", "alttext", "content"),
)

# Fields for speaker and text in a turn of a conversation (LLaVA, and chats of transformers).
_TURNS = (("from", "value"), ("role", "content"))
_QUESTIONERS = ("human", "user", "system")


def plain_name(name: str) -> str:
    """Normalizes a column name: `Image-Path` and `image_path` are the same."""
    # Fields of WebDataset keep their underscores: `__url__` names the shard, not the picture.
    return name if name.startswith("__") else re.sub(r"[\W_]+", "", name).lower()


def can_hold_captions(feature: Any, in_list: bool = False) -> bool:
    """Whether `captions_in` reads values of a type; a list of lists holds words, not captions."""
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        is_turn = any({*turn} <= _names(feature.feature) for turn in _TURNS)
        return not in_list and can_hold_captions(feature.feature, in_list=not is_turn)
    if isinstance(feature, dict):
        return any(can_hold_captions(feature[name], in_list) for name in _text_fields(feature))
    return is_string(feature)


def captions_in(value: Any, field: str | None = None) -> list[str | None]:
    """Reads the captions in a value: a string, a list, an object, or None for an empty caption.

    Args:
        value: The value of a column, or parsed JSON.
        field: The field of the object with the captions, if it has no usual name.
    """
    if value is None or isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        fields = _text_fields(value) if field is None else [field]
        lists = [captions_in(value.get(name)) for name in fields]
        return next((texts for texts in lists if any(texts)), lists[0] if lists else [])
    if not isinstance(value, list):
        return []
    for speaker, text in _TURNS:
        if value and all({speaker, text} <= _names(turn) for turn in value):
            answers = (turn[text] for turn in value if turn[speaker] not in _QUESTIONERS)
            return captions_in(next(answers, []))
    return [text for item in value for text in captions_in(item, field)]


def caption_lists(dataset: datasets.Dataset, names: Sequence[str]) -> list[list[str | None]]:
    """Reads the captions of every row without checking them.

    `names` is the caption column, or numbered columns with one caption each; empty values of
    numbered columns are skipped.
    """
    columns = [column_values(dataset, name) for name in names]
    if len(names) > 1:
        rows = zip(*columns, strict=True)
        return [[text for text in row if text and text.strip()] for row in rows]
    if is_string(dataset.features[names[0]]):
        return _decode_lists(columns[0]) or [[text] for text in columns[0]]
    return [captions_in(value) for value in columns[0]]


def string_list(text: str) -> list[str] | None:
    """Parses a list of strings in JSON or Python syntax; None for any other text."""
    if not text.lstrip().startswith("["):
        return None
    for parse in (json.loads, _python_list):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
    return None


def read_captions(dataset: datasets.Dataset, names: Sequence[str], split: str) -> list[list[str]]:
    """Reads the captions of every row; see `caption_lists`.

    Raises:
        DatasetError: A row has no captions, or an empty one.
    """
    lists = []
    for row, texts in enumerate(caption_lists(dataset, names)):
        check_captions(texts, row, split, names)
        lists.append([text for text in texts if text is not None])
    return lists


def read_flags(
    dataset: datasets.Dataset, captions: Sequence[Sequence[str | None]], split: str
) -> list[list[bool]] | None:
    """Reads the oracle, if the dataset has one: a list of flags, or one for an only caption.

    Raises:
        DatasetError: A row does not have one valid flag (see `flags_of`) per caption.
    """
    if IS_NOISY not in dataset.column_names:
        return None
    lists = []
    values = column_values(dataset, IS_NOISY)
    for row, (value, texts) in enumerate(zip(values, captions, strict=True)):
        flags = flags_of(value)
        if flags is None or len(flags) != len(texts):
            raise DatasetError(
                f"Row {row} of split '{split}' (counted from 0) has {len(texts)} captions and "
                f"{quoted(value)} in '{IS_NOISY}'. Give one boolean per caption, or drop the "
                "column."
            )
        lists.append(flags)
    return lists


def flags_of(value: Any) -> list[bool] | None:
    """Parses the flags of one row: True or False, 1 or 0, one of these as text, or a list of them.

    Returns:
        A list of flags; None if the value is invalid.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value.lower())
        except (ValueError, RecursionError):
            return None
    if isinstance(value, list):
        lists = [flags_of(item) if not isinstance(item, list) else None for item in value]
        return None if None in lists else [flag for flags in lists for flag in flags or ()]
    return [bool(value)] if isinstance(value, int | float) and value in (0, 1) else None


def _names(value: Any) -> set[str]:
    return {*value} if isinstance(value, dict) else set()


def _text_fields(names: Iterable[str]) -> list[str]:
    """The names of usual fields for captions, in the order of their priority."""
    spellings = {plain_name(name): name for name in reversed([*names])}
    return [spellings[field] for field in _TEXT_FIELDS if field in spellings]


def _decode_lists(values: Sequence[str | None]) -> list[list[str | None]] | None:
    """Parses lists in text form; None unless all values with text are lists."""
    lists: list[list[str | None]] = []
    for value in values:
        texts = string_list(value) if value and value.strip() else [value]
        if texts is None:
            return None
        lists.append([*texts])
    return lists


def _python_list(text: str) -> Any:
    """Parses a list in Python syntax, as pandas writes it to CSV."""
    value = ast.literal_eval(text.strip())
    # Lists of NumPy have no commas, and Python would concatenate adjacent literals.
    if repr(value) != text.strip():
        raise ValueError("not a Python list")
    return value
