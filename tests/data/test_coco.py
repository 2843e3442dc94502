"""MS-COCO: restval, ids, folds, object annotations, and partial noise by them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from karpathy_layout import (
    COCO_CATEGORIES,
    karpathy_entries,
    load,
    write_instances,
    write_karpathy,
)
from noisy_xmodal.data.columns import DatasetError
from noisy_xmodal.data.protocol import noise_protocol
from noisy_xmodal.data.readers import CleanSplit, write_dataset
from noisy_xmodal.data.readers.coco import Coco, find_annotations, read_annotations

Writer = Callable[..., Path]
SPLITS = {"train": 12, "restval": 8, "val": 3, "test": 4}
NAMES = [str(category["name"]) for category in COCO_CATEGORIES]


def write(raw: Path, out: Path, configs: list[str], **options: Any) -> dict[str, CleanSplit]:
    return write_dataset(Coco, out, configs, data_dir=str(raw), **options)


def objects_of(entries: list[dict[str, Any]]) -> dict[int, list[int]]:
    """Category ids by COCO id: one to three of five for most images, none for the fourth."""
    rng = np.random.default_rng(1)
    pool = [1, 13, 28, 46, 90]
    found = {
        entry["cocoid"]: rng.choice(pool, rng.integers(1, 4), replace=False).tolist()
        for entry in entries
    }
    found[entries[3]["cocoid"]] = []
    found[entries[0]["cocoid"]] *= 2  # several things of one category
    return found


@pytest.fixture
def entries() -> list[dict[str, Any]]:
    return karpathy_entries(SPLITS, coco=True)


@pytest.fixture
def raw(tmp_path: Path, entries: list[dict[str, Any]]) -> Path:
    folder = write_karpathy(tmp_path / "raw_coco", "coco", entries, ".")
    write_instances(folder / "annotations", entries, objects_of(entries))
    return folder


def test_restval_is_train_and_order_is_kept(
    raw: Path, tmp_path: Path, entries: list[dict[str, Any]]
) -> None:
    write(raw, tmp_path / "out", ["clean"])
    loaded = load(tmp_path / "out", "clean")
    for split, names in (
        ("train", ("train", "restval")),
        ("validation", ("val",)),
        ("test", ("test",)),
    ):
        listed = [str(entry["cocoid"]) for entry in entries if entry["split"] in names]
        assert loaded[split]["image_id"][:] == listed
    assert len(loaded["train"]) == 20


@pytest.mark.parametrize(
    ("place", "flat"), [(".", False), ("images", False), ("images", True), ("a/b", False)]
)
def test_places_of_the_pictures(
    tmp_path: Path, entries: list[dict[str, Any]], place: str, flat: bool
) -> None:
    raw = write_karpathy(tmp_path / "raw", "coco", entries, place)
    if flat:
        for path in list((raw / place).glob("*/*.jpg")):
            path.rename(raw / place / path.name)
    splits = write(raw, tmp_path / "out", ["clean"])
    assert sum(map(len, splits.values())) == 27


def test_captions_after_the_fifth_are_left_out_and_counted(tmp_path: Path) -> None:
    entries = karpathy_entries({"train": 3, "test": 1}, captions_per_image=5, coco=True)
    for k in (5, 6):
        entries[2]["sentences"].append({**entries[2]["sentences"][0], "raw": f"More {k}"})
    splits = write(write_karpathy(tmp_path / "raw", "coco", entries), tmp_path / "out", ["clean"])
    assert splits["train"].n_captions == 15
    assert "2 captions after the first 5 of an image left out" in splits["train"].notes
    assert not any("after the first" in note for note in splits["test"].notes)


def test_objects(raw: Path, tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    write(raw, tmp_path / "out", ["clean"])
    loaded = load(tmp_path / "out", "clean")
    kind = loaded["train"].features["objects"]
    assert kind == datasets.List(datasets.ClassLabel(names=NAMES))
    assert len(NAMES) == 80
    names = {category["id"]: category["name"] for category in COCO_CATEGORIES}
    expected = {
        str(cocoid): sorted({names[i] for i in ids}) for cocoid, ids in objects_of(entries).items()
    }
    for rows in loaded.values():
        for row in rows.select_columns(["image_id", "objects"]):
            shown = [kind.feature.int2str(number) for number in row["objects"]]
            assert sorted(shown) == expected[row["image_id"]]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "objects from instances_train2014.json and instances_val2014.json" in card
    assert "none for 1 images" in card


@pytest.mark.parametrize("config", ["part_40", "part_image_40"])
def test_partners_overlap_and_differ(raw: Path, tmp_path: Path, config: str) -> None:
    write(raw, tmp_path / "out", ["clean", config])
    clean, noisy = load(tmp_path / "out", "clean")["train"], load(tmp_path / "out", config)["train"]
    owner = {text: row for row, texts in enumerate(clean["captions"]) for text in texts}
    objects = [set(numbers) for numbers in noisy["objects"]]
    n_wrong = 0
    for row, (texts, flags) in enumerate(zip(noisy["captions"], noisy["is_noisy"], strict=True)):
        for text, wrong in zip(texts, flags, strict=True):
            assert wrong == (owner[text] != row)
            if wrong:
                assert objects[row] & objects[owner[text]]
                assert objects[row] != objects[owner[text]]
                n_wrong += 1
    assert n_wrong == 40
    protocol = noise_protocol(noisy)
    assert protocol is not None
    assert (protocol["type"], protocol["objects"]) == ("partial_mismatch", "annotations")


def test_objects_of_bad_pictures_go_with_them(
    raw: Path, tmp_path: Path, entries: list[dict[str, Any]]
) -> None:
    (raw / entries[0]["filepath"] / entries[0]["filename"]).write_bytes(b"")
    write(raw, tmp_path / "out", ["clean"], on_bad_image="skip")
    train = load(tmp_path / "out", "clean")["train"]
    assert len(train) == 19
    order = [category["id"] for category in COCO_CATEGORIES]
    for row in train.select_columns(["image_id", "objects"]):
        ids = objects_of(entries)[int(row["image_id"])]
        assert row["objects"] == sorted({order.index(i) for i in ids})


def test_without_annotations(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    raw = write_karpathy(tmp_path / "raw", "coco", entries)
    write(raw, tmp_path / "out", ["clean", "cmp_40"])
    assert "objects" not in load(tmp_path / "out", "clean")["train"].column_names
    with pytest.raises(DatasetError, match=r"no object sets.*objects_from="):
        write(raw, tmp_path / "other", ["part_40"])


def test_classes_are_numbered_by_category_id(raw: Path) -> None:
    before = read_annotations(find_annotations(raw))
    for path in find_annotations(raw):
        edit(path, lambda content: content["categories"].reverse())
    assert read_annotations(find_annotations(raw)) == before


def test_annotations_in_the_folder_itself(raw: Path) -> None:
    for path in (raw / "annotations").iterdir():
        path.rename(raw / path.name)
    assert [path.parent for path in find_annotations(raw)] == [raw, raw]


@pytest.mark.parametrize("form", ["{}", "COCO_val2014_{:012d}.jpg", "{:012d}"])
def test_objects_of_region_features(
    write_split: Writer, tmp_path: Path, entries: list[dict[str, Any]], form: str
) -> None:
    raw = write_split("train", n_images=20)
    write_split("testall", n_images=7)
    write_split("test", n_images=4)
    ids = [form.format(entry["cocoid"]) for entry in entries]
    for name, part in (("train", ids[:20]), ("testall", ids[20:]), ("test", ids[20:24])):
        (raw / f"{name}_ids.txt").write_text("\n".join(part) + "\n")
    write_instances(raw / "annotations", entries, objects_of(entries))
    write(raw, tmp_path / "out", ["clean", "part_40"])
    loaded = load(tmp_path / "out", "part_40")
    assert set(loaded) == {"train", "test", "test_1k"}
    order = [category["id"] for category in COCO_CATEGORIES]
    expected = [
        sorted({order.index(i) for i in objects_of(entries)[entry["cocoid"]]}) for entry in entries
    ]
    assert loaded["train"]["objects"][:] == expected[:20]
    assert loaded["test"]["objects"][:] == expected[20:]
    assert loaded["test_1k"]["objects"][:] == expected[20:24]
    assert sum(map(sum, loaded["train"]["is_noisy"][:])) == 40


def test_region_features_keep_their_own_objects(
    write_split: Writer, tmp_path: Path, entries: list[dict[str, Any]]
) -> None:
    raw = write_split("train", n_images=3)
    (raw / "train_labels.txt").write_text("4\n1 2\n0\n")
    write_instances(raw, entries, {})
    write(raw, tmp_path / "out", ["clean"])
    assert load(tmp_path / "out", "clean")["train"]["objects"][:] == [[4], [1, 2], [0]]


def test_region_features_without_coco_ids(
    write_split: Writer, tmp_path: Path, entries: list[dict[str, Any]]
) -> None:
    raw = write_split("train", n_images=3)
    write_instances(raw, entries, {})
    with pytest.raises(DatasetError, match=r"no image with the id 'train-0' \(row 0.*_ids\.txt"):
        write(raw, tmp_path / "out", ["clean"])


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def drop_last_image(content: dict[str, Any]) -> None:
    gone = content["images"].pop()["id"]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != gone]


SPOILS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda c: c.pop("categories"), "no list of 'categories'"),
    (lambda c: c.pop("annotations"), "no list of 'annotations'"),
    (lambda c: c.pop("images"), "no list of 'images'"),
    (lambda c: c["annotations"][2].pop("category_id"), r"annotation 2 .*category_id None"),
    (lambda c: c["annotations"][2].pop("image_id"), r"annotation 2 .*image_id None"),
    (
        lambda c: c["annotations"][2].update(category_id=12),
        r"annotation 2 .*category_id 12 are not",
    ),
    (lambda c: c["annotations"][2].update(image_id=-1), r"annotation 2 .*image_id -1 "),
    (lambda c: c["categories"][4].pop("name"), r"category 4 .*found \{"),
    (lambda c: c["images"][1].pop("id"), r"image 1 .*a number as 'id'"),
    (lambda c: c["categories"].pop(), r"has other categories than .*instances_train2014"),
    (lambda c: c["images"].pop(), r"annotation \d+ .*not both listed"),
    (drop_last_image, r"no image with the id '\d+' \(row"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILS)
def test_annotations_that_break_the_layout(
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[dict[str, Any]], object],
    message: str,
) -> None:
    edit(raw / "annotations" / "instances_val2014.json", spoil)
    monkeypatch.setattr("noisy_xmodal.data.readers.karpathy.check_pictures", None)  # comes later
    with pytest.raises(DatasetError, match=message):
        write(raw, tmp_path / "out", ["clean"])
    assert not (tmp_path / "out").exists()


def test_one_annotation_file_is_not_enough(raw: Path, tmp_path: Path) -> None:
    (raw / "annotations" / "instances_train2014.json").unlink()
    with pytest.raises(DatasetError, match=r"^instances_val2014\.json: no image.*both files"):
        write(raw, tmp_path / "out", ["clean"])


def test_a_truncated_annotation_file(raw: Path) -> None:
    path = raw / "annotations" / "instances_val2014.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(DatasetError, match=r"instances_val2014\.json is truncated or not a JSON"):
        read_annotations([path])


def test_a_split_file_without_coco_ids(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    del entries[6]["cocoid"]
    raw = write_karpathy(tmp_path / "raw", "coco", entries, None)
    with pytest.raises(DatasetError, match=r"image 6 .*the key 'cocoid' is missing"):
        write(raw, tmp_path / "out", ["clean"])
