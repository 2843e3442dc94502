"""The model card says what was measured, all of it, and nothing else."""

import copy
import re
from typing import Any

import pytest
from huggingface_hub import ModelCard

from noisy_xmodal.hub import render_model_card, write_model_card
from noisy_xmodal.hub.model_card import CARD_KINDS

METRICS = CARD_KINDS["pairs"].metrics


def metrics(base: float) -> dict[str, float]:
    """Numbers that no two cells share; the medians are measured but not on the card."""
    recalls = {name: base + 7.031 * rank for rank, name in enumerate(METRICS)}
    return recalls | {"i2t_medr": 999.0, "t2i_medr": 888.0}


@pytest.fixture
def results() -> dict[str, Any]:
    return {
        "method": "NCR",
        "dataset": "openmoji",
        "dataset_config": "cmp_40",
        "noise": {"type": "cmp", "level": "caption", "ratio": 0.4, "share_wrong": 0.3911},
        "train_pairs": 4321,
        "recipe": "small",
        "arguments": {
            "seed": 17,
            "vision_model_name_or_path": None,
            "text_model_name_or_path": None,
        },
        "epochs": 6.0,
        "warmup_epochs": 2,
        "best_epoch": 5.0,
        "last": {"validation": metrics(10.01), "test": metrics(11.12)},
        "best": {"validation": metrics(12.23), "test": metrics(13.34)},
        "train_seconds": 65.4,
        "machine": {"processor": "x86_64", "threads": 2, "device": "cpu"},
        "command": "python examples/train_ncr.py --output_dir runs/ncr",
    }


def table(card: ModelCard) -> dict[tuple[str, str], list[float]]:
    """Rows of the results table by checkpoint and split."""
    rows = {}
    for line in card.text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in ("last", "best"):
            rows[cells[0], cells[1]] = [float(cell) for cell in cells[2:]]
    return rows


def test_the_table_is_what_was_measured(results):
    found = table(render_model_card(results, "my-ncr"))
    assert found.keys() == {
        (checkpoint, split) for checkpoint in ("last", "best") for split in ("validation", "test")
    }
    for (checkpoint, split), row in found.items():
        expected = [results[checkpoint][split][metric] for metric in METRICS]
        assert row == pytest.approx(expected, abs=0.051)
    header = next(
        line
        for line in str(render_model_card(results, "my-ncr")).splitlines()
        if line.startswith("| checkpoint")
    )
    assert re.findall(r"\w+", header) == ["checkpoint", "split", *METRICS]


def test_a_split_that_was_not_measured_is_not_there(results):
    for checkpoint in ("last", "best"):
        del results[checkpoint]["test"]
    card = render_model_card(results, "my-ncr")
    assert {split for _, split in table(card)} == {"validation"}
    assert {result.dataset_split for result in card.data.eval_results} == {"validation"}
    assert "| test |" not in card.text


def test_metadata_can_be_read_back(results, tmp_path):
    path = tmp_path / "README.md"
    render_model_card(results, "my-ncr").save(path)
    data = ModelCard.load(path).data
    assert data.model_name == "my-ncr"
    assert data.library_name == "transformers"
    assert "noisy-correspondence" in data.tags
    found = {(r.dataset_split, r.metric_type): r.metric_value for r in data.eval_results}
    assert found == {
        (split, metric): round(results["best"][split][metric], 2)
        for split in ("validation", "test")
        for metric in METRICS
    }
    assert {(r.dataset_name, r.dataset_config) for r in data.eval_results} == {
        ("openmoji", "cmp_40")
    }


def test_the_run_can_be_repeated_from_the_card(results):
    text = render_model_card(results, "my-ncr").text
    for fact in (
        "**NCR**",
        "seed 17",
        "cpu (x86_64,",
        "2 threads",
        "65.4 s",
        "    python examples/train_ncr.py --output_dir runs/ncr",
        "epoch 5.0 of 6.0",
        "`openmoji`, configuration `cmp_40`, 4321 pairs",
        "- type: cmp",
        "- ratio: 0.4",
        "- share_wrong: 0.3911",
        'AutoModel.from_pretrained("my-ncr")',
    ):
        assert fact in text, fact


def numbers(value: Any) -> set[str]:
    """Every number in the results, as the card may print it."""
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values())) if value else set()
    if isinstance(value, float):
        return {str(value), f"{value:.1f}", f"{value:.2f}", f"{round(value, 2)}"}
    return set(re.findall(r"\d+(?:\.\d+)?", str(value)))


def test_no_number_was_not_measured(results):
    card = str(render_model_card(results, "my-ncr"))
    found = set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\w)", card))
    assert found - numbers(results) <= {"2021"}  # of the citation
    assert "999" not in card
    assert "888" not in card


def test_nothing_is_left_of_the_template(results):
    text = str(render_model_card(results, "my-ncr"))
    assert not re.search(r"\{\{|\}\}|\{%|%\}", text)
    assert "Undefined" not in text
    assert "None" not in text


def test_an_unknown_protocol_is_called_unknown(results):
    text = render_model_card(results | {"noise": None}, "my-ncr").text
    assert "- protocol: unknown" in text
    assert "None" not in text


def test_without_a_choice_there_is_no_best_epoch(results):
    """`RobustTrainer.best_epoch` gives None where no checkpoint was chosen."""
    text = render_model_card(results | {"best_epoch": None}, "my-ncr").text
    assert "epoch None" not in text


def test_a_plain_run_claims_no_division(results):
    text = render_model_card(results | {"method": "plain"}, "my-plain").text
    assert "**plain**" in text
    assert "division" not in text


def test_a_pretrained_encoder_is_named(results):
    results["arguments"]["vision_model_name_or_path"] = "microsoft/resnet-18"
    text = render_model_card(results, "my-ncr").text
    assert "has seen the pictures and words of its training\ndata and little else" not in text
    assert "microsoft/resnet-18" in text


def test_rendering_leaves_the_results_alone(results):
    before = copy.deepcopy(results)
    render_model_card(results, "my-ncr")
    assert results == before


def test_the_card_is_written_under_the_folders_name(results, tmp_path):
    folder = tmp_path / "my-ncr"
    folder.mkdir()
    (folder / "README.md").write_text("old")
    path = write_model_card(str(folder), results)
    assert path == folder / "README.md"
    assert path.read_text(encoding="utf-8") == str(render_model_card(results, "my-ncr"))
    assert [entry.name for entry in folder.iterdir()] == ["README.md"]
