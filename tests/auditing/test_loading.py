"""The rows of an audit: what can be used of a split, and what was left out of it."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest

from noisy_xmodal.arguments.audit import AuditOptions
from noisy_xmodal.auditing import image_scan, loading
from noisy_xmodal.auditing.duplicates import difference_hash
from noisy_xmodal.auditing.image_scan import look_at_images
from noisy_xmodal.auditing.loading import AuditRows, load_rows
from noisy_xmodal.data import DatasetError, PairDataset
from noisy_xmodal.data.regions import region_feature
from toy_pairs import toy_pairs


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def load(name: Path, **options: Any) -> AuditRows:
    return load_rows(AuditOptions(str(name), disable_tqdm=True, **options))


def photo(seed: int, form: str = "jpeg") -> bytes:
    """A picture of large coloured patches."""
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(blocks).resize((96, 72), PIL.Image.Resampling.BICUBIC).save(buffer, form)
    return buffer.getvalue()


def dataset_of(sources: list[bytes | Path]) -> datasets.Dataset:
    images = [
        {"bytes": None, "path": str(one)} if isinstance(one, Path) else {"bytes": one, "path": None}
        for one in sources
    ]
    return datasets.Dataset.from_dict(
        {
            "image": images,
            "captions": [["text"]] * len(images),
            "image_id": [f"name {row}" for row in range(len(images))],
        }
    ).cast_column("image", datasets.Image())


def n_bits(one: np.uint64, other: np.uint64) -> int:
    return (int(one) ^ int(other)).bit_count()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two splits; of each a picture is missing, and of one a picture is broken."""
    for shade in range(6):
        picture = PIL.Image.new("RGB", (16, 16), (40 * shade,) * 3)
        picture.save(tmp_path / f"{shade}.png")
    (tmp_path / "4.png").write_text("broken")
    names = {"train": [0, 9, 4, 1], "test": [2, 8, 3]}
    for split, shades in names.items():
        rows = [
            {"image": f"{shade}.png", "captions": [f"text {shade}", f"more {shade}"]}
            for shade in shades
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(text)
    return tmp_path


def test_bad_images_are_left_out_of_the_split_that_is_audited(folder: Path) -> None:
    found = load(folder)
    assert (found.split, found.pairs.visual) == ("train", "image")
    assert found.image_ids == ["0.png", "1.png"]
    assert found.pairs.captions() == ["text 0", "more 0", "text 1", "more 1"]
    assert found.pairs.row_of_pair.tolist() == [0, 0, 1, 1]
    assert len(found.scan.digests) == len(found.scan.hashes) == 2
    assert len(found.left_out) == 3  # nothing of the other split
    assert found.left_out[0] == "1 of 6 pictures have no row: ['5.png']"
    assert "9.png" in found.left_out[1]
    assert "4.png: not a picture" in found.left_out[2]
    other = load(folder, split="test")
    assert other.pairs.captions()[::2] == ["text 2", "text 3"]
    assert len(other.left_out) == 2


def test_digests_belong_to_the_rows_that_are_left(folder: Path) -> None:
    left = load(folder)
    alone = look_at_images(dataset_of([folder / "0.png", folder / "1.png"])).digests
    assert left.scan.digests.tolist() == alone.tolist()


def test_noise_is_put_into_what_is_left(folder: Path) -> None:
    found = load(folder, inject_noise="cmp_50", noise_seed=3)
    assert sum(sum(flags) for flags in found.pairs.dataset["is_noisy"]) == 2
    assert sorted(found.pairs.captions()) == ["more 0", "more 1", "text 0", "text 1"]
    assert found.pairs.captions() == [
        text for texts in found.pairs.dataset["captions"] for text in texts
    ]
    again = load(folder, inject_noise="cmp_50", noise_seed=3)
    assert again.pairs.captions() == found.pairs.captions()


def test_noise_that_is_none_is_refused_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load_pairs", None)
    with pytest.raises(ValueError, match="cmp_lots"):
        load(folder, inject_noise="cmp_lots")


@pytest.mark.parametrize("kind", ["files", "pictures"])
def test_a_dataset_of_which_nothing_is_left_is_an_error(kind: str, tmp_path: Path) -> None:
    rows = [{"image": f"{row}.png", "caption": "text"} for row in range(3)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if kind == "pictures":
        for row in range(3):
            (tmp_path / f"{row}.png").write_text("broken")
    with pytest.raises(DatasetError, match=r"usable.*: .*0\.png.*1\.png"):
        load(tmp_path)


def test_the_split_can_have_another_name(tmp_path: Path) -> None:
    toy_pairs(4).to_parquet(tmp_path / "valid.parquet")
    found = load(tmp_path / "valid.parquet", split="valid")
    assert found.split == "validation"
    assert load(tmp_path / "valid.parquet").split == "validation"
    assert len(found.pairs.captions()) == 8
    assert len(found.scan.hashes) == 0


def test_pictures_in_rows_are_read_too(tmp_path: Path) -> None:
    contents = [photo(0), b"broken", photo(2)]
    rows = datasets.Dataset.from_dict({"image": contents, "caption": ["a", "b", "c"]})
    rows.to_parquet(tmp_path / "pairs.parquet")
    found = load(tmp_path / "pairs.parquet")
    assert found.pairs.captions() == ["a", "c"]
    assert found.left_out == ["row-000001: not a picture that Pillow can read (6 bytes)"]


def test_broken_pictures_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_scan, "_BLOCK", 2)
    (tmp_path / "good.jpg").write_bytes(photo(0))
    (tmp_path / "cut.jpg").write_bytes(photo(1)[:900])
    sources: list[bytes | Path] = [
        photo(0),
        b"this is no picture",
        tmp_path / "good.jpg",
        tmp_path / "cut.jpg",
        tmp_path / "missing.jpg",
        b"",
        photo(2, "png"),
    ]
    scan = look_at_images(dataset_of(sources))
    problems, digests, hashes = scan.problems, scan.digests, scan.hashes
    assert list(problems) == [1, 3, 4, 5]
    assert problems[1] == "not a picture that Pillow can read (18 bytes)"
    assert "truncated" in problems[3]
    assert problems[4] == "it cannot be read (No such file or directory)"
    assert hashes.dtype == digests.dtype == np.uint64
    own = int.from_bytes(hashlib.sha256(photo(0)).digest()[:8], "little")
    assert digests[0] == digests[2] == own
    assert len(hashes) == len(digests) == 7


def test_hashes_are_those_of_the_whole_pictures() -> None:
    sources = [photo(seed) for seed in range(6)]
    again = io.BytesIO()
    PIL.Image.open(io.BytesIO(sources[0])).save(again, "jpeg", quality=50)
    scan = look_at_images(dataset_of([*sources, again.getvalue()]))
    digests, hashes = scan.digests, scan.hashes
    for source, found in zip(sources, hashes, strict=False):
        with PIL.Image.open(io.BytesIO(source)) as picture:
            assert n_bits(found, np.uint64(difference_hash(picture))) <= 4
    assert n_bits(hashes[0], hashes[6]) <= 4
    assert min(n_bits(hashes[0], other) for other in hashes[1:6]) > 8
    assert digests[0] != digests[6]


def test_a_fingerprint_names_pictures_in_their_order() -> None:
    def fingerprint(*pictures: bytes) -> str:
        rows = dataset_of(list(pictures))
        return AuditRows(PairDataset(rows), "train", look_at_images(rows)).fingerprint()

    assert fingerprint(photo(0), photo(1)) == fingerprint(photo(0), photo(1))
    assert fingerprint(photo(0), photo(1)) != fingerprint(photo(1), photo(0))


def test_region_features_are_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_scan, "_BLOCK", 2)
    regions = [[[1.0, 2.0]], [[3.0, float("nan")]], [[1.0, 2.0]], [], [[4.0, 5.0], [6.0, 7.0]]]
    rows = datasets.Dataset.from_dict(
        {"regions": regions, "captions": [["x"]] * 5, "image_id": list("abcde")},
        features=datasets.Features(
            {
                "regions": region_feature(2),
                "captions": datasets.List(datasets.Value("string")),
                "image_id": datasets.Value("string"),
            }
        ),
    )
    scan = look_at_images(rows)
    problems, digests, hashes = scan.problems, scan.digests, scan.hashes
    assert problems == dict.fromkeys([1, 3], "its region features are empty or not finite")
    assert len(hashes) == 0
    assert digests[0] == digests[2]
    assert len(np.unique(digests)) == 4
