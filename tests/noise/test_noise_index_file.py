"""Noise-index files: the level is found by content, and what does not fit is refused."""

from pathlib import Path

import numpy as np
import pytest

from noisy_xmodal.noise import CompleteMismatch, Pairs, read_noise_index, write_noise_index

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "noise_index"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index.npy"


def noisy_pairs(counts, level, ratio=0.5):
    return CompleteMismatch(ratio, level).apply(Pairs.from_counts(counts), np.random.default_rng(3))


@pytest.mark.parametrize("counts", [[5] * 12, [3, 1, 2, 2, 4, 1]], ids=["five each", "ragged"])
@pytest.mark.parametrize("level", ["caption", "image", "image, an entry per caption"])
def test_levels_are_found_and_pairs_survive(path, counts, level):
    level, _, per_caption = level.partition(", ")
    pairs = noisy_pairs(counts, level)
    write_noise_index(path, pairs, level)
    stored = np.load(path, allow_pickle=False)
    assert stored.dtype == np.int64
    assert len(stored) == (len(counts) if level == "image" else sum(counts))
    if per_caption:
        np.save(path, pairs.image)
    index = read_noise_index(path, counts, len(counts))
    assert index.level == level
    assert (index.pairs.image == pairs.image).all()
    assert (index.pairs.source_image == pairs.source_image).all()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_image_level_file_says_which_row_a_list_goes_to(path):
    np.save(path, np.array([2, 0, 1], dtype=np.int32))
    index = read_noise_index(path, 2, 3)
    assert index.level == "image"
    assert index.pairs.image.tolist() == [2, 2, 0, 0, 1, 1]
    assert [row.tolist() for row in index.pairs.rows()] == [[2, 3], [4, 5], [0, 1]]


def test_one_split_list_makes_it_caption_level(path):
    image = np.repeat([1, 0, 3, 2], 3)
    image[[0, 6]] = image[[6, 0]]
    np.save(path, image)
    assert read_noise_index(path, 3, 4).level == "caption"


def test_one_caption_per_image_is_caption_level(path):
    np.save(path, np.array([1, 0, 2]))
    assert read_noise_index(path, 1, 3).level == "caption"


@pytest.mark.parametrize("length", [4, 12])
def test_identity_is_no_noise(path, length):
    np.save(path, np.arange(length) * 4 // length)
    index = read_noise_index(path, 3, 4)
    assert index.level == "none"
    assert not index.pairs.is_noisy.any()


def test_clean_pairs_are_written_as_none(path):
    write_noise_index(path, Pairs.from_counts([2, 3]), "none")
    assert read_noise_index(path, [2, 3], 2).level == "none"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0.0, 1.0, 2.0]), "type float64"),
        (np.array([True, False, True]), "type bool"),
        (np.array([[0, 1, 2]]), r"shape \(1, 3\)"),
        (np.arange(4), "4 entries where 6 or 3 would fit"),
        (np.array([0, 1, 3]), "3 at entry 2, but image rows run from 0 to 2"),
        (np.array([0, -1, 2]), "-1 at entry 1"),
        (np.array([0, 1, 2**63 + 1], dtype=np.uint64), "9223372036854775809 at entry 2"),
        (np.array([1, 1, 2]), "row 0 0 caption lists where it needs 1"),
        (np.array([0, 0, 1, 0, 2, 2]), "row 0 3 captions where it needs 2"),
        (np.array([0, 0, 0, 0, 2, 2]), "row 0 2 caption lists where it needs 1"),
        (np.array([0, 1, 2], dtype=object), "holds Python objects"),
    ],
)
def test_wrong_arrays_are_refused_by_name(path, array, message):
    np.save(path, array, allow_pickle=True)
    with pytest.raises(ValueError, match=rf"index\.npy .*{message}"):
        read_noise_index(path, 2, 3)


@pytest.mark.parametrize("content", [b"", b"0 1 2\n", b"PK\x03\x04rest"])
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not a \.npy file"):
        read_noise_index(path, 2, 3)


def test_truncated_file_is_refused(path):
    np.save(path, np.arange(3))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="damaged"):
        read_noise_index(path, 2, 3)


def test_counts_must_match_the_number_of_images(path):
    with pytest.raises(ValueError, match="2 entries for n_images=3"):
        read_noise_index(path, [2, 2], 3)


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("image", "write it at level 'caption'"),
        ("none", "captions moved"),
        ("row", "choose one of caption, image, none"),
    ],
)
def test_a_level_that_does_not_describe_the_pairs_is_refused(path, level, message):
    with pytest.raises(ValueError, match=message):
        write_noise_index(path, noisy_pairs([5] * 6, "caption"), level)
    assert not path.exists()


@pytest.mark.parametrize(("ratio", "share"), [("0.2", 0.19999), ("0.4", 0.4)])
def test_published_files_are_caption_level(ratio, share):
    path = PUBLISHED / f"f30k_precomp_{ratio}.npy"
    if not path.exists():
        pytest.skip(f"the published noise index {path} is not on this machine")
    index = read_noise_index(path, 5, 29_000)
    assert index.level == "caption"
    assert index.pairs.is_noisy.mean() == pytest.approx(share, abs=1e-5)
    assert {len(row) for row in index.pairs.rows()} == {5}
