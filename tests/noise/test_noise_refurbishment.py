"""Eq. 4 of NCR and Eq. 11 of RCAR on NumPy arrays and on torch tensors."""

import numpy as np
import pytest
import torch

from noisy_xmodal.noise import bootstrap, co_rectify, refurbish_alignment

GIVEN = [1.0, 1.0, 0.0, 1.0]
OWN = [0.2, 0.4, 0.6, 0.9]
PEER = [0.6, 0.8, 0.2, 0.1]
PROBABILITY = [0.9, 0.3, 0.75, 0.0]
IS_CLEAN = [True, False, True, False]


@pytest.mark.parametrize("array", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_co_rectify_is_eq_4(array):
    target = co_rectify(*(array(v) for v in (GIVEN, OWN, PEER, PROBABILITY, IS_CLEAN)))
    by_hand = [0.9 * 1 + 0.1 * 0.2, (0.4 + 0.8) / 2, 0.75 * 0 + 0.25 * 0.6, (0.9 + 0.1) / 2]
    assert isinstance(target, type(array(GIVEN)))
    assert target.shape == (4,)
    assert target.tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("array", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_bootstrap_mixes_label_and_prediction(array):
    target = bootstrap(array(GIVEN), array(OWN), array(PROBABILITY))
    assert target.tolist() == pytest.approx([0.92, 0.3 + 0.7 * 0.4, 0.25 * 0.6, 0.9])


#: Predictions and noise probabilities that are exact in binary, those at the borders among them.
GRID = [0.0, 0.25, 0.5 - 2**-10, 0.5, 0.5 + 2**-10, 0.75, 1.0]
CASES = [(given, z, w) for given in (0.0, 1.0) for z in GRID for w in GRID]


def slow_alignment(given: float, predicted: float, noise_probability: float) -> int:
    """Eq. 11 with its two argmaxes, each a comparison of two classes."""
    likelier = 1 if predicted >= 1 - predicted else 0
    aligned = not_aligned = 0.0
    for label, weight in ((given, 1 - noise_probability), (likelier, noise_probability)):
        if label == 1:
            aligned += weight
        else:
            not_aligned += weight
    return 1 if aligned >= not_aligned else 0


@pytest.mark.parametrize("array", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_hard_labels_are_eq_11(array):
    given, predicted, noise = zip(*CASES, strict=True)
    labels = refurbish_alignment(array(given), array(predicted), array(noise))
    assert isinstance(labels, type(array(GIVEN)))
    assert labels.shape == (len(CASES),)
    assert labels.tolist() == [slow_alignment(*case) for case in CASES]
    assert set(labels.tolist()) == {0, 1}


@pytest.mark.parametrize("array", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_soft_labels_mix_the_probabilities(array):
    given, predicted, noise = zip(*CASES, strict=True)
    labels = refurbish_alignment(array(given), array(predicted), array(noise), hard=False)
    assert isinstance(labels, type(array(GIVEN)))
    assert labels.tolist() == pytest.approx([(1 - w) * y + w * z for y, z, w in CASES])


@pytest.mark.parametrize("array", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_one_given_label_stands_for_all_pairs(array):
    predicted, noise = zip(*((z, w) for _, z, w in CASES), strict=True)
    for given in (0.0, 1.0):
        for hard in (True, False):
            one = refurbish_alignment(given, array(predicted), array(noise), hard)
            every = refurbish_alignment(
                array([given] * len(CASES)), array(predicted), array(noise), hard
            )
            assert one.tolist() == every.tolist()


def test_an_aligned_pair_loses_its_label_to_a_sure_doubt_alone():
    rng = np.random.default_rng(0)
    predicted, noise = rng.random((2, 1, 500))
    labels = refurbish_alignment(1.0, predicted, noise)
    assert labels.shape == (1, 500)
    np.testing.assert_array_equal(labels == 0, (predicted < 0.5) & (noise > 0.5))
