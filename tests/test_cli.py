"""The commands: what they print, where, and how they end."""

import json
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from noisy_xmodal import NcrConfig, NcrModel
from noisy_xmodal.audit import AuditInterrupted
from noisy_xmodal.cli import app


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_config: Any,
    tiny_processor: Any,
    tiny_regions_dataset: Any,
) -> Any:
    """Runs a command in a folder with `data.parquet` and a model in `ncr`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    NcrModel(tiny_config(NcrConfig)).save_pretrained("ncr")
    tiny_processor.save_pretrained("ncr")
    tiny_regions_dataset(12).to_parquet("data.parquet")
    return lambda *words: CliRunner().invoke(app, list(words))


def test_audit_prints_json_and_nothing_else(run: Any) -> None:
    done = run("audit", "data.parquet", "--model", "ncr", "--json", "-o", "found.parquet")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads(Path("found.json").read_text())
    assert found["n_pairs"] == len(pq.read_table("found.parquet")) == 24
    assert found["report"] == "found.html"
    assert Path("found.html").is_file()
    assert not Path("found.work").exists()


def test_audit_tells_a_person_what_it_found(run: Any) -> None:
    options = ("--model_name_or_path", "ncr", "--clean", "left", "--clean-weights")
    done = run("audit", "data.parquet", *options)
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.split())
    assert "of the 24 pairs are wrong" in words
    assert "Judged by ncr." in words
    assert "report audit.html" in words
    assert json.loads(Path("audit.json").read_text())["cleaned"]["pairs_kept"] == 24
    assert "left: 24 pairs kept, 0 dropped" in words


def test_search_prints_json_or_a_table(run: Any) -> None:
    words = ("search", "ncr", "data.parquet", "a dog", "-k", "3")
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [row["rank"] for row in found["results"]] == [1, 2, 3]
    assert Path(found["grid"]).is_file()
    table = run(*words)
    assert table.exit_code == 0
    assert found["results"][0]["image_id"] in table.stdout
    assert "12 vectors, exact index" in table.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["audit", "nowhere.csv", "--json"], "nowhere.csv"),
        (["audit", "data.parquet", "--model", "ncr", "-o", "x.csv", "--json"], "x.csv"),
        (["audit", "data.parquet", "--model", "./gone", "--json"], "./gone"),
        (["search", "./gone", "data.parquet", "a dog", "--json"], "./gone"),
        (["search", "ncr", "data.parquet", "nothing.jpg", "--json"], "nothing.jpg"),
        (["search", "ncr", "data.parquet", "a dog", "--index", "magic", "--json"], "magic"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_code_1(
    run: Any, words: list[str], says: str
) -> None:
    done = run(*words)
    assert done.exit_code == 1
    assert says in json.loads(done.stdout)["error"]
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not list(Path().glob("*.work"))


def test_words_that_cannot_be_read_are_exit_code_2(run: Any) -> None:
    assert run("audit").exit_code == 2
    assert run("audit", "data.parquet", "--folds", "1").exit_code == 2
    assert run("audit", "data.parquet", "--modle", "ncr").exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_has_the_exit_code_of_its_signal(
    run: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def stop(_: Any) -> None:
        raise AuditInterrupted(number)

    monkeypatch.setattr("noisy_xmodal.audit.audit", stop)
    done = run("audit", "data.parquet")
    assert done.exit_code == 128 + number
    assert "the same command goes on" in done.stderr


def test_help_teaches_by_example(run: Any) -> None:
    assert "noisy-xmodal audit photos/" in run("audit", "--help").stdout
    assert "running woman" in run("search", "-h").stdout
    overview = run("--help").stdout
    assert "audit" in overview
    assert "search" in overview
