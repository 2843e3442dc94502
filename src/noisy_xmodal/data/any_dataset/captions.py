"""Conversion of captions in any form to lists of strings.

A caption column may hold a string, a list of strings, a list of objects (`{"raw": ..., "tokens":
...}`), an object, a list as text (`'["a", "b"]'`), or a conversation, whose first answer is the
caption. Numbered columns form one list.
"""

import ast
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import datasets

from ..columns import IS_NOISY, DatasetError, check_captions, column_values
from ..feature_types import is_string
from ..messages import quoted

TextReader = Callable[[Any], list[str | None]]

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


def caption_reader(feature: Any, in_list: bool = False) -> TextReader | None:
    """Returns a reader of captions for a column type.

    Args:
        feature: The type of the column.
        in_list: Whether the type is an item of a list; a list of lists holds words, not captions.

    Returns:
        A function from a value to its captions; None if the type cannot hold captions.
    """
    if is_string(feature):
        return lambda value: [value]
    if isinstance(feature, (datasets.List, datasets.LargeList)) and not in_list:
        for speaker, text in _TURNS:
            if isinstance(feature.feature, dict) and {speaker, text} <= feature.feature.keys():
                inner = caption_reader(feature.feature[text])
                return None if inner is None else _answer_reader(inner, speaker, text)
        inner = caption_reader(feature.feature, in_list=True)
        return None if inner is None else _list_reader(inner)
    if isinstance(feature, dict):
        names = {plain_name(name): name for name in reversed(feature)}
        for field in _TEXT_FIELDS:
            if field in names:
                inner = caption_reader(feature[names[field]], in_list)
                if inner is not None:
                    return _field_reader(inner, names[field])
    return None


def caption_lists(
    dataset: datasets.Dataset, names: Sequence[str]
) -> Sequence[Sequence[str | None]]:
    """Reads the captions of every row without checking them.

    Args:
        dataset: One split.
        names: The caption column, or numbered columns with one caption each; empty values of
            numbered columns are skipped.
    """
    if len(names) > 1:
        columns = [column_values(dataset, name) for name in names]
        rows = zip(*columns, strict=True)
        return [[text for text in row if text and text.strip()] for row in rows]
    values = column_values(dataset, names[0])
    feature = dataset.features[names[0]]
    decoded = _decode_lists(values) if is_string(feature) else None
    reader = caption_reader(feature)
    assert reader is not None, "`find_columns` checks the type"
    return decoded if decoded is not None else [reader(value) for value in values]


def texts_of_json(value: Any, field: str | None = None) -> list[str]:
    """Reads the captions in a JSON value, by the rules of `caption_reader`.

    Args:
        value: A string, a list, or an object with a usual field for captions.
        field: The field of the object, if it has another name.
    """
    if isinstance(value, str):
        return string_list(value) or [value]
    if isinstance(value, list):
        return [text for item in value for text in texts_of_json(item, field)]
    if isinstance(value, dict):
        if field is not None:
            return texts_of_json(value.get(field))
        names = {plain_name(name): name for name in reversed(value)}
        lists = (texts_of_json(value[names[name]]) for name in _TEXT_FIELDS if name in names)
        return next((texts for texts in lists if texts), [])
    return []


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
    """Reads the captions of every row.

    Args:
        dataset: One split.
        names: See `caption_lists`.
        split: Name of the split, for the messages.

    Raises:
        DatasetError: A row has no captions, or an empty one.
    """
    lists = []
    for row, texts in enumerate(caption_lists(dataset, names)):
        check_captions(texts, row, split, names)
        lists.append([text for text in texts if text is not None])
    return lists


def read_flags(
    dataset: datasets.Dataset, captions: Sequence[Sequence[str]], split: str
) -> list[list[bool]] | None:
    """Reads the oracle, if the dataset has one.

    Args:
        dataset: One split; a row has a list of flags, or one flag for its only caption.
        captions: The captions of each row.
        split: Name of the split, for the messages.

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
                f"Row {row} of split '{split}' has {len(texts)} captions and {quoted(value)} in "
                f"'{IS_NOISY}'. Give one boolean per caption, or drop the column."
            )
        lists.append(flags)
    return lists


def flags_of(value: Any) -> list[bool] | None:
    """Parses the flags of one row.

    Args:
        value: True or False, 1 or 0, one of these as text, or a list of them.

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


def merge_captions(
    captions: list[list[str]], flags: list[list[bool]] | None, first_rows: Sequence[int]
) -> list[int]:
    """Merges the captions of each image, and their flags, into its first row, in place.

    Args:
        captions: The captions of each row.
        flags: Their flags, or None.
        first_rows: For every row, the first row with the same image.

    Returns:
        The first rows. A repeated text is kept once, with its first flag.
    """
    groups: dict[int, list[int]] = {}
    for row, first in enumerate(first_rows):
        groups.setdefault(first, []).append(row)
    for first, rows in groups.items():
        if len(rows) > 1:
            flag_of_text: dict[str, bool] = {}
            for row in rows:
                row_flags = flags[row] if flags is not None else [False] * len(captions[row])
                for text, flag in zip(captions[row], row_flags, strict=True):
                    flag_of_text.setdefault(text, flag)
            captions[first] = list(flag_of_text)
            if flags is not None:
                flags[first] = list(flag_of_text.values())
    return list(groups)


def _list_reader(inner: TextReader) -> TextReader:
    return lambda values: [text for value in values or () for text in inner(value)]


def _answer_reader(inner: TextReader, speaker: str, text: str) -> TextReader:
    """Reads the first answer of a conversation."""

    def read(turns: Any) -> list[str | None]:
        answers = (turn for turn in turns or () if turn and turn[speaker] not in _QUESTIONERS)
        return next((inner(turn[text]) for turn in answers), [])

    return read


def _field_reader(inner: TextReader, name: str) -> TextReader:
    return lambda value: inner(value[name]) if value is not None else [None]


def _decode_lists(values: Sequence[str | None]) -> list[list[str]] | None:
    """Parses lists in text form; None unless all values are lists."""
    lists = []
    for value in values:
        texts = string_list(value or "")
        if texts is None:
            return None
        lists.append(texts)
    return lists or None


def _python_list(text: str) -> Any:
    """Parses a list in Python syntax, as pandas writes it to CSV."""
    value = ast.literal_eval(text.strip())
    # Lists of NumPy have no commas, and Python would concatenate adjacent literals.
    if repr(value) != text.strip():
        raise ValueError("not a Python list")
    return value
