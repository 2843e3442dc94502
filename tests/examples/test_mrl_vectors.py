"""The vectors that MRL reads: VGG19's fc7 against a plain loop, Doc2Vec, and the files."""

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from example_scripts import script
from noisy_xmodal.data import LabelDataset, load_label_pairs
from noisy_xmodal.entry.options import OptionError
from tiny_backbones import picture_dataset

mrl = script("mrl_vectors")
WIDTHS, SIZE = (2, 3, 4, 5, 6), 7


def test_fc7_is_the_second_layer_after_sixteen_convolutions():
    model = mrl.Vgg19(WIDTHS, SIZE)
    pixels = torch.randn(2, 3, 224, 224)
    hidden, state = pixels, model.state_dict()
    places = iter([0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34])
    for depth in (2, 2, 4, 4, 4):
        for _ in range(depth):
            name = f"features.{next(places)}"
            weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
            hidden = functional.conv2d(hidden, weight, bias, padding=1).clamp(min=0)
        hidden = functional.max_pool2d(hidden, 2)
    for name in ("pre_logits.fc1", "pre_logits.fc2"):
        weight = state[f"{name}.weight"].flatten(1)
        hidden = (hidden.flatten(1) @ weight.T + state[f"{name}.bias"]).clamp(min=0)
    torch.testing.assert_close(model(pixels), hidden)


def test_other_weights_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(2)}, path)
    with pytest.raises(OptionError, match=r"other.safetensors is no VGG19 of timm"):
        mrl.load_vgg19(str(path))


class Counts:
    """In place of Doc2Vec: the numbers of words and of letters, and a draw."""

    def __init__(self) -> None:
        self.random = np.random.RandomState(5)

    def infer_vector(self, words, rate, epochs):
        return np.array([len(words), len("".join(words)), self.random.rand()])


def test_the_files_are_what_train_dmcm_reads(tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    rows = {"train": picture_dataset(5), "test": picture_dataset(3, seed=1)}
    for split, part in rows.items():
        part.to_parquet(data / f"{split}.parquet")
    corpus = []
    monkeypatch.setattr(mrl, "load_vgg19", lambda path: mrl.Vgg19(WIDTHS, SIZE))
    monkeypatch.setattr(mrl, "train_doc2vec", lambda texts, *_: corpus.extend(texts) or Counts())
    argv = ["--dataset_name", str(data), "--out", str(out), "--device", "cpu"]
    mrl.main(argv)
    assert corpus == [caption for row in rows["train"]["captions"] for caption in row]
    found = load_label_pairs(str(out))
    for split, part in rows.items():
        assert set(found[split].column_names).isdisjoint({"image", "captions"})
        pairs = LabelDataset(found[split], split)
        assert pairs.image_features.shape == (len(part), SIZE)
        n_words = [len(row[0].split()) for row in part["captions"]]
        assert pairs.text_features[:, 0].tolist() == n_words
        assert len(set(pairs.text_features[:, 2].tolist())) == 1  # the draws begin anew
        assert pairs.image_labels.tolist() == part["image_label"]
    with pytest.raises(OptionError, match="exists: give a new folder"):
        mrl.main(argv)


def test_doc2vec_gives_equal_texts_equal_vectors():
    pytest.importorskip("gensim")
    texts = ["two dogs run", "a red car", "two dogs run"] * 5
    model = mrl.train_doc2vec(texts, 4, 2, seed=1)
    vectors = mrl.text_vectors(model, texts[:3], seed=1)
    assert vectors.shape == (3, 4)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    again = mrl.text_vectors(mrl.train_doc2vec(texts, 4, 2, seed=1), texts[:3], seed=1)
    np.testing.assert_array_equal(vectors, again)


def test_without_gensim_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim", None)
    monkeypatch.setitem(sys.modules, "gensim.models.doc2vec", None)
    with pytest.raises(OptionError, match=r"pip install 'noisy-xmodal\[doc2vec\]'"):
        mrl.train_doc2vec(["a"], 4, 1, 0)
