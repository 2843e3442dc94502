"""What is printed holds nothing that a terminal would obey."""

import pytest

from noisy_xmodal.entry.terminal import plain, plain_values


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a red cat", "a red cat"),
        ("\x1b[31mred\x1b[0m cat", "red cat"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b]0;title\x07name", "name"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("\x1b(0graphics\x1bc", "graphics"),
        ("half \x1b[", "half "),
        ("bell\x07 back\x08 null\x00 delete\x7f", "bell back null delete"),
        ("two\nlines\r\nand\ttab\u2028end", "two lines  and tab end"),
        ("\u202egnp.exe\u202c and \u2066one\u2069 \u200f\u061c", "gnp.exe and one "),
        ("na\udce9me", "na\ufffdme"),
        ("\N{HEBREW LETTER ALEF}\N{ARABIC LETTER ALEF} \N{SNOWMAN}", "\u05d0\u0627 \u2603"),
        ("\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"),  # joined emoji stay one
        ("[bold]no markup[/bold]", "[bold]no markup[/bold]"),
    ],
)
def test_a_text_becomes_one_plain_line(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_all_strings_of_a_result_and_nothing_else() -> None:
    found = {"a": ["\x1b[1mx", 1, None], "b": {"c": ("y\n", True)}, "d": 0.5}
    assert plain_values(found, str.upper) == {
        "a": ["X", 1, None],
        "b": {"c": ["Y ", True]},
        "d": 0.5,
    }
