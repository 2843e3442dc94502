"""The messages of the data layer name the options of the interface that prints them."""

import pytest

from noisy_xmodal.data import PairArguments
from noisy_xmodal.data.interfaces import script_spelling, spelling

BROKEN = "Line 3 has 2 fields. Correct it. To leave such pairs out: left_out={}."


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
