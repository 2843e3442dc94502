"""What is told of divisions and targets: rows of a file, means for the log, pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

from noisy_xmodal.metrics import detection_metrics
from noisy_xmodal.noise import BetaMixture, Division, divide
from noisy_xmodal.training.plots import plot_curve, plot_divisions, plot_tsne
from noisy_xmodal.training.reports import (
    report_divisions,
    report_refurbishment,
    report_targets,
)

N_PAIRS = 200
NAMES = ("image", "text")


def made_up_losses(n_rows: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Losses (n_rows, n_pairs), and which pairs are noisy: their losses are mostly higher."""
    rng = np.random.default_rng(0)
    is_noisy = rng.random((n_rows, N_PAIRS)) < 0.3
    return rng.gamma(2.0, 0.3, (n_rows, N_PAIRS)) + 1.5 * is_noisy, is_noisy


def divisions_of(losses: np.ndarray, kind: Any = BetaMixture) -> list[Division]:
    mixtures = [
        kind() if kind is BetaMixture else kind(n_components=2, random_state=0) for _ in losses
    ]
    return [divide(row, mixture=mixture) for row, mixture in zip(losses, mixtures, strict=True)]


def fixed_division(is_clean: np.ndarray) -> Division:
    return Division(is_clean.astype(float), is_clean)


def report(folder: Path, epoch: int, **options: Any) -> dict[str, float]:
    losses, is_noisy = made_up_losses()
    arguments = {"losses": losses, "divisions": divisions_of(losses), "is_noisy": is_noisy}
    options = arguments | {"rows": {"modality": NAMES}, "plot": False} | options
    return report_divisions(folder, epoch, **options)


def rows_of(folder: Path, name: str = "divisions.json") -> list[dict[str, Any]]:
    return json.loads((folder / name).read_text())


def is_drawn(path: Path, panels: int = 1) -> bool:
    """Whether it is a picture with that many panels that is not blank."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("L"))
    width = pixels.shape[1] // panels
    parts = [pixels[:, i * width : (i + 1) * width] for i in range(panels)]
    return all((part < 200).mean() > 0.005 for part in parts)


def picture_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


# report_divisions


def test_each_row_is_told_as_it_is(tmp_path):
    losses, is_noisy = made_up_losses()
    divisions = divisions_of(losses)
    found = report(tmp_path, 4, divisions=divisions)
    rows = rows_of(tmp_path)
    for row, name, division, wrong in zip(rows, NAMES, divisions, is_noisy, strict=True):
        judged = ~division.is_clean
        assert row["epoch"] == 4
        assert row["modality"] == name
        assert row["share_noisy"] == pytest.approx(judged.mean())
        assert row["true_share_noisy"] == pytest.approx(wrong.mean())
        assert row["precision"] == pytest.approx((judged & wrong).sum() / judged.sum())
        assert row["recall"] == pytest.approx((judged & wrong).sum() / wrong.sum())
        assert row["estimated_noise_rate"] == pytest.approx(division.posterior.noise_rate)
        assert 0.7 < row["auroc"] <= 1
    names = set(rows[0]) - {"epoch", "modality"}
    assert set(found) == {f"division_{name}" for name in names}
    for name in names:
        assert found[f"division_{name}"] == pytest.approx((rows[0][name] + rows[1][name]) / 2)


def test_without_the_oracle_only_what_is_known_is_told(tmp_path):
    found = report(tmp_path, 0, is_noisy=None)
    for row in rows_of(tmp_path):
        assert set(row) == {"epoch", "modality", "share_noisy", "estimated_noise_rate"}
    assert set(found) == {"division_share_noisy", "division_estimated_noise_rate"}


def test_without_a_fit_no_noise_rate_is_estimated(tmp_path):
    losses, is_noisy = made_up_losses()
    found = report(tmp_path, 0, divisions=[fixed_division(~wrong) for wrong in is_noisy])
    assert "estimated_noise_rate" not in rows_of(tmp_path)[0]
    assert found["division_precision"] == found["division_recall"] == 1
    assert "division_estimated_noise_rate" not in found
    assert len(losses) == len(rows_of(tmp_path))


@pytest.mark.parametrize("fitted", [0, 1])
def test_what_one_row_lacks_has_no_mean(tmp_path, fitted):
    losses, _ = made_up_losses()
    divisions = [fixed_division(np.ones(N_PAIRS, dtype=bool)) for _ in range(2)]
    divisions[fitted] = divisions_of(losses)[fitted]
    found = report(tmp_path, 0, divisions=divisions)
    rows = rows_of(tmp_path)
    assert rows[1 - fitted]["precision"] is None
    assert rows[1 - fitted]["recall"] == 0
    assert "estimated_noise_rate" in rows[fitted]
    assert set(found) == {
        f"division_{name}" for name in ("share_noisy", "true_share_noisy", "recall", "auroc")
    }
    assert found["division_recall"] == pytest.approx(rows[fitted]["recall"] / 2)


@pytest.mark.parametrize("noisy", [True, False])
def test_undefined_metrics_are_null(tmp_path, noisy):
    """Where all pairs are noisy, or none is."""
    found = report(tmp_path, 0, is_noisy=np.full((2, N_PAIRS), noisy))
    for row in rows_of(tmp_path):
        assert row["auroc"] is None
        assert (row["recall"] is None) is not noisy
        assert row["precision"] == float(noisy)
    assert "division_auroc" not in found
    assert ("division_recall" in found) is noisy
    assert found["division_true_share_noisy"] == float(noisy)


def test_older_epochs_are_kept_and_later_ones_forgotten(tmp_path):
    for epoch in (2, 3, 4):
        report(tmp_path, epoch)
    kept = [row for row in rows_of(tmp_path) if row["epoch"] < 3]
    report(tmp_path, 3, is_noisy=None)
    rows = rows_of(tmp_path)
    assert [(row["epoch"], row["modality"]) for row in rows] == [
        (2, "image"),
        (2, "text"),
        (3, "image"),
        (3, "text"),
    ]
    assert rows[:2] == kept
    assert all("auroc" not in row for row in rows[2:])


def test_epochs_before_the_first_one_are_another_runs(tmp_path):
    for epoch in (0, 1, 2, 3):
        report(tmp_path, epoch)
    report(tmp_path, 4, first_epoch=2)
    assert [row["epoch"] for row in rows_of(tmp_path)] == [2, 2, 3, 3, 4, 4]


def test_a_single_peer_is_a_row_of_its_own(tmp_path):
    losses, is_noisy = made_up_losses(1)
    (division,) = divisions_of(losses)
    report_divisions(
        tmp_path, 0, {"peer": ("a",)}, losses, [division], is_noisy=is_noisy, plot=False
    )
    (row,) = rows_of(tmp_path)
    assert row["peer"] == "a"
    expected = detection_metrics(division.clean_probability, is_noisy[0], division.is_clean)
    assert {name: row[name] for name in expected} == expected


def test_the_picture_is_named_after_the_epoch_and_can_be_left_out(tmp_path):
    report(tmp_path, 7, plot=True)
    report(tmp_path, 8, plot=False)
    assert {path.name for path in tmp_path.iterdir()} == {"divisions.json", "epoch_007.png"}
    assert is_drawn(tmp_path / "epoch_007.png", panels=2)


def test_a_name_too_few_is_refused(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        report(tmp_path, 0, rows={"modality": ("image",)})


# report_refurbishment


def made_up_targets(hard: bool) -> tuple[np.ndarray, np.ndarray]:
    """Targets (2, n_pairs), mostly low where a pair is wrong, and which pairs are."""
    rng = np.random.default_rng(1)
    is_noisy = np.broadcast_to(rng.random(N_PAIRS) < 0.3, (2, N_PAIRS))
    targets = np.clip(0.8 - 0.5 * is_noisy + rng.normal(0, 0.25, is_noisy.shape), 0, 1)
    return (targets >= 0.5).astype(float) if hard else targets, is_noisy


@pytest.mark.parametrize("hard", [True, False])
def test_relabelled_pairs_are_counted(tmp_path, hard):
    targets, is_noisy = made_up_targets(hard)
    found = report_refurbishment(tmp_path, 3, targets, is_noisy)
    relabelled = wrong = both = 0
    for target, is_wrong in zip(targets.flat, is_noisy.flat, strict=True):
        relabelled += target < 0.5
        wrong += is_wrong
        both += bool(target < 0.5 and is_wrong)
    assert 0 < both < relabelled < wrong + relabelled - both
    assert found == pytest.approx(
        {
            "target_mean": targets.mean(),
            "target_mean_clean": np.mean(targets[~is_noisy]),
            "target_mean_noisy": np.mean(targets[is_noisy]),
            "refurbished_share": relabelled / (2 * N_PAIRS),
            "refurbished_precision": both / relabelled,
            "refurbished_recall": both / wrong,
        }
    )
    assert rows_of(tmp_path, "refurbishments.json") == [{"epoch": 3, **found}]


def test_a_target_of_half_keeps_its_label(tmp_path):
    targets = np.array([[0.5, 0.499, 1.0, 0.0]])
    assert report_refurbishment(tmp_path, 0, targets) == pytest.approx(
        {"target_mean": 0.49975, "refurbished_share": 0.5}
    )


@pytest.mark.parametrize(
    ("targets", "wrong", "expected"),
    [
        ([0, 1], True, {"refurbished_precision": 1.0, "refurbished_recall": 0.5}),
        ([0, 1], False, {"refurbished_precision": 0.0}),
        ([1, 1], True, {"refurbished_recall": 0.0}),
        ([1, 1], False, {}),
    ],
)
def test_what_is_undefined_of_targets_is_left_out(tmp_path, targets, wrong, expected):
    """Where all pairs are wrong or none is, or none was relabelled."""
    targets = np.array([targets], dtype=float)
    found = report_refurbishment(tmp_path, 0, targets, np.full((1, 2), wrong))
    share = {"target_mean": targets.mean(), "refurbished_share": 1 - targets.mean()}
    assert found == share | expected


def test_targets_of_another_run_are_forgotten(tmp_path):
    targets, is_noisy = made_up_targets(hard=True)
    for epoch in range(6):
        report_refurbishment(tmp_path, epoch, targets, is_noisy)
    report_refurbishment(tmp_path, 4, targets, first_epoch=2)
    rows = rows_of(tmp_path, "refurbishments.json")
    assert [row["epoch"] for row in rows] == [2, 3, 4]
    assert "refurbished_recall" in rows[1]
    assert "refurbished_recall" not in rows[2]
    assert [path.name for path in tmp_path.iterdir()] == ["refurbishments.json"]


# The pictures themselves


@pytest.mark.parametrize(
    ("kind", "n_rows", "oracle"),
    [
        (BetaMixture, 1, False),
        (BetaMixture, 2, True),
        (GaussianMixture, 1, True),
        (GaussianMixture, 2, False),
        (BayesianGaussianMixture, 1, False),  # of which no densities are known
    ],
)
def test_divisions_are_drawn(tmp_path, kind, n_rows, oracle):
    losses, is_noisy = made_up_losses(n_rows)
    path = tmp_path / "new" / "division.png"
    names = NAMES[:n_rows]
    plot_divisions(path, losses, divisions_of(losses, kind), names, is_noisy if oracle else None)
    assert is_drawn(path, panels=n_rows)
    assert [found.name for found in path.parent.iterdir()] == ["division.png"]


def test_the_oracle_and_the_mixture_are_seen(tmp_path):
    losses, is_noisy = made_up_losses(1)
    drawn = {}
    for name, kind, wrong in (
        ("beta", BetaMixture, is_noisy),
        ("gaussian", GaussianMixture, is_noisy),
        ("blind", BetaMixture, None),
    ):
        plot_divisions(tmp_path / f"{name}.png", losses, divisions_of(losses, kind), ["a"], wrong)
        drawn[name] = picture_of(tmp_path / f"{name}.png")
    assert (drawn["beta"] != drawn["gaussian"]).any()
    red = np.array([0xD1, 0x49, 0x5B])
    assert (drawn["beta"] == red).all(axis=2).sum() > 100
    assert not (drawn["blind"] == red).all(axis=2).any()


def test_a_division_without_a_fit_is_drawn(tmp_path):
    losses, is_noisy = made_up_losses(1)
    plot_divisions(tmp_path / "a.png", losses, [fixed_division(~is_noisy[0])], ["a"])
    assert is_drawn(tmp_path / "a.png")


@pytest.mark.parametrize("value", [0.0, 2.5, 1e4])
def test_equal_losses_are_drawn(tmp_path, value):
    losses = np.full((1, 50), value)
    with pytest.warns(UserWarning, match="All 50 losses equal"):
        divisions = [divide(losses[0], mixture=BetaMixture())]
    plot_divisions(tmp_path / "a.png", losses, divisions, ["a"], np.zeros((1, 50), dtype=bool))
    assert is_drawn(tmp_path / "a.png")


def curve_rows(n_epochs: int, splits: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {"epoch": float(epoch), **{split: {"map": epoch / 10, "other": 0.5} for split in splits}}
        for epoch in range(1, n_epochs + 1)
    ]


@pytest.mark.parametrize(
    ("n_epochs", "splits"), [(1, ("validation",)), (5, ("validation", "test"))]
)
def test_curves_are_drawn(tmp_path, n_epochs, splits):
    path = tmp_path / "new" / "curve.png"
    plot_curve(path, curve_rows(n_epochs, splits), ["map", "other"], warmup_epochs=2)
    assert is_drawn(path, panels=len(splits))
    assert [found.name for found in path.parent.iterdir()] == ["curve.png"]


def test_a_split_that_was_watched_later_has_a_shorter_curve(tmp_path):
    rows = curve_rows(2, ("validation",)) + curve_rows(4, ("validation", "test"))[2:]
    plot_curve(tmp_path / "curve.png", rows, ["map"])
    assert is_drawn(tmp_path / "curve.png", panels=2)


def test_the_end_of_the_warm_up_is_marked(tmp_path):
    for warmup in (0, 3):
        plot_curve(
            tmp_path / f"{warmup}.png",
            curve_rows(5, ("validation",)),
            ["map"],
            warmup_epochs=warmup,
        )
    assert (picture_of(tmp_path / "0.png") != picture_of(tmp_path / "3.png")).any()


def blobs(n: int, n_groups: int = 3) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features in clusters far apart, the cluster of each, and their names."""
    rng = np.random.default_rng(2)
    groups = np.arange(n) % n_groups
    features = 20 * rng.normal(size=(n_groups, 8))[groups] + rng.normal(size=(n, 8))
    return features, groups, [f"cluster {i}" for i in range(n_groups)]


def test_clusters_stay_together_in_two_dimensions(tmp_path):
    features, groups, names = blobs(60)
    path = tmp_path / "new" / "features.png"
    points = plot_tsne(path, features, groups, names)
    assert points.shape == (60, 2)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(60)
    np.testing.assert_array_equal(groups[distances.argmin(axis=1)], groups)
    written = json.loads(path.with_suffix(".json").read_text())["points"]
    np.testing.assert_array_equal([row[:2] for row in written], points.tolist())
    assert [row[2] for row in written] == [names[group] for group in groups]
    assert is_drawn(path)
    assert {found.name for found in path.parent.iterdir()} == {"features.png", "features.json"}
    np.testing.assert_array_equal(plot_tsne(path, features, groups, names), points)


def test_points_are_chosen_evenly_over_the_groups(tmp_path):
    features, _, names = blobs(40)
    groups = np.array([0] * 30 + [1] * 8 + [2] * 2)
    chosen = {}
    for seed in (0, 0, 1):
        path = tmp_path / f"{seed}.png"
        points = plot_tsne(path, features, groups, names, seed, max_points=12)
        rows = json.loads(path.with_suffix(".json").read_text())["points"]
        assert [sum(row[2] == name for row in rows) for name in names] == [5, 5, 2]
        np.testing.assert_array_equal(chosen.get(seed, points), points)
        chosen[seed] = points
    assert (chosen[0] != chosen[1]).any()


@pytest.mark.parametrize("n", [2, 3])
def test_the_fewest_points_are_drawn(tmp_path, n):
    assert np.isfinite(plot_tsne(tmp_path / "a.png", *blobs(n, n))).all()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((10, 3)), r"features of shape \(10, 3\)"),
        (np.arange(10.0)[:, None], "at least two dimensions"),
        (np.ones((1, 3)), "at least two distinct"),
        (np.ones((9, 3, 2)), r"features \(n, dim\)"),
    ],
)
def test_features_without_a_layout_are_refused(tmp_path, features, message):
    with pytest.raises(ValueError, match=message):
        plot_tsne(tmp_path / "a.png", features, np.zeros(len(features), dtype=int), ["a"])
    with pytest.raises(ValueError, match="a group number for each"):
        plot_tsne(tmp_path / "a.png", features, np.zeros(50, dtype=int), ["a"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("oracle", [True, False])
def test_predictions_and_targets_are_counted_and_drawn(tmp_path, oracle):
    values = {"prediction": np.array([0.0, 0.04, 0.5, 1.0]), "target": np.array([0.3, 0.3, 1, 1])}
    is_noisy = np.array([True, False, False, True]) if oracle else None
    report_targets(tmp_path, values, is_noisy)
    found = json.loads((tmp_path / "targets.json").read_text())
    assert len(found["edges"]) == 21
    groups = found["counts"]["prediction"]
    assert {name: np.flatnonzero(bins).tolist() for name, bins in groups.items()} == (
        {"right pairs": [0, 10], "wrong pairs": [0, 19]} if oracle else {"all pairs": [0, 10, 19]}
    )
    assert sum(map(sum, found["counts"]["target"].values())) == 4
    assert is_drawn(tmp_path / "targets.png", panels=2)


def test_without_a_pair_nothing_is_counted(tmp_path):
    report_targets(tmp_path, {"target": np.zeros(0)})
    assert not list(tmp_path.iterdir())
