"""The pipeline that says whether an image and a text match."""

from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers import pipeline

from noisy_xmodal import (
    CommonSpaceConfig,
    CommonSpaceModel,
    CommonSpaceProcessor,
    MatchingConfig,
    MatchingModel,
    NcrConfig,
    NcrModel,
    PairDataset,
    RcarModel,
    RcarProcessor,
)
from noisy_xmodal.evaluation import score_matrix
from noisy_xmodal.pipelines import ImageTextMatchPipeline
from tiny_backbones import CAPTIONS, backbone_config, picture_processor, pictures
from tiny_rcar import rcar_config

SMALL = {"hidden_sizes": [6], "embedding_size": 4, "n_classes": 3}
LINE = {"match_scale": 20.0, "match_bias": -1.5}


@pytest.fixture
def given(tiny_regions_dataset) -> list[dict[str, Any]]:
    """Seven pairs of ragged regions and texts."""
    pairs = PairDataset(tiny_regions_dataset(7, 1))
    return [
        {"image": image, "text": text}
        for image, text in zip(pairs.images[:], pairs.captions(), strict=True)
    ]


def expected_scores(model, processor, given) -> np.ndarray:
    """From the whole score matrix."""
    images, texts = [pair["image"] for pair in given], [pair["text"] for pair in given]
    own = score_matrix(model, processor, images, texts).diagonal().astype(np.float64)
    if not hasattr(model.config, "match_scale"):
        return 1 / (1 + np.exp(-own))
    return 1 / (1 + np.exp(-model.config.match_scale * own - model.config.match_bias))


@pytest.fixture(params=["cosine", "sgr", "rcar"])
def match(request, tiny_config, tiny_processor) -> ImageTextMatchPipeline:
    if request.param == "rcar":
        model: Any = RcarModel(rcar_config())
        tiny_processor = RcarProcessor(tiny_processor.image_processor, tiny_processor.tokenizer)
    else:
        bias = -1.5 if request.param == "cosine" else -10.0
        line = {"match_scale": 20.0, "match_bias": bias}
        model = NcrModel(tiny_config(NcrConfig, request.param, **line))
    return pipeline("image-text-match", model=model, processor=tiny_processor, device="cpu")


def test_scores_are_probabilities_however_pairs_are_given(match, given):
    expected = expected_scores(match.model, match.processor, given)
    assert expected.std() > 1e-4
    images, texts = ([pair[name] for pair in given] for name in ("image", "text"))
    ways = {
        "list": match(given),
        "tuple": match(tuple(given)),
        "batches": match(given, batch_size=3),
        "one batch": match(given, batch_size=50),
        "generator": list(match(pair for pair in given)),
        "lists": match(image=images, text=texts, batch_size=2),
        "single": [match(pair) for pair in given],
        "named": [match(image=i, text=t) for i, t in zip(images, texts, strict=True)],
    }
    for way, found in ways.items():
        assert [set(answer) for answer in found] == [{"score", "label"}] * 7, way
        scores = [answer["score"] for answer in found]
        np.testing.assert_allclose(scores, expected, atol=1e-5, err_msg=way)


def test_the_threshold_decides_the_label(match, given):
    scores = [answer["score"] for answer in match(given)]
    for threshold in (0.0, float(np.median(scores)), 1.0):
        labels = [answer["label"] for answer in match(given, threshold=threshold)]
        assert labels == ["match" if p >= threshold else "mismatch" for p in scores]
    usual = [answer["label"] for answer in match(given)]
    assert usual == ["match" if p >= 0.5 else "mismatch" for p in scores]
    strict = pipeline(
        "image-text-match", model=match.model, processor=match.processor, threshold=1.0
    )
    assert {answer["label"] for answer in strict(given)} == {"mismatch"}


def test_saved_it_loads_from_the_folder(match, given, tmp_path):
    match.save_pretrained(tmp_path)
    loaded = pipeline("image-text-match", model=str(tmp_path), device="cpu")
    assert type(loaded) is ImageTextMatchPipeline
    assert type(loaded.model) is type(match.model)
    assert type(loaded.processor) is type(match.processor)
    np.testing.assert_allclose(
        [answer["score"] for answer in loaded(given)],
        [answer["score"] for answer in match(given)],
        atol=1e-5,
    )


def test_the_model_scores_in_eval_mode(tiny_config, tiny_processor, given):
    model = MatchingModel(tiny_config(MatchingConfig, dropout=0.5, **LINE))
    match = pipeline("image-text-match", model=model, processor=tiny_processor)
    first = match(given)
    model.train()
    assert match(given) == first


def test_scores_that_are_not_calibrated_are_refused(tiny_config, tiny_processor, given):
    model = NcrModel(tiny_config(NcrConfig))
    match = pipeline("image-text-match", model=model, processor=tiny_processor)
    with pytest.raises(ValueError, match=r"NcrModel are not calibrated: call noisy_xmodal\.eval"):
        match(given)
    model.config.match_scale, model.config.match_bias = 1.0, 0.0
    assert len(match(given)) == 7


def test_what_is_no_pair_is_refused(match, given):
    pair = given[0]
    wrong: list[tuple[tuple, dict, str]] = [
        ((), {}, "both `image` and `text`"),
        ((), {"image": pair["image"]}, "both `image` and `text`"),
        ((pair,), {"text": "red"}, "not both"),
        (([],), {}, "the list of inputs is empty"),
        (({"image": pair["image"]},), {}, r"a pair must be .*found \['image'\]"),
        ((["red cat"],), {}, "a pair must be .*found str"),
        ((), {"image": pair["image"], "text": ["a", "b"]}, "there are 1 images and 2 texts"),
        (({"image": pair["image"], "text": ["a", "b"]},), {}, "a pair has one text"),
        ((pair,), {"threshold": 1.5}, "`threshold` is 1.5"),
    ]
    for args, kwargs, message in wrong:
        with pytest.raises(ValueError, match=message):
            match(*args, **kwargs)
    with pytest.raises(TypeError, match=r"has no option \['treshold'\]"):
        match(pair, treshold=0.3)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.npy"):
        match(image="none.npy", text="red")


def test_what_is_no_matching_model_is_refused(tiny_config, tiny_processor):
    model = MatchingModel(tiny_config(MatchingConfig))
    with pytest.raises(TypeError, match="Linear does not compare images with texts"):
        ImageTextMatchPipeline(model=torch.nn.Linear(1, 1), processor=tiny_processor)
    with pytest.raises(ValueError, match="the MatchingModel has no processor"):
        ImageTextMatchPipeline(model=model)


def test_pictures_may_be_files_and_rows_of_a_dataset(tmp_path):
    model = CommonSpaceModel(
        CommonSpaceConfig(backbone_config=backbone_config("clip"), **SMALL, **LINE)
    )
    processor, some = picture_processor(), pictures(5)
    match = pipeline("image-text-match", model=model, processor=processor)
    given = [{"image": p, "text": t} for p, t in zip(some, CAPTIONS, strict=True)]
    expected = expected_scores(model, processor, given)
    paths = [str(tmp_path / f"{row}.png") for row in range(5)]
    for picture, path in zip(some, paths, strict=True):
        picture.save(path)
    rows = datasets.Dataset.from_dict({"image": paths, "text": CAPTIONS})
    as_pictures = rows.cast_column("image", datasets.Image())
    for found in (match(given), match(rows, batch_size=2), match(as_pictures, batch_size=2)):
        np.testing.assert_allclose([answer["score"] for answer in found], expected, atol=1e-5)


def test_vectors_stand_in_for_images_and_texts():
    rng = np.random.default_rng(0)
    images, texts = rng.standard_normal((4, 6)), rng.standard_normal((4, 5))
    model = CommonSpaceModel(CommonSpaceConfig(image_size=6, text_size=5, **SMALL, **LINE)).eval()
    match = pipeline("image-text-match", model=model, processor=CommonSpaceProcessor())
    given = [{"image": i, "text": t} for i, t in zip(images, texts, strict=True)]
    with torch.no_grad():
        cosine = model(**CommonSpaceProcessor()(image_features=images, text_features=texts))
    own = cosine.logits_per_image.diagonal().numpy()
    expected = 1 / (1 + np.exp(-20.0 * own + 1.5))
    for size in (1, 3):
        found = [answer["score"] for answer in match(given, batch_size=size)]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(ValueError, match="this model reads feature vectors"):
        match(image=images[0], text="a red cat")


def test_a_device_that_is_not_there_is_refused(tiny_processor: Any, tiny_config: Any) -> None:
    with pytest.raises(ValueError, match="no device 'gpu' here"):
        ImageTextMatchPipeline(MatchingModel(tiny_config()), tiny_processor, device="gpu")
