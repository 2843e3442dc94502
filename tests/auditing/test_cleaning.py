"""The dataset without its wrong pairs, opened as anybody would open it."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from audit_results import result_of
from noisy_xmodal.arguments.audit import AuditOptions
from noisy_xmodal.auditing.cleaning import WEIGHTS, clean_threshold, write_clean_dataset
from noisy_xmodal.auditing.known_pairs import KnownPairs
from noisy_xmodal.auditing.reviews import CORRECTED, RIGHT, WRONG, Decision
from noisy_xmodal.data import PairDataset, load_pairs, validate_pairs
from noisy_xmodal.data.regions import region_feature

CAPTIONS = [["one", "two ä"], ["three"], ["four", "five", "six"], ["seven"]]
IS_NOISY = [[False, True], [True], [False, False, True], [False]]
#: Of the threshold itself a pair is kept.
CHANCES = np.array([0.9, 0.1, 0.49, 0.5, 0.51, 0.0, 1.0])


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def rows(tmp_path: Path) -> datasets.Dataset:
    """Pictures in files, with the oracle and a column of somebody's own."""
    for shade in range(4):
        PIL.Image.new("RGB", (8, 8), (shade,) * 3).save(tmp_path / f"{shade}.png")
    return datasets.Dataset.from_dict(
        {
            "image": [str(tmp_path / f"{shade}.png") for shade in range(4)],
            "captions": CAPTIONS,
            "image_id": list("wxyz"),
            "is_noisy": IS_NOISY,
            "author": ["a", "b", "c", "d"],
        }
    ).cast_column("image", datasets.Image())


#: "two ä" is corrected, "three" right, "four" wrong.
TARGETS = np.array([np.nan, 0, 1, 0, np.nan, np.nan, np.nan])
REVIEWS = {
    1: Decision("w", "two ä", CORRECTED, "2 <b>ä</b>"),
    2: Decision("x", "three", RIGHT),
    3: Decision("y", "four", WRONG),
}


def write(rows: datasets.Dataset, chances: np.ndarray, out: Path, **options: Any) -> dict[str, Any]:
    options = {"dataset_name": "my data", "clean": out} | options
    return write_clean_dataset(result_of(rows, chances, -chances, **options))


def shades(dataset: datasets.Dataset) -> list[int]:
    return [image.getpixel((0, 0))[0] for image in PairDataset(dataset).images[:]]


def test_wrong_pairs_are_gone(rows: datasets.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "clean"
    facts = write(rows, CHANCES, out)
    assert facts.pop("folder") == str(out)
    assert facts == {"pairs_dropped": 3, "images_dropped": 1, "pairs_kept": 4, "images_kept": 3}
    for file in tmp_path.glob("*.png"):
        file.unlink()  # the folder stands by itself
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["train"]
    clean = found["train"]
    assert set(clean.column_names) == set(rows.column_names)
    assert clean["captions"][:] == [["one"], ["four", "five"], ["seven"]]
    assert clean["is_noisy"][:] == [[False], [False, False], [False]]
    assert clean["image_id"][:] == ["w", "y", "z"]
    assert clean["author"][:] == ["a", "c", "d"]
    assert shades(clean) == [0, 2, 3]
    validate_pairs(clean, "train")
    dropped = [json.loads(line) for line in (out / "dropped.jsonl").read_text("utf-8").splitlines()]
    assert dropped == [
        {"image_id": "w", "caption": "two ä", WEIGHTS: 0.1},
        {"image_id": "x", "caption": "three", WEIGHTS: 0.49},
        {"image_id": "y", "caption": "six", WEIGHTS: 0.0},
    ]
    card = (out / "README.md").read_text()
    assert "# my data train, audited" in card
    assert (
        "Pairs whose probability of being right is below 0.5 were dropped. In all, 3 pairs" in card
    )


def test_the_threshold_decides(rows: datasets.Dataset, tmp_path: Path) -> None:
    facts = write(rows, CHANCES, tmp_path / "clean", split="test", clean_threshold=0.95)
    assert (facts["pairs_kept"], facts["images_kept"]) == (1, 1)
    found = load_pairs(tmp_path / "clean")
    assert found["test"]["captions"][:] == [["seven"]]


def test_weights_stand_beside_all_captions(rows: datasets.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "clean"
    facts = write(rows, CHANCES, out, clean_weights=True)
    assert facts.pop("folder") == str(out)
    assert facts == {"pairs_dropped": 0, "images_dropped": 0, "pairs_kept": 7, "images_kept": 4}
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert found["captions"][:] == CAPTIONS
    assert found["is_noisy"][:] == IS_NOISY
    assert [len(row) for row in found[WEIGHTS]] == [2, 1, 3, 1]
    np.testing.assert_allclose(np.concatenate(found[WEIGHTS][:]), CHANCES, atol=1e-7)
    assert (out / "dropped.jsonl").read_text() == ""


def test_regions_and_rows_without_an_oracle(tmp_path: Path) -> None:
    regions = np.random.default_rng(0).random((4, 2, 3)).astype(np.float32)
    rows = datasets.Dataset.from_dict(
        {"regions": regions.tolist(), "captions": CAPTIONS, "image_id": list("wxyz")},
        features=datasets.Features(
            {
                "regions": region_feature(3),
                "captions": datasets.List(datasets.Value("string")),
                "image_id": datasets.Value("string"),
            }
        ),
    )
    # Chosen rows, as after bad ones were left out.
    chosen = rows.select([0, 2, 3])
    chances = np.array([0.9, 0.1, 0.2, 0.3, 0.4, 0.9])
    write(chosen, chances, tmp_path / "clean")
    found = load_pairs(tmp_path / "clean")["train"]
    assert found["captions"][:] == [["one"], ["seven"]]
    np.testing.assert_array_equal(PairDataset(found).images[:], regions[[0, 3]])


def test_what_was_written_replaces_an_empty_folder(rows: datasets.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "clean"
    out.mkdir()
    (tmp_path / ".clean.partial").mkdir()  # of a run that was killed
    (tmp_path / ".clean.partial" / "train-1.parquet").write_text("half")
    write(rows, CHANCES, out)
    assert not (tmp_path / ".clean.partial").exists()
    assert load_pairs(out)["train"].num_rows == 3


def test_a_folder_written_anew_is_not_taken_for_the_old_one(
    rows: datasets.Dataset, tmp_path: Path
) -> None:
    """The cache of `datasets` knows a folder by its name and card, not by its place."""
    cache = str(tmp_path / "cache")
    lengths = []
    for number, threshold in enumerate((0.5, 0.95)):
        out = tmp_path / str(number) / "clean"
        out.parent.mkdir()
        write(rows, CHANCES, out, clean_threshold=threshold)
        lengths.append(len(datasets.load_dataset(str(out), cache_dir=cache)["train"]))
    assert lengths == [3, 1]


def test_people_come_before_the_threshold(rows: datasets.Dataset, tmp_path: Path) -> None:
    known = KnownPairs(TARGETS, REVIEWS)
    folders = []
    for name, threshold in (("some", 0.5), ("all", 0.0)):
        out = tmp_path / name
        facts = write(rows, CHANCES, out, known=known, clean_threshold=threshold)
        assert facts["captions_corrected"] == 1
        found = load_pairs(out)["train"]
        six = ["six"] if threshold == 0 else []
        assert found["captions"][:] == [["one", "2 <b>ä</b>"], ["three"], ["five", *six], ["seven"]]
        assert found["is_noisy"][0] == [False, False]
        assert found["is_noisy"][1] == [True]  # as the data says, whatever people say
        corrected = json.loads((out / "corrected.jsonl").read_text("utf-8"))
        assert corrected == {"image_id": "w", "caption": "two ä", "new_caption": "2 <b>ä</b>"}
        dropped = (out / "dropped.jsonl").read_text("utf-8").splitlines()
        assert json.loads(dropped[0])["review"] == "wrong"
        card = (out / "README.md").read_text("utf-8")
        assert f"{facts['pairs_dropped']} pairs were dropped" in card
        assert "Decisions of people come before both. 1 captions were corrected" in card
        folders += [path.name for path in out.iterdir() if path.is_dir()]
    assert len(set(folders)) == 2


def test_weights_follow_people(rows: datasets.Dataset, tmp_path: Path) -> None:
    known = KnownPairs(TARGETS, REVIEWS)
    facts = write(rows, CHANCES, tmp_path / "c", known=known, clean_weights=True)
    assert (facts["pairs_kept"], facts["captions_corrected"]) == (7, 1)
    found = load_pairs(tmp_path / "c")["train"]
    weights = np.concatenate(found[WEIGHTS][:])
    np.testing.assert_allclose(weights, [0.9, 1, 1, 0, 0.51, 0.0, 1.0], atol=1e-7)
    assert found["captions"][0] == ["one", "2 <b>ä</b>"]


def test_where_nothing_is_right_nothing_is_left(rows: datasets.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "clean"
    facts = write(rows, np.zeros(7), out)
    assert facts.pop("folder") == str(out)
    assert facts == {"pairs_dropped": 7, "images_dropped": 4, "pairs_kept": 0, "images_kept": 0}
    (shard,) = out.glob("*/*.parquet")
    assert pq.read_metadata(shard).num_rows == 0  # which `datasets` says of, when asked to open it
    assert len((out / "dropped.jsonl").read_text().splitlines()) == 7


def test_pairs_with_trouble_are_dropped_whatever_their_probability(
    rows: datasets.Dataset, tmp_path: Path
) -> None:
    captions = [["one", "IMG_2041.jpg"], ["<b>three</b>"], ["four", "five", "six"], ["2021"]]
    rows = rows.remove_columns("captions").add_column("captions", captions)
    chances = np.full(7, 0.9)
    chances[5] = 0.1
    facts = write(rows, chances, tmp_path / "clean", drop="file_names,digits,urls")
    assert facts["dropped_for_trouble"] == {"file_names": 1, "digits": 1}
    assert (facts["pairs_dropped"], facts["images_dropped"]) == (3, 1)
    kept = load_pairs(str(tmp_path / "clean"))["train"]
    assert kept["captions"][:] == [["one"], ["<b>three</b>"], ["four", "five"]]
    lines = (tmp_path / "clean/dropped.jsonl").read_text().splitlines()
    dropped = {line["caption"]: line.get("troubles") for line in map(json.loads, lines)}
    assert dropped == {"IMG_2041.jpg": ["file_names"], "six": None, "2021": ["digits"]}
    card = (tmp_path / "clean/README.md").read_text()
    assert "captions that are names of files (1)" in card


def test_people_keep_a_pair_with_trouble(rows: datasets.Dataset, tmp_path: Path) -> None:
    known = KnownPairs(TARGETS, REVIEWS)
    captions = [["one", "two ä"], ["3"], ["four", "five", "six"], ["7"]]
    rows = rows.remove_columns("captions").add_column("captions", captions)
    facts = write(rows, np.full(7, 0.9), tmp_path / "clean", drop="digits", known=known)
    assert facts["dropped_for_trouble"] == {"digits": 1}  # of two
    kept = load_pairs(str(tmp_path / "clean"))["train"]
    assert kept["image_id"][:] == ["w", "x", "y"]


@pytest.mark.parametrize("precision", [0.5, 0.9, 0.95, 0.99])
def test_the_threshold_for_a_precision_keeps_the_most_pairs_that_reach_it(precision: float) -> None:
    chances = np.random.default_rng(0).beta(0.5, 0.3, 300).round(2)  # with ties
    options = AuditOptions(clean=Path("clean"), clean_precision=precision)
    threshold = clean_threshold(options, chances)
    assert threshold is not None
    kept = chances[chances >= threshold]
    assert kept.mean() >= precision
    lower = chances[chances < threshold]
    if len(lower):
        assert chances[chances >= lower.max()].mean() < precision


def test_no_threshold_reaches_a_precision_above_the_best_pair() -> None:
    options = AuditOptions(clean=Path("clean"), clean_precision=0.99)
    assert clean_threshold(options, np.array([0.2, 0.98])) is None
    assert clean_threshold(AuditOptions(clean_threshold=0.3), np.array([0.2])) == 0.3


def test_the_card_and_the_counts_name_the_threshold(rows: datasets.Dataset, tmp_path: Path) -> None:
    facts = write(rows, CHANCES, tmp_path / "clean", clean_precision=0.7)
    assert facts["threshold"] == 0.5
    assert facts["pairs_kept"] == 4
    assert "below 0.5 were dropped" in (tmp_path / "clean/README.md").read_text("utf-8")
