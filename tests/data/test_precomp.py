"""The region-feature layout: round trips, odd layouts, noise, and errors before any writing."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from noisy_xmodal.data import writing
from noisy_xmodal.data.columns import DatasetError, validate_pairs
from noisy_xmodal.data.pair_dataset import PairDataset
from noisy_xmodal.data.protocol import NOISE_VERSION, noise_protocol
from noisy_xmodal.data.readers import CleanSplit, Precomp, write_dataset
from noisy_xmodal.noise import CompleteMismatch, Pairs, write_noise_index

Writer = Callable[..., Path]
FLICKR8K = Path(__file__).parents[3] / "shared" / "data" / "flickr8k" / "precomp"


def write_precomp(
    raw: Path, out: Path, configs: list[str] | None = None, **options: Any
) -> dict[str, CleanSplit]:
    return write_dataset(Precomp, out, configs, data_dir=str(raw), **options)


def load(out: Path, config: str) -> datasets.DatasetDict:
    return datasets.load_dataset(str(out), config, cache_dir=str(out.parent / "load_cache"))


def truth(dataset: datasets.Dataset) -> list[list[bool]]:
    """Whether each caption names another image than its row's; ids are "train-3"."""
    return [
        [f"image {row['image_id'].split('-')[1]} " not in text for text in row["captions"]]
        for row in dataset
    ]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_round_trip(write_split: Writer, tmp_path: Path, dtype: type) -> None:
    raw = write_split("train", dtype=dtype)
    write_split("dev", n_images=4, dtype=dtype)
    write_precomp(raw, tmp_path / "out", ["clean", "cmp_40"])
    loaded = load(tmp_path / "out", "clean")
    assert set(loaded) == {"train", "validation"}
    features = np.load(raw / "train_ims.npy")
    pairs = PairDataset(loaded["train"])
    for item in pairs.__getitems__(list(range(50))):
        np.testing.assert_array_equal(item["regions"], features[item["image_row"]])
        assert item["regions"].dtype == dtype
        assert (
            item["caption"] == f"train image {item['pair_id'] // 5} caption {item['pair_id'] % 5}"
        )
    assert not pairs.is_noisy.any()
    validate_pairs(loaded["train"])


@pytest.mark.parametrize(("config", "level"), [("cmp_40", "caption"), ("cmp_image_40", "image")])
def test_noise_is_in_train_only_and_the_oracle_is_true(
    write_split: Writer, tmp_path: Path, config: str, level: str
) -> None:
    raw = write_split("train")
    write_split("dev", n_images=4)
    write_split("test", n_images=3)
    write_precomp(raw, tmp_path / "out", ["clean", config])
    noisy, clean = load(tmp_path / "out", config), load(tmp_path / "out", "clean")
    flags = noisy["train"]["is_noisy"][:]
    assert flags == truth(noisy["train"])
    assert sum(map(sum, flags)) == 20
    if level == "image":
        assert {sum(row) for row in flags} == {0, 5}
    for split in ("validation", "test"):
        assert noisy[split].to_list() == clean[split].to_list()
        assert not any(map(any, truth(noisy[split])))
        assert not PairDataset(noisy[split]).is_noisy.any()


def test_seeds(write_split: Writer, tmp_path: Path) -> None:
    raw = write_split()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_precomp(raw, tmp_path / name, ["cmp_60"], seed=seed)
    a, b, c = (load(tmp_path / name, "cmp_60")["train"]["captions"][:] for name in "abc")
    assert a == b
    assert a != c


def test_the_protocol_travels_with_the_data(write_split: Writer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_precomp(write_split(), out, ["clean", "cmp_image_40"], seed=7)
    expected = {
        "type": "complete_mismatch",
        "level": "image",
        "ratio": 0.4,
        "share_wrong": 0.4,
        "n_wrong": 20,
        "n_pairs": 50,
        "config": "cmp_image_40",
        "seed": 7,
        "version": NOISE_VERSION,
    }
    loaded = load(out, "cmp_image_40")["train"]
    assert noise_protocol(loaded) == expected
    assert noise_protocol(loaded.select([0])) == expected
    stream = datasets.load_dataset(str(out), "cmp_image_40", split="train", streaming=True)
    assert noise_protocol(stream) == expected
    assert noise_protocol(load(out, "clean")["train"])["share_wrong"] == 0
    assert json.loads((out / "noise_protocol.json").read_text())["cmp_image_40"] == expected
    assert (
        "| `cmp_image_40` | complete_mismatch | image | 40.0% | 40.00% |"
        in (out / "README.md").read_text()
    )
    assert noise_protocol(datasets.Dataset.from_dict({"a": [1]})) is None


def test_evaluation_splits_are_stored_once(write_split: Writer, tmp_path: Path) -> None:
    raw = write_split("train")
    write_split("test", n_images=3)
    write_precomp(raw, tmp_path / "out", ["clean", "cmp_20", "cmp_40"])
    assert [f.name for f in (tmp_path / "out").rglob("test*.parquet")] == [
        "test-00000-of-00001.parquet"
    ]
    assert len(list((tmp_path / "out").rglob("train*.parquet"))) == 3


def test_evaluation_without_train(write_split: Writer, tmp_path: Path) -> None:
    write_precomp(write_split("test"), tmp_path / "out", ["clean", "cmp_40"])
    loaded = load(tmp_path / "out", "cmp_40")
    assert set(loaded) == {"test"}
    assert not any(map(any, truth(loaded["test"])))
    assert noise_protocol(loaded["test"]) is None


def test_flat_features_are_one_region(write_split: Writer, tmp_path: Path) -> None:
    write_precomp(write_split(shape=(6,), per_image=1), tmp_path / "out", ["clean"])
    assert PairDataset(load(tmp_path / "out", "clean")["train"])[3]["regions"].shape == (1, 6)


def test_ids_and_labels(write_split: Writer, tmp_path: Path) -> None:
    raw = write_split(n_images=3)
    (raw / "train_ids.txt").write_text("a.jpg\nb.jpg\nc.jpg\n")
    (raw / "train_labels.txt").write_text("4\n1 2\n0\n")
    write_precomp(raw, tmp_path / "out", ["clean"])
    loaded = load(tmp_path / "out", "clean")["train"]
    assert loaded["image_id"][:] == ["a.jpg", "b.jpg", "c.jpg"]
    assert loaded["objects"][:] == [[4], [1, 2], [0]]


def test_repeated_rows_are_kept_once(write_split: Writer, tmp_path: Path) -> None:
    raw = write_split("train")
    write_split("dev", n_images=4, copies=5)
    (raw / "dev_ids.txt").write_text("".join(f"id{i}\n" for i in range(4) for _ in range(5)))
    splits = write_precomp(raw, tmp_path / "out", ["clean"])
    assert splits["validation"].columns["regions"].copies == 5
    assert splits["train"].columns["regions"].copies == 1
    loaded = load(tmp_path / "out", "clean")["validation"]
    assert loaded["image_id"][:] == ["id0", "id1", "id2", "id3"]
    assert [len(texts) for texts in loaded["captions"]] == [5] * 4
    features = np.load(raw / "dev_ims.npy")[::5]
    for row, item in enumerate(PairDataset(loaded).__getitems__([0, 5, 10, 15])):
        np.testing.assert_array_equal(item["regions"], features[row])
    assert "repeats every row 5 times" in (tmp_path / "out" / "README.md").read_text()


def test_repeats_are_found_where_neighbours_are_equal(write_split: Writer, tmp_path: Path) -> None:
    raw = write_split(n_images=8, copies=5)
    features = np.load(raw / "train_ims.npy")
    features[5:10] = features[0]  # image 1 looks like image 0
    np.save(raw / "train_ims.npy", features)
    write_precomp(raw, tmp_path / "out", ["clean"])
    assert [len(texts) for texts in load(tmp_path / "out", "clean")["train"]["captions"]] == [5] * 8


def test_a_chance_repeat_is_not_the_repeated_layout(write_split: Writer, tmp_path: Path) -> None:
    raw = write_split(per_image=1)
    features = np.load(raw / "train_ims.npy")
    features[1] = features[0]
    np.save(raw / "train_ims.npy", features)
    assert write_precomp(raw, tmp_path / "out", ["clean"])["train"].columns["regions"].copies == 1
    assert len(load(tmp_path / "out", "clean")["train"]) == 10


def test_captions_may_hold_odd_line_separators(write_split: Writer, tmp_path: Path) -> None:
    raw = write_split(n_images=2, per_image=1)
    (raw / "train_caps.txt").write_bytes("one\u2028still one\r\ntwo".encode())
    write_precomp(raw, tmp_path / "out", ["clean"])
    loaded = load(tmp_path / "out", "clean")["train"]
    assert loaded["captions"][:] == [["one\u2028still one"], ["two"]]


@pytest.mark.parametrize("level", ["caption", "image"])
def test_a_noise_index_gives_the_noise(write_split: Writer, tmp_path: Path, level: str) -> None:
    raw = write_split()
    drawn = CompleteMismatch(0.4, level).apply(
        Pairs.from_counts([5] * 10), np.random.default_rng(5)
    )
    path = tmp_path / "published.npy"
    write_noise_index(path, drawn, level)
    name = "cmp_40" if level == "caption" else "cmp_image_40"
    write_precomp(raw, tmp_path / "out", [name], noise_index=str(path))
    write_precomp(raw, tmp_path / "any", noise_index=str(path))
    loaded = load(tmp_path / "out", name)["train"]
    for row, image in enumerate(loaded):
        given = {
            f"train image {p // 5} caption {p % 5}" for p in np.flatnonzero(drawn.image == row)
        }
        assert set(image["captions"]) == given
    protocol = noise_protocol(loaded)
    assert protocol is not None
    assert (protocol["type"], protocol["level"]) == ("noise_index", level)
    assert (protocol["noise_index"], protocol["seed"]) == ("published.npy", None)
    assert load(tmp_path / "any", "noise_index")["train"]["captions"][:] == loaded["captions"][:]


def test_a_noise_index_must_fit_the_name(write_split: Writer, tmp_path: Path) -> None:
    raw = write_split()
    drawn = CompleteMismatch(0.4).apply(Pairs.from_counts([5] * 10), np.random.default_rng(5))
    path = str(tmp_path / "published.npy")
    write_noise_index(path, drawn, "caption")
    for name in ("cmp_image_40", "cmp_20"):
        with pytest.raises(DatasetError, match=rf"'{name}' says .*40.0% at level 'caption'"):
            write_precomp(raw, tmp_path / "out", ["clean", name], noise_index=path)
    with pytest.raises(DatasetError, match=r"noise of one config.*cmp_20"):
        write_precomp(raw, tmp_path / "out", ["cmp_20", "cmp_40"], noise_index=path)
    with pytest.raises(DatasetError, match="needs a file"):
        write_precomp(raw, tmp_path / "out", ["noise_index"])
    assert not (tmp_path / "out").exists()


def spoil_count(raw: Path) -> None:
    with open(raw / "train_caps.txt", "a") as file:
        file.write("one more\n")


def spoil_feature(raw: Path) -> None:
    features = np.load(raw / "train_ims.npy")
    features[7, 1, 2] = np.nan
    np.save(raw / "train_ims.npy", features)


def spoil_caption(raw: Path) -> None:
    lines = (raw / "train_caps.txt").read_text().split("\n")
    lines[12] = "  "
    (raw / "train_caps.txt").write_text("\n".join(lines))


def spoil_pickle(raw: Path) -> None:
    np.save(raw / "train_ims.npy", np.array([{}] * 10, dtype=object), allow_pickle=True)


def spoil_dtype(raw: Path) -> None:
    np.save(raw / "train_ims.npy", np.ones((10, 3, 4)))


def spoil_shape(raw: Path) -> None:
    np.save(raw / "train_ims.npy", np.ones(10, dtype=np.float32))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_count, r"train_caps\.txt has 51 captions for the 10 images"),
        (spoil_feature, r"train_ims\.npy, row 7 .*: the features have NaN"),
        (spoil_caption, r"train_caps\.txt, line 13: the line is empty"),
        (spoil_pickle, r"train_ims\.npy is not a numeric array.*never loaded"),
        (spoil_dtype, r"train_ims\.npy is float64: expected float16 or float32"),
        (spoil_shape, r"train_ims\.npy has shape \(10,\)"),
        (lambda raw: (raw / "train_caps.txt").unlink(), r"train_caps\.txt is missing"),
        (lambda raw: (raw / "train_ims.npy").unlink(), r"train_ims\.npy is missing"),
        (lambda raw: (raw / "train_caps.txt").write_bytes(b"\xff\n"), "is not UTF-8"),
        (lambda raw: (raw / "train_ids.txt").write_text("a\nb\n"), r"_ids\.txt has 2 lines for 10"),
        (lambda raw: (raw / "train_labels.txt").write_text("1\n" * 9), r"_labels\.txt has 9 lines"),
        (
            lambda raw: (raw / "train_labels.txt").write_text("1\n" * 9 + "dog\n"),
            r"_labels\.txt, image 10: 'dog' is not a list of non-negative class numbers",
        ),
        (
            lambda raw: (raw / "train_labels.txt").write_text("1\n" * 9 + "-1\n"),
            r"_labels\.txt, image 10: '-1' is not a list of non-negative class numbers",
        ),
        (
            lambda raw: (raw / "train_labels.txt").write_text("1\n" * 9 + "3\n"),
            r"class 3 occurs once in train \(row 9",
        ),
        (
            lambda raw: (raw / "train_ids.txt").write_text("a\n" * 10),
            r"rows 0 and 1 .* same id 'a'",
        ),
        (
            lambda raw: os.truncate(raw / "train_ims.npy", 300),
            r"train_ims\.npy is truncated or damaged: its 300 bytes",
        ),
    ],
)
def test_files_that_break_the_layout(
    write_split: Writer, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    raw = write_split()
    spoil(raw)
    with pytest.raises(DatasetError, match=message):
        write_precomp(raw, tmp_path / "out", ["clean"])
    assert not (tmp_path / "out").exists()


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no split"):
        write_precomp(tmp_path, tmp_path / "out")


def test_splits_must_agree(write_split: Writer, tmp_path: Path) -> None:
    raw = write_split("train")
    write_split("dev", shape=(3, 5))
    with pytest.raises(DatasetError, match=r"feature dimension.*'dev_ims.npy': '5 float16'"):
        write_precomp(raw, tmp_path / "out")
    write_split("dev", dtype=np.float32)
    with pytest.raises(DatasetError, match=r"differ in feature dimension or type.*float32"):
        write_precomp(raw, tmp_path / "out")
    write_split("dev")
    (raw / "dev_labels.txt").write_text("1\n" * 10)
    with pytest.raises(DatasetError, match=r"for some splits only: \['train'\]"):
        write_precomp(raw, tmp_path / "out")


def test_unknown_config(write_split: Writer, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"no config 'cmp_41'\. Known configs: clean; cmp_N.* N of 10"
    ):
        write_precomp(write_split(), tmp_path / "out", ["clean", "cmp_41"])


def test_a_folder_with_content_is_kept(write_split: Writer, tmp_path: Path) -> None:
    raw, out = write_split(), tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match=r"out is not empty.*overwrite=True"):
        write_precomp(raw, out, ["clean"])
    assert [file.name for file in out.iterdir()] == ["mine.txt"]
    write_precomp(raw, out, ["clean"], overwrite=True)
    assert not (out / "mine.txt").exists()
    assert len(load(out, "clean")["train"]) == 10


def test_a_run_that_dies_leaves_nothing(
    write_split: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = write_split(), tmp_path / "here" / "out"
    write_precomp(raw, out, ["clean"])
    before = sorted(file.name for file in out.rglob("*"))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "render_card", die)
    with pytest.raises(KeyboardInterrupt):
        write_precomp(raw, out, ["cmp_40"], overwrite=True)
    assert sorted(file.name for file in out.rglob("*")) == before
    assert [file.name for file in out.parent.iterdir()] == ["out"]


def test_what_a_killed_run_left_is_put_right(
    write_split: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out, aside = write_split(), tmp_path / "out", tmp_path / ".out.partial"
    write_precomp(raw, out, ["clean"])
    # Killed between the two renames of a run with --overwrite: the old folder lies aside.
    out.rename(tmp_path / ".out.old.partial")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing, "render_card", die)
        with pytest.raises(KeyboardInterrupt):
            write_precomp(raw, out, ["cmp_40"], overwrite=True)
    assert set(load(out, "clean")) == {"train"}
    assert not aside.exists()
    aside.mkdir()  # killed while it wrote
    write_precomp(raw, out, ["cmp_40"], overwrite=True)
    assert len(load(out, "cmp_40")["train"]) == 10
    assert not aside.exists()


def test_a_swap_that_fails_puts_the_old_folder_back(
    write_split: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out, replace = write_split(), tmp_path / "out", os.replace
    write_precomp(raw, out, ["clean"])

    def fail(source: Path, target: Path) -> None:
        if Path(source).name == ".out.partial":
            raise OSError("disk")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk"):
        write_precomp(raw, out, ["cmp_40"], overwrite=True)
    assert set(load(out, "clean")) == {"train"}


def test_out_must_have_a_place(write_split: Writer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"cannot be created: .*file is a file"):
        write_precomp(write_split(), tmp_path / "file" / "out", ["clean"])
    with pytest.raises(DatasetError, match="seed is -3: give a non-negative integer"):
        write_precomp(write_split(), tmp_path / "out", ["clean"], seed=-3)


def test_the_builder_reads_changed_files_anew(write_split: Writer, tmp_path: Path) -> None:
    def build(n_images: int) -> int:
        raw = write_split(n_images=n_images)
        builder = Precomp(config_name="cmp_40", data_dir=str(raw), cache_dir=str(tmp_path / "c"))
        builder.download_and_prepare()
        built = builder.as_dataset("train")
        assert noise_protocol(built)["config"] == "cmp_40"
        return len(built)

    assert build(10) == 10
    assert build(12) == 12


def test_the_builder_reads_a_changed_index_anew(write_split: Writer, tmp_path: Path) -> None:
    raw, path = write_split(), tmp_path / "index.npy"

    def build(seed: int) -> list[list[str]]:
        drawn = CompleteMismatch(0.4).apply(
            Pairs.from_counts([5] * 10), np.random.default_rng(seed)
        )
        write_noise_index(path, drawn, "caption")
        options = {"data_dir": str(raw), "cache_dir": str(tmp_path / "c")}
        builder = Precomp(config_name="noise_index", noise_index=str(path), **options)
        builder.download_and_prepare()
        return list(builder.as_dataset("train")["captions"])

    first = build(1)
    assert build(2) != first
    assert build(1) == first


def test_the_builder_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="data_dir"):
        _ = Precomp(config_name="clean", cache_dir=str(tmp_path)).splits


@pytest.mark.skipif(not FLICKR8K.exists(), reason="needs shared/data/flickr8k beside the checkout")
def test_flickr8k(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for file in FLICKR8K.glob("dev_*"):
        (raw / file.name.replace("dev", "train")).symlink_to(file)
    write_precomp(raw, tmp_path / "out", ["cmp_40"])
    pairs = PairDataset(load(tmp_path / "out", "cmp_40")["train"])
    assert (len(pairs), pairs.n_images) == (5000, 1000)
    assert pairs.is_noisy.mean() == 0.4
    item = pairs[4321]
    np.testing.assert_array_equal(
        item["regions"], np.load(FLICKR8K / "dev_ims.npy", mmap_mode="r")[item["image_row"]]
    )
