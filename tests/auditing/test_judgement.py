"""What several models say is put together, each pair in its place."""

import numpy as np
import pytest

from noisy_xmodal.auditing.judgement import Calibration, Judgement, combine_losses
from noisy_xmodal.evaluation.pair_losses import PairLosses
from noisy_xmodal.noise.random_pairs import (
    PRIOR_SHARE,
    WrongShare,
    clean_given_share,
    estimate_wrong_share,
)

N_IMAGES, EACH, N_RANDOM = 300, 4, 3000


def judged(wrong: np.ndarray, rng: np.random.Generator, scale: float, siblings: bool) -> PairLosses:
    """A model's losses in a unit of its own; siblings of exchanged captions disagree with them."""
    n, exchanged = len(wrong), np.repeat([False, True], [len(wrong), N_RANDOM])

    def evidence(fits: np.ndarray, image: np.ndarray, text: np.ndarray) -> np.ndarray:
        means = np.stack([fits, image, text], axis=1) * -3.0
        found = scale * (means + rng.normal(size=means.shape))
        found[:, 1:] = found[:, 1:] if siblings else np.nan
        return np.asarray(found)

    fits = np.append(~wrong, ~exchanged[n:])
    agree = np.ones(len(fits), dtype=bool)
    caption = evidence(fits, agree, fits)
    of_set = evidence(fits, fits, agree)[n:]
    given, caption = caption[:n], caption[n:]
    of_set[:, 0] = caption[:, 0]
    return PairLosses(given[:, 0], caption[:, 0], given, caption, of_set)


def world(
    siblings: bool = True,
) -> tuple[list[PairLosses], list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Three folds, whose models differ in scale, with images dealt at random."""
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(N_IMAGES), EACH)
    fold_of_row = rng.permutation(N_IMAGES) % 3
    wrong = rng.random(len(rows)) < 0.25
    own = [np.flatnonzero(fold_of_row[rows] == fold) for fold in range(3)]
    parts = [
        judged(wrong[pairs], rng, scale, siblings)
        for pairs, scale in zip(own, (1.0, 10.0, 0.1), strict=True)
    ]
    return parts, own, rows, fold_of_row, wrong


def slow_tail(parts: list[PairLosses], own: list[np.ndarray], n: int) -> np.ndarray:
    found = np.zeros(n)
    for part, pairs in zip(parts, own, strict=True):
        for pair, loss in zip(pairs.tolist(), part.losses.tolist(), strict=True):
            found[pair] = ((part.random_losses < loss).sum() + 0.5) / (N_RANDOM + 1)
    return found


def test_pairs_of_all_folds_come_to_their_places() -> None:
    parts, own, rows, fold_of_row, _ = world(siblings=False)
    found = combine_losses(parts, rows, fold_of_row)
    for part, pairs in zip(parts, own, strict=True):
        np.testing.assert_array_equal(found.losses[pairs], part.losses)
    slow = slow_tail(parts, own, len(rows))
    np.testing.assert_allclose(found.tail, slow)
    np.testing.assert_array_equal(
        found.random_losses, np.concatenate([part.random_losses for part in parts])
    )
    assert found.share == estimate_wrong_share(found.tail, 3 * N_RANDOM, rows)
    np.testing.assert_array_equal(
        found.clean_probability, clean_given_share(found.tail, found.share.share)
    )
    assert found.sets is None  # nothing is known of siblings
    np.testing.assert_array_equal(found.fold_of_row, fold_of_row)


def same(one: Judgement, other: Judgement) -> None:
    assert one.sets == other.sets
    assert one.share == other.share
    np.testing.assert_array_equal(one.losses, other.losses)
    # Of random pairs some are taken at regular places, which depends on their order.
    np.testing.assert_allclose(one.tail, other.tail, atol=5e-3)


def test_siblings_are_counted_in_their_places_too() -> None:
    parts, own, rows, fold_of_row, wrong = world()
    found = combine_losses(parts, rows, fold_of_row)
    by_loss = slow_tail(parts, own, len(rows))
    assert found.sets == 0
    # Had the folds changed places, the siblings would tell nothing, or worse.
    assert found.tail[wrong].mean() == pytest.approx(0.5, abs=0.05)
    assert found.tail[~wrong].mean() < by_loss[~wrong].mean() / 2
    assert found.clean_probability[~wrong].mean() > 0.95
    assert found.clean_probability[wrong].mean() < 0.12
    # Known by the losses alone, as the share of all wrong pairs is.
    assert found.share == estimate_wrong_share(by_loss, 3 * N_RANDOM, rows)


def test_the_numbers_of_the_folds_are_nothing() -> None:
    parts, _, rows, fold_of_row, _ = world()
    expected = combine_losses(parts, rows, fold_of_row)
    moved = combine_losses([parts[2], parts[0], parts[1]], rows, (fold_of_row + 1) % 3)
    same(moved, expected)


def test_a_share_that_is_known_is_taken_over() -> None:
    parts, _, rows, fold_of_row, _ = world()
    known = WrongShare(0.4, 0.3, 0.5, 0.9, 0.95, 1e-9)
    found = combine_losses(parts, rows, fold_of_row, known)
    assert found.share is known
    np.testing.assert_array_equal(found.clean_probability, clean_given_share(found.tail, 0.4))
    other = combine_losses(parts, rows, fold_of_row)
    assert other.share != known
    np.testing.assert_array_equal(found.tail, other.tail)


def test_where_losses_tell_nothing_siblings_do_not_either() -> None:
    """Captions agree with each other, and images have nothing to do with them."""
    parts, own, rows, fold_of_row, _ = world()
    rng = np.random.default_rng(1)
    blind = []
    for part in parts:
        order = rng.permutation(N_RANDOM)[: len(part.losses)]
        evidence = part.evidence.copy()
        evidence[:, 0] = part.random_losses[order]
        blind.append(part._replace(losses=part.random_losses[order], evidence=evidence))
    found = combine_losses(blind, rows, fold_of_row)
    assert not found.share.can_tell
    assert found.share.share is None
    assert found.sets is None
    np.testing.assert_array_equal(found.clean_probability, 1 - PRIOR_SHARE)
    np.testing.assert_allclose(found.tail, slow_tail(blind, own, len(rows)), atol=1 / N_RANDOM)
    again = combine_losses(blind, rows, fold_of_row, found.share)
    np.testing.assert_array_equal(again.clean_probability, found.clean_probability)


def test_one_model_of_all_pairs() -> None:
    parts, own, _, _, wrong = world()
    rows = np.arange(len(own[1]))
    found = combine_losses([parts[1]], rows, np.zeros(len(rows), dtype=np.int64))
    assert found.tail[wrong[own[1]]].mean() > 0.4
    np.testing.assert_array_equal(found.losses, parts[1].losses)


@pytest.mark.parametrize("siblings", [True, False])
def test_further_pairs_are_judged_as_equal_ones_were(siblings: bool) -> None:
    parts, own, rows, fold_of_row, _ = world(siblings)
    judgement = combine_losses(parts, rows, fold_of_row)
    assert (judgement.sets is not None) == siblings
    calibration = Calibration(parts, judgement)
    for fold, pairs in enumerate(own):
        some = slice(0, None, 7)
        tail, clean = calibration.judge(fold, parts[fold].evidence[some])
        np.testing.assert_allclose(tail, judgement.tail[pairs[some]], rtol=0, atol=1e-12)
        np.testing.assert_allclose(clean, judgement.clean_probability[pairs[some]], atol=1e-12)
