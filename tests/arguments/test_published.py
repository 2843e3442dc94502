"""Published recipes: every option reaches its script, and the README prints the data."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from example_scripts import script
from noisy_xmodal.arguments.published import (
    DATASETS,
    DEPARTURES,
    PUBLISHED,
    NoRecipeError,
    markdown,
    published_recipes,
)
from noisy_xmodal.data import DatasetError
from noisy_xmodal.methods import CAPTION_METHODS, LABEL_METHODS
from noisy_xmodal.methods.building import build_pair_model
from noisy_xmodal.methods.pair_options import append_read_boxes, fit_region_norm
from noisy_xmodal.modules.similarity import build_similarity
from noisy_xmodal.modules.similarity.scan import AGGREGATIONS
from noisy_xmodal.training.script import Choice, read_options

README = Path(__file__).parents[2] / "examples" / "README.md"
RECIPES = [(method, dataset) for method, recipes in PUBLISHED.items() for dataset in recipes]
SCRIPTS = {name: script(name) for name in ("train_ncr", "train_rcar", "train_dmcm")}


def typed(method: str, *words: str) -> dict[str, Any]:
    """The values of all options of the script that trains a method."""
    of_labels = method in LABEL_METHODS
    of_pairs = "train_rcar" if method == "rcar" else "train_ncr"
    module = SCRIPTS["train_dmcm" if of_labels else of_pairs]
    methods = LABEL_METHODS if of_labels else CAPTION_METHODS
    argv = ["--output_dir", "out", "--method", method, *words]
    *parts, _ = read_options(argv, module.KINDS, module.RECIPES, methods)
    return {name: value for part in parts for name, value in vars(part).items()}


@pytest.mark.parametrize(("method", "dataset"), RECIPES)
def test_every_option_of_a_recipe_reaches_the_script(method, dataset):
    found = typed(method, "--recipe", f"paper-{dataset}")
    for name, value in PUBLISHED[method][dataset].items():
        assert found[name] == value, name


def test_recipes_are_of_methods_and_datasets():
    assert PUBLISHED.keys() <= CAPTION_METHODS.keys() | LABEL_METHODS.keys()
    assert {dataset for _, dataset in RECIPES} == DATASETS.keys()
    assert DEPARTURES.keys() <= PUBLISHED.keys() | {"train_ncr.py"}


@pytest.mark.parametrize(
    ("method", "dataset", "epochs", "warmup", "decay", "rate"),
    [
        ("ncr", "flickr30k", 5 + 40, 5, 5 + 30, 2e-4),
        ("ncr", "coco", 10 + 20, 10, 10 + 10, 2e-4),
        ("ncr", "cc152k", 10 + 40, 10, 10 + 30, 2e-4),
        ("saf", "flickr30k", 30, 0, 20, 2e-4),
        ("scan", "coco", 20, 0, 10, 5e-4),
    ],
)
def test_schedules_are_those_of_the_published_commands(
    method, dataset, epochs, warmup, decay, rate
):
    recipe = PUBLISHED[method][dataset]
    names = ("num_train_epochs", "warmup_epochs", "lr_decay_epoch", "learning_rate")
    assert tuple(recipe[name] for name in names) == (epochs, warmup, decay, rate)


def test_paper_is_the_recipe_of_the_first_dataset():
    assert list(published_recipes("ncr")) == [
        *("paper", "paper-flickr30k", "paper-coco", "paper-cc152k")
    ]
    assert published_recipes("ncr")["paper"] == PUBLISHED["ncr"]["flickr30k"]
    assert published_recipes("hinge") == {}


def test_a_recipe_that_a_method_lacks_is_refused():
    message = re.escape("--recipe paper-cc152k: --method scan has small, paper, paper-flickr30k")
    with pytest.raises(NoRecipeError, match=message):
        typed("scan", "--recipe", "paper-cc152k")


def test_what_suits_a_recipe_alone_goes_with_it():
    found = typed(
        "ncr", "--recipe", "paper", "--similarity", "saf", "--lr_scheduler_type", "cosine"
    )
    assert (found["similarity"], found["similarity_options"]) == ("saf", "{}")
    assert (found["lr_scheduler_type"], found["lr_decay_epoch"]) == ("cosine", 0)
    assert typed("ncr")["similarity_options"] != "{}"
    assert typed("dmcm", "--recipe", "paper", "--clean_threshold", "0.3")["noise_rate"] is None


def test_the_readme_prints_the_recipes():
    assert markdown() in README.read_text()


@pytest.mark.parametrize(("size", "kept"), [(3, True), (4, False), (None, False)])
def test_the_batch_norm_of_a_recipe_needs_its_number_of_regions(size, kept):
    row = {"image_id": "a"} if size is None else {"regions": [[0.0, 1.0]] * size}
    options = '{"num_regions": 3, "steps": 2}'
    args = SimpleNamespace(similarity_options=options)
    choice = Choice("paper", "sgr", CAPTION_METHODS["sgr"], set())
    fit_region_norm(Dataset.from_list([row]), args, choice)
    assert args.similarity_options == (options if kept else '{"steps": 2}')
    args = SimpleNamespace(similarity_options=options)
    fit_region_norm(Dataset.from_list([row]), args, replace(choice, typed={"similarity_options"}))
    assert args.similarity_options == options


@pytest.mark.parametrize(
    ("columns", "words", "layers", "geometry"),
    [
        (("regions", "boxes"), (), 4, "5d"),
        (("regions",), (), 4, "none"),
        (("boxes",), (), 0, "none"),
        (("regions",), ("box_geometry",), 4, None),
    ],
)
def test_terans_recipe_does_without_the_boxes_that_are_not_there(columns, words, layers, geometry):
    values = {"regions": [[0.0] * 8] * 2, "boxes": [[0.0, 0.0, 1.0, 1.0]] * 2}
    dataset = {"train": Dataset.from_list([{name: values[name] for name in columns}])}
    found = typed("teran", "--recipe", "paper")
    names = ("region_layers", "box_geometry", "box_column")
    args = SimpleNamespace(**{name: found[name] for name in names})
    choice = Choice("paper", "teran", CAPTION_METHODS["teran"], set(words))
    if geometry is None:
        with pytest.raises(DatasetError, match="'boxes'"):
            append_read_boxes(dataset, args, choice)
        return
    append_read_boxes(dataset, args, choice)
    assert (args.region_layers, args.box_geometry) == (layers, geometry)
    if geometry == "5d":
        assert dataset["train"].column_names == ["regions"]
        assert np.shape(dataset["train"][0]["regions"]) == (2, 12)


def test_a_head_sets_the_options_that_suit_it():
    options = "word_encoder", "normalize_tokens"
    found = typed("ncr", "--similarity", "vsrn")
    assert [found[name] for name in options] == ["gru", False]
    assert (
        typed("ncr", "--similarity", "vsrn", "--word_encoder", "words")["word_encoder"] == "words"
    )
    assert typed("ncr")["word_encoder"] == "words"
    assert (typed("vsrn")["captioner_size"], typed("ncr")["captioner_size"]) == (256, 0)


@pytest.mark.parametrize(
    ("method", "recipe", "lambdas"),
    [
        ("scan", "small", (9, 6)),
        ("scan", "paper-coco", (9, 6)),
        ("scan-t2i-avg", "small", (9, None)),
        ("scan-t2i-avg", "paper", (9, None)),
        ("scan-i2t-lse", "small", (4, 5)),
        ("scan-i2t-lse", "paper", (4, 5)),
        ("scan-i2t-lse", "paper-coco", (4, 20)),
        ("scan-i2t-avg", "paper-coco", (4, None)),
    ],
)
def test_variants_of_scan_have_their_constants(method, recipe, lambdas):
    found = typed(method, "--recipe", recipe)
    head = build_similarity(
        found["similarity"], hidden_size=4, **json.loads(found["similarity_options"])
    )
    assert found["similarity"][:8] == ("scan_i2t" if "i2t" in method else "scan_t2i")
    assert head.aggregate is AGGREGATIONS["mean" if lambdas[1] is None else "lse"]
    assert (head.lambda_softmax, lambdas[1] and head.lambda_lse) == lambdas


def test_vse_is_the_mean_region_and_the_last_state_of_a_gru():
    found = typed("vse++", "--recipe", "paper")
    fields = {name: found[name] for name in ("similarity", "normalize_tokens", "word_encoder")}
    options = json.loads(found["similarity_options"])
    sizes = {"region_size": 5, "hidden_size": 4, "word_size": 3, "vocab_size": 9}
    model = build_pair_model("vse++", **fields, similarity_options=options, **sizes).eval()
    assert not list(model.head.parameters())
    regions, ids = torch.randn(2, 3, 5), torch.tensor([[1, 4, 2, 0], [1, 5, 6, 2]])
    with torch.no_grad():
        scores = model(input_ids=ids, attention_mask=(ids > 0).long(), regions=regions).scores
        images = model.image_encoder.projection(regions.mean(dim=1))
        texts = []
        for row in ids:
            words = model.text_encoder.words(row[row > 0])
            texts.append(model.text_encoder.gru(words)[1][0])
        expected = torch.cosine_similarity(images[:, None], torch.stack(texts)[None], dim=-1)
    torch.testing.assert_close(scores, expected)
