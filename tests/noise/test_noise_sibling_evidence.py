"""Evidence of sibling captions, on made-up vectors of which every wrong pair is known."""

import numpy as np
import pytest
from scipy.stats import kstest, norm, rankdata
from sklearn.metrics import roc_auc_score

from noisy_xmodal.noise.random_pairs import random_pair_tail
from noisy_xmodal.noise.sibling_evidence import (
    Evidence,
    fit_doubt,
    joined,
    share_of_sets,
    sibling_doubt,
)

N, EACH, SIZE = 500, 4, 24


def tail_with_siblings(
    evidence: Evidence, by_loss: np.ndarray, share: float
) -> tuple[np.ndarray, float | None]:
    doubt = sibling_doubt(evidence, share)
    if doubt is None:
        return by_loss, None
    return doubt.tail(evidence.given, by_loss), doubt.sets


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def evidence_of(images: np.ndarray, own: np.ndarray, siblings: np.ndarray) -> np.ndarray:
    """Of images with captions, (n, SIZE), and their siblings, (n, n_siblings, SIZE)."""
    others = siblings.mean(axis=1)
    fits = [(a * b).sum(1) for a, b in ((images, own), (images, others), (own, others))]
    return -np.stack(fits, axis=1)


def made_up(
    sets: float, share: float = 0.3, seed: int = 0, n: int = N
) -> tuple[Evidence, np.ndarray]:
    """Scored evidence and which pairs are wrong, `sets` of them as their whole image is."""
    rng = np.random.default_rng(seed)
    meaning = rng.normal(size=(n, SIZE))
    images = unit(meaning + rng.normal(size=(n, SIZE)))
    captions = unit(meaning[:, None] + 1.1 * rng.normal(size=(n, EACH, SIZE)))
    wrong = np.zeros((n, EACH), dtype=bool)
    moved = rng.permutation(n)[: round(n * share * sets)]
    captions[moved] = captions[np.roll(moved, 1)]
    wrong[moved] = True
    alone = rng.permutation(np.flatnonzero(~wrong))[: round(n * EACH * share * (1 - sets))]
    flat = captions.reshape(-1, SIZE)
    flat[alone] = flat[np.roll(alone, 1)]
    wrong.flat[alone] = True
    rest = [[k for k in range(EACH) if k != own] for own in range(EACH)]
    siblings = captions[:, rest].reshape(n * EACH, EACH - 1, SIZE)
    rows = np.repeat(np.arange(n), EACH)
    replaced = np.tile(np.arange(n * EACH), 3)
    others = (replaced + rng.integers(EACH, n * EACH - EACH, len(replaced))) % (n * EACH)
    own = np.arange(n * EACH)
    parts = [
        evidence_of(images[rows[of]], flat[text], siblings[of_set])
        for of, text, of_set in (
            (own, own, own),
            (replaced, others, replaced),
            (replaced, others, others),
        )
    ]
    return Evidence(*parts).scored(), wrong.ravel()


def loss_tail(evidence: Evidence) -> np.ndarray:
    return random_pair_tail(evidence.given[:, 0], evidence.set_exchanged[:, 0])


def alone(evidence: Evidence, which: np.ndarray, exchanged: np.ndarray) -> Evidence:
    """The same with some pairs, and some random ones, that have no siblings."""
    parts = []
    for part, of in (
        (evidence.given, which),
        (evidence.caption_exchanged, exchanged),
        (evidence.set_exchanged, exchanged),
    ):
        part = part.copy()
        part[of, 1:] = np.nan
        parts.append(part)
    return Evidence(*parts)


def test_scores_are_normal_scores_of_ranks_among_random_pairs() -> None:
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(40, 3)), rng.normal(size=(60, 3)), rng.normal(size=(50, 3))
    parts[0][7, 1:] = parts[1][9, 1:] = parts[2][5, 1:] = np.nan
    found = Evidence(*parts).scored()
    given, caption, of_set = parts
    losses = np.concatenate([caption[:, 0], of_set[:, 0]])
    ranks = norm.ppf(rankdata(losses) / 111)
    np.testing.assert_allclose(found.caption_exchanged[:, 0], ranks[:60])
    np.testing.assert_allclose(found.set_exchanged[:, 0], ranks[60:])
    for column, reference in ((0, losses), (1, of_set[:, 1]), (2, caption[:, 2])):
        reference = reference[~np.isnan(reference)]
        own = [rankdata([*reference, value])[-1] - 0.5 for value in given[:, column]]
        slow = norm.ppf(np.array(own) / (len(reference) + 1))
        np.testing.assert_allclose(found.given[:, column], slow)
    scores = found.given, found.caption_exchanged, found.set_exchanged
    for part, scored in zip(parts, scores, strict=True):
        np.testing.assert_array_equal(np.isnan(part), np.isnan(scored))


def test_scores_have_ends_and_do_not_depend_on_the_scale_of_a_model() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(n, 3)) for n in (40, 100_000, 50)]
    parts[0][0], parts[0][1] = -1e9, 1e9
    found = Evidence(*parts).scored()
    assert found.given[0, 0] == -4
    assert found.given[1, 0] == 4
    other = Evidence(*(part * 7 + 3 for part in parts)).scored()
    np.testing.assert_array_equal(found.given, other.given)
    np.testing.assert_array_equal(found.set_exchanged, other.set_exchanged)


def test_evidence_of_models_is_put_one_after_the_other() -> None:
    one, two = made_up(0.0, n=50)[0], made_up(1.0, n=60)[0]
    both = joined([one, two])
    for name in ("given", "caption_exchanged", "set_exchanged"):
        np.testing.assert_array_equal(
            getattr(both, name), np.vstack([getattr(one, name), getattr(two, name)])
        )


@pytest.mark.parametrize("share", [0.1, 0.35])
def test_the_share_of_sets_is_found(share: float) -> None:
    found = [share_of_sets(made_up(sets, share, n=1000)[0], share) for sets in (0.0, 0.5, 1.0)]
    assert found[0] == 0
    assert found[1] == pytest.approx(0.5, abs=0.16)
    assert found[2] == 1


def test_the_share_of_sets_rises_with_the_truth() -> None:
    truth = [0.0, 0.25, 0.5, 0.75, 1.0]
    found = [share_of_sets(made_up(sets, 0.35, n=1000)[0], 0.35) for sets in truth]
    assert found == pytest.approx(truth, abs=0.12)


@pytest.mark.parametrize(("sets", "gain"), [(0.0, 0.01), (1.0, 0.02), (0.5, 0.0)])
@pytest.mark.parametrize("share", [0.1, 0.25])
def test_siblings_help_to_tell_who_is_wrong(sets: float, gain: float, share: float) -> None:
    evidence, wrong = made_up(sets, share, n=1000)
    by_loss = loss_tail(evidence)
    tail, found = tail_with_siblings(evidence, by_loss, share)
    assert found == share_of_sets(evidence, share)
    assert roc_auc_score(wrong, tail) > roc_auc_score(wrong, by_loss) + gain
    assert 0 < tail.min() <= tail.max() <= 1


@pytest.mark.parametrize("sets", [0.0, 0.5, 1.0])
def test_the_tail_of_wrong_pairs_stays_uniform(sets: float) -> None:
    evidence, wrong = made_up(sets, 0.35, n=1000)
    tail, _ = tail_with_siblings(evidence, loss_tail(evidence), 0.35)
    # Captions of one image go together: as if there were 350 of them.
    assert kstest(tail[wrong], "uniform").statistic < 1.63 / np.sqrt(350)
    assert kstest(tail[~wrong], "uniform").statistic > 0.5


def test_a_tail_of_the_other_kind_would_not_be_uniform() -> None:
    """So that the bound above tells something."""
    evidence, wrong = made_up(1.0, 0.35, n=1000)
    doubt = fit_doubt(evidence, 0.0)
    own = doubt.of(evidence.given)
    assert kstest(random_pair_tail(own, doubt.random)[wrong], "uniform").statistic > 0.15


def test_pairs_without_siblings_keep_what_their_loss_says() -> None:
    whole, wrong = made_up(0.0)
    rng = np.random.default_rng(1)
    evidence = alone(
        whole,
        rng.random(len(wrong)) < 0.3,
        rng.random(len(whole.set_exchanged)) < 0.3,
    )
    by_loss = loss_tail(whole)
    kept = by_loss.copy()
    tail, found = tail_with_siblings(evidence, by_loss, 0.3)
    single = np.isnan(evidence.given[:, 1])
    np.testing.assert_array_equal(tail[single], by_loss[single])
    np.testing.assert_array_equal(by_loss, kept)
    assert found == 0
    rest = ~single
    assert roc_auc_score(wrong[rest], tail[rest]) > roc_auc_score(wrong[rest], by_loss[rest]) + 0.01


@pytest.mark.parametrize("case", ["no siblings", "few pairs", "few random pairs", "none wrong"])
def test_too_little_to_tell_changes_nothing(case: str) -> None:
    evidence = made_up(0.0, share=0.0 if case == "none wrong" else 0.3)[0]
    keep, keep_random = {"no siblings": (0, 0), "few pairs": (199, 10**6)}.get(case, (2000, 10**6))
    keep_random = 199 if case == "few random pairs" else keep_random
    own, random = (np.arange(len(x)) for x in (evidence.given, evidence.set_exchanged))
    evidence = alone(evidence, own >= keep, random >= keep_random)
    by_loss = loss_tail(evidence)
    tail, found = tail_with_siblings(evidence, by_loss, 0.3)
    assert found is None
    np.testing.assert_array_equal(tail, by_loss)
    assert (share_of_sets(evidence, 0.3) is None) == (case != "few random pairs")


@pytest.mark.parametrize("sets", [0.0, 1.0])
def test_right_pairs_that_look_random_are_not_taken_for_sets(sets: float) -> None:
    """Half of the images are not recognised: their losses are random, their captions agree."""
    evidence, wrong = made_up(sets, n=1000)
    rng = np.random.default_rng(1)
    unseen = ~wrong & np.repeat(rng.random(1000) < 0.5, EACH)
    given = evidence.given.copy()
    given[unseen, :2] = np.clip(rng.normal(size=(unseen.sum(), 2)), -4, 4)
    weak = Evidence(given, evidence.caption_exchanged, evidence.set_exchanged)
    assert share_of_sets(weak, wrong.mean()) == pytest.approx(sets, abs=0.3)
    as_if_all_were_wrong = share_of_sets(weak, 1.0)
    assert as_if_all_were_wrong is not None
    assert as_if_all_were_wrong > 0.5


def test_evidence_that_tells_nothing_is_not_used() -> None:
    rng = np.random.default_rng(0)
    evidence = Evidence(*(rng.normal(size=(3000, 3)) for _ in range(3))).scored()
    assert (
        share_of_sets(evidence, 0.3) is None
    )  # captions of right pairs disagree as random ones do


def test_doubt_rises_with_the_loss_and_never_against_the_tail() -> None:
    evidence, _ = made_up(0.5)
    sets = share_of_sets(evidence, 0.3)
    assert sets is not None
    worse = evidence.given + np.array([1.0, 0.0, 0.0])
    parts = evidence.caption_exchanged, evidence.set_exchanged
    own = fit_doubt(evidence, sets).of(evidence.given)
    stacked = np.vstack([evidence.given, worse])
    before, after = np.split(fit_doubt(Evidence(stacked, *parts), sets).of(stacked), 2)
    assert (after > before).all()
    tail, _ = tail_with_siblings(evidence, loss_tail(evidence), 0.3)
    assert (np.diff(tail[np.argsort(own)]) >= 0).all()


def test_random_pairs_of_both_kinds_come_from_all_models() -> None:
    evidence, _ = made_up(0.5)
    part = evidence.caption_exchanged
    part = part + np.linspace(-1, 1, len(part))[:, None]  # models that differ
    first = Evidence(evidence.given, part, part)
    doubt = fit_doubt(first, 0.5).random
    assert len(doubt) == len(first.set_exchanged)
    whole = [fit_doubt(first, sets).random for sets in (0.0, 1.0)]
    np.testing.assert_allclose(
        np.quantile(doubt, [0.1, 0.5, 0.9]),
        np.quantile(np.concatenate(whole), [0.1, 0.5, 0.9]),
        atol=0.1,
    )
