"""The commands: what they print, where, and how they end."""

import json
import signal
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from noisy_xmodal import NcrConfig, NcrModel, cli
from noisy_xmodal.arguments.audit import AuditOptions
from noisy_xmodal.arguments.review import ReviewOptions
from noisy_xmodal.auditing.reviews import Decision, ReviewFile
from noisy_xmodal.auditing.run import AuditInterrupted
from noisy_xmodal.cli import app
from noisy_xmodal.entry.outputs import only_one


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
    refused = run("audit", "data.parquet", *options)
    assert refused.exit_code == 1, "the model is not trained"
    assert "Give --force-clean to write it anyway" in refused.output
    done = run("audit", "data.parquet", *options, "--force-clean")
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.split())
    assert "of the 24 pairs are wrong" in words
    assert "Judged by ncr." in words
    assert "report audit.html" in words
    assert json.loads(Path("audit.json").read_text())["cleaned"]["pairs_kept"] == 24
    assert "left: 24 pairs kept, 0 dropped" in words


def test_review_serves_until_ctrl_c(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[ReviewOptions] = []

    def serve(options: ReviewOptions) -> tuple[Any, str]:
        reviews = ReviewFile(options.reviews_file)
        for number, decision in enumerate(("wrong", "right", "wrong")):
            reviews.add(Decision(f"{number}.jpg", "a dog", decision))
        served.append(options)
        return SimpleNamespace(close=lambda verbose: None), "http://127.0.0.1:7860/"

    class Stop:
        def wait(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("noisy_xmodal.auditing.review.serve", serve)
    monkeypatch.setattr("noisy_xmodal.auditing.review.threading.Event", Stop)
    words = ("review", "audit.parquet", "photos", "--config", "c", "--reviewer", "Ann")
    done = run(*words, "--order", "random", "--port", "1234", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "reviews": "reviews.parquet",
        "reviewed": 3,
        "right": 1,
        "wrong": 2,
        "corrected": 0,
    }
    assert "http://127.0.0.1:7860/ shows the pairs" in done.stderr
    assert served[0] == ReviewOptions(
        Path("audit.parquet"),
        "photos",
        dataset_config_name="c",
        reviewer="Ann",
        order="random",
        port=1234,
    )
    shown = run(*words, "--reviews", "mine.parquet").stdout
    assert shown == "mine.parquet: 3 pairs reviewed, 1 right, 2 wrong, 0 with another caption.\n"
    assert run(*words, "--order", "best").exit_code == 1
    assert run("review", "audit.parquet").exit_code == 2


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
    assert "12 vectors" in table.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["audit", "nowhere.csv", "--json"], "nowhere.csv"),
        (["audit", "data.parquet", "--model", "ncr", "-o", "x.csv", "--json"], "x.csv"),
        (["audit", "data.parquet", "--model", "./gone", "--json"], "./gone"),
        (["search", "./gone", "data.parquet", "a dog", "--json"], "./gone"),
        (["search", "ncr", "data.parquet", "nothing.jpg", "--json"], "nothing.jpg"),
        (["search", "ncr", "data.parquet", "a dog", "--direction", "magic", "--json"], "magic"),
        (["search", "ncr", "data.parquet", "a dog", "--device", "gpu", "--json"], "device 'gpu'"),
        (["search", "ncr", "data.parquet", "a dog", "--shortlist", "9", "--json"], "--shortlist"),
        (["search", "ncr", "data.parquet", "a dog", "-o", "/proc/x.png", "--json"], "--output"),
        (["search", "ncr", "data.parquet", "a dog", "-o", "ncr", "--json"], "a folder"),
        (["search", "ncr", "data.parquet", "a dog", "-o", "mine.png", "--json"], "mine.png"),
        (["search", "ncr", "data.parquet", "data.parquet", "--json"], "--direction text_to_image"),
        (["audit", "data.parquet", "--device", "mps:4", "--json"], "no device 'mps:4'"),
        (["audit", "data.parquet", "--model", "ncr", "--epochs", "9", "--json"], "beside --model"),
        (["audit", "data.parquet", "--vision-model", "none", "--json"], "--vision-model"),
        (
            ["audit", "data.parquet", "--model", "x", "--text-model", "y", "--json"],
            "beside --model",
        ),
        (["audit", "data.parquet", "--encoder", "x", "--text-model", "y", "--json"], "--encoder:"),
        (
            ["audit", "data.parquet", "--encoder", "imagenet+minilm", "--json"],
            "--text-model minilm",
        ),
        (["audit", "data.parquet", "--clean-weights", "--json"], "without --clean:"),
        (["audit", "data.parquet", "--clean-threshold", "0.2", "--json"], "without --clean:"),
        (["audit", "data.parquet", "--clean", "ncr", "--json"], "--clean ncr is not empty"),
        (["audit", "data.parquet", "--clean", "/proc/x", "--json"], "--clean /proc/x cannot be"),
        (["audit", "data.parquet", "--clean", "audit.html", "--json"], "give two places"),
        (["audit", "", "--json"], "DATASET is empty"),
        (["audit", "data.parquet", "--inject-noise", "part_20", "--json"], "cmp_image_N"),
        (["audit", "data.parquet", "-o", "data.parquet", "--json"], "not written by this command"),
        (["audit", "data.parquet", "--config", "other", "--json"], "no configuration 'other'"),
        (["audit", "openmoji", "--id-column", "x", "--json"], "--id-column has no effect"),
        (["audit", "broken.jsonl", "--json"], "broken.jsonl"),
        (["audit", "empty.parquet", "--json"], "empty.parquet"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_code_1(
    run: Any, words: list[str], says: str
) -> None:
    Image.new("RGB", (2, 2)).save("mine.png")
    Path("broken.jsonl").write_bytes(b'{"image": "x.jpg", "text": "caf\xe9"}')
    Path("empty.parquet").touch()
    done = run(*words)
    assert done.exit_code == 1, done.output
    answer = json.loads(done.stdout)
    assert answer.keys() == {"error"}
    assert says in answer["error"]
    assert done.stderr.splitlines()[-1] == f"error: {answer['error']}"
    assert "Traceback" not in done.stderr
    assert not list(Path().glob("*.work"))
    assert not list(Path().glob(".*"))


def test_words_that_cannot_be_read_are_exit_code_2(run: Any) -> None:
    assert run("audit").exit_code == 2
    alone = run()
    assert alone.exit_code == 2
    assert "audit" in alone.stdout
    assert run("audit", "data.parquet", "--folds", "1").exit_code == 2
    assert run("audit", "data.parquet", "--modle", "ncr").exit_code == 2
    for option in ("--seed=-1", "--clean-threshold=nan", "--overwrite", "--shown=0"):
        done = run("audit", "data.parquet", option, "--json")
        assert done.exit_code == 2
        answer = json.loads(done.stdout)
        assert option.partition("=")[0] in answer["error"]
        assert done.stderr == f"error: {answer['error']}\n"
    assert "--help" in run().output


def test_what_is_no_persons_mistake_is_a_line_too(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("noisy_xmodal.auditing.run.audit", lambda *_: {}["x"])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = run("audit", "data.parquet", "--json")
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert "unexpected KeyError" in answer["error"]
    assert "Traceback" in Path(answer["traceback"]).read_text()
    assert done.stderr.count("\n") == 1


def test_captions_cannot_steer_the_terminal(run: Any, tiny_regions_dataset: Any) -> None:
    rows = tiny_regions_dataset(3)
    captions = [["\x1b[2J\x1b[31ma \u202ered\u202c [bold]cat[/bold]\x07"]] * 3
    names = ["a\x1b]0;title\x07b", "c\nd", "e"]
    rows = rows.remove_columns(["captions", "image_id", "is_noisy"])
    rows = rows.add_column("captions", captions).add_column("image_id", names)
    rows.to_parquet("steering.parquet")
    words = ("search", "ncr", "steering.parquet", "\x1b[1mred")
    shown = run(*words).stdout
    assert not set("\x1b\u202e\x07").intersection(shown)
    assert "a red [bold]cat[/bold]" in shown
    assert "ab " in shown
    found = json.loads(run(*words, "--json").stdout)
    assert {row["caption"] for row in found["results"]} == {captions[0][0]}
    assert {row["image_id"] for row in found["results"]} == set(names)
    assert found["query"] == "\x1b[1mred"


@pytest.mark.parametrize(
    ("query", "note"),
    [
        ("red cat", None),
        ("xyzzy qwertz", "knows no word of the query (xyzzy, qwertz)"),
        ("red xyzzy", "does not know these words of the query: xyzzy."),
        ("...", "query"),
    ],
)
def test_words_that_a_model_does_not_know_are_noted(run: Any, query: str, note: str | None) -> None:
    words = ("search", "ncr", "data.parquet", query)
    found = json.loads(run(*words, "--json").stdout)
    assert len(found["notes"]) == (note is not None)
    assert (note or "") in " ".join(found["notes"])
    assert (note is not None) == ("Note: " in run(*words).stdout)


def test_one_audit_at_a_time_writes_to_an_output(run: Any) -> None:
    words = ("audit", "data.parquet", "--model", "ncr", "-o", "found.parquet")
    with only_one("found.parquet"):
        done = run(*words)
    assert done.exit_code == 1
    assert "another process writes to" in done.stderr
    assert run(*words).exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_has_the_exit_code_of_its_signal(
    run: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def stop(*_: Any) -> None:
        raise AuditInterrupted(number)

    monkeypatch.setattr("noisy_xmodal.auditing.run.audit", stop)
    done = run("audit", "data.parquet")
    assert done.exit_code == 128 + number
    assert "the same command resumes" in done.stderr


def test_help_teaches_by_example(run: Any) -> None:
    assert "noisy-xmodal audit photos/" in run("audit", "--help").stdout
    assert "running woman" in run("search", "-h").stdout
    overview = run("--help").stdout
    assert "audit" in overview
    assert "search" in overview


def test_audit_has_every_option_but_those_of_scripts() -> None:
    names = {name for panel in cli._AUDIT_PANELS.values() for name in panel}
    scripts = {"dataset_name", "noise_seed", "batch_size", "learning_rate"}
    scripts |= {"cache_dir", "disable_tqdm"}
    assert {field.name for field in fields(AuditOptions)} == names | scripts
