"""Cells that run, fail, go on, are shared and are written, by scripts that pretend to train."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from noisy_xmodal.papers import running
from noisy_xmodal.papers.cells import Plan
from noisy_xmodal.papers.figures import draw
from noisy_xmodal.papers.results import entries, write_table
from noisy_xmodal.papers.running import Runner
from noisy_xmodal.papers.step import main
from noisy_xmodal.papers.table import COSTS, MAPS, Data, Drawing, Row, Table

#: Writes results that its options give; "--fail" fails, "--slow" takes until it is signalled.
TRAIN = """
import json, pathlib, signal, sys, time
given = sys.argv[1:]
at = lambda name: given[given.index(name) + 1]
out = pathlib.Path(at("--output_dir"))
out.mkdir(parents=True, exist_ok=True)
with (out.parent / "calls.txt").open("a") as calls:
    calls.write(" ".join(given) + "\\n")
if "--fail" in given:
    sys.exit("no such luck")
if "--slow" in given and "--resume_from_checkpoint" not in given:
    (out / "checkpoint-3").mkdir()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    time.sleep(60)
score = 10.0 * int(at("--seed")) + {"clean": 5, "cmp_20": 3}.get(at("--dataset_config_name"), 0)
metrics = {"rsum": score, "i2t_map": score / 100, "t2i_map": score / 200}
metrics |= {f"{way}_r{k}": score for way in ("i2t", "t2i") for k in (1, 5, 10)}
cost = {"parameters": 2e6, "seconds_per_image_query": 0.004, "seconds_per_text_query": 0.5}
last = {name: value / 2 for name, value in metrics.items()}
results = {"best": {"test": metrics}, "last": {"test": last}, "train_seconds": 7200.0}
results |= {"resumed_at": None, "cost": cost | {"machine": {"threads": 1}}}
(out / "results.json").write_text(json.dumps(results))
points = [{"epoch": e, "test": metrics} for e in (1, 2)]
(out / "curve.json").write_text(json.dumps(points))
"""
EVALUATE = """
import json, pathlib, sys
given = sys.argv[1:]
file = pathlib.Path(given[given.index("--results_file") + 1])
file.parent.mkdir(parents=True, exist_ok=True)
file.write_text(json.dumps({"rsum": 99.0, "cost": {"parameters": 4e6, "machine": {}}}))
"""
AUDIT = """
import pathlib, sys, time
file = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
file.parent.mkdir(parents=True, exist_ok=True)
time.sleep(0.2)
file.write_bytes(b"PAR1")
"""
ONE, TWO = Row("one", "One", options=("--method", "a")), Row("two", "Two", options=("--fast", "1"))
DATA = (Data("d", "D", ("clean", "cmp_20")),)


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "train_ncr.py").write_text(TRAIN)
    (folder / "evaluate.py").write_text(EVALUATE)
    (folder / "audit.py").write_text(AUDIT)
    return folder


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(running, "_PATIENCE", 0.05)
    monkeypatch.setattr(running, "_TELLS_AFTER", 0.3)


def plan(tmp_path: Path, *rows: Row, seeds: tuple[int, ...] = (0,), **options) -> Plan:
    table = Table("t", "A table", DATA, rows, **options)
    return Plan(table, tmp_path / "out", "small", seeds, methods={"train_ncr": ["a"]})


def calls(cell_folder: Path) -> list[str]:
    return (cell_folder.parent / "calls.txt").read_text().splitlines()


def run_here(some: Plan, scripts: Path) -> None:
    """Run all cells in this process."""
    for cell in some.cells():
        for step in cell.steps:
            words = [step.folder, step.result, step.command, scripts / f"{step.script}.py"]
            main([*map(str, words), *step.options, *step.outputs])


def test_cells_run_once(scripts, tmp_path):
    cells = plan(tmp_path, ONE, TWO).cells()
    told: list[str] = []
    for _ in range(2):
        runner = Runner(cells, scripts, workers=2, tell=told.append)
        runner.run()
        assert not runner.failures
    assert told[0] == "4 cells, 0 of them done before; 4 left"
    done = [line for line in told if "done in 0.0 min; " in line]
    assert len(done) == 4, "the second time there is nothing to do"
    assert len(calls(cells[0].steps[0].folder)) == 1


def test_a_table_has_means_beside_published_figures(scripts, tmp_path):
    theirs = {("one", "d", "cmp_20"): (1.0, 2.0)}
    options = {"metrics": ("i2t_r1", "rsum"), "published": theirs, "protocol": "by its paper"}
    some = plan(tmp_path, ONE, TWO, seeds=(1, 2), **options)
    run_here(some, scripts)
    found = entries(some, {})
    own = next(e for e in found if (e["row"], e["config"]) == ("one", "cmp_20"))
    spread = pytest.approx(np.sqrt(50))
    assert own["best"]["rsum"] == {"mean": 18.0, "spread": spread, "values": [13.0, 23.0]}
    assert own["last"]["rsum"]["mean"] == 9.0
    assert own["theirs"] == {"i2t_r1": 1.0, "rsum": 2.0}
    text = write_table(some, found, {}).read_text()
    assert "| openmoji | cmp_20 | One | 2 | 18.0 ± 7.1 | 18.0 ± 7.1 | 1.0 | 2.0 |" in text
    assert "**Theirs**: as published, by its paper. Ours are on other data" in text
    assert "Not complete" not in text
    assert json.loads((tmp_path / "out/t.json").read_text())["cells"] == found


def test_a_cell_that_fails_does_not_stop_the_others(scripts, tmp_path):
    bad = Row("bad", "Bad", options=("--fail", "1"), noise="clean")
    both = Row("both", "Both", parts=(TWO, bad), noise="clean")
    some = plan(tmp_path, bad, both, TWO)
    told: list[str] = []
    runner = Runner(some.cells(), scripts, tell=told.append)
    runner.run()
    end = "openmoji/clean/seed0"
    assert set(runner.failures) == {f"bad/{end}", f"both/{end}"}
    log = runner.failures[f"bad/{end}"]
    assert "no such luck" in log.read_text()
    assert any(line.startswith(f"bad/{end}: FAILED, see {log}") for line in told)
    assert [cell.is_done for cell in some.cells()] == [False, False, True, True]
    assert len(calls(some.cells()[0].steps[0].folder)) == 1, "not tried again for the other cell"
    found = entries(some, runner.failures)
    assert [entry["status"] for entry in found] == ["failed", "failed", "done", "done"]
    text = write_table(some, found, runner.failures).read_text()
    assert f"- `bad/{end}`: {log}" in text


def test_parts_are_averaged_by_the_evaluation(scripts, tmp_path):
    some = plan(tmp_path, Row("both", "Both", parts=(ONE, TWO)))
    run_here(some, scripts)
    found = entries(some, {})
    assert [entry["best"]["rsum"]["mean"] for entry in found] == [99.0, 99.0]
    assert found[0]["cost"]["train_seconds"]["mean"] == 2 * 7200


def test_pairs_are_audited_once_for_all_seeds_and_the_time_counts(scripts, tmp_path):
    some = plan(tmp_path, replace(ONE, is_audited=True), seeds=(1, 2))
    runner = Runner(some.cells(), scripts, tell=lambda line: None)
    runner.run()
    assert not runner.failures
    (table,) = {cell.steps[0].result for cell in some.cells() if cell.config == "clean"}
    assert table == tmp_path / "out/runs/audit/openmoji/clean/seed0/audit.parquet"
    assert f"--audit_table {table}" in calls(some.cells()[0].steps[-1].folder)[0]
    found = entries(some, {})
    assert found[0]["status"] == "done"
    assert 7200.1 < found[0]["cost"]["train_seconds"]["mean"] < 7300


def test_an_error_of_a_worker_ends_the_run(scripts, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(running, "_environment", full)
    with pytest.raises(OSError, match="no space left"):
        Runner(plan(tmp_path, ONE).cells(), scripts, tell=lambda _: None).run()


def test_a_stopped_table_goes_on_where_it_was(scripts, tmp_path, monkeypatch):
    slow = Row("slow", "Slow", options=("--slow", "1"))
    cells = plan(tmp_path, slow).cells()[:1]
    (step,) = cells[0].steps
    runner = Runner(cells, scripts, tell=lambda _: None)
    sleep = time.sleep

    def stop_when_it_has_begun(seconds: float) -> None:
        sleep(seconds)
        if (step.folder / "checkpoint-3").is_dir():
            sleep(0.2)
            raise KeyboardInterrupt

    monkeypatch.setattr(running.time, "sleep", stop_when_it_has_begun)
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    monkeypatch.undo()
    assert not step.is_done
    Runner(cells, scripts, tell=lambda _: None).run()
    assert step.is_done
    first, second = calls(step.folder)
    assert "--resume_from_checkpoint" not in first
    assert second.endswith("--resume_from_checkpoint True")
    assert not list(step.folder.glob("checkpoint-*"))


def test_a_cell_that_another_process_runs_is_waited_for(scripts, tmp_path):
    cells = plan(tmp_path, ONE).cells()
    step = cells[0].steps[0]
    step.folder.parent.mkdir(parents=True)
    holder = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); "
            "lock.acquire(); print('has it', flush=True); time.sleep(20)",
            str(step.beside(".lock")),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    done: list[str] = []

    def tell(line: str) -> None:
        done.append(line)
        if line.startswith("one/openmoji/cmp_20"):
            assert not step.is_done
            os.kill(holder.pid, signal.SIGKILL)  # a claim ends with its process

    Runner(cells, scripts, tell=tell).run()
    holder.wait()
    holder.stdout.close()
    assert [line.split(":")[0] for line in done if ": done in" in line] == [
        "one/openmoji/cmp_20/seed0",
        "one/openmoji/clean/seed0",
    ]
    with FileLock(step.beside(".lock"), timeout=0):
        pass


def test_a_folder_of_another_run_is_refused(scripts, tmp_path):
    run_here(plan(tmp_path, ONE), scripts)
    other = Row("one", "One", options=("--method", "a", "--size", "9"))
    with pytest.raises(ValueError, match=r"is of another run .*--method a --recipe .*--size 9"):
        Runner(plan(tmp_path, other).cells(), scripts).run()
    entry = entries(plan(tmp_path, other), {})[0]
    assert entry["status"].startswith("done with other options")
    assert "--size" not in entry["commands"][0]


def test_size_and_time_are_a_table(scripts, tmp_path):
    options = {"metrics": COSTS, "choices": ("cost",), "digits": 1}
    some = plan(tmp_path, ONE, drawing=Drawing("bars", COSTS), **options)
    run_here(some, scripts)
    found = entries(some, {})
    text = write_table(some, found, {}).read_text()
    assert "| openmoji | clean | One | 1 | 2.0 | 120.0 | 4.0 | 500.0 |" in text
    assert draw(tmp_path / "t.png", some.table, found)


@pytest.mark.parametrize("kind", ["noise", "rows", "epochs", "pictures"])
def test_every_kind_of_figure_is_drawn(scripts, tmp_path, kind):
    rows = [Row(f"m{m}", f"m = {m}", options=("--m", str(m))) for m in (6, 7)]
    theirs = {(row.key, "d", "clean"): (0.1, 0.2) for row in rows}
    drawing = Drawing(kind, MAPS, (("m7", "epoch_*.png", -1), ("m6", "nothing.png", 0)))
    some = plan(tmp_path, *rows, metrics=MAPS, drawing=drawing, published=theirs)
    path = tmp_path / "t.png"
    assert not draw(path, some.table, entries(some, {}))
    run_here(some, scripts)
    found = entries(some, {})
    if kind == "pictures":
        assert not draw(path, some.table, found)
        Image.new("RGB", (60, 40), "red").save(Path(found[1]["folders"][0]) / "epoch_1.png")
    assert draw(path, some.table, found)
    with Image.open(path) as picture:
        assert (np.asarray(picture.convert("L")) < 200).mean() > 0.005
