"""Options of a call mean what they mean to transformers' own processors, or are refused."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessorPil, CLIPProcessor

from noisy_xmodal import (
    CommonSpaceProcessor,
    DmcmProcessor,
    MatchingProcessor,
    NcrProcessor,
    RcarProcessor,
    RegionFeatureProcessor,
    train_word_tokenizer,
)
from tiny_backbones import CAPTIONS, pictures

SMALL = {"height": 16, "width": 16}
TEXTS = ["a red cat", "one blue dog the old bird"]
OWN = [MatchingProcessor, NcrProcessor, RcarProcessor, CommonSpaceProcessor, DmcmProcessor]


def parts() -> tuple[Any, Any]:
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    return CLIPImageProcessorPil(**sizes), train_word_tokenizer(CAPTIONS, max_length=12)


def floats() -> list[torch.Tensor]:
    """The pictures as torchvision's ToTensor gives them."""
    arrays = [np.array(picture) for picture in pictures(2)]
    return [torch.from_numpy(array).permute(2, 0, 1).float() / 255 for array in arrays]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"size": SMALL, "do_center_crop": False},
    {"size": 16, "crop_size": 16},
    {"images_kwargs": {"size": SMALL, "do_center_crop": False}},
    {"do_rescale": False},
    {"images_kwargs": {"do_rescale": False, "do_normalize": False}},
    {"do_normalize": False, "do_resize": False, "crop_size": SMALL},
    {"rescale_factor": 1 / 127, "image_mean": [0.1] * 3, "image_std": [2.0] * 3, "resample": 0},
    {"data_format": "channels_last"},
    {"padding": "max_length", "max_length": 20},
    {"text_kwargs": {"padding": "max_length", "max_length": 20}},
    {"max_length": 4},
    {"add_special_tokens": False, "padding_side": "left"},
    {"return_attention_mask": False},
    {"return_special_tokens_mask": True, "return_length": True},
    {"return_token_type_ids": True},
    {"return_tensors": "np"},
    {"return_tensors": None},
    {"return_tensors": None, "padding": False},
    {"common_kwargs": {"return_tensors": "np"}},
    {"text_kwargs": {"max_length": 4}, "images_kwargs": {"do_resize": False}, "crop_size": 16},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("make", OWN)
def test_options_do_what_they_do_to_a_processor_of_transformers(make: Any, options: dict) -> None:
    defaults = {"padding": True, "truncation": True, "return_token_type_ids": False}
    own_text = options.get("text_kwargs", {})
    known = {name: value for name, value in defaults.items() if name not in own_text}
    if "common_kwargs" not in options:
        known["return_tensors"] = "pt"
    expected = CLIPProcessor(*parts())(images=pictures(2), text=TEXTS, **(known | options))
    found = make(*parts())(images=pictures(2), text=TEXTS, **options)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert type(found[name]) is type(value), name
        for one, other in zip(found[name], value, strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("make", OWN)
def test_numbers_from_0_to_1_are_not_scaled_twice(make: Any) -> None:
    processor = make(*parts())
    expected = processor(images=pictures(2))["pixel_values"]
    for options in ({}, {"do_rescale": False}, {"images_kwargs": {"do_rescale": False}}):
        found = processor(images=floats(), **options)["pixel_values"]
        torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    own = processor.image_processor(floats(), do_rescale=False, return_tensors="pt")
    assert torch.equal(
        processor(images=floats(), do_rescale=False)["pixel_values"], own["pixel_values"]
    )


def test_a_text_alone_stays_alone_without_tensors() -> None:
    expected = CLIPProcessor(*parts())(text="a red cat")
    found = MatchingProcessor(*parts())(text="a red cat", return_tensors=None)
    assert dict(found) == dict(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sizes": 3},
            "`sizes` is not an option of this processor. Texts take add_special_tokens, .*size",
        ),
        ({"images_kwargs": {"padding": True}}, "`padding` in `images_kwargs` is not an option"),
        ({"text_kwargs": {"size": 3}}, "`size` in `text_kwargs` is not an option"),
        ({"common_kwargs": {"size": 3}}, "`size` in `common_kwargs` is not an option"),
        ({"text_kwargs": 3}, "`text_kwargs` is a int: pass a dict"),
        ({"videos_kwargs": {"fps": 1}}, "`videos_kwargs` is not an option"),
        ({"audio": [0.0]}, "`audio` is not an option"),
        ({"return_mm_token_type_ids": True}, "`return_mm_token_type_ids` is not an option"),
        ({"size": SMALL, "images_kwargs": {"size": SMALL}}, "`size` is passed twice"),
        ({"return_tensors": "tf"}, "tf"),
        ({"text": []}, "there is no text"),
        ({"text": ["a cat", 3]}, "text 1 is a int: pass strings"),
        ({"text": [["a", "cat"]], "is_split_into_words": True}, "text 0 is a list: pass strings"),
        ({"text": b"a cat"}, "`text` is one bytes"),
        ({"images": []}, "there is no image"),
        ({"device": "cuda"}, r"`device` is 'cuda': .* on the CPU\. Leave it out, .*\.to\(device\)"),
        ({"images_kwargs": {"device": torch.device("meta")}}, "`device` is 'meta'"),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [MatchingProcessor, CommonSpaceProcessor])
def test_what_has_no_meaning_is_refused(make: Any, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(*parts())(**({"images": pictures(1), "text": TEXTS} | options))


def test_texts_may_be_any_sequence() -> None:
    processor = MatchingProcessor(*parts())
    expected = processor(text=TEXTS)["input_ids"]
    for texts in (tuple(TEXTS), np.array(TEXTS), iter(TEXTS)):
        assert torch.equal(processor(text=texts)["input_ids"], expected)


def test_region_features_know_no_options_of_pictures() -> None:
    processor = MatchingProcessor(RegionFeatureProcessor(4), parts()[1])
    regions = [np.ones((2, 4)), np.ones((3, 4))]
    found = processor(images=regions, text=TEXTS, return_tensors="np", max_length=4)
    assert {name: value.shape for name, value in found.items()} == {
        "regions": (2, 3, 4),
        "region_mask": (2, 3),
        "input_ids": (2, 4),
        "attention_mask": (2, 4),
    }
    assert all(isinstance(value, np.ndarray) for value in found.values())
    assert found["regions"].dtype == np.float32
    for options in ({"do_rescale": False}, {"images_kwargs": {"size": SMALL}}):
        with pytest.raises(ValueError, match=r"is not an option .* images take return_tensors\."):
            processor(images=regions, **options)
    with pytest.raises(ValueError, match="`size` is not an option of region features"):
        processor.image_processor(regions, size=SMALL)


def test_vectors_know_return_tensors_alone() -> None:
    processor, vectors = CommonSpaceProcessor(), np.ones((2, 3))
    found = processor(image_features=vectors, text_features=vectors, return_tensors="np")
    assert all(isinstance(value, np.ndarray) for value in found.values())
    assert isinstance(processor(image_features=vectors)["image_features"], torch.Tensor)
    with pytest.raises(ValueError, match="`padding` is not an option"):
        processor(image_features=vectors, padding=True)
