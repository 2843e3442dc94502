"""SIR: divisions by siblings, matches against loops, and what a matched pair is trained with."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from caption_methods import make_caption_trainer, method_alone, scores_and_batch
from noisy_xmodal.losses import info_nce_loss
from noisy_xmodal.methods.ncr import Ncr
from noisy_xmodal.methods.objectives import OBJECTIVES
from noisy_xmodal.methods.sir import rematch
from noisy_xmodal.training import PairState


def unit(vector):
    length = np.linalg.norm(vector)
    return vector / length if length else vector


def slow_rematch(images, texts, rows, is_noisy, share, n_candidates):
    """The table of the module by loops: which pair gets which caption."""
    noisy = [j for j in range(len(rows)) if is_noisy[j]]
    candidates = sorted({rows[j] for j in noisy})
    queries, keys = {}, {}
    for r in candidates:
        clean = [texts[j] for j in range(len(rows)) if rows[j] == r and not is_noisy[j]]
        queries[r] = unit(images[r]) + (1 - share) * unit(np.sum(clean, axis=0) if clean else 0.0)
    for j in noisy:
        siblings = np.mean([texts[k] for k in noisy if rows[k] == rows[j]], axis=0)
        keys[j] = unit((1 - share) * texts[j] + share * siblings)
    choices = []
    for j in noisy:
        ranked = sorted(candidates, key=lambda r: -(queries[r] @ keys[j]))
        choices += [(-(queries[r] @ keys[j]), j, r) for r in ranked[:n_candidates]]
    image_of, places = {}, {r: [j for j in noisy if rows[j] == r] for r in candidates}
    for _, j, r in sorted(choices):
        if j not in image_of and list(image_of.values()).count(r) < len(places[r]):
            image_of[j] = r
    partners = np.arange(len(rows))
    for r in candidates:
        free = [j for j in places[r] if image_of.get(j) != r]
        moves = [j for j in noisy if image_of.get(j) == r != rows[j]]
        for place, j in zip(free, moves, strict=False):
            partners[place] = j
    return partners


@pytest.mark.parametrize("n_candidates", [2, 50])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_captions_get_the_best_images_with_a_free_place(seed, share, n_candidates, monkeypatch):
    monkeypatch.setattr("noisy_xmodal.methods.sir._N_CANDIDATES", n_candidates)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.integers(0, 10, 40))
    rows = rng.permutation(np.unique(rows, return_inverse=True)[1])
    images, texts = rng.normal(size=(rows.max() + 1, 4)), rng.normal(size=(40, 4))
    is_noisy = rng.random(40) < 0.6
    matches = rematch(images, texts, rows, is_noisy, share)
    expected = slow_rematch(images, texts, rows, is_noisy, share, n_candidates)
    np.testing.assert_array_equal(matches, expected)
    matched = np.flatnonzero(matches != np.arange(40))
    assert len(matched) > 3
    assert is_noisy[matched].all()
    assert is_noisy[matches[matched]].all()
    assert len(set(matches[matched])) == len(matched)
    assert (rows[matched] != rows[matches[matched]]).all()


def test_exchanged_captions_return_to_their_images():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(30, 12))
    rows = np.repeat(np.arange(30), 4)
    texts = images[rows] + 0.5 * rng.normal(size=(120, 12))
    partner = np.arange(120)
    partner[::4] = np.roll(partner[::4], 1)  # one caption of each image is that of another one
    matches = rematch(images, texts[partner], rows, np.arange(120) % 4 == 0, 0.0)
    np.testing.assert_array_equal(partner[matches], np.arange(120))
    sets = np.roll(np.arange(120).reshape(30, 4), 1, axis=0).ravel()
    matches = rematch(images, texts[sets], rows, np.ones(120, bool), 1.0)
    np.testing.assert_array_equal(rows[sets[matches]], rows)


@pytest.mark.parametrize("n_noisy", [0, 2])
def test_without_another_noisy_image_nothing_is_matched(n_noisy):
    rows = np.array([0, 0, 1, 2])
    vectors = np.eye(4)
    is_noisy = np.arange(4) < n_noisy
    matches = rematch(vectors[:3], vectors, rows, is_noisy, 0.0)
    np.testing.assert_array_equal(matches, range(4))


def test_a_set_is_divided_as_a_whole_where_siblings_agree():
    rows = np.repeat(np.arange(100), 5)
    rng = np.random.default_rng(0)
    is_wrong = np.arange(100)[rows] < 40
    losses = np.stack([is_wrong + rng.normal(0, 0.4, 500) for _ in range(2)])
    method = method_alone("sir")
    method.args = SimpleNamespace(seed=0)
    method.engine = SimpleNamespace(train_dataset=SimpleNamespace(row_of_pair=rows))
    with_siblings = [(~part.is_clean == is_wrong).mean() for part in method.divide(losses)]
    method.constants.sibling_evidence = False
    alone = [(~part.is_clean == is_wrong).mean() for part in method.divide(losses)]
    assert min(with_siblings) > 0.98 > 0.95 > max(alone)


def test_a_matched_pair_has_the_weight_of_matches_and_others_their_targets():
    output, batch = scores_and_batch(peer=1)
    method = method_alone("sir", match_weight=0.25)
    trainer = SimpleNamespace(pair_state=PairState(7, 2))
    method.args = SimpleNamespace(robust=True)
    method.engine = trainer
    method.objective = OBJECTIVES["infonce"]()
    targets = np.linspace(0, 1, 7)
    trainer.pair_state["target"] = np.stack([np.zeros(7), targets])
    trainer.pair_state["partner"] = np.array([range(7), [0, 4, 2, 3, 1, 5, 6]])
    losses = method.loss(output, batch)
    plain = info_nce_loss(output.logits_per_image, batch.negatives)
    weights = (10**targets - 1) / 9
    weights[[1, 4]] = 0.25
    torch.testing.assert_close(
        losses.double(), plain * torch.from_numpy(weights), rtol=1e-6, atol=0
    )


def test_it_matches_after_a_share_of_the_epochs_and_only_noisy_pairs(tmp_path):
    trainer = make_caption_trainer("sir", tmp_path, {"rematch_start": 0.5}, num_train_epochs=5)
    first = []
    matches = trainer.method.matches

    def observed():
        first.append(trainer.epoch)
        return matches()

    trainer.method.matches = observed
    trainer.train()
    assert first == [3, 4]
    state = trainer.pair_state
    matched = state["partner"][0] != np.arange(state.shape[1])
    assert (state["clean_probability"].mean(axis=0)[matched] < 0.5).all()
    assert matched.any()
    assert (state["target"][:, matched] == 0).all()


@pytest.mark.parametrize("name", ["rematch_start", "match_weight"])
def test_constants_of_matches_are_refused_where_nothing_is_matched(name):
    with pytest.raises(ValueError, match=f"`{name}` .*`rematch` is false"):
        method_alone("sir", rematch=False, **{name: 0.9})


def test_without_siblings_and_matches_it_is_ncr(tmp_path):
    constants = {"sibling_evidence": False, "rematch": False}
    one = make_caption_trainer("sir", tmp_path / "sir", constants)
    one.train()
    other = make_caption_trainer("ncr", tmp_path / "ncr", network={"objective": "infonce"})
    assert isinstance(other.method, Ncr)
    other.train()
    expected = other.model.state_dict()
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("head", ["scan_t2i", "sgr"])
def test_heads_without_vectors_match_by_means(tmp_path, head):
    options = {"objective": "triplet", "rematch_start": 0}
    trainer = make_caption_trainer(
        "sir", tmp_path, options, network={"similarity": head}, num_train_epochs=2
    )
    trainer.train()
    state = trainer.pair_state
    assert (state["partner"] != np.arange(state.shape[1])).any()
    assert np.isfinite(trainer.state.log_history[-2]["loss"])
