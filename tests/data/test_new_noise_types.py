"""A noise type is one class and one entry in the table: everything else reads it there."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import datasets
import numpy as np
import pytest
from numpy.typing import NDArray

from noisy_xmodal.data import inject_noise, noise_protocol
from noisy_xmodal.data.columns import DatasetError
from noisy_xmodal.data.readers import OwnPairs, Precomp, Wikipedia, write_dataset
from noisy_xmodal.data.readers.base import offered_configs
from noisy_xmodal.noise import (
    NOISE_TYPES,
    CaptionNoise,
    LabelNoise,
    NoiseType,
    NoisyLabels,
    Pairs,
)


@dataclass(frozen=True)
class NeighbourSwap(CaptionNoise):
    """Captions of an image and the next one change places, in random order."""

    kind = "neighbour_swap"
    title = "neighbour swap: texts exchanged with the next image"
    sentences = ("In a neighbour swap an image and the next one exchange captions.",)
    prefixes: ClassVar = {"swap": {}}

    def apply(self, pairs: Pairs, rng: np.random.Generator) -> Pairs:
        """Exchange captions between images 0 and 1, 2 and 3, ..."""
        pairs.check_clean()
        first = np.searchsorted(pairs.source_image, np.arange(pairs.n_images))  # (n_images,)
        n_swaps = round(self.ratio * len(pairs.image)) // 2
        n_captions = len(pairs.image) // pairs.n_images  # the same for all images
        places = rng.permutation(n_captions * (pairs.n_images // 2))[:n_swaps]
        left = first[2 * (places // n_captions)] + places % n_captions
        right = left + n_captions
        image = pairs.image.copy()
        image[left], image[right] = pairs.image[right], pairs.image[left]
        return Pairs(image, pairs.source_image, pairs.text)


@dataclass(frozen=True)
class PairFlip(LabelNoise):
    """Labels become the next class."""

    kind = "pair_flip"
    title = "pair flip: labels replaced by the next class"
    prefixes: ClassVar = {
        "flip": {"level": "modality"},
        "flip_shared": {"level": "shared"},
    }

    def apply(
        self, labels: NDArray[np.int64], n_classes: int, rng: np.random.Generator
    ) -> NoisyLabels:
        """Flip labels of images and of texts."""

        def flipped() -> NDArray[np.int64]:
            rows = rng.permutation(len(labels))[: round(self.ratio * len(labels))]
            result = labels.copy()
            result[rows] = (result[rows] + 1) % n_classes
            return result

        image = flipped()
        return NoisyLabels(image, image if self.level == "shared" else flipped(), labels)


@pytest.fixture(params=[NeighbourSwap, PairFlip])
def noise_type(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[NoiseType]:
    monkeypatch.setitem(NOISE_TYPES, request.param.kind, request.param)
    return request.param


@pytest.fixture
def raw(write_split: Callable[..., Path]) -> Path:
    """Region features of 20 images with 5 captions and one of 4 classes each."""
    folder = write_split(n_images=20)
    (folder / "train_labels.txt").write_text("".join(f"{i % 4}\n" for i in range(20)))
    return folder


def n_wrong(rows: datasets.Dataset, noise_type: type[NoiseType]) -> int:
    """The number of wrong captions or labels, by what the rows hold."""
    if noise_type is PairFlip:
        return sum(
            row[name] == (row["true_label"] + 1) % 4
            for row in rows
            for name in ("image_label", "text_label")
        )
    return sum(
        text.split()[2] == str(i ^ 1)  # the neighbour
        for i, texts in enumerate(rows["captions"])
        for text in texts
    )


def test_it_is_written_loaded_and_described(
    noise_type: type[NoiseType], raw: Path, tmp_path: Path
) -> None:
    config, out = f"{next(iter(noise_type.prefixes))}_40", tmp_path / "out"
    write_dataset(Precomp, out, ["clean", config], data_dir=str(raw), seed=3)
    written = datasets.load_dataset(str(out), config)["train"]
    protocol = noise_protocol(written)
    assert protocol is not None
    assert (protocol["type"], protocol["ratio"]) == (noise_type.kind, 0.4)
    assert (protocol["config"], protocol["seed"]) == (config, 3)
    assert protocol["n_wrong"] == n_wrong(written, noise_type) > 0
    assert protocol["share_wrong"] == 0.4
    assert json.loads((out / "noise_protocol.json").read_text())[config] == protocol

    clean = datasets.load_dataset(str(out), "clean")["train"]
    injected = inject_noise(clean, config, seed=3)
    assert injected.to_list() == written.to_list() != clean.to_list()
    assert injected.to_list() != inject_noise(clean, config, seed=4).to_list()
    by_instance = inject_noise(clean, noise_type(0.4), seed=3)
    assert by_instance.to_list() == written.to_list()

    card = (out / "README.md").read_text()
    assert f"| `{config}` | {noise_type.kind} |" in card
    title = f"{noise_type.title[0].upper()}{noise_type.title[1:]}."
    assert all(sentence in card for sentence in noise_type.sentences or (title,))


def test_builders_offer_it_where_the_data_has_what_it_needs(noise_type: type[NoiseType]) -> None:
    names = noise_type.config_names()
    has_captions, has_labels = noise_type is NeighbourSwap, noise_type is PairFlip
    for builder, offers in ((Precomp, True), (OwnPairs, has_captions), (Wikipedia, has_labels)):
        assert set(names).isdisjoint(builder.config_names()) != offers
        assert all((f"{p}_N" in offered_configs(builder)) == offers for p in noise_type.prefixes)


def test_data_without_what_it_needs_is_refused(
    noise_type: type[NoiseType], write_split: Callable[..., Path], tmp_path: Path
) -> None:
    name = noise_type(0.4).name
    rows = datasets.Dataset.from_dict({"image_features": [[0.0]] * 4, "text_features": [[1.0]] * 4})
    if noise_type is NeighbourSwap:
        rows = rows.add_column("image_label", ["a", "a", "b", "b"])
        with pytest.raises(DatasetError, match=f"'{name}' gives captions to other images, but"):
            inject_noise(rows, name)
    else:
        raw = write_split()
        with pytest.raises(DatasetError, match=f"'{name}' makes class labels wrong, but"):
            write_dataset(Precomp, tmp_path / "out", [name], data_dir=str(raw))
