"""Text that is safe to print on a terminal: it moves no cursor and sets no colour."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

#: Escape sequences of terminals: CSI ... letter, OSC ... end, ESC and one character.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
#: Marks that change the direction of the text after them.
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_SINGLE_MARKS = "\u200e\u200f\u061c"
_LINE_ENDS = "\n\r\t\v\f\x85\u2028\u2029"


def plain(text: object) -> str:
    """Text as one line without anything that a terminal interprets.

    Args:
        text: A caption, a file name, a query, an error, or a line that contains one.

    Returns:
        The text without escape sequences, control characters and direction marks. Line ends and
        tabs become spaces, and surrogates (of file names that are not UTF-8) `\ufffd`.
    """
    return "".join(_shown(char) for char in _SEQUENCES.sub("", str(text)))


def plain_values(value: Any, spell: Callable[[str], str] = str) -> Any:
    """The result of a command with all strings made `plain`, for printing.

    Args:
        value: Strings, numbers, and lists and dicts of them.
        spell: Applied to each string first.
    """
    if isinstance(value, str):
        return plain(spell(value))
    if isinstance(value, dict):
        return {name: plain_values(each, spell) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(each, spell) for each in value]
    return value


def _shown(char: str) -> str:
    if char in _LINE_ENDS:
        return " "
    kind = unicodedata.category(char)
    if kind == "Cs":
        return "\ufffd"
    if kind == "Cc" or char in _SINGLE_MARKS or unicodedata.bidirectional(char) in _DIRECTIONS:
        return ""
    return char
