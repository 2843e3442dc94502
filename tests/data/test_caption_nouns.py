"""Object sets out of captions."""

import pytest

from noisy_xmodal.data.caption_nouns import caption_nouns

pytest.importorskip("textblob", reason="needs noisy-xmodal[nouns]")


def test_nouns_in_the_singular_that_pictures_share() -> None:
    captions = [
        ["Two dogs chase a ball in the snow .", "A dog and a ball"],
        ["A black dog in the snow"],
        ["the BALLS on a beach", "a beach with a zebra"],
        ["a beach"],
    ]
    assert caption_nouns(captions) == [
        ["ball", "dog", "snow"],
        ["dog", "snow"],
        ["ball", "beach"],
        ["beach"],
    ]


def test_nothing_in_common() -> None:
    assert caption_nouns([["a dog"], ["a cat"], []]) == [[], [], []]
    assert caption_nouns([]) == []
