"""Removal of rows without a picture and of captions without text, with a note about each."""

import os
from collections.abc import Sequence

import datasets

from ..columns import IS_NOISY, column_values
from ..feature_types import is_string
from ..messages import shortened
from .captions import caption_lists, flags_of
from .columns import find_columns
from .images import names_of_paths, picture_places
from .tables import RawSplit


def drop_unusable(raw: RawSplit, split: str) -> tuple[RawSplit, list[str]]:
    """Drops rows without a picture, and captions without text.

    Args:
        raw: The split.
        split: Its name, for the messages.

    Returns:
        The split without them, and a note about each.

    Raises:
        DatasetError: A column is missing or ambiguous.
    """
    view = raw.view()
    columns = find_columns(view, raw.options, split)
    reasons, paths = _missing_pictures(view, columns.visual)
    names = [n if path else None for n, path in zip(names_of_paths(paths), paths, strict=True)]
    name = columns.captions[0]
    if len(columns.captions) == 1 and is_string(view.features[name]):
        blank = [row for row, text in enumerate(column_values(view, name)) if not _has_text(text)]
        reasons = dict.fromkeys(blank, "its caption is empty") | reasons
    rows = [row for row in range(len(view)) if row not in reasons]
    view = view.select(rows) if reasons else view
    lists = caption_lists(view, columns.captions)
    n_empty = [sum(not _has_text(text) for text in texts) for texts in lists]
    kept = [index for index, texts in enumerate(lists) if n_empty[index] < len(texts)]
    dropped = {*range(len(lists))} - {*kept}
    reasons |= {rows[index]: "it has no caption with text" for index in dropped}
    notes = [_note(row, split, names[row], reasons[row]) for row in sorted(reasons)]
    partial = [index for index in kept if n_empty[index]]
    for index in partial:
        row, reason = rows[index], f"{n_empty[index]} of its captions left out, because empty"
        notes.append(_note(row, split, names[row], reason))
    if partial:
        view = _drop_empty(view, name, lists)
    return RawSplit(view.select(kept) if dropped else view, raw.options), notes


def _note(row: int, split: str, path: str | None, reason: str) -> str:
    return f"row {row} of {split}{f' ({shortened(path)})' if path else ''}: {reason}"


def _has_text(text: str | None) -> bool:
    return bool(text and text.strip())


def _missing_pictures(
    view: datasets.Dataset, visual: str
) -> tuple[dict[int, str], list[str | None]]:
    """The reason by row for rows without a picture, and the path of each row's picture."""
    reasons, paths = {}, list[str | None]()
    for row, has_content, path in picture_places(view, visual):
        paths.append(path)
        if not has_content and not path:
            reasons[row] = "it has no picture"
        elif not has_content and "://" not in str(path) and not os.path.isfile(str(path)):
            reasons[row] = "the file does not exist"
    return reasons, paths


def _drop_empty(
    view: datasets.Dataset, name: str, lists: Sequence[Sequence[str | None]]
) -> datasets.Dataset:
    """Drops captions without text, and their flags."""
    captions = [[text for text in texts if _has_text(text)] for texts in lists]
    feature = datasets.List(datasets.Value("string"))
    result = view.remove_columns(name).add_column(name, captions, feature=feature)
    if IS_NOISY not in view.column_names:
        return result
    flag_lists = []
    for value, texts in zip(column_values(view, IS_NOISY), lists, strict=True):
        flags = flags_of(value)
        if flags is None or len(flags) != len(texts):
            return result  # `read_flags` reports the row
        flag_lists.append([f for f, text in zip(flags, texts, strict=True) if _has_text(text)])
    feature = datasets.List(datasets.Value("bool"))
    return result.remove_columns(IS_NOISY).add_column(IS_NOISY, flag_lists, feature=feature)
