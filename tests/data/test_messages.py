"""Messages show values shortly, and options as the interface calls them."""

import pytest

from noisy_xmodal.arguments.pairs import PairArguments
from noisy_xmodal.data.messages import (
    quoted,
    quoted_list,
    script_spelling,
    spell_options,
    spelling,
)

COMMAND = {
    "image_column": "--image-column",
    "left_out": "--on-bad-image skip",
    "caption_column": "text_column",
    "overwrite": None,
}

BROKEN = "Line 3 has 2 fields. Correct it. To leave such pairs out: left_out={}."


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Say which with image_column='a b'.", "Say which with --image-column 'a b'."),
        ("Name it with image_column=NAME.", "Name it with --image-column NAME."),
        ("no column 'p' for image_column=; it is", "no column 'p' for --image-column; it is"),
        ("Leave it out with left_out={}.", "Leave it out with --on-bad-image skip."),
        ("Name it with caption_column=NAME.", "Name it with text_column=NAME."),
        ("X is full. Go. To replace it: overwrite=True.", "X is full. Go."),
        ("To replace it: overwrite=True.", "To replace it: overwrite=True."),
        ("Name it with id_column=NAME.", "Name it with id_column=NAME."),
        ("columns ['image_column']", "columns ['image_column']"),
        ("https://host/?image_column=x", "https://host/?image_column=x"),
    ],
)
def test_options_are_named_as_the_interface_does(message: str, expected: str) -> None:
    assert spell_options(message, COMMAND) == expected


@pytest.mark.parametrize("value", ["x" * 80_000, ["x" * 80_000], {"a": "\n" * 500}, b"x" * 500])
def test_long_values_are_shortened(value: object) -> None:
    assert len(quoted(value)) < 220
    assert "\n" not in quoted(value)
    assert "characters)" in quoted(value)
    assert len(quoted_list([value] * 1000)) < 220 * 21


@pytest.mark.parametrize("value", ["a.jpg", None, 7, "it's", ["a", "b"]])
def test_short_values_stay(value: object) -> None:
    assert quoted(value) == repr(value)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (BROKEN, "Line 3 has 2 fields. Correct it. To leave such pairs out: --on_bad_image skip."),
        ("Say which with image_column='a'.", "Say which with --image_column 'a'."),
        ("Choose one with config_name=NAME.", "Choose one with --dataset_config_name NAME."),
        ("X is full. Take another. To replace it: overwrite=True.", "X is full. Take another."),
    ],
)
def test_scripts(message: str, expected: str) -> None:
    assert script_spelling(PairArguments)(message) == expected


def test_an_interface_without_the_option_does_not_name_it() -> None:
    audit = spelling({"image_column": "--image-column", "dataset_config_name": "--config"})
    assert audit(BROKEN) == "Line 3 has 2 fields. Correct it."
    assert audit("Choose one with config_name=NAME.") == "Choose one with --config NAME."
    assert audit("It has none. Others: objects_from='tags' or 'captions'.") == "It has none."
