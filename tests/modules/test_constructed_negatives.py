"""Constructed negatives: which pairs of a mini-batch are joined, and which never."""

from collections import Counter

import pytest
import torch

from noisy_xmodal.modules.constructed_negatives import draw_negatives

#: The image of each pair of a mini-batch: images 0 and 5 have several captions.
ROWS = torch.tensor([0, 0, 3, 5, 0, 5, 7])


def is_negative(rows: torch.Tensor) -> torch.Tensor:
    return rows[:, None] != rows[None, :]


@pytest.mark.parametrize("side", ["both", "image", "text"])
@pytest.mark.parametrize("per_positive", [1, 3])
def test_no_image_meets_a_caption_of_its_own(side, per_positive):
    for _ in range(50):
        pairs, anchor = draw_negatives(is_negative(ROWS), per_positive, side)
        assert pairs.shape == (len(ROWS) * per_positive, 2)
        assert anchor.tolist() == [i for i in range(len(ROWS)) for _ in range(per_positive)]
        images, texts = pairs.unbind(dim=1)
        assert (ROWS[images] != ROWS[texts]).all()


@pytest.mark.parametrize("side", ["both", "image", "text"])
def test_no_image_meets_the_very_text_of_a_caption_of_its_own(side):
    texts_of_images = {0: "ab", 3: "c", 5: "ad", 7: "e"}  # "a" is a text of images 0 and 5
    texts = "abcabde"  # of each pair; image 5 has "a" in a pair of another batch
    allowed = torch.tensor([[t not in texts_of_images[int(i)] for t in texts] for i in ROWS])
    for _ in range(50):
        pairs, _ = draw_negatives(allowed, 3, side)
        assert all(texts[t] not in texts_of_images[int(ROWS[i])] for i, t in pairs.tolist())


@pytest.mark.parametrize("side", ["both", "image", "text"])
def test_one_side_is_that_of_the_given_pair(side):
    pairs, anchor = draw_negatives(is_negative(ROWS), 50, side)
    images, texts = pairs.unbind(dim=1)
    keeps_image, keeps_text = images == anchor, texts == anchor
    assert (keeps_image ^ keeps_text).all()
    if side != "both":
        assert keeps_text.all() if side == "image" else keeps_image.all()


def test_both_sides_are_replaced_equally_often():
    n = 7 * 2000
    pairs, anchor = draw_negatives(is_negative(ROWS), 2000)
    share = float((pairs[:, 1] == anchor).double().mean())
    assert share == pytest.approx(0.5, abs=4 * (0.25 / n) ** 0.5)


@pytest.mark.parametrize("side", ["image", "text"])
def test_every_other_pair_is_drawn_equally_often(side):
    pairs, anchor = draw_negatives(is_negative(ROWS), 3000, side)
    other = pairs[:, 0 if side == "image" else 1]
    for i in range(len(ROWS)):
        allowed = (ROWS[i] != ROWS).nonzero().flatten().tolist()
        counts = Counter(other[anchor == i].tolist())
        assert sorted(counts) == allowed
        share = 1 / len(allowed)
        error = (share * (1 - share) / 3000) ** 0.5
        for number in counts.values():
            assert number / 3000 == pytest.approx(share, abs=4.5 * error)


@pytest.mark.parametrize("side", ["image", "text"])
def test_half_of_the_negatives_follow_the_logits(side):
    logits = torch.randn(7, 7, generator=torch.Generator().manual_seed(0))
    pairs, anchor = draw_negatives(is_negative(ROWS), 4000, side, logits=logits)
    other = pairs[:, 0 if side == "image" else 1]
    for i in range(len(ROWS)):
        rivals = logits[:, i] if side == "image" else logits[i]
        allowed = (ROWS[i] != ROWS).double()
        hard = allowed * rivals.double().exp()
        expected = (allowed / allowed.sum() + hard / hard.sum()) / 2
        found = torch.bincount(other[anchor == i], minlength=7) / 4000
        torch.testing.assert_close(found.double(), expected, atol=0.04, rtol=0)


@pytest.mark.parametrize("rows", [[4], [4, 4, 4]])
def test_pairs_of_one_image_alone_have_no_negatives(rows):
    for side in ("both", "image", "text"):
        pairs, anchor = draw_negatives(is_negative(torch.tensor(rows)), 2, side)
        assert pairs.shape == (0, 2)
        assert anchor.shape == (0,)
        assert pairs.dtype == anchor.dtype == torch.long


def test_the_seed_decides_the_negatives():
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(draw_negatives(is_negative(ROWS), 5)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
