"""Kept token ids give the batches of the processor, and each text is tokenized once."""

from typing import Any

import pytest
import torch

from noisy_xmodal.models.matching.processing_matching import MatchingProcessor
from noisy_xmodal.modules.kept_tokens import KeptTokens
from tiny_backbones import CAPTIONS, image_processor, word_tokenizer

LONG = "a red cat one blue dog the old cat a small bird one red bird"
BATCHES = [CAPTIONS[:3], [CAPTIONS[4], LONG, CAPTIONS[0], CAPTIONS[4]], ["bird"]]


class CountingProcessor(MatchingProcessor):
    """Counts the texts that it tokenizes."""

    n_texts = 0

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> Any:
        self.n_texts += len(text)
        return super().__call__(images, text, **kwargs)


def processor(padding: bool | str = True, **options: Any) -> CountingProcessor:
    tokenizer = word_tokenizer()
    for name, value in options.items():
        setattr(tokenizer, name, value)
    return CountingProcessor(image_processor("clip"), tokenizer, padding)


def check_batches(kept: KeptTokens, plain: CountingProcessor) -> None:
    """Compares two epochs of batches, values and types."""
    for texts in BATCHES * 2:
        expected, batch = plain(text=texts, return_tensors="pt"), kept(texts)
        assert list(batch) == list(expected)
        for name, values in expected.items():
            assert batch[name].dtype == values.dtype
            assert torch.equal(batch[name], values), name


MASKED, BARE = ["input_ids", "attention_mask"], ["input_ids"]


@pytest.mark.parametrize(
    ("padding", "names"), [(True, MASKED), ("max_length", MASKED), ("max_length", BARE)]
)
def test_equals_the_processor_and_tokenizes_once(padding: bool | str, names: list[str]) -> None:
    one = processor(padding, model_input_names=names)
    check_batches(KeptTokens(one), processor(padding, model_input_names=names))
    assert one.n_texts == len({text for texts in BATCHES for text in texts})


@pytest.mark.parametrize("option", [{"padding_side": "left"}, {"model_input_names": BARE}])
def test_texts_whose_padding_is_not_known_are_not_kept(option: dict[str, Any]) -> None:
    one = processor(**option)
    check_batches(KeptTokens(one), processor(**option))
    assert one.n_texts >= 2 * sum(map(len, BATCHES))


def test_memory_is_bounded() -> None:
    one = processor()
    check_batches(KeptTokens(one, max_texts=3), processor())
    assert one.n_texts == 3 + 2 * (len(BATCHES[1]) + 1)
