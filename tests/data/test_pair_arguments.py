"""The pairs that a script's options ask for."""

from pathlib import Path

import datasets
import pytest
from PIL import Image

from noisy_xmodal.data import (
    DatasetError,
    PairArguments,
    dataset_label,
    load_training_pairs,
    noise_protocol,
    training_splits,
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty pictures with a table of two captions a picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = ["photo,what it shows"]
    for i in range(20):
        Image.new("RGB", (6, 4), (10 * i, 5 * i, 200)).save(folder / f"{i}.png")
        lines += [f"{i}.png,picture {i} first", f"{i}.png,picture {i} second"]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder


def asked(folder: Path, **options: object) -> PairArguments:
    return PairArguments(dataset_name=str(folder), caption_column="what it shows", **options)


def test_validation_is_held_out_before_noise_enters(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = asked(photos, validation_share=0.25, inject_noise="cmp_40", noise_seed=3)
    dataset = load_training_pairs(args)
    assert "no split 'validation': 5 training images are held out" in capsys.readouterr().out
    assert [len(dataset[split]) for split in ("train", "validation")] == [15, 5]
    assert not set(dataset["train"]["image_id"]) & set(dataset["validation"]["image_id"])
    assert sum(map(sum, dataset["train"]["is_noisy"])) == round(0.4 * 30)
    for row in dataset["validation"]:
        name = row["image_id"].removesuffix(".png")
        assert row["captions"] == [f"picture {name} first", f"picture {name} second"]
    protocol = noise_protocol(dataset["train"])
    assert protocol is not None
    assert (protocol["ratio"], protocol["n_pairs"]) == (0.4, 30)
    assert dataset_label(args) == ("photos", "cmp_40")


def test_rows_that_are_not_whole_are_refused_or_left_out(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (photos / "captions.csv").open("a") as table:
        table.write("gone.png,nothing\n3.png, \n")
    with pytest.raises(DatasetError, match=r"gone\.png"):
        load_training_pairs(asked(photos))
    kept = load_training_pairs(asked(photos, on_bad_image="skip"))
    assert sum(map(len, kept.values())) == 20
    said = capsys.readouterr().out
    assert "Left out of train: " in said
    assert "gone.png" in said


def test_bad_pictures_are_refused_left_out_or_not_looked_at(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "3.png").write_bytes((photos / "3.png").read_bytes()[:40])
    with pytest.raises(DatasetError, match=r"1 of 20 pictures are bad\. 3\.png of train"):
        load_training_pairs(asked(photos))
    kept = load_training_pairs(asked(photos, on_bad_image="skip"))
    assert "1 of 20 pictures do not decode" in capsys.readouterr().out
    assert sum(map(len, kept.values())) == 19
    everything = load_training_pairs(asked(photos, on_bad_image="ignore"))
    assert sum(map(len, everything.values())) == 20


def test_a_config_must_be_named_where_there_are_several(
    tmp_path: Path, regions_dataset: datasets.Dataset
) -> None:
    text = "---\nconfigs:\n"
    for config in ("clean", "cmp_40"):
        regions_dataset.to_parquet(str(tmp_path / f"{config}.parquet"))
        text += f"- config_name: {config}\n  data_files: {config}.parquet\n"
    (tmp_path / "README.md").write_text(text + "---\n")
    args = PairArguments(dataset_name=str(tmp_path), validation_share=0.5)
    with pytest.raises(DatasetError, match=r"configs clean, cmp_40: choose one with --dataset_con"):
        load_training_pairs(args)
    args.dataset_config_name = "cmp_40"
    assert set(load_training_pairs(args)) == {"train", "validation"}
    assert dataset_label(args) == (tmp_path.name, "cmp_40")


def test_a_dataset_without_training_pairs_is_refused(
    tmp_path: Path, regions_dataset: datasets.Dataset
) -> None:
    regions_dataset.to_parquet(str(tmp_path / "test.parquet"))
    with pytest.raises(DatasetError, match=r"has no split 'train'; it has test\."):
        load_training_pairs(PairArguments(dataset_name=str(tmp_path)))


def test_without_a_name_it_is_openmoji(
    monkeypatch: pytest.MonkeyPatch, regions_dataset: datasets.Dataset
) -> None:
    loaded = []

    def load(config: str, **options: object) -> datasets.DatasetDict:
        loaded.append((config, options))
        return datasets.DatasetDict(train=regions_dataset, validation=regions_dataset)

    monkeypatch.setattr(training_splits, "load_openmoji", load)
    load_training_pairs(PairArguments())
    load_training_pairs(PairArguments(dataset_config_name="part_20", objects_from="tags"))
    assert loaded == [("cmp_40", {"objects_from": None}), ("part_20", {"objects_from": "tags"})]
    assert dataset_label(PairArguments()) == ("openmoji", "cmp_40")
    assert dataset_label(PairArguments(dataset_name="a/b.csv")) == ("b.csv", "default")
