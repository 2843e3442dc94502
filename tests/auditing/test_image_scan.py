"""One look at every picture: broken ones are named, copies and look-alikes are told."""

import hashlib
import io
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest

from noisy_xmodal.auditing import loading as module
from noisy_xmodal.auditing.duplicates import difference_hash
from noisy_xmodal.auditing.loading import AuditRows, look_at_images
from noisy_xmodal.data import PairDataset
from noisy_xmodal.data.regions import region_feature


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


def test_broken_pictures_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 2)
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
    problems, digests, hashes = look_at_images(dataset_of(sources))
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
    _, digests, hashes = look_at_images(dataset_of([*sources, again.getvalue()]))
    for source, found in zip(sources, hashes, strict=False):
        with PIL.Image.open(io.BytesIO(source)) as picture:
            assert n_bits(found, np.uint64(difference_hash(picture))) <= 4
    assert n_bits(hashes[0], hashes[6]) <= 4
    assert min(n_bits(hashes[0], other) for other in hashes[1:6]) > 8
    assert digests[0] != digests[6]


def test_a_fingerprint_names_pictures_in_their_order() -> None:
    def fingerprint(*pictures: bytes) -> str:
        rows = dataset_of(list(pictures))
        return AuditRows(PairDataset(rows), "train", *look_at_images(rows)[1:]).fingerprint()

    assert fingerprint(photo(0), photo(1)) == fingerprint(photo(0), photo(1))
    assert fingerprint(photo(0), photo(1)) != fingerprint(photo(1), photo(0))


def test_region_features_are_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 2)
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
    problems, digests, hashes = look_at_images(rows)
    assert problems == dict.fromkeys([1, 3], "its region features are empty or not finite")
    assert len(hashes) == 0
    assert digests[0] == digests[2]
    assert len(np.unique(digests)) == 4
