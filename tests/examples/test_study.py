"""The machinery of the studies over a training script that only pretends to train."""

import json
import runpy
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCORES = {"0": 10.0, "1": 14.0, "2": 15.0}


class Trainer:
    """Writes results that its seed and the row's option give, and keeps the options of each run."""

    def __init__(self):
        self.runs = []

    def __call__(self, argv):
        self.runs.append(argv)
        given = dict(zip(argv[::2], argv[1::2], strict=True))
        if given.get("--bonus") == "none":
            raise ValueError("no bonus.")
        score = SCORES[given["--seed"]] + float(given.get("--bonus", 0))
        out = Path(given["--output_dir"])
        (out / "checkpoint-3").mkdir(parents=True)
        metrics = {"i2t_r1": score, "t2i_r1": score / 2, "rsum": 4 * score}
        results = {
            "last": {"test": metrics},
            "best": {"test": metrics},
            "chosen_on_test": None,
            "train_seconds": 2.0,
            "command": "python examples/train.py " + " ".join(argv),
        }
        (out / "results.json").write_text(json.dumps(results))


@pytest.fixture
def study(monkeypatch):
    """A study of three rows, whose workers run in this process, one after another."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setitem(sys.modules, "train_it", SimpleNamespace(main=Trainer()))
    made = import_module("study").Study(
        script="study_it.py",
        description="Study it.",
        train="train_it",
        tables={
            "sizes": {"small": [], "large": ["--bonus", "1"], "free of labels": []},
            "broken": {"without": ["--bonus", "none"]},
        },
        metrics=("i2t_r1", "rsum"),
        choices={"last": "last", "oracle": "chosen_on_test"},
        digits=1,
        noise_type="cmp",
        noise=("20", "40"),
        label_free=("free of labels",),
    )

    def start(command):
        assert command[:2] == [sys.executable, made.script]
        made.main(command[2:])
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr(subprocess, "Popen", start)
    return made


def test_the_table_tells_mean_and_spread(study, tmp_path, capsys):
    study.main(["--output_dir", str(tmp_path), "--workers", "2", "--size", "9"])
    assert len(sys.modules[study.train].main.runs) == 3 * (2 + 2 + 1)
    cells = json.loads((tmp_path / "sizes.json").read_text())
    assert [(cell["row"], cell["noise"]) for cell in cells] == [
        *(("small", "20"), ("small", "40"), ("large", "20"), ("large", "40")),
        *(("free of labels", "20"), ("free of labels", "40")),
    ]
    assert cells[2]["last i2t_r1"] == {
        "mean": pytest.approx(14.0),
        "spread": pytest.approx(np.sqrt(7)),
        "values": [11.0, 15.0, 16.0],
    }
    assert "oracle i2t_r1" not in cells[0]
    table = (tmp_path / "sizes.md").read_text()
    assert table.splitlines()[0] == "| | noise | last i2t_r1 | last rsum |"
    assert "| large | 40 % | 14.0 ± 2.6 | 56.0 ± 10.6 |" in table
    assert table in capsys.readouterr().out


def test_a_run_gets_the_options_of_study_and_row(study, tmp_path):
    argv = ["--output_dir", str(tmp_path), "--size", "9", "--noise_type", "sym", "--noise", "60"]
    study.main([*argv, "--seeds", "2", "--rows", "large"])
    out = tmp_path / "runs" / "large" / "sym_60" / "seed2"
    assert sys.modules[study.train].main.runs == [
        [
            *("--size", "9", "--bonus", "1", "--seed", "2", "--dataset_config_name", "sym_60"),
            *("--output_dir", str(out), "--disable_tqdm", "True", "--plot_divisions", "False"),
        ]
    ]
    assert [path.name for path in out.iterdir()] == ["results.json"]
    assert "| large | 60 % | 16.0 | 64.0 |" in (tmp_path / "sizes.md").read_text()


def test_finished_runs_stay_and_half_finished_ones_begin_anew(study, tmp_path):
    argv = ["--output_dir", str(tmp_path), "--noise", "20", "--rows", "small"]
    study.main(argv)
    half = tmp_path / "runs" / "small" / "cmp_20" / "seed1"
    (half / "results.json").rename(half / "checkpoint-7")
    study.main(argv)
    assert [run[run.index("--seed") + 1] for run in sys.modules[study.train].main.runs] == [
        "0",
        "1",
        "2",
        "1",
    ]
    assert [path.name for path in half.iterdir()] == ["results.json"]


def test_a_finished_run_with_other_options_is_refused(study, tmp_path):
    argv = ["--output_dir", str(tmp_path), "--rows", "small"]
    study.main(argv)
    with pytest.raises(ValueError, match=r"seed0/results.json is of another run .*--seed 0"):
        study.main([*argv, "--size", "9"])


def test_what_ends_in_a_message(study, tmp_path, monkeypatch):
    argv = ["--output_dir", str(tmp_path)]
    with pytest.raises(
        ValueError, match=r"--rows has no 'tiny'; there are: small, large, free of labels"
    ):
        study.main([*argv, "--rows", "tiny"])
    with pytest.raises(SystemExit, match=r"no bonus\..*\(in the run 'without'\)"):
        study.main([*argv, "--study", "broken"])
    monkeypatch.setattr(subprocess, "Popen", lambda _: SimpleNamespace(wait=lambda: 1))
    with pytest.raises(SystemExit, match="the same command resumes"):
        study.main(argv)


def test_pictures_are_drawn_from_the_cells(study, tmp_path):
    drawn = []
    drawing = replace(study, draw=lambda *given: drawn.append(given))
    drawing.main(["--output_dir", str(tmp_path), "--rows", "small"])
    ((given, args, cells),) = drawn
    assert given is drawing
    assert isinstance(args, Namespace)
    assert cells == json.loads((tmp_path / "sizes.json").read_text())


def test_rcar_over_m(study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "train_rcar", SimpleNamespace(main=Trainer()))
    rcar = runpy.run_path(str(EXAMPLES / "study_rcar.py"))["STUDY"]
    argv = ["--study", "m", "--output_dir", str(tmp_path), "--rows", "m = 2", "m = 4"]
    args, passed_on = rcar.read_options([*argv, "--worker", "0"])
    rcar.work(args, passed_on)
    assert [run[:2] for run in sys.modules[rcar.train].main.runs] == [
        ["--warmup_epochs", m] for m in "24"
    ] * 3
    cells = rcar.collect(args)
    rcar.draw(rcar, args, cells)
    assert (tmp_path / "m.png").is_file()
    assert [name for name in cells[0] if name.startswith("best")] == [
        f"best on validation {metric}" for metric in ("i2t_r1", "t2i_r1", "rsum")
    ]
