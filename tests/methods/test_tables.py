"""Every method of the tables: what it says of itself, and a short training by its script."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from transformers import AutoModel

from example_scripts import script
from noisy_xmodal import MatchingConfig, RcarConfig
from noisy_xmodal.methods import CAPTION_METHODS, LABEL_METHODS, Plain
from noisy_xmodal.methods.building import methods_for, network_config
from noisy_xmodal.noise import CompleteMismatch
from noisy_xmodal.training import Method
from toy_pairs import toy_pairs

METHODS = CAPTION_METHODS | LABEL_METHODS
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("pairs")
    rows = toy_pairs(36, noise=CompleteMismatch(0.4, "caption"))
    for split, part in (("train", rows), ("validation", toy_pairs(10, seed=1))):
        part.to_parquet(str(out / f"{split}.parquet"))
    return out


@pytest.mark.parametrize("name", METHODS)
def test_it_says_what_it_is(name):
    kind = METHODS[name]
    assert kind.title
    assert kind.citation or kind is Plain
    assert kind.__doc__
    for constant in kind.options.values():
        assert constant.demand(constant.default) is None


def test_titles_tell_the_methods_apart():
    titles = [kind.title for kind in METHODS.values()]
    assert len(set(titles)) == len(titles)


def test_each_caption_method_belongs_to_one_script():
    matching, stream = methods_for(MatchingConfig), methods_for(RcarConfig)
    assert matching | stream == CAPTION_METHODS
    assert not matching.keys() & stream.keys()


#: Without the variants of SCAN, which differ by options of the head alone.
TRAINED = [name for name in methods_for(MatchingConfig) if not name.startswith("scan-")]


@pytest.mark.parametrize("name", TRAINED)
def test_a_matching_method_trains_and_loads(name, data, tmp_path):
    kind = METHODS[name]
    options = f"--num_train_epochs {4 if kind.stages is not Method.stages else 2} "
    options += "--per_device_train_batch_size 24 "
    if "warmup_epochs" not in kind.argument_rules:
        options += "--warmup_epochs 1 "
    options += "--hidden_size 8 --word_size 8 --learning_rate 1e-2 --use_cpu True "
    options += f"--disable_tqdm True --plot_divisions False --dataset_name {data}"
    argv = ["--method", name, *options.split(), "--output_dir", str(tmp_path)]
    script("train_ncr").main(argv)
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["method"], results["method_name"]) == (kind.title, name)
    assert np.isfinite(results["last"]["validation"]["rsum"])
    n_wrong = sum(map(sum, load_dataset(str(data), split="train")["is_noisy"]))
    assert results["train_pairs"] == 72 - (n_wrong if kind.drops_noisy_pairs else 0)
    card = (tmp_path / "README.md").read_text()
    assert kind.citation in card
    model = AutoModel.from_pretrained(tmp_path)
    assert isinstance(model.config, network_config(kind))
    for field, value in kind.shape.items():
        assert getattr(model.config, field) == value


def test_the_readme_lists_every_method():
    table = README.read_text().split("## Methods")[1].split("\n## ")[0]
    for name, kind in METHODS.items():
        words = {kind.title.split(" (")[0], f"`{name}`", f"--method {name}"}
        assert any(re.search(rf"(?<!\w){re.escape(word)}(?![\w+])", table) for word in words), name
