"""What of a dataset can be used, where one bad row is no reason to stop.

Pictures that are no files and captions that say nothing are left out, and named.
"""

import os
from collections.abc import Sequence

import datasets

from ..columns import IS_NOISY, column_values
from ..feature_types import is_string
from ..messages import shortened
from .captions import caption_lists, flags_of
from .columns import find_columns
from .images import names_of_paths, picture_places
from .tables import Opened


def usable_part(opened: Opened, rows: list[int] | None, split: str) -> tuple[Opened, list[str]]:
    """Leaves out rows without a picture and captions without a word.

    Args:
        opened: A split as it was found.
        rows: Its rows of `opened`, None for all.
        split: Its name, for the messages.

    Returns:
        The rows that can be used, and a line on each thing that was left out.

    Raises:
        DatasetError: No column fits.
    """
    view = opened.dataset if rows is None else opened.dataset.select(rows)
    columns = find_columns(view, opened.given, split)
    reasons, places = _without_picture(view, columns.visual)
    paths = [
        name if place else None for name, place in zip(names_of_paths(places), places, strict=True)
    ]
    name = columns.captions[0]
    if len(columns.captions) == 1 and is_string(view.features[name]):
        blank = [row for row, text in enumerate(column_values(view, name)) if not _says(text)]
        reasons = dict.fromkeys(blank, "its caption is empty") | reasons
    left = [row for row in range(len(view)) if row not in reasons]
    view = view.select(left) if reasons else view
    lists = caption_lists(view, columns.captions)
    silent = {at for at, texts in enumerate(lists) if not any(map(_says, texts))}
    reasons |= {left[at]: "it has no caption that says anything" for at in silent}
    notes = [_line(row, split, paths[row], reasons[row]) for row in sorted(reasons)]
    empty = {at: sum(not _says(text) for text in texts) for at, texts in enumerate(lists)}
    empty = {at: n for at, n in empty.items() if n and at not in silent}
    for at, n in empty.items():
        row = left[at]
        notes.append(_line(row, split, paths[row], f"{n} of its captions left out, being empty"))
    if empty:
        view = _without_empty(view, name, lists)
    if silent:
        view = view.select([at for at in range(len(view)) if at not in silent])
    return Opened(view, opened.given), notes


def _line(row: int, split: str, path: str | None, reason: str) -> str:
    """A row is named by its picture where the picture is a file."""
    return f"row {row} of {split}{f' ({shortened(path)})' if path else ''}: {reason}"


def _says(text: str | None) -> bool:
    return bool(text and text.strip())


def _without_picture(
    view: datasets.Dataset, visual: str
) -> tuple[dict[int, str], list[str | None]]:
    """Why rows have no picture, by row, and the path of each row's picture."""
    reasons, paths = {}, list[str | None]()
    for row, has_content, path in picture_places(view, visual):
        paths.append(path)
        if not has_content and not path:
            reasons[row] = "it has no picture"
        elif not has_content and "://" not in str(path) and not os.path.isfile(str(path)):
            reasons[row] = "there is no such file"
    return reasons, paths


def _without_empty(
    view: datasets.Dataset, name: str, lists: Sequence[Sequence[str | None]]
) -> datasets.Dataset:
    """The rows with the captions that say something, and the oracle of these."""
    kept = [[text for text in texts if _says(text)] for texts in lists]
    feature = datasets.List(datasets.Value("string"))
    found = view.remove_columns(name).add_column(name, kept, feature=feature)
    if IS_NOISY not in view.column_names:
        return found
    flags = []
    for value, texts in zip(column_values(view, IS_NOISY), lists, strict=True):
        own = flags_of(value)
        if own is None or len(own) != len(texts):
            return found  # which is refused as it is
        flags.append([flag for flag, text in zip(own, texts, strict=True) if _says(text)])
    feature = datasets.List(datasets.Value("bool"))
    return found.remove_columns(IS_NOISY).add_column(IS_NOISY, flags, feature=feature)
