"""How messages quote values, and how they name options.

Messages write an option as a Python keyword with its value: `image_column=NAME`, `split='dev'`. An
interface where the option has another name puts that in its place with `spell_options`.
"""

import re
from collections.abc import Iterable, Mapping

_LONGEST = 120
_SENTENCE_END = re.compile(r"(?<=\.) (?=[A-Z])")
_KEYWORD = re.compile(
    r"(?<![\w.])(?P<name>[a-z]\w*)=(?P<value>'[^']*'|\"[^\"]*\"|\{\}|[A-Z0-9]\w*\b|(?=[\s.,;)]|$))"
)


def quoted(value: object) -> str:
    """A value of the data as a message shows it: on one line, and short.

    Args:
        value: Any value; of a longer text the start is shown, and its length.
    """
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]!r}... ({len(value):,} characters)"
    return shortened(repr(value))


def shortened(text: str) -> str:
    """A text, or the start of a longer one and its length."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)"


def quoted_list(values: Iterable[object], most: int = 20) -> str:
    """Values of the data, each as by `quoted`.

    Args:
        values: Any values.
        most: How many are shown.
    """
    listed = list(values)
    more = f", ... ({len(listed)} in all)" if len(listed) > most else ""
    return f"[{', '.join(map(quoted, listed[:most]))}{more}]"


def spell_options(message: str, options: Mapping[str, str | None]) -> str:
    """Names the options of a message as an interface does.

    Args:
        message: A message with options as Python keywords, `image_column=NAME`.
        options: By keyword what the interface calls it: `--image-column`, another keyword
            (`text_column`), an option with the value that stands for this one (`--bad skip`), or
            None where the interface has no such option.

    Returns:
        The message: `--image-column NAME`. Keywords that are not in `options` stay; sentences about
        those that are None are left out.
    """

    def spelled(found: re.Match[str]) -> str:
        name, value = options.get(found["name"]), found["value"]
        if name is None:
            return found[0]
        if not name.startswith("-"):
            return f"{name}={value}"
        return f"{name} {value}" if value and " " not in name else name

    sentences = _SENTENCE_END.split(message)
    offered = [
        sentence
        for sentence in sentences
        if all(options.get(found["name"], "") is not None for found in _KEYWORD.finditer(sentence))
    ]
    return _KEYWORD.sub(spelled, " ".join(offered or sentences))
