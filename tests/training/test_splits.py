"""The splits that a script trains on: loaded by its options, validation held out and described."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.arguments.labels import LabelDataArguments
from noisy_xmodal.arguments.pairs import PairArguments
from noisy_xmodal.data import (
    DatasetError,
    append_boxes,
    inject_noise,
    noise_protocol,
    with_vectors,
)
from noisy_xmodal.training import splits as training_splits
from noisy_xmodal.training.splits import (
    dataset_label,
    held_out_line,
    hold_out_validation,
    load_training_labels,
    load_training_pairs,
    validation_facts,
)

FACTS = ("validation_held_out", "validation_is_noisy", "validation_n_wrong")


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


def captions(n: int, oracle: bool) -> datasets.Dataset:
    rng = np.random.default_rng(0)
    rows: dict[str, Any] = {
        "image_id": [str(row) for row in range(n)],
        "captions": [[f"text {row}", f"more {row}"] for row in range(n)],
        "regions": rng.random((n, 2, 3)).tolist(),
    }
    if oracle:
        rows["is_noisy"] = (rng.random((n, 2)) < 0.5).tolist()
    return datasets.Dataset.from_dict(rows)


def labels(n: int, oracle: bool) -> datasets.Dataset:
    rng = np.random.default_rng(1)
    given = rng.integers(0, 3, (3, n))
    rows = {"image_label": given[0], "text_label": given[1 if oracle else 0]}
    rows |= {"image_features": rng.random((n, 4)), "text_features": rng.random((n, 5))}
    rows |= {"true_label": given[2]} if oracle else {}
    return datasets.Dataset.from_dict({name: values.tolist() for name, values in rows.items()})


def n_wrong(rows: datasets.Dataset) -> int:
    if "is_noisy" in rows.column_names:
        return sum(sum(flags) for flags in rows["is_noisy"])
    sides = ("image_label", "text_label")
    return sum(row[side] != row["true_label"] for row in rows for side in sides)


@pytest.mark.parametrize(("make", "unit"), [(captions, "images"), (labels, "pairs")])
def test_wrong_pairs_among_those_held_out_are_counted(make, unit):
    held = hold_out_validation(datasets.DatasetDict(train=make(40, oracle=True)), 0.25, seed=3)
    wrong = n_wrong(held["validation"])
    assert wrong > 0
    assert validation_facts(held) == dict(zip(FACTS, (True, True, wrong), strict=True))
    line = held_out_line(held)
    assert line.startswith(f"There is no split 'validation': 10 training {unit} are held out")
    assert f"{wrong} wrong pairs or labels are among them by the oracle" in line
    assert "Held out" not in (held["train"].info.description or "")


@pytest.mark.parametrize(("make", "noise"), [(captions, "cmp_image_40"), (labels, "sym_40")])
def test_the_noise_and_the_sample_of_the_same_seed_are_independent(make, noise):
    """One permutation for both would hold out wrong rows alone."""
    rows = inject_noise(datasets.DatasetDict(train=make(400, oracle=False)), noise, seed=0)
    wrong = [
        validation_facts(hold_out_validation(rows, 0.1, seed=0))["validation_n_wrong"],
        sum(
            validation_facts(hold_out_validation(rows, 0.1, seed=seed))["validation_n_wrong"]
            for seed in range(1, 11)
        )
        / 10,
    ]
    assert wrong[0] == pytest.approx(wrong[1], rel=0.4)


def test_what_is_left_of_a_held_out_split_is_counted():
    held = hold_out_validation(datasets.DatasetDict(train=captions(40, oracle=True)), 0.25)
    held["validation"] = held["validation"].select(range(3))
    facts = validation_facts(held)
    assert facts["validation_held_out"]
    assert facts["validation_n_wrong"] == n_wrong(held["validation"])
    assert f"for it. {n_wrong(held['validation'])} wrong" in held_out_line(held)


@pytest.mark.parametrize("make", [captions, labels])
def test_without_an_oracle_they_are_as_noisy_as_the_rest(make):
    held = hold_out_validation(datasets.DatasetDict(train=make(20, oracle=False)), 0.5)
    assert validation_facts(held) == dict(zip(FACTS, (True, None, None), strict=True))
    assert "as noisy as the rest" in held_out_line(held)


def test_what_is_done_to_the_rows_later_does_not_change_what_is_known():
    held = hold_out_validation(datasets.DatasetDict(train=captions(20, oracle=False)), 0.5)
    facts = validation_facts(held)
    assert validation_facts(inject_noise(held, "cmp_40")) == facts  # noise is for train alone
    kind = datasets.List(datasets.List(datasets.Value("float32")))
    boxes = [[[0.0, 0.0, 1.0, 1.0]] * 2] * 10
    boxed = append_boxes(held["validation"].add_column("boxes", boxes, feature=kind), "validation")
    assert validation_facts(datasets.DatasetDict(held | {"validation": boxed})) == facts
    held = hold_out_validation(datasets.DatasetDict(train=labels(20, oracle=True)), 0.5)
    rows = held["validation"].remove_columns("text_features")
    rows = rows.add_column("captions", [["a dog"]] * 10)
    described = with_vectors(rows, "validation")
    assert "text_features" in described.column_names
    again = datasets.DatasetDict(held | {"validation": described})
    assert validation_facts(again) == validation_facts(held)


def test_a_split_that_was_there_is_not_said_to_be_held_out():
    rows = captions(6, oracle=True)
    splits = datasets.DatasetDict(train=rows, validation=rows)
    expected = (False, n_wrong(rows) > 0, n_wrong(rows))
    assert validation_facts(splits) == dict(zip(FACTS, expected, strict=True))
    assert held_out_line(splits) is None
    bare = datasets.DatasetDict(validation=captions(6, oracle=False))
    assert validation_facts(bare) == dict(zip(FACTS, (False, None, None), strict=True))


def test_pairs_with_classes_get_a_validation_split_vectors_and_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = labels(40, oracle=True).remove_columns("text_features")
    rows = rows.add_column("text", [f"text {row}" for row in range(40)])
    rows.to_parquet(str(tmp_path / "train.parquet"))
    args = LabelDataArguments(dataset_name=str(tmp_path), validation_share=0.25)
    raw = load_training_labels(args, reads_raw=True)
    assert [len(raw[split]) for split in ("train", "validation")] == [30, 10]
    assert "text_features" not in raw["train"].column_names
    assert "10 training pairs are held out" in capsys.readouterr().out
    described = load_training_labels(args)
    assert "Not both sides are vectors" in capsys.readouterr().out
    assert np.shape(described["validation"]["text_features"][:]) == (10, 512)
    rows.to_parquet(str(tmp_path / "validation.parquet"))
    with pytest.raises(DatasetError, match=r"--validation_share is 0\.25.*Leave it out"):
        load_training_labels(args)
    args.validation_share = LabelDataArguments.validation_share
    assert len(load_training_labels(args)["train"]) == 40
    (tmp_path / "train.parquet").unlink()
    with pytest.raises(DatasetError, match=r"has no split 'train'; it has validation\."):
        load_training_labels(args)
