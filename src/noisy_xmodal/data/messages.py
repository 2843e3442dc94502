"""Quoting of values and spelling of options in messages.

Messages write an option as a Python keyword with its value: `image_column=NAME`, `split='dev'`. An
interface with other option names replaces them with `spell_options`.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..entry.options import spelled

_LONGEST = 120
_SENTENCE_END = re.compile(r"(?<=\.) (?=[A-Z])")
_KEYWORD = re.compile(
    r"(?<![\w.])(?P<name>[a-z]\w*)=(?P<value>'[^']*'|\"[^\"]*\"|\{\}|[A-Z0-9]\w*\b|(?=[\s.,;)]|$))"
)

#: Keywords in messages of the data layer, with other names that an interface may use.
_KEYWORDS: dict[str, tuple[str, ...]] = {
    "config_name": ("source_config", "dataset_config_name"),
    "noise": ("inject_noise",),
    **dict.fromkeys(
        (
            *("split", "image_column", "caption_column", "id_column", "text_column"),
            *("label_column", "image_label_column", "text_label_column", "source", "noise_index"),
            *("objects_from", "overwrite", "on_bad_image", "per_device_train_batch_size"),
        ),
        (),
    ),
}


class DatasetError(ValueError):
    """A dataset, or one of its files, violates the column contract.

    Messages name options as Python keywords; see `spell_options`.
    """


def quoted(value: object) -> str:
    """Formats a value for a message, on one short line.

    Args:
        value: Any value; long texts are shortened to their start and length.
    """
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]!r}... ({len(value):,} characters)"
    return shortened(repr(value))


def shortened(text: str) -> str:
    """Shortens a long text to its start and length."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)"


def quoted_list(values: Iterable[object], most: int = 20) -> str:
    """Formats values for a message, each with `quoted`.

    Args:
        values: Any values.
        most: Maximum number of values in the message.
    """
    items = list(values)
    more = f", ... ({len(items)} in all)" if len(items) > most else ""
    return f"[{', '.join(map(quoted, items[:most]))}{more}]"


def spell_options(message: str, options: Mapping[str, str | None]) -> str:
    """Replaces the options in a message by an interface's names for them.

    Args:
        message: A message with options as Python keywords, `image_column=NAME`.
        options: For each keyword, the interface's name: `--image-column`, another keyword
            (`text_column`), an option with an equivalent value (`--bad skip`), or None if the
            interface has no such option.

    Returns:
        The message with `--image-column NAME`. Keywords that are not in `options` stay; sentences
        with keywords that are None are removed.
    """

    def spell(match: re.Match[str]) -> str:
        name, value = options.get(match["name"]), match["value"]
        if name is None:
            return match[0]
        if not name.startswith("-"):
            return f"{name}={value}"
        return f"{name} {value}" if value and " " not in name else name

    sentences = _SENTENCE_END.split(message)
    applicable = [
        sentence
        for sentence in sentences
        if all(options.get(match["name"], "") is not None for match in _KEYWORD.finditer(sentence))
    ]
    return _KEYWORD.sub(spell, " ".join(applicable or sentences))


def spelling(names: Mapping[str, str]) -> Callable[[str], str]:
    """Returns a function that rewrites the options in a message for an interface.

    Args:
        names: The interface's spelling of each option, by the option's name in scripts.
    """
    keywords = {
        keyword: next((names[name] for name in (*others, keyword) if name in names), None)
        for keyword, others in _KEYWORDS.items()
    }
    on_bad_image = names.get("on_bad_image")
    keywords["left_out"] = f"{on_bad_image} skip" if on_bad_image else None
    return lambda message: spell_options(spelled(message, names), keywords)


def script_spelling(*kinds: Any) -> Callable[[str], str]:
    """Returns `spelling` for a script with the options of some dataclasses."""
    fields = (field.name for kind in kinds for field in dataclasses.fields(kind))
    return spelling({name: f"--{name}" for name in fields})
