"""A string is not a list of its letters."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noisy_xmodal import MatchingConfig, MatchingModel, NcrProcessor, train_word_tokenizer
from noisy_xmodal.evaluation import pair_scores, score_matrix
from noisy_xmodal.evaluation.calibration import calibrate
from noisy_xmodal.evaluation.collection import Collection
from noisy_xmodal.models.matching.processing_matching import RegionFeatureProcessor
from noisy_xmodal.modules.list_inputs import check_list, tokenizer_input
from noisy_xmodal.modules.pair_scoring import text_inputs
from noisy_xmodal.pipelines import ImageTextRetrievalPipeline


@pytest.mark.parametrize(
    "one", ["a cat", b"a cat", Path("cat.jpg"), Image.new("L", (2, 2)), 3, None]
)
def test_one_thing_is_no_list(one: Any) -> None:
    with pytest.raises(ValueError, match=f"`texts` is one {type(one).__name__}: pass a list"):
        check_list(one, "texts")


def test_lists_of_all_kinds_are_lists() -> None:
    class OldSequence:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> str:
            return ["a cat"][index]

    for several in (["a"], ("a",), np.array(["a"]), iter("a"), {"a": 1}.keys(), OldSequence(), []):
        check_list(several, "texts")
    assert tokenizer_input(OldSequence()) == ["a cat"]
    assert tokenizer_input("a cat") == "a cat"


def test_everything_that_takes_texts_refuses_one_string(tiny_config, tmp_path: Path) -> None:
    config = tiny_config(MatchingConfig, images="regions")
    model = MatchingModel(config)
    processor = NcrProcessor(
        RegionFeatureProcessor(region_size=4), train_word_tokenizer(["a red cat"], max_length=6)
    )
    images, path = [np.ones((2, 4), np.float32)], tmp_path / "vectors.npy"
    for call in (
        lambda: score_matrix(model, processor, images, "a red cat"),
        lambda: score_matrix(model, processor, "cat.npy", ["a red cat"]),
        lambda: Collection.encode(model, processor, "text", "a red cat", path),
        lambda: Collection.encode(model, processor, "image", "cat.npy", path),
        lambda: pair_scores(model, processor, images * 9, "a red cat"),
        lambda: calibrate(model, processor, images * 9, "a red cat", list(range(9))),
        lambda: text_inputs(processor, "a red cat"),
        lambda: ImageTextRetrievalPipeline(model, processor).index(texts="a red cat"),
        lambda: ImageTextRetrievalPipeline(model, processor).index(images="cat.npy"),
        lambda: train_word_tokenizer("a red cat"),
    ):
        with pytest.raises(ValueError, match=r"`(texts|images|captions)` is one str: pass a list"):
            call()
