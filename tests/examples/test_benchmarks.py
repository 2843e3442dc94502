"""The benchmarks at a tiny share, and that they refuse to time what is wrong."""

import importlib
import json
import sys
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPT = """
import a_library_that_nobody_has
raise SystemExit("module-level code ran")
SCALE = undefined

def halved(x: Unknown):
    return x / 2

def mean(values, divide=len):
    return halved(sum(values)) * 2 / divide(values)

class Counter(nn.Module):
    def forward(self, x):
        return halved(x.cuda()) * FACTOR

def main():
    total = 0
    for _ in range(3):
        def added(x):
            return x + total
        def added(x):
            return x + total + FACTOR
"""


@pytest.fixture
def modules(monkeypatch):
    """The benchmark modules `run`, `work`, `timing` and `published`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("run", "work", "timing", "published")
    return SimpleNamespace(**{name: importlib.import_module(name) for name in names})


@pytest.fixture
def setting(modules, tmp_path, monkeypatch):
    """The cheapest way to measure, with everything in a folder of the test."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    return modules.work.Setting(tmp_path, share=1e-4, threads=1, repetitions=1)


@pytest.fixture
def clone(tmp_path):
    """A folder of clones with one repository, of one file."""
    (tmp_path / "clones" / "somebody+Method").mkdir(parents=True)
    (tmp_path / "clones" / "somebody+Method" / "train.py").write_text(SCRIPT)
    return tmp_path / "clones"


def made_up_work(modules, monkeypatch, difference):
    """A work named `sum` whose check finds `difference`; its sides append to a list."""
    called = []

    class Sum(modules.work.Work):
        title, tolerance, targets, most_seconds = (
            "a sum",
            0.5,
            MappingProxyType({"cpu": 0.0}),
            1e-12,
        )
        repository, peer_name = "somebody/Method", "torch"

        @property
        def sizes(self):
            return {"numbers": self.sized(10**6)}

        def check(self, repository):
            self.notes["seen"] = 7
            return difference

        def ours(self):
            numbers = np.ones(self.sizes["numbers"])
            called.append("ours")
            return modules.work.Task(numbers.sum)

        def published(self, repository):
            found = repository.names("train.py", ["halved", "mean"], {})
            called.append("published")
            return modules.work.Task(lambda: found.mean([1, 2]), scale=50, note="2 of 100")

    monkeypatch.setitem(modules.run.WORKS, "sum", ("made_up", "Sum"))
    monkeypatch.setitem(sys.modules, "made_up", SimpleNamespace(Sum=Sum))
    return called


@pytest.mark.parametrize("difference", [0.6, float("nan"), float("inf")])
def test_a_wrong_result_is_reported_and_never_timed(modules, monkeypatch, setting, difference):
    called = made_up_work(modules, monkeypatch, difference)
    record = modules.run.compare("sum", setting, None, modules.run.one_side)
    assert record["status"] == "wrong"
    assert called == []
    assert not {"ours", "published", "ratios"} & record.keys()
    lines = "\n".join(modules.run.table([record]))
    assert "| sum | wrong |" in lines
    assert f"largest difference {difference:.3g}, tolerance 0.5" in lines


@pytest.mark.parametrize("difference", [0.5, None])
def test_a_right_result_is_timed_on_every_side(modules, monkeypatch, setting, clone, difference):
    called = made_up_work(modules, monkeypatch, difference)
    record = modules.run.compare("sum", setting, str(clone), start=modules.run.one_side)
    assert record["status"] == "measured"
    assert called == ["ours", "published"]
    assert record["sizes"] == {"numbers": 100}
    ours, published = record["ours"], record["published"]
    assert published["seconds"] == pytest.approx(50 * published["times"][0])
    assert record["ratios"]["published_to_ours"] == pytest.approx(
        published["seconds"] / ours["seconds"]
    )
    assert list(record["kept"].values()) == [True, False]
    assert record["check"]["facts"] == {"seen": 7}
    lines = "\n".join(modules.run.table([record]))
    assert "* |" in lines  # the published time is of a part
    assert "published: 2 of 100" in lines
    assert "at most 1e-12 s: MISSED" in lines
    json.dumps(record)


def test_without_published_code_its_column_is_empty(modules, monkeypatch, setting):
    made_up_work(modules, monkeypatch, 0.0)
    record = modules.run.compare("sum", setting, None, modules.run.one_side)
    assert record["published"] == {}
    assert record["ratios"] == {}


def test_a_side_that_fails_is_named(modules, monkeypatch, setting):
    made_up_work(modules, monkeypatch, 0.0)

    def start(name, side, *rest):
        if side == "ours":
            return {"error": "MemoryError"}
        return modules.run.one_side(name, side, *rest)

    record = modules.run.compare("sum", setting, None, start=start)
    assert record["status"] == "failed"
    lines = "\n".join(modules.run.table([record]))
    assert "| sum | failed |" in lines
    assert "ours: MemoryError" in lines


def test_cold_tasks_take_a_process_for_each_timing(modules, setting):
    setting = modules.work.Setting(setting.folder, repetitions=3)
    times = iter([5.0, 1.0, 2.0])

    def start(*_):
        second = next(times)
        memory = {"peak_mib": 10 * second, "rise_mib": second}
        return {"cold": True, "scale": 10, "times": [second], "seconds": 10 * second, **memory}

    found = modules.run.measured("sum", "ours", setting, None, start)
    assert found["times"] == [5.0, 1.0, 2.0]
    assert found["seconds"] == 20
    assert found["peak_mib"] == 50


def test_a_cold_task_runs_once_and_others_warm_up(modules, setting):
    calls = []
    task = modules.work.Task(lambda: calls.append(1), cold=True)
    modules.timing.measure(task, setting)
    assert len(calls) == 1
    modules.timing.measure(modules.work.Task(lambda: calls.append(1), repetitions=4), setting)
    assert len(calls) == 1 + 1 + 4


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux forgets peaks")
def test_the_rise_is_that_of_the_task(modules, setting):
    del_me = np.ones(130 * 2**17)  # 130 MiB that are gone before the task
    del del_me
    # Larger than any piece that the C library might still hold.
    found = modules.timing.measure(modules.work.Task(lambda: np.ones(100 * 2**17)), setting)
    assert 95 < found["rise_mib"] < 128


_SCORES = ("sgr_scores", "saf_scores", "scan_t2i_scores", "scan_i2t_scores")
_PLAIN = (*_SCORES, "retrieval", "average_precision", "feature_file")
_WORKS = (*_PLAIN, "beta_mixture", "beta_mixture_large", "mrl_epoch", "dmcm_epoch")


@pytest.mark.parametrize("name", _WORKS)
def test_results_agree_with_plain_computations(modules, setting, name):
    found = modules.run.one_side(name, "check", setting, None)
    work = modules.run.work_class(name)
    compared = found["difference"] is not None
    assert compared == (name in _PLAIN)  # there is none to the best mixture, or to an epoch
    assert not compared or found["difference"] <= work.tolerance
    assert all(size > 0 for size in found["sizes"].values())


@pytest.mark.parametrize("side", ["ours", "peer", "floor"])
@pytest.mark.parametrize("name", _WORKS)
def test_sides_can_be_measured(modules, setting, name, side):
    if (name, side) == ("feature_file", "ours"):
        pytest.skip("converts a file by commands, which takes long")
    found = modules.run.one_side(name, side, setting, None)
    if side == "peer" and not modules.run.work_class(name).peer_name:
        assert found == {}
    else:
        assert found["seconds"] > 0


def test_wrong_scores_are_found(modules, setting, monkeypatch):
    work = modules.run.work_class("sgr_scores")(setting)
    world = work.world

    def wrong(*given, **named):
        found = world(*given, **named)
        monkeypatch.setattr(found, "score", lambda image, text: found.head(image, text) + 1e-4)
        return found

    monkeypatch.setattr(work, "world", wrong)
    assert work.check(None) > work.tolerance


def test_operations_of_an_epoch(modules):
    label_epoch = importlib.import_module("label_epoch")
    layers = [(3, 5), (5, 5), (5, 2)]
    forward = sum(2 * 7 * a * b for a, b in layers)
    assert label_epoch.operations(7, layers, trains=False) == forward
    inner = sum(2 * 7 * a * b for a, b in layers[1:])
    assert label_epoch.operations(7, layers, trains=True) == 2 * forward + inner


def test_a_wrong_metric_is_found(modules, setting, monkeypatch):
    work = modules.run.work_class("retrieval")(setting)
    right = sys.modules["retrieval"].retrieval_metrics

    def wrong(scores, image_of_text):
        return right(scores, np.roll(image_of_text, 1))

    monkeypatch.setattr(sys.modules["retrieval"], "retrieval_metrics", wrong)
    assert work.check(None) > work.tolerance


def test_a_side_in_a_process_of_its_own(modules, setting):
    found = modules.run.in_child("beta_mixture", "peer", setting, None)
    assert found["seconds"] > 0, found
    assert found["rise_mib"] < found["peak_mib"]


def test_a_process_that_fails_says_why(modules, setting, monkeypatch):
    python = setting.folder / "python"
    python.write_text("#!/bin/sh\necho Traceback >&2\necho ValueError: no room >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    found = modules.run.in_child("beta_mixture", "ours", setting, None)
    assert found == {"error": "ValueError: no room"}
    python.write_text("#!/bin/sh\nkill -9 $$\n")
    found = modules.run.in_child("beta_mixture", "ours", setting, None)
    assert found == {"error": "exit status -9 (killed, perhaps for memory)"}


def test_the_command_prints_and_writes_figures(modules, monkeypatch, clone, tmp_path, capsys):
    made_up_work(modules, monkeypatch, 0.0)
    output = tmp_path / "figures" / "benchmarks.json"
    monkeypatch.setattr(modules.run, "WORKS", {"sum": modules.run.WORKS["sum"]})
    options = ["--share", "1e-4", "--repetitions", "1", "--output", str(output)]
    options += ["--published", str(clone)]
    modules.run.main(options, start=modules.run.one_side)
    report = json.loads(output.read_text())
    assert report["machine"]["threads"] == 2
    assert report["machine"]["torch"] == torch.__version__
    assert report["share"] == 1e-4
    assert report["works"][0]["published"]["scale"] == 50
    assert "| sum |" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="clone somebody/Method from GitHub"):
        modules.run.main([*options[:-1], str(tmp_path / "figures")], start=modules.run.one_side)


@pytest.mark.parametrize("options", [["--share", "0"], ["--share", "2"], ["--works", "unknown"]])
def test_options_that_make_no_sense_are_refused(modules, options):
    with pytest.raises(SystemExit):
        modules.run.main(options)


def test_only_wanted_definitions_run(modules, clone):
    repository = modules.published.find_repository(clone, "somebody/Method")
    given = {"nn": torch.nn, "FACTOR": 3, "total": 10}
    wanted = ["halved", "mean", "Counter", "main.added"]
    found = repository.names("train.py", wanted, given)
    assert found.mean([1, 2, 3]) == 2
    assert found.added(1) == 14
    with modules.published.cuda_calls_on("cpu"):
        assert found.Counter().cuda()(torch.tensor(4.0)).item() == 6
    found.namespace["total"] = 20  # the variables of main are globals now
    assert found.added(1) == 24
    assert "FACTOR" not in modules.published.names.__globals__


def test_what_is_missing_is_named(modules, clone):
    find, names = modules.published.find_repository, modules.published.names
    train = clone / "somebody+Method" / "train.py"
    with pytest.raises(FileNotFoundError, match="ends with Other: clone a/Other from GitHub"):
        find(clone, "a/Other")
    with pytest.raises(FileNotFoundError, match=r"test\.py is missing"):
        find(clone, "somebody/Method").names("test.py", ["mean"], {})
    with pytest.raises(ValueError, match="defines no median: no 'median' among Counter, halved"):
        names(train, ["median"], {})
    with pytest.raises(ValueError, match=r"defines no main\.removed: no 'removed' among added"):
        names(train, ["main.removed"], {})
    (clone / "AMethod").mkdir()  # another name
    assert find(clone, "somebody/Method").path == train.parent
    (clone / "Method").mkdir()
    with pytest.raises(FileNotFoundError, match=r"Method, somebody\+Method\. Leave one"):
        find(clone, "somebody/Method")
    train.write_text("print 'old'")
    with pytest.raises(ValueError, match=r"train\.py, line 1, is not Python 3"):
        names(train, ["mean"], {})
