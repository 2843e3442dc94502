"""Co-divide and its two ways out."""

import warnings

import numpy as np
import pytest

from noisy_xmodal.noise import Division, divide


def test_the_threshold_itself_is_clean():
    division = Division(np.array([0.2, 0.5, 0.49, 1.0]))
    assert division.is_clean.tolist() == [False, True, False, True]
    assert division.share_noisy == 0.5


def test_two_groups_are_divided_without_a_warning():
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.normal(1, 0.1, 300), rng.normal(3, 0.3, 100)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        division = divide(losses, 0.5, 0)
    assert division.share_noisy == pytest.approx(0.25, abs=0.01)
    assert division.is_clean[:300].all()


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_equal_losses_warn_and_are_all_clean(threshold):
    with pytest.warns(UserWarning, match=r"losses equal .* All pairs count as clean"):
        division = divide([1.0] * 5, threshold)
    assert division.is_clean.all()
    assert division.threshold == threshold


def test_an_empty_clean_side_warns_and_all_are_clean():
    class Doubtful:
        means_ = np.array([[0.2], [0.8]])

        def fit(self, losses):
            return self

        def predict_proba(self, losses):
            return np.full((len(losses), 2), 0.5)

    with pytest.warns(UserWarning, match=r"No pair reaches .* 0\.6 \(the highest is 0\.5\)"):
        division = divide([1.0, 2.0, 3.0], 0.6, mixture=Doubtful())
    assert division.is_clean.all()
    assert division.share_noisy == 0


def test_threshold_is_a_probability():
    with pytest.raises(ValueError, match="threshold is 50"):
        Division(np.ones(2), threshold=50)
