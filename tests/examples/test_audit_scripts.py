"""The scripts around audits run as the README says, at a tiny size."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from example_scripts import script
from noisy_xmodal import load_pairs
from toy_pairs import toy_pairs


@pytest.fixture
def concepts(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    path = tmp_path / "concepts.parquet"
    toy_pairs(60).remove_columns("is_noisy").to_parquet(path)
    return path


def test_audit_script_writes_table_report_summary_and_a_clean_dataset(concepts, tmp_path, capsys):
    table = tmp_path / "found" / "audit.parquet"
    found = script("audit").main(
        [
            *("--dataset_name", str(concepts), "--inject_noise", "cmp_20", "--epochs", "1"),
            *("--folds", "2", "--rounds", "1", "--disable_tqdm", "True", "--output", str(table)),
            *(
                "--clean",
                str(tmp_path / "clean"),
                "--clean_weights",
                "True",
                "--force_clean",
                "True",
            ),
        ]
    )
    rows = pq.read_table(table)
    assert rows.column_names[:5] == [
        *("pair_id", "image_id", "caption", "clean_probability", "loss"),
    ]
    assert sorted(rows["pair_id"].to_pylist()) == list(range(120))
    assert rows["clean_probability"].to_pylist() == sorted(rows["clean_probability"].to_pylist())
    assert json.loads(table.with_suffix(".json").read_text()) == found
    assert found["command"].startswith("python examples/audit.py --dataset_name")
    left = load_pairs(tmp_path / "clean")["train"]
    weights = [value for row in left["clean_probability"] for value in row]
    assert sorted(weights) == pytest.approx(rows["clean_probability"].to_pylist())
    assert str(table.with_suffix(".html")) in capsys.readouterr().out


def test_study_prints_a_line_a_way_and_runs_nothing_twice(concepts, tmp_path, capsys, monkeypatch):
    study = script("study_audit")
    argv = [
        *("--dataset_name", str(concepts), "--noise", "cmp_20", "--seeds", "0", "--folds", "2"),
        *("--rounds", "1", "--epochs", "1", "--output_dir", str(tmp_path / "study")),
        *("--text_model_name_or_path", "none"),
    ]
    (row,) = study.main(argv)
    assert row["oracle"]["true_share"] == pytest.approx(0.2)
    assert set(row["baselines"]) == {"plain loss", "plain cosine", "random", "gaussian_share"}
    assert sum(n for _, _, n in row["calibration"]) == row["n_pairs"] == 120
    printed = capsys.readouterr().out
    for way in ("audit", "plain loss", "plain cosine", "random"):
        assert f"| cmp_20 | {way} | " in printed
    monkeypatch.setattr(study, "study_one", None)
    assert study.main(argv) == [row]


def test_drawn_shapes_have_the_faults_that_are_told(tmp_path):
    draw = script("draw_shapes")
    folder = draw.main(["--output_dir", str(tmp_path / "shapes"), "--n_pictures", "20"])
    left_out = {}
    rows = load_pairs(folder, left_out=left_out)["train"]
    assert len(left_out["train"]) == 1
    assert "00005.jpg" in left_out["train"][0]
    assert [len(texts) for texts in rows["captions"]] == [2] * 5 + [1] + [2] * 14
    broken = []
    for path in sorted(folder.glob("*.jpg")):
        try:
            Image.open(path).load()
        except OSError:
            broken.append(path.name)
    assert broken == ["00003.jpg", "00004.jpg"]
    with pytest.raises(ValueError, match="not empty"):
        draw.main(["--output_dir", str(folder)])
