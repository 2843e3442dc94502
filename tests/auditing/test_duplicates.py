"""Pictures that look alike and captions that are repeated, against slow recomputation."""

import io
import time
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.auditing.duplicates import (
    difference_hash,
    first_copies,
    repeated_captions,
    similar_images,
    thumbnail,
)


def photograph(seed: int, size: tuple[int, int] = (90, 80)) -> Image.Image:
    """A smooth picture, no two seeds alike."""
    grid = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def slow_groups(hashes: list[int], distance: int) -> list[list[int]]:
    rows = [row for row, value in enumerate(hashes) if 4 <= value.bit_count() <= 60]
    groups: list[list[int]] = []
    for row in rows:
        near = [
            group
            for group in groups
            if any((hashes[row] ^ hashes[other]).bit_count() <= distance for other in group)
        ]
        groups = [group for group in groups if group not in near]
        groups.append(sorted([row, *(other for group in near for other in group)]))
    several = [group for group in groups if len(group) > 1]
    return sorted(several, key=lambda group: (-len(group), group[0]))


def as_lists(groups: list[np.ndarray]) -> list[list[int]]:
    return [group.tolist() for group in groups]


def flipped(value: int, bits: list[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def test_the_hash_says_where_brightness_grows():
    cells = np.random.default_rng(0).integers(0, 256, (8, 9), dtype=np.uint8)
    expected = 0
    for row in cells.astype(int):
        for left, right in pairwise(row):
            expected = 2 * expected + int(right > left)
    assert difference_hash(Image.fromarray(cells)) == expected


def test_copies_have_close_hashes_and_other_pictures_have_not():
    picture = photograph(1, (360, 320))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=50)
    for copy in (picture.resize((130, 110)), Image.open(file), picture.convert("CMYK")):
        assert (difference_hash(copy) ^ difference_hash(picture)).bit_count() <= 2
    assert (difference_hash(photograph(2)) ^ difference_hash(picture)).bit_count() > 10


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "I", "F"])
def test_pictures_of_every_mode_have_a_hash(mode):
    gray = photograph(1).convert("L")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(gray).astype(np.uint16) * 256)
    else:
        picture = gray.convert(mode)
    assert picture.mode == mode
    close = 20 if mode in "1P" else 2
    assert (difference_hash(picture) ^ difference_hash(gray)).bit_count() <= close


def test_what_is_transparent_counts_as_white():
    empty = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    empty.paste((0, 0, 0, 255), (10, 10, 20, 30))
    to_rgb = Image.new("RGB", (40, 40), "white")
    to_rgb.paste("black", (10, 10, 20, 30))
    assert difference_hash(empty) == difference_hash(to_rgb) != 0


@pytest.mark.parametrize("distance", [0, 1, 2, 3, 5, 8])
def test_groups_are_those_of_comparing_each_with_each(distance):
    rng = np.random.default_rng(distance)
    hashes = [int(value) for value in rng.integers(0, 2**64, 40, dtype=np.uint64)]
    for original in hashes[:20]:  # copies at every distance around the limit
        n_bits = int(rng.integers(0, distance + 3))
        hashes.append(flipped(original, rng.choice(64, n_bits, replace=False).tolist()))
    hashes += [flipped(hashes[-1], [bit]) for bit in (0, 63)]
    shuffled = [hashes[row] for row in rng.permutation(len(hashes))]
    expected = slow_groups(shuffled, distance)
    assert expected
    assert as_lists(similar_images(np.array(shuffled, dtype=np.uint64), distance)) == expected


def test_crowded_hashes_are_parted_rightly():
    # 600 hashes that differ in every fourth bit only, so that all agree in three of four bands.
    codes = np.random.default_rng(0).permutation(2**13)[:600].tolist()
    fixed = 0b1110 << 16 | 0b1110 << 36
    hashes = [fixed | sum((code >> bit & 1) << 4 * bit for bit in range(13)) for code in codes]
    expected = slow_groups(hashes, 1)
    assert len(expected) > 20
    assert as_lists(similar_images(np.array(hashes, dtype=np.uint64), 1)) == expected


def test_a_chain_of_close_pictures_is_one_group():
    start = 0x0F0F_0F0F_0F0F_0F0F
    chain = [flipped(start, list(range(2 * n))) for n in range(6)]
    hashes = np.array([*chain, ~start & (2**64 - 1)], dtype=np.uint64)
    assert as_lists(similar_images(hashes, 2)) == [[0, 1, 2, 3, 4, 5]]
    assert similar_images(hashes, 1) == []


def test_flat_pictures_are_in_no_group():
    flat = difference_hash(Image.new("RGB", (50, 50), "gray"))
    full = 2**64 - 1
    hashes = [flat, 0, 0, 0b111, 0b111, full, full, flipped(full, [1, 2, 3]), 0b1111, 0b1111]
    assert as_lists(similar_images(np.array(hashes, dtype=np.uint64))) == [[8, 9]]


def test_very_many_copies_take_no_time():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 150_000, dtype=np.uint64)
    hashes[20_000:120_000] = hashes[0]
    started = time.perf_counter()
    groups = similar_images(hashes)
    assert time.perf_counter() - started < 10  # comparing each with each takes minutes
    assert as_lists(groups) == [[0, *range(20_000, 120_000)]]


@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one_picture_have_no_groups(n):
    assert similar_images(np.full(n, 0xFFFF, dtype=np.uint64)) == []


def test_repeated_captions_count_images_not_pairs():
    captions = ["A dog", "a  DOG ", "a\tdog", "a cat", "A dog", "a cat", "", " ", "", "a cat", "x"]
    rows = np.array([7, 2, 5, 1, 2, 1, 1, 2, 3, 1, 1])
    found = repeated_captions(captions, rows)
    assert [(text, images.tolist()) for text, images in found] == [("A dog", [2, 5, 7])]
    assert repeated_captions(captions, rows, min_images=4) == []
    assert repeated_captions([], np.array([], dtype=np.int64)) == []


def test_repeated_captions_are_those_of_counting_slowly():
    rng = np.random.default_rng(0)
    captions = [f"Text {n}" for n in rng.integers(0, 30, 200)]
    rows = rng.integers(0, 40, 200)
    images: dict[str, set[int]] = {}
    for caption, row in zip(captions, rows.tolist(), strict=True):
        images.setdefault(caption, set()).add(row)
    expected = {text: sorted(several) for text, several in images.items() if len(several) >= 6}
    found = repeated_captions(captions, rows, min_images=6)
    assert {text: several.tolist() for text, several in found} == expected
    sizes = [len(several) for _, several in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_case_folding_joins_spellings():
    found = repeated_captions(["STRASSE", "straße", "Strasse"], np.arange(3))
    assert [(text, images.tolist()) for text, images in found] == [("STRASSE", [0, 1, 2])]


def test_copies_are_told_from_images_that_are_alike():
    picture = photograph(1, (360, 320))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    digit = picture.copy()
    digit.paste("white", (150, 130, 210, 190))
    images = [picture, photograph(2), Image.open(file), picture.resize((90, 80)), digit]
    images += [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), photograph(2)]
    first = first_copies(np.stack([thumbnail(image.convert("RGB")) for image in images]))
    assert first.tolist() == [0, 1, 0, 0, 4, 5, 1]


def test_images_of_one_colour_are_copies_of_each_other():
    plain = [thumbnail(Image.new("RGB", (9, 9), color)) for color in ("white", "white")]
    assert first_copies(np.stack(plain)).tolist() == [0, 0]
