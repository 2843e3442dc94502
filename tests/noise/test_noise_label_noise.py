"""Label noise: exact numbers of draws, the share that is wrong, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisy_xmodal.noise import NoisyLabels, SymmetricLabelNoise

MANY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def draw(labels, n_classes, *, seed=0, shared=False, **noise):
    noise = SymmetricLabelNoise(level="shared" if shared else "modality", **noise)
    return noise.apply(labels, n_classes, np.random.default_rng(seed))


@MANY
@given(
    labels=st.lists(st.integers(0, 6), max_size=40),
    spare=st.integers(0, 3),
    ratio=st.floats(0, 1),
    shared=st.booleans(),
    exclude_true=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_any_labels_get_exact_draws(labels, spare, ratio, shared, exclude_true, seed):
    n_classes = max(2, max(labels, default=0) + 1 + spare)
    labels = np.array(labels, dtype=int)
    before = labels.copy()
    asked = {"ratio": ratio, "shared": shared, "exclude_true": exclude_true, "seed": seed}
    noisy, again = draw(labels, n_classes, **asked), draw(labels, n_classes, **asked)
    assert (labels == before).all()
    assert (noisy.true == labels).all()
    assert (noisy.image == again.image).all()
    assert (noisy.text == again.text).all()
    for given_to, wrong in (
        (noisy.image, noisy.image_is_wrong),
        (noisy.text, noisy.text_is_wrong),
    ):
        assert given_to.dtype == np.int64
        assert set(given_to) <= set(range(n_classes))
        assert wrong.tolist() == [int(a) != int(b) for a, b in zip(given_to, labels, strict=True)]
        n_drawn = round(ratio * len(labels))
        assert wrong.sum() == n_drawn if exclude_true else wrong.sum() <= n_drawn
    if shared:
        assert (noisy.image == noisy.text).all()


@MANY
@given(ratio=st.floats(0, 1), exclude_true=st.booleans(), seed=st.integers(0, 2**32))
def test_images_are_drawn_first(ratio, exclude_true, seed):
    labels = np.arange(30) % 4
    asked = {"ratio": ratio, "exclude_true": exclude_true, "seed": seed}
    apart, shared = (draw(labels, 4, shared=shared, **asked) for shared in (False, True))
    assert (apart.image == shared.image).all()


@pytest.mark.parametrize(
    ("ratio", "wrong"), [(0.2, 0.18), (0.4, 0.36), (0.6, 0.54), (0.8, 0.72), (1.0, 0.9)]
)
def test_share_wrong_with_ten_classes(ratio, wrong):
    labels = np.arange(20_000) % 10
    noisy = draw(labels, 10, ratio=ratio)
    assert noisy.image_is_wrong.mean() == pytest.approx(wrong, abs=0.01)
    assert noisy.text_is_wrong.mean() == pytest.approx(wrong, abs=0.01)
    both = (noisy.image_is_wrong & noisy.text_is_wrong).mean()
    assert both == pytest.approx(wrong**2, abs=0.01)  # each modality apart
    other = draw(labels, 10, ratio=ratio, exclude_true=True)
    assert other.image_is_wrong.mean() == ratio


@pytest.mark.parametrize("exclude_true", [False, True])
def test_every_class_is_drawn_as_often(exclude_true):
    noisy = draw(np.full(40_000, 2), 5, ratio=1.0, exclude_true=exclude_true)
    share = np.bincount(noisy.text, minlength=5) / 40_000
    expected = [0.25, 0.25, 0.0, 0.25, 0.25] if exclude_true else [0.2] * 5
    assert share == pytest.approx(expected, abs=0.01)


def test_items_are_selected_evenly():
    wrong = np.zeros(10)
    for seed in range(1000):
        wrong += draw(np.zeros(10, int), 2, ratio=0.3, exclude_true=True, seed=seed).image_is_wrong
    assert wrong / 1000 == pytest.approx(np.full(10, 0.3), abs=0.07)


def test_clean_labels():
    labels = np.array([2, 0, 1], dtype=np.uint8)
    clean = NoisyLabels.clean(labels)
    labels[0] = 1
    assert clean.true.tolist() == clean.image.tolist() == clean.text.tolist() == [2, 0, 1]
    assert not clean.image_is_wrong.any()
    assert not clean.text_is_wrong.any()
    with pytest.raises(ValueError, match="read-only"):
        clean.image[0] = 1


def test_one_of_each_per_pair():
    with pytest.raises(ValueError, match="have 2, 2 and 3 entries"):
        NoisyLabels(image=[0, 1], text=[0, 1], true=[0, 1, 2])
    with pytest.raises(ValueError, match=r"text has shape \(2,\) and type float64"):
        NoisyLabels(image=[0, 1], text=[0.0, 1.0], true=[0, 1])


@pytest.mark.parametrize(
    ("labels", "n_classes", "message"),
    [
        ([0.0, 1.0], 2, "labels has .* type float64: give a flat integer array"),
        ([[0], [1]], 2, r"labels has shape \(2, 1\)"),
        ([True, False], 2, "type bool"),
        ([0, 1, 3], 3, "3 at item 2, but classes run from 0 to 2"),
        ([0, -1], 3, "-1 at item 1"),
        (np.array([0, 2**63 + 1], dtype=np.uint64), 3, "9223372036854775809 at item 1"),
        ([0], 0, "n_classes is 0"),
    ],
)
def test_other_labels_are_refused(labels, n_classes, message):
    with pytest.raises(ValueError, match=message):
        draw(labels, n_classes, ratio=0.4)


def test_one_class_has_no_other():
    assert not draw([0, 0], 1, ratio=1.0).image_is_wrong.any()
    with pytest.raises(ValueError, match=r"n_classes is 1, .* drawn from at least 2"):
        draw([0, 0], 1, ratio=1.0, exclude_true=True)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, 40, float("nan")])
def test_ratio_outside_its_range_is_refused(ratio):
    with pytest.raises(ValueError, match=r"ratio is .* between 0 and 1"):
        SymmetricLabelNoise(ratio)
