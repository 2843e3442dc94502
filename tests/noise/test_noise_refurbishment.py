"""Eq. 4 on NumPy arrays and on torch tensors."""

import numpy as np
import pytest
import torch

from noisy_xmodal.noise import bootstrap, co_rectify

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
