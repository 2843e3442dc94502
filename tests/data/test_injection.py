"""Noise for data in memory: the same as the builders', and only where it belongs."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.data import DatasetError, inject_noise, noise_protocol, validate_pairs
from noisy_xmodal.data.readers import Precomp, write_dataset
from noisy_xmodal.noise import (
    CompleteMismatch,
    Pairs,
    SymmetricLabelNoise,
    write_noise_index,
)

Writer = Callable[..., Path]


def own_pairs(n_images: int = 20) -> datasets.Dataset:
    """A person's own rows: pictures, texts under names of their own, objects."""

    def picture(i: int) -> dict[str, object]:
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), (i, 2 * i, 3 * i)).save(buffer, "png")
        return {"bytes": buffer.getvalue(), "path": None}

    return datasets.Dataset.from_dict(
        {
            "photo": [picture(i) for i in range(n_images)],
            "sentences": [[f"{i} a", f"{i} b"] for i in range(n_images)],
            "things": [["sky", f"thing {i % 3}", f"thing {i % 5}"] for i in range(n_images)],
            "kind": [f"kind {i % 4}" for i in range(n_images)],
        }
    ).cast_column("photo", datasets.Image())


def truth(dataset: datasets.Dataset) -> list[list[bool]]:
    return [
        [text.split()[0] != str(i) for text in texts] for i, texts in enumerate(dataset["captions"])
    ]


@pytest.mark.parametrize("config", ["cmp_40", "cmp_image_40", "part_20", "sym_40", "sym_shared_40"])
def test_it_is_the_noise_of_the_written_config(
    write_split: Writer, tmp_path: Path, config: str
) -> None:
    raw = write_split(n_images=20)
    lines = [f"{i % 4} {4 + i % 3}" for i in range(20)]
    if config.startswith("sym"):
        lines = [str(i % 4) for i in range(20)]
    (raw / "train_labels.txt").write_text("\n".join(lines) + "\n")
    write_dataset(Precomp, tmp_path / "out", ["clean", config], data_dir=str(raw), seed=3)
    load = datasets.load_dataset
    written = load(str(tmp_path / "out"), config)["train"]
    injected = inject_noise(load(str(tmp_path / "out"), "clean")["train"], config, seed=3)
    assert injected.to_list() == written.to_list()
    assert injected.features == written.features
    expected = {k: v for k, v in noise_protocol(written).items() if k != "config"}
    assert noise_protocol(injected) == expected


def test_any_columns_and_the_flags_are_true() -> None:
    data = own_pairs()
    noisy = inject_noise(data, "cmp_40", seed=1)
    validate_pairs(noisy)
    assert truth(noisy) == noisy["is_noisy"][:]
    assert sum(map(sum, truth(noisy))) == 16
    assert noisy["image"][7].getpixel((0, 0)) == (7, 14, 21)
    assert noise_protocol(noisy)["share_wrong"] == 0.4
    assert data.column_names == ["photo", "sentences", "things", "kind"]  # left as it was
    assert noise_protocol(data) is None


def test_partial_noise_by_a_column_or_by_nouns() -> None:
    data = own_pairs()
    noisy = inject_noise(data, "part_40", object_column="things")
    sets = [set(things) for things in data["things"]]
    moved = [
        (int(text.split()[0]), row) for row, texts in enumerate(noisy["captions"]) for text in texts
    ]
    assert sum(a != b for a, b in moved) == 16
    for source, row in moved:
        assert source == row or (sets[source] & sets[row] and sets[source] != sets[row])
    with pytest.raises(DatasetError, match=r"no object sets.*objects_from='tags' or 'captions'"):
        inject_noise(data, "part_40")
    pytest.importorskip("textblob")
    nouns = data.remove_columns("sentences").add_column(
        "captions",
        [["a dog on a beach", f"a {'cat' if i % 2 else 'bird'} swims"] for i in range(20)],
    )
    from_captions = inject_noise(nouns, "part_40", objects_from="captions")
    assert noise_protocol(from_captions)["objects"] == "captions"


def test_an_injector_and_a_noise_index(tmp_path: Path) -> None:
    data = own_pairs()
    drawn = CompleteMismatch(0.2).apply(Pairs.from_counts([2] * 20), np.random.default_rng(9))
    write_noise_index(tmp_path / "index.npy", drawn, "caption")
    by_index = inject_noise(data, "noise_index", noise_index=tmp_path / "index.npy")
    by_injector = inject_noise(data, CompleteMismatch(0.2), seed=9)
    assert by_index["captions"][:] == by_injector["captions"][:]
    assert noise_protocol(by_index)["noise_index"] == "index.npy"


def test_labels_of_all_splits_share_their_numbers() -> None:
    data = datasets.DatasetDict({"train": own_pairs(), "test": own_pairs(8)})
    noisy = inject_noise(data, SymmetricLabelNoise(0.5, exclude_true=True), label_column="kind")
    train, test = noisy["train"], noisy["test"]
    assert train.features["image_label"].names == ["kind 0", "kind 1", "kind 2", "kind 3"]
    wrong = np.array(train["image_label"]) != np.array(train["true_label"])
    assert wrong.sum() == 10
    assert noise_protocol(train)["share_wrong_image"] == 0.5
    assert test["image_label"][:] == test["text_label"][:] == test["true_label"][:]
    assert [train.features["true_label"].int2str(i) for i in train["true_label"]] == data["train"][
        "kind"
    ][:]


@pytest.mark.parametrize("hidden", [-1, None])
def test_hidden_labels_are_no_labels(hidden: int | None) -> None:
    kinds = datasets.ClassLabel(names=["a", "b"])
    train = datasets.Dataset.from_dict({"label": [0, 1, 0, 1]}).cast_column("label", kinds)
    test = datasets.Dataset.from_dict(
        {"label": [hidden] * 3}, features=datasets.Features({"label": kinds})
    )
    data = datasets.DatasetDict({"train": train, "test": test})
    with pytest.raises(DatasetError, match=r"Row 0 of split 'test' .*has no class.*like 3 rows"):
        inject_noise(data, "sym_50", label_column="label")


def test_only_train_is_corrupted() -> None:
    data = datasets.DatasetDict({"train": own_pairs(), "validation": own_pairs(6)})
    noisy = inject_noise(data, "cmp_image_40")
    assert sum(map(sum, noisy["train"]["is_noisy"])) == 16
    assert not any(map(any, truth(noisy["validation"])))
    assert not any(map(any, noisy["validation"]["is_noisy"]))
    assert noise_protocol(noisy["validation"])["type"] == "clean"
    with pytest.raises(DatasetError, match="split 'train'; there are test"):
        inject_noise(datasets.DatasetDict({"test": own_pairs()}), "cmp_40")


def test_noise_on_noise_is_refused() -> None:
    noisy = inject_noise(own_pairs(), "cmp_40")
    with pytest.raises(DatasetError, match="has noise already"):
        inject_noise(noisy, "cmp_20")
    natural = own_pairs()
    natural.info.description = 'Noise protocol: {"type": "natural", "share_wrong": null}'
    with pytest.raises(DatasetError, match="collected with noise, and nobody knows where"):
        inject_noise(natural, "cmp_20")
    noisy.info.description = ""
    with pytest.raises(DatasetError, match="marks 16 captions as wrong"):
        inject_noise(noisy, "cmp_20")


def test_a_flag_a_row_is_an_oracle_too() -> None:
    data = own_pairs().remove_columns("sentences").add_column("caption", list("abcde" * 4))
    flagged = data.add_column("is_noisy", [row < 3 for row in range(20)])
    with pytest.raises(DatasetError, match="marks 3 captions as wrong"):
        inject_noise(flagged, "cmp_20")
    with pytest.raises(DatasetError, match="marks 3 captions as wrong"):
        inject_noise(datasets.DatasetDict(train=data, test=flagged), "cmp_20")
    clean = data.add_column("is_noisy", [False] * 20)
    assert sum(map(sum, inject_noise(clean, "cmp_20")["is_noisy"])) == 4


@pytest.mark.parametrize("others", [["text_label"], ["true_label"], ["text_label", "true_label"]])
@pytest.mark.parametrize("as_names", [False, True])
def test_label_columns_that_disagree_are_noisy(others: list[str], as_names: bool) -> None:
    labels = [row % 4 for row in range(20)]
    wrong = [1, 0, *labels[2:]]
    columns = {"image_label": wrong} | dict.fromkeys(others, labels)
    if as_names:
        columns = {name: [f"kind {v}" for v in values] for name, values in columns.items()}
    data = datasets.Dataset.from_dict({"image_id": list("abcdefghijklmnopqrst")} | columns)
    message = rf"'{others[0]}' .*differs from 'image_label' in 2 rows of split 'train'"
    with pytest.raises(DatasetError, match=message):
        inject_noise(data, "sym_40")
    agreeing = data.remove_columns("image_label")
    agreeing = agreeing.add_column("image_label", agreeing[others[0]][:])
    assert inject_noise(agreeing, "sym_40")["true_label"][:] == labels
    if "true_label" in others:  # the truth is a clean start
        noisy = inject_noise(data, "sym_40", label_column="true_label")
        assert noisy.features["true_label"].int2str(noisy["true_label"][:]) == [
            str(label) for label in columns["true_label"]
        ]


def test_what_cannot_be_done_says_why() -> None:
    data = own_pairs()
    with pytest.raises(ValueError, match="config name 'cmp' is unknown"):
        inject_noise(data, "cmp")
    with pytest.raises(DatasetError, match="go together"):
        inject_noise(data, "noise_index")
    with pytest.raises(DatasetError, match=r"no column .image_label.; its.*label_column"):
        inject_noise(data, "sym_40")
    with pytest.raises(DatasetError, match="without streaming"):
        inject_noise(data.to_iterable_dataset(), "cmp_40")
    with pytest.raises(DatasetError, match="one class name or integer per row"):
        inject_noise(data, "sym_40", label_column="things")
    with pytest.raises(DatasetError, match="seed is -1"):
        inject_noise(data, "cmp_40", seed=-1)
    with pytest.raises(DatasetError, match="not a list"):
        inject_noise([{"image": 1}], "cmp_40")
    with pytest.raises(DatasetError, match="'kind 3' occurs once"):
        inject_noise(data.select([0, 1, 2, 3, 4, 5, 6]), "sym_40", label_column="kind")


def test_columns_that_tell_of_single_captions_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = own_pairs().add_column("sentids", [[2 * i, 2 * i + 1] for i in range(20)])
    data = data.add_column("json", [{"caption": f"{i}"} for i in range(20)])
    data = data.add_column("__url__", ["shard.tar"] * 20)
    noisy = inject_noise(data, "cmp_40")
    assert noisy.column_names == ["image", "captions", "things", "kind", "image_id", "is_noisy"]
    assert "['sentids', 'json', '__url__']" in caplog.text


def test_the_protocol_of_all_splits() -> None:
    noisy = inject_noise(datasets.DatasetDict(test=own_pairs(6), train=own_pairs()), "cmp_40")
    assert noise_protocol(noisy) == noise_protocol(noisy["train"])


def test_pictures_are_not_copied(tmp_path: Path) -> None:
    own_pairs().save_to_disk(str(tmp_path / "data"))
    data = datasets.load_from_disk(str(tmp_path / "data"))
    noisy = inject_noise(data, "cmp_40")
    assert noisy.cache_files == data.cache_files
    assert len(noisy.cache_files) == 1


def test_another_process_draws_the_same() -> None:
    code = (
        "from test_injection import own_pairs; from noisy_xmodal.data import inject_noise\n"
        "for name in ('cmp_40', 'cmp_image_40', 'part_40'):\n"
        "    print(inject_noise(own_pairs(), name, object_column='things')['captions'][:])"
    )
    expected = "".join(
        f"{inject_noise(own_pairs(), name, object_column='things')['captions'][:]}\n"
        for name in ("cmp_40", "cmp_image_40", "part_40")
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert process.stdout == expected
