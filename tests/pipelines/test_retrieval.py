"""The pipeline that searches images by text and texts by image."""

import json
from typing import Any

import datasets
import numpy as np
import pytest
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

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
)
from noisy_xmodal.data import DatasetError
from noisy_xmodal.evaluation import score_matrix
from noisy_xmodal.pipelines import ImageTextRetrievalPipeline, retrieval
from tiny_backbones import CAPTIONS, backbone_config, picture_dataset, picture_processor, pictures
from tiny_rcar import rcar_config

TASK = "image-text-retrieval"
SMALL = {"hidden_sizes": [6], "embedding_size": 4, "n_classes": 3}


@pytest.fixture
def pairs(tiny_regions_dataset) -> PairDataset:
    return PairDataset(tiny_regions_dataset(7, 2))


@pytest.fixture(params=["cosine", "scan_t2i", "sgr", "rcar"])
def search(request, tiny_config, tiny_processor) -> ImageTextRetrievalPipeline:
    model: Any = (
        RcarModel(rcar_config())
        if request.param == "rcar"
        else NcrModel(tiny_config(NcrConfig, request.param))
    )
    return pipeline(TASK, model=model, processor=tiny_processor, device="cpu")


def ranked(scores: np.ndarray, top_k: int) -> list[list[int]]:
    return [np.argsort(-row, kind="stable")[:top_k].tolist() for row in scores]


def check(search, answers, scores: np.ndarray, top_k: int) -> None:
    """The answers to each query against its row of a score matrix; RCAR's are probabilities."""
    assert [[a["index"] for a in found] for found in answers] == ranked(scores, top_k)
    for found, row in zip(answers, scores, strict=True):
        own = row[[answer["index"] for answer in found]]
        own = 1 / (1 + np.exp(-own)) if isinstance(search.model, RcarModel) else own
        np.testing.assert_allclose([answer["score"] for answer in found], own, atol=1e-5)


@pytest.mark.parametrize("batch_size", [2, 32])
def test_images_are_found_by_text(search, pairs, batch_size):
    texts = pairs.captions()[:5]
    scores = score_matrix(search.model, search.processor, pairs.images, texts).T
    assert search.index(images=pairs.images[:], batch_size=batch_size) is search
    for found in (
        search(texts, top_k=3),
        search(text=texts, top_k=3, batch_size=4),
        list(search((text for text in texts), top_k=3)),
        list(search(KeyDataset([{"words": text} for text in texts], "words"), top_k=3)),
        [search(text=text, top_k=3) for text in texts],
    ):
        check(search, found, scores, 3)
    assert all(set(answer) == {"index", "id", "score"} for answer in found[0])
    assert len(search(texts[0])) == 5
    assert len(search(texts[0], top_k=100)) == 7


@pytest.mark.parametrize("batch_size", [3, 32])
def test_texts_are_found_by_image(search, pairs, batch_size):
    texts = pairs.captions()
    scores = score_matrix(search.model, search.processor, pairs.images, texts)
    search.index(texts=texts, batch_size=batch_size)
    images = pairs.images[:]
    for found in (search(images, top_k=4), search(image=images, top_k=4, batch_size=3)):
        check(search, found, scores, 4)
    check(search, [search(image=images[2], top_k=4)], scores[2:3], 4)
    assert all(answer["text"] == texts[answer["index"]] for answer in found[0])


def test_a_dataset_is_indexed_with_its_ids(search, pairs):
    rows, texts = pairs.dataset, pairs.captions()
    scores = score_matrix(search.model, search.processor, pairs.images, texts)
    found = search.index(images=rows)(texts[0], top_k=2)
    check(search, [found], scores.T[:1], 2)
    assert [answer["id"] for answer in found] == [f"image {answer['index']}" for answer in found]
    found = search.index(texts=rows)(image=pairs.images[1], top_k=3)
    check(search, [found], scores[1:2], 3)
    for answer in found:
        assert answer["text"] == texts[answer["index"]]
        assert answer["id"] == f"image {pairs.row_of_pair[answer['index']]}"
    for side in ("images", "texts"):
        with pytest.raises(DatasetError, match="Load it without streaming=True"):
            search.index(**{side: rows.to_iterable_dataset()})
    named = search.index(images=rows, ids=np.arange(7) + 10)(texts[0], top_k=2)
    assert [answer["id"] - 10 for answer in named] == [answer["index"] for answer in named]


def test_saved_it_loads_from_the_folder(search, pairs, tmp_path):
    search.save_pretrained(tmp_path)
    loaded = pipeline(TASK, model=str(tmp_path), device="cpu", top_k=2)
    assert type(loaded) is ImageTextRetrievalPipeline
    assert type(loaded.model) is type(search.model)
    assert "custom_pipelines" not in json.loads((tmp_path / "config.json").read_text())
    images, text = pairs.images[:], pairs.captions()[0]
    expected = search.index(images=images)(text, top_k=2)
    found = loaded.index(images=images)(text)
    assert [answer["index"] for answer in found] == [answer["index"] for answer in expected]


def test_of_equal_answers_the_first_comes_first(search, pairs):
    image, text = pairs.images[3], pairs.captions()[0]
    found = search.index(images=[image] * 40)(text, top_k=3)
    assert [answer["index"] for answer in found] == [0, 1, 2]


def test_nothing_or_the_wrong_side_is_named(search, pairs):
    images, texts = pairs.images[:], pairs.captions()
    with pytest.raises(ValueError, match="nothing is indexed: call index"):
        search("red cat")
    for kwargs, message in (
        ({}, "either `images` or `texts`"),
        ({"images": images, "texts": texts}, "either `images` or `texts`"),
        ({"images": []}, "no images to index"),
        ({"texts": []}, "no texts to index"),
        ({"texts": "red cat"}, "`texts` is one str: pass a list"),
        ({"images": images, "ids": [1, 2]}, "2 ids for 7 images"),
        ({"images": images, "batch_size": 0}, "`batch_size` is 0"),
        ({"images": pairs.dataset.remove_columns("regions")}, "no column 'regions' or 'image'"),
    ):
        with pytest.raises(ValueError, match=message):
            search.index(**kwargs)
    search.index(images=images)
    for args, kwargs, message in (
        ((), {"image": images[0]}, "images are indexed: search with `text=`"),
        ((), {}, "pass one query or list of queries, `text=`"),
        (("red",), {"text": "cat"}, "pass one query or list of queries"),
        (([],), {}, "the list of inputs is empty"),
        ((images[0],), {}, "a query must be a text: found a ndarray"),
        (("red",), {"top_k": 0}, "`top_k` is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            search(*args, **kwargs)
    with pytest.raises(TypeError, match=r"has no option \['topk'\]"):
        search("red", topk=1)
    search.index(texts=texts)
    with pytest.raises(ValueError, match="texts are indexed: search with `image=`"):
        search(text="red")


def test_a_broken_file_in_a_collection_is_named(search, tmp_path):
    good, bad = tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(good, np.ones((2, 4)))
    with pytest.raises(FileNotFoundError, match=r"image 1: there is no file .*b\.npy") as error:
        search.index(images=[good, good, good, bad], batch_size=2)
    assert "images 2 to 3" in error.value.__notes__[0]


def test_many_joint_passes_are_warned_of(tiny_processor, pairs, monkeypatch, recwarn):
    monkeypatch.setattr(retrieval, "_MAX_PASSES", 6)
    search = pipeline(TASK, model=RcarModel(rcar_config()), processor=tiny_processor)
    search.index(images=pairs.images[:6])("red cat")
    assert not [w for w in recwarn if "joint passes" in str(w.message)]
    search.index(images=pairs.images[:7])
    with pytest.warns(UserWarning, match="RcarModel makes 7 joint passes for each query"):
        search("red cat")


def test_pictures_are_searched_by_words_and_words_by_pictures(tiny_config, tmp_path):
    rows, processor = picture_dataset(5), picture_processor()
    model = CommonSpaceModel(CommonSpaceConfig(backbone_config=backbone_config("clip"), **SMALL))
    search = pipeline(TASK, model=model, processor=processor)
    scores = score_matrix(model, processor, pictures(5), CAPTIONS)
    paths = [tmp_path / f"{row}.png" for row in range(5)]
    for path, picture in zip(paths, pictures(5), strict=True):
        picture.save(path)
    for images in (rows, paths, pictures(5), (picture for picture in pictures(5))):
        check(search, search.index(images=images, batch_size=2)(CAPTIONS, top_k=2), scores.T, 2)
    search.index(texts=rows)
    check(
        search, [search(str(paths[1]), top_k=2), search(pictures(5)[1], top_k=2)], scores[[1, 1]], 2
    )


def test_vectors_are_searched_by_vectors():
    rng = np.random.default_rng(0)
    images, texts = rng.standard_normal((8, 6)), rng.standard_normal((5, 5))
    model = CommonSpaceModel(CommonSpaceConfig(image_size=6, text_size=5, **SMALL)).eval()
    search = pipeline(TASK, model=model, processor=CommonSpaceProcessor())
    output = model(**CommonSpaceProcessor()(image_features=images, text_features=texts))
    scores = output.logits_per_image.detach().numpy()
    rows = datasets.Dataset.from_dict({"image_features": images.tolist()})
    for given in (images, list(images), rows):
        check(search, search.index(images=given, batch_size=3)(list(texts), top_k=3), scores.T, 3)
    check(search, [search.index(texts=texts)(image=images[0], top_k=3)], scores[:1], 3)
    with pytest.raises(ValueError, match="this model reads feature vectors"):
        search.index(texts=["a red cat"])


@pytest.mark.parametrize("images", ["regions", "pixels"])
def test_half_precision_is_read(tiny_config, tiny_processor, pairs, images):
    model = MatchingModel(tiny_config(MatchingConfig, images=images)).bfloat16()
    given, processor = pairs.images[:], tiny_processor
    if images == "pixels":
        given, processor = pictures(7), picture_processor()
    search = pipeline(TASK, model=model, processor=processor)
    found = search.index(images=given)("red cat", top_k=7)
    scores = score_matrix(model, processor, given, ["red cat"])[:, 0]
    np.testing.assert_allclose([answer["score"] for answer in found], np.sort(scores)[::-1], 1e-2)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("side", ["image", "text"])
def test_a_retrievers_shortlist_is_put_in_order(
    tiny_config, tiny_processor, pairs, side, batch_size
):
    images, texts = pairs.images[:], pairs.captions()[:7]
    cheap = MatchingModel(tiny_config(MatchingConfig))
    model = RcarModel(rcar_config())
    retriever = pipeline(TASK, model=cheap, processor=tiny_processor)
    search = pipeline(TASK, model=model, processor=tiny_processor, retriever=retriever, shortlist=3)
    scores = [score_matrix(one, tiny_processor, images, texts) for one in (cheap, model)]
    kept, queries = (images, texts) if side == "image" else (texts, images)
    shortlists, fine = (own.T if side == "image" else own for own in scores)
    search.index(**{f"{side}s": kept}, batch_size=2)
    found = search(queries, batch_size=batch_size)
    lists = ranked(shortlists, 3)
    only = np.full_like(fine, -np.inf)
    for row, best in enumerate(lists):
        only[row, best] = fine[row, best]
    assert lists != ranked(fine, 3)
    check(search, found, only, 3)
    check(search, [search(queries[2], top_k=2)], only[2:3], 2)
    retriever.index(**{f"{side}s": kept[:3]})  # an index of its own
    check(search, search(queries), only, 3)


def test_a_retriever_that_cannot_be_used_is_refused(tiny_config, tiny_processor):
    model = MatchingModel(tiny_config(MatchingConfig))
    cheap = pipeline(TASK, model=model, processor=tiny_processor)
    rcar = {"model": RcarModel(rcar_config()), "processor": tiny_processor}
    with pytest.raises(TypeError, match="MatchingModel makes no joint passes"):
        pipeline(TASK, model=model, processor=tiny_processor, retriever=cheap)
    with pytest.raises(TypeError, match="`retriever` is a MatchingModel: give a pipeline"):
        pipeline(TASK, **rcar, retriever=model)
    with pytest.raises(ValueError, match="`shortlist` is 0"):
        pipeline(TASK, **rcar, retriever=cheap, shortlist=0)
