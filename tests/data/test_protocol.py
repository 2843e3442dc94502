"""What is told of the noise of the rows that are left."""

import numpy as np
import pytest

from noisy_xmodal.data import LabelDataset, PairDataset, counted_noise, inject_noise
from noisy_xmodal.data.protocol import noise_protocol
from toy_labels import toy_labels
from toy_pairs import toy_pairs


def test_pairs_that_were_left_out_are_not_counted():
    whole = inject_noise(toy_pairs(30).remove_columns("is_noisy"), "cmp_40")
    some = whole.select(range(7))
    protocol, counted = noise_protocol(some), counted_noise(some, PairDataset(some))
    n_wrong = sum(map(sum, some["is_noisy"]))
    assert (protocol["n_pairs"], counted["n_pairs"]) == (60, 14)
    assert counted["n_wrong"] == n_wrong
    assert counted["share_wrong"] == round(n_wrong / 14, 6)
    assert list(counted) == list(protocol)
    assert counted_noise(whole, PairDataset(whole)) == noise_protocol(whole)


def test_labels_that_were_left_out_are_not_counted():
    whole = inject_noise(toy_labels(60), "sym_40")
    some = whole.select(range(11))
    counted = counted_noise(some, LabelDataset(some))
    wrong = [np.array(some[name]) != np.array(some["true_label"]) for name in _LABELS]
    assert counted["n_labels"] == 22
    assert counted["n_wrong"] == np.sum(wrong)
    assert counted["share_wrong_image"] == pytest.approx(np.mean(wrong[0]), abs=1e-6)
    assert counted["share_wrong_text"] == pytest.approx(np.mean(wrong[1]), abs=1e-6)
    assert counted_noise(whole, LabelDataset(whole)) == noise_protocol(whole)


def test_without_an_oracle_the_pairs_alone_are_counted():
    some = inject_noise(toy_pairs(30).remove_columns("is_noisy"), "cmp_40").select(range(7))
    some = some.remove_columns("is_noisy")
    counted = counted_noise(some, PairDataset(some))
    assert (counted["n_pairs"], counted["n_wrong"]) == (14, noise_protocol(some)["n_wrong"])
    assert counted_noise(toy_pairs(3), PairDataset(toy_pairs(3))) is None


_LABELS = ("image_label", "text_label")
