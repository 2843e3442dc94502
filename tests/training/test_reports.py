"""What is told of a division: rows of a file, means for the log, pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

from noisy_xmodal.metrics import detection_metrics
from noisy_xmodal.noise import BetaMixture, Division, divide
from noisy_xmodal.training.plots import plot_curve, plot_divisions
from noisy_xmodal.training.reports import report_divisions

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


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "divisions.json").read_text())


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
