"""Results in the Hub's newer format: one honest number, or no file."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from noisy_xmodal.hub import write_eval_results

MEASURED = {"last": {"test": {"rsum": 1.0}}, "best": {"test": {"rsum": 412.3456, "i2t_r1": 7.0}}}


@pytest.fixture
def results() -> dict[str, Any]:
    return MEASURED | {
        "method": "NCR",
        "dataset": "f8k",
        "dataset_id": "org/f8k-noisy",
        "dataset_config": "cmp_40",
        "best_epoch": 5.0,
        "arguments": {"seed": 1},
    }


def test_what_was_measured_can_be_read_back(results, tmp_path: Path):
    path = write_eval_results(tmp_path, results)
    assert path is not None
    assert path.relative_to(tmp_path).as_posix() == ".eval_results/noisy_xmodal.yaml"
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("org/f8k-noisy", "cmp_40", 412.35)
    assert entry.notes == "rsum of NCR on test, noise cmp_40; checkpoint chosen on validation"
    assert entry.verify_token is entry.dataset_revision is entry.source_url is None


def test_the_task_and_the_commit_of_the_dataset_are_told(results, tmp_path: Path):
    facts = {"task": "classes", "best": {"test": {"map": 0.43219, "rsum": 1.0}}}
    facts |= {"dataset_task": "clean", "dataset_revision": "a" * 40, "best_epoch": None}
    facts["arguments"] = {"shortlist_model_name_or_path": "org/ncr"}
    path = write_eval_results(tmp_path, results | facts)
    assert path is not None
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert (entry.task_id, entry.value, entry.dataset_revision) == ("clean", 0.4322, "a" * 40)
    assert entry.notes is not None
    assert "validation" not in entry.notes
    assert "shortlists" in entry.notes


@pytest.mark.parametrize(
    "facts",
    [
        {"dataset_id": None},  # embedded, or of this machine
        {"dataset_id": "f8k"},
        {"dataset_id": "here/f8k"},
        {"best": {"validation": {"rsum": 412.0}}},
    ],
)
def test_where_the_format_cannot_be_honest_there_is_no_file(
    results, facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("here/f8k").mkdir(parents=True)
    path = write_eval_results(tmp_path, results)
    assert path is not None
    assert path.is_file()
    assert write_eval_results(tmp_path, results | facts) is None
    assert not path.exists()  # that of the earlier run
