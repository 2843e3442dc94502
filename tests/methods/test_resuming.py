"""A run of a method that keeps something of the pairs ends the same after an interruption."""

import numpy as np
import pytest

from caption_methods import make_caption_trainer

#: Methods, and constants that let all their stages begin within four epochs.
METHODS = {
    "decl": {},
    "crcl": {"run_epochs": 2, "n_restarts": 1},
    "gsc": {},
    "cream": {},
    "bicro": {"objective": "infonce"},
    "l2rm": {"objective": "infonce"},
    "sps": {},
    "sir": {},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_ends_the_same(name, tmp_path):
    whole = make_caption_trainer(name, tmp_path, METHODS[name])
    whole.train()
    again = make_caption_trainer(name, tmp_path, METHODS[name])
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-9"))
    expected, state = whole.pair_state, again.pair_state
    assert expected._arrays.keys() == state._arrays.keys()
    for key in expected._arrays:
        np.testing.assert_array_equal(state[key], expected[key], err_msg=key)
    weights = whole.model.state_dict()
    for key, value in again.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), weights[key].numpy(), err_msg=key)
    assert np.isfinite(np.concatenate([value.ravel() for value in expected._arrays.values()])).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_believes_every_pair_is_called_so_and_keeps_nothing(name, tmp_path):
    options = {"robust": False, "warmup_epochs": 0, "num_train_epochs": 1, "save_strategy": "no"}
    trainer = make_caption_trainer(name, tmp_path, METHODS[name], **options)
    assert trainer.method.run_title() == f"{trainer.method.title} without division"
    trainer.train()
    assert not trainer.pair_state._arrays
