"""Per-pair arrays by name, which outlive the run."""

import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from noisy_xmodal.training import PairState
from noisy_xmodal.training.pair_state import PAIR_STATE_NAME


def filled() -> tuple[PairState, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    arrays = {
        "loss": rng.standard_normal((2, 5)),
        "target": rng.random((2, 5)).astype(np.float32),
        "is_clean": rng.integers(0, 2, (2, 5)).astype(np.uint8),
        "seen": rng.integers(0, 9, (2, 5)),
        "kept": rng.random((2, 5)) > 0.5,
    }
    state = PairState(5, n_rows=2)
    for name, values in arrays.items():
        state[name] = values
    return state, arrays


def test_what_was_set_is_there():
    state, arrays = filled()
    for name, values in arrays.items():
        assert name in state
        np.testing.assert_array_equal(state[name], values)
        assert state[name].dtype == values.dtype
    assert "posterior" not in state


def test_setting_again_replaces():
    state, _ = filled()
    state["loss"] = np.ones((2, 5))
    assert (state["loss"] == 1).all()


def test_views_in_any_memory_order_are_kept_as_they_read(tmp_path):
    values = np.arange(20.0).reshape(10, 2)[::2].T
    state = PairState(5, n_rows=2)
    state["loss"] = values
    state.save(tmp_path)
    other = PairState(5, n_rows=2)
    other.load(tmp_path)
    assert other["loss"].tolist() == values.tolist() == state["loss"].tolist()


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="no 'loss'; it holds: nothing yet"):
        PairState(5)["loss"]
    state, _ = filled()
    with pytest.raises(KeyError, match=r"no 'posterior'.*is_clean, kept, loss, seen, target"):
        state["posterior"]


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 4), (5, 2), (2, 5, 1)])
def test_another_shape_is_refused(shape):
    state = PairState(5, n_rows=2)
    message = re.escape(f"'loss' must have the shape (2, 5), found {shape}")
    with pytest.raises(ValueError, match=message):
        state["loss"] = np.zeros(shape)
    assert "loss" not in state


def test_one_network_is_the_default():
    state = PairState(5)
    state["loss"] = np.zeros((1, 5))
    assert state["loss"].shape == (1, 5)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    state, arrays = filled()
    state.save(tmp_path)
    other = PairState(5, n_rows=2)
    other["old"] = np.zeros((2, 5))
    other.load(tmp_path)
    assert "old" not in other
    for name, values in arrays.items():
        np.testing.assert_array_equal(other[name], values)
        assert other[name].dtype == values.dtype


def test_an_empty_state_can_be_saved(tmp_path):
    PairState(5).save(tmp_path)
    state = PairState(5)
    state["loss"] = np.zeros((1, 5))
    state.load(tmp_path)
    assert "loss" not in state


def test_the_file_is_safetensors_alone(tmp_path):
    state, arrays = filled()
    state.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [PAIR_STATE_NAME]
    assert load_file(tmp_path / PAIR_STATE_NAME).keys() == arrays.keys()


@pytest.mark.parametrize(("n_pairs", "n_peers"), [(6, 2), (4, 2), (5, 1)])
def test_another_dataset_or_model_is_refused(tmp_path, n_pairs, n_peers):
    filled()[0].save(tmp_path)
    message = rf"must have the shape \({n_peers}, {n_pairs}\), found \(2, 5\)"
    with pytest.raises(ValueError, match=message):
        PairState(n_pairs, n_peers).load(tmp_path)
