"""Folds, and models that judge what they have not seen; a stopped audit goes on bit for bit."""

import gc
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from noisy_xmodal.arguments.audit import AuditOptions
from noisy_xmodal.auditing import cross_fit as module
from noisy_xmodal.auditing.cross_fit import CrossFit, deal_folds
from noisy_xmodal.auditing.judgement import Judgement
from noisy_xmodal.auditing.known_pairs import KnownPairs
from noisy_xmodal.data import PairDataset
from noisy_xmodal.noise import CompleteMismatch
from noisy_xmodal.training import RobustTrainer
from noisy_xmodal.training.identity import RunIdentity
from noisy_xmodal.training.integrity import write_manifest
from toy_pairs import toy_pairs

RECIPE = AuditOptions(folds=2, rounds=2, epochs=1, batch_size=8, disable_tqdm=True)
#: Of twelve images of which two look alike, and four.
GROUPS = np.array([0, 1, 2, 3, 3, 5, 6, 6, 6, 6, 10, 11])


@pytest.fixture(scope="module", autouse=True)
def _nothing_to_collect() -> Iterator[None]:
    """A training ends with a look at all objects of the process, which are many in a test run."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def pairs() -> PairDataset:
    return PairDataset(toy_pairs(12, noise=CompleteMismatch(0.25)))


def cross_fit(pairs: PairDataset, options: AuditOptions, work: Path) -> Judgement:
    return CrossFit(pairs, options, work).judge(GROUPS)


@pytest.fixture(scope="module")
def fit(pairs: PairDataset, tmp_path_factory: pytest.TempPathFactory) -> CrossFit:
    return CrossFit(pairs, RECIPE, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def whole(fit: CrossFit) -> Judgement:
    """An audit that nothing disturbed."""
    return fit.judge(GROUPS)


def check_same(one: Judgement, other: Judgement) -> None:
    for name in ("losses", "random_losses", "tail", "clean_probability", "fold_of_row"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.share == other.share


@pytest.mark.parametrize("n_folds", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_folds_are_even_and_keep_groups_whole(n_folds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 60, 200) * 13
    folds = deal_folds(groups, n_folds, seed)
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1
    sizes = np.bincount(folds, minlength=n_folds)
    assert sizes.max() - sizes.min() <= 2
    np.testing.assert_array_equal(folds, deal_folds(groups, n_folds, seed))
    assert (folds != deal_folds(groups, n_folds, seed + 2)).any()


def test_a_large_group_has_a_fold_for_itself() -> None:
    folds = deal_folds(np.array([7] * 20 + list(range(100, 110))), 3, 0)
    assert (folds == folds[0])[:20].all()
    assert sorted(np.bincount(folds).tolist()) == [5, 5, 20]


@pytest.mark.parametrize("n_groups", [1, 3, 5])
def test_too_few_images_for_the_folds_are_refused(n_groups: int) -> None:
    with pytest.raises(ValueError, match=f"{n_groups} different images for 3 folds"):
        deal_folds(np.arange(12) % n_groups, 3, 0)
    assert np.bincount(deal_folds(np.arange(6), 3, 0)).tolist() == [2, 2, 2]


def test_no_pair_is_judged_by_a_model_that_has_seen_its_like(
    pairs: PairDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[Path, set[str]] = {}
    weights: dict[Path, np.ndarray | None] = {}
    judged: list[tuple[Path, list[int]]] = []
    true_judge = CrossFit._judge_fold

    class Spy(RobustTrainer):
        def __init__(self, model: Any, args: Any, method: Any, samples: Any, **given: Any):
            trained[Path(args.output_dir)] = set(samples.dataset["image_id"])
            weights[Path(args.output_dir)] = given["audit"]
            super().__init__(model, args, method, samples, **given)

    def judge(fit: CrossFit, rows: np.ndarray, folder: Path) -> Any:
        judged.append((folder, rows.tolist()))
        return true_judge(fit, rows, folder)

    monkeypatch.setattr(module, "RobustTrainer", Spy)
    monkeypatch.setattr(CrossFit, "_judge_fold", judge)
    cross_fit(pairs, RECIPE, tmp_path)
    names = pairs.dataset["image_id"][:]
    assert len(judged) == len(trained) == 4
    for folder, rows in judged:
        seen = {row for row, name in enumerate(names) if name in trained[folder]}
        assert seen.isdisjoint(rows)
        assert {GROUPS[row] for row in seen}.isdisjoint(GROUPS[row] for row in rows)
        assert len(seen) + len(rows) == 12
    for number in (1, 2):
        rounds = [rows for folder, rows in judged if folder.parent.name == f"round-{number}"]
        assert sorted(chain.from_iterable(rounds)) == list(range(12))
    first = [own for folder, own in weights.items() if folder.parent.name == "round-1"]
    second = [own for folder, own in weights.items() if folder.parent.name == "round-2"]
    assert first == [None, None]
    # Each image's two pairs are trained on once, by the model of the other fold.
    assert sum(len(own) for own in second if own is not None) == 24
    assert all(own is not None and ((own >= 0) & (own <= 1)).all() for own in second)
    assert (
        len(list(tmp_path.glob("round-*/fold-*/model.safetensors"))) == 2
    )  # those of the last round


def test_models_are_trained_with_what_people_decided(
    pairs: PairDataset, fit: CrossFit, whole: Judgement, tmp_path: Path
) -> None:
    targets = np.full(24, np.nan)
    targets[[3, 10]], targets[[0, 23]] = 0, 1
    weights: list[np.ndarray] = []

    class Spy(CrossFit):
        def train(self, rows: Any, given: Any, seed: int, folder: Path, bar: Any = None) -> None:
            weights.append(given)
            source = fit.work / folder.relative_to(self.work)
            folder.mkdir(parents=True)
            shutil.copy(source / "judged.safetensors", folder)

    # By the losses of an audit without reviews, so that the weights are known.
    found = Spy(pairs, RECIPE, tmp_path, known=KnownPairs(targets, {})).judge(GROUPS)
    first, second = weights[0], weights[2]
    np.testing.assert_array_equal(first, np.where(targets == 0, 0, 1))
    assert [second[pair] for pair in (3, 10, 0, 23)] == [0, 0, 1, 1]
    others = np.isnan(targets)
    assert ((second[others] > 0) & (second[others] <= 1)).all()
    np.testing.assert_array_equal(found.losses, whole.losses)


def test_losses_are_those_of_the_models_that_are_left(
    pairs: PairDataset, fit: CrossFit, whole: Judgement
) -> None:
    """One fold anew, by the model that judged it."""
    fold = 1
    rows = np.flatnonzero(whole.fold_of_row == fold)
    samples = pairs.select(rows)
    model, processor = fit.model_of(fold)[0].eval(), fit.processor
    image = model.get_image_features(**processor(images=samples.images[:])).detach().numpy()
    text = model.get_text_features(**processor(text=samples.captions())).detach().numpy()
    score = image @ text.T * model.logit_scale.exp().item()  # (n_images, n_pairs)
    lse = [np.log(np.exp(score).mean(axis=axis)) for axis in (1, 0)]
    slow = [
        (lse[0][row] + lse[1][pair]) / 2 - score[row, pair]
        for pair, row in enumerate(samples.row_of_pair)
    ]
    own = np.flatnonzero(np.isin(pairs.row_of_pair, rows))
    np.testing.assert_allclose(whole.losses[own], slow, atol=1e-4)
    assert [pairs.caption(pair) for pair in own] == samples.captions()


def test_the_share_is_that_of_the_first_round(
    pairs: PairDataset, whole: Judgement, tmp_path: Path
) -> None:
    once = cross_fit(pairs, replace(RECIPE, rounds=1), tmp_path)
    assert once.share == whole.share
    assert (once.losses != whole.losses).any()


def break_before(monkeypatch: pytest.MonkeyPatch, name: str, fold: str) -> Callable[[], None]:
    """Makes a method fail for a folder, until it is mended."""
    true = getattr(CrossFit, name)

    def broken(*args: Any) -> Any:
        if any(isinstance(arg, Path) and str(arg).endswith(fold) for arg in args):
            raise KeyboardInterrupt
        return true(*args)

    monkeypatch.setattr(CrossFit, name, broken)
    return lambda: monkeypatch.setattr(CrossFit, name, true)


@pytest.mark.parametrize(
    ("name", "fold"),
    [
        ("train", "round-1/fold-2"),
        ("_judge_fold", "round-1/fold-2"),
        ("train", "round-2/fold-2"),
    ],
)
def test_a_killed_audit_goes_on_bit_for_bit(
    name: str,
    fold: str,
    pairs: PairDataset,
    whole: Judgement,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mend = break_before(monkeypatch, name, fold)
    with pytest.raises(KeyboardInterrupt):
        cross_fit(pairs, RECIPE, tmp_path)
    mend()
    trained = []
    true = RobustTrainer.train

    def train(self: RobustTrainer, **given: Any) -> Any:
        trained.append(str(self.args.output_dir))
        return true(self, **given)

    monkeypatch.setattr(RobustTrainer, "train", train)
    check_same(cross_fit(pairs, RECIPE, tmp_path), whole)
    assert not any(folder.endswith("round-1/fold-1") for folder in trained)
    n_left = {"train round-1/fold-2": 3, "_judge_fold round-1/fold-2": 2}
    assert len(trained) == n_left.get(f"{name} {fold}", 1)


def test_a_training_killed_between_its_epochs_goes_on_bit_for_bit(
    pairs: PairDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, rounds=1, epochs=2, batch_size=4)
    expected = cross_fit(pairs, recipe, tmp_path / "whole")
    true = RobustTrainer.training_step
    steps: list[int] = []

    def step(self: RobustTrainer, *args: Any, **kwargs: Any) -> Any:
        steps.append(self.state.global_step)
        if steps == [0, 1, 2, 3, 4]:  # in the middle of the second epoch of the first fold
            raise KeyboardInterrupt
        return true(self, *args, **kwargs)

    monkeypatch.setattr(RobustTrainer, "training_step", step)
    with pytest.raises(KeyboardInterrupt):
        cross_fit(pairs, recipe, tmp_path / "killed")
    assert len(list((tmp_path / "killed").rglob("checkpoint-3"))) == 1
    check_same(cross_fit(pairs, recipe, tmp_path / "killed"), expected)
    assert steps[5] == 3  # behind the checkpoint
    assert not list((tmp_path / "killed").rglob("checkpoint-*"))


@pytest.mark.parametrize("damage", ["optimizer.safetensors", "identity.safetensors"])
def test_a_checkpoint_that_cannot_be_gone_on_from_is_made_anew(
    damage: str, pairs: PairDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged, or of pairs that another version of the library read."""
    recipe = replace(RECIPE, rounds=1, epochs=2, batch_size=4)
    expected = cross_fit(pairs, recipe, tmp_path / "whole")
    true = RobustTrainer.training_step
    left = iter(range(4))

    def step(self: RobustTrainer, *args: Any, **kwargs: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return true(self, *args, **kwargs)

    monkeypatch.setattr(RobustTrainer, "training_step", step)
    with pytest.raises(KeyboardInterrupt):
        cross_fit(pairs, recipe, tmp_path / "killed")
    monkeypatch.setattr(RobustTrainer, "training_step", true)
    (checkpoint,) = (tmp_path / "killed").rglob("checkpoint-3")
    if damage == "identity.safetensors":
        other = {"training pair: caption": np.zeros(len(pairs), np.uint64)}
        RunIdentity(other, {}).save(checkpoint)
        write_manifest(checkpoint)
    else:
        (checkpoint / damage).write_bytes(b"")
    check_same(cross_fit(pairs, recipe, tmp_path / "killed"), expected)


def test_one_bar_counts_the_steps_of_all_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    class Bar:
        def __init__(self, total: int, initial: int, **_: Any) -> None:
            self.total, self.n = total, initial
            shown.append(self)

        def update(self, n: int) -> None:
            self.n += n

        def set_description(self, title: str) -> None:
            self.title = title

        def close(self) -> None:
            self.title = "closed"

    monkeypatch.setattr(module, "tqdm", Bar)
    bar = module._TotalBar(6, is_hidden=False)
    bar.begin("kept from an earlier run")
    for fold, first in ((2, 4), (3, 0)):  # the second training goes on after four steps
        bar.begin(f"fold {fold}")
        state = SimpleNamespace(max_steps=10, global_step=first)
        bar.on_train_begin(None, state, None)
        assert shown[0].title == f"fold {fold}"
        for step in range(first + 1, 11):
            state.global_step = step
            bar.on_step_end(None, state, None)
        assert shown[0].n == 10 * fold
    bar.close()
    assert len(shown) == 1
    assert (shown[0].total, shown[0].title) == (60, "closed")
