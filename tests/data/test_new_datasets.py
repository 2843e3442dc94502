"""A dataset that is defined here alone: one class with `read`, and a card."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.data import DatasetError, noise_protocol
from noisy_xmodal.data.clean_split import CleanSplit, FeatureColumn, PictureFiles
from noisy_xmodal.data.readers import NoisyPairsBuilder, write_dataset
from noisy_xmodal.data.readers.array_file import open_array

CARD = """---
title: Photographs with alt texts
summary: Photographs with alt texts.
language: [en]
---
# {{ title }}

Collected by {{ collector }}.

{{ splits }}

{{ tables }}

## Licence and credit

Ours.
"""


class Alttext(NoisyPairsBuilder):
    """Pictures, each with a text file of the same name."""

    CARD = Path("alttext.md")  # each test has its own folder

    def card_values(self) -> dict[str, str]:
        return {"collector": "us"}

    def read(self) -> dict[str, CleanSplit]:
        paths = sorted(self.data_folder.glob("*.png"))
        captions = [path.with_suffix(".txt").read_text().splitlines() for path in paths]
        columns = {
            "image": PictureFiles(paths),
            "image_id": [path.stem for path in paths],
            "captions": captions,
        }
        return {"train": CleanSplit(columns)}


def test_pictures_and_texts(tmp_path: Path, monkeypatch) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for i in range(20):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(raw / f"{i:02d}.png")
        (raw / f"{i:02d}.txt").write_text(f"one {i}\ntwo {i}\n")
    (tmp_path / "alttext.md").write_text(CARD)
    monkeypatch.setattr(Alttext, "CARD", tmp_path / "alttext.md")
    write_dataset(Alttext, tmp_path / "out", ["clean", "cmp_40"], data_dir=str(raw))
    noisy = datasets.load_dataset(str(tmp_path / "out"), "cmp_40")["train"]
    protocol = json.loads((tmp_path / "out" / "noise_protocol.json").read_text())["cmp_40"]
    assert noise_protocol(noisy) == protocol
    assert protocol["n_wrong"] == 16
    wrong = [[text.split()[1] != str(i) for text in row["captions"]] for i, row in enumerate(noisy)]
    assert wrong == noisy["is_noisy"][:]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Collected by us." in card
    assert "- train: 20 rows; 40 captions" in card
    builder = Alttext(config_name="cmp_40", data_dir=str(raw), cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare()
    assert builder.as_dataset()["train"]["captions"][:] == noisy["captions"][:]


def test_a_dataset_without_a_card(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Alttext, "CARD", tmp_path / "none.md")
    with pytest.raises(DatasetError, match=r"no card file .*none\.md.*set CARD to"):
        write_dataset(Alttext, tmp_path / "out", data_dir=str(tmp_path))


class Vectors(NoisyPairsBuilder):
    """Vectors of both sides with classes, one of them in a file that is read in blocks."""

    CARD = "xmedianet.md"
    FACTS = ("labels",)

    def read(self) -> dict[str, CleanSplit]:
        image = open_array(self.data_folder / "image.npy", dimensions=(2,))
        n = len(image)
        columns = {
            "image_features": FeatureColumn(image),
            "text_features": FeatureColumn(np.eye(n, dtype=np.float32)),
            "image_id": [str(i) for i in range(n)],
        }
        labels = np.arange(n) % 3
        return {"train": CleanSplit(columns, labels=labels, class_names=("a", "b", "c"))}


def test_vectors_with_classes(tmp_path: Path) -> None:
    image = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    write_dataset(Vectors, tmp_path / "out", ["sym_40"], data_dir=str(tmp_path))
    rows = datasets.load_dataset(str(tmp_path / "out"), "sym_40")["train"].with_format("numpy")
    np.testing.assert_array_equal(rows["image_features"], image)
    np.testing.assert_array_equal(rows["true_label"], np.arange(30) % 3)
    n_wrong = sum(
        (rows[f"{side}_label"][:] != rows["true_label"][:]).sum() for side in ("image", "text")
    )
    assert n_wrong == noise_protocol(rows)["n_wrong"] > 0
