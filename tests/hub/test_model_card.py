"""The model card says what was measured, all of it, and nothing else."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from noisy_xmodal.hub import render_model_card, write_model_card
from noisy_xmodal.hub.model_card import CARD_KINDS, EMBEDDED_DATA, hub_id
from noisy_xmodal.hub.published import PAPERS
from noisy_xmodal.methods import Dmcm, Ncr, Rcar
from noisy_xmodal.noise import NOISE_TYPES, CaptionNoise

METRICS = CARD_KINDS["pairs"].metrics
#: A method of each kind of card.
METHODS = {"pairs": Ncr, "joint pairs": Rcar, "classes": Dmcm}


def metrics(base: float) -> dict[str, float]:
    """Numbers that no two cells share; the medians are measured but not on the card."""
    recalls = {name: base + 7.031 * rank for rank, name in enumerate(METRICS)}
    return recalls | {"i2t_medr": 999.0, "t2i_medr": 888.0}


@pytest.fixture
def results() -> dict[str, Any]:
    return {
        "method": "NCR",
        "method_name": "ncr",
        "citation": Ncr.citation,
        "networks": 2,
        "dataset": "openmoji",
        "dataset_config": "cmp_40",
        "noise": {
            "type": "complete_mismatch",
            "level": "caption",
            "ratio": 0.4,
            "share_wrong": 0.3911,
        },
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


def of_kind(results: dict[str, Any], kind: str) -> dict[str, Any]:
    """The same run, as a training script of that kind writes it."""
    method = METHODS[kind]
    facts = {"task": kind, "method": method.title, "citation": method.citation}
    facts |= {"networks": method.n_networks}
    if kind != "classes":
        return results | facts
    measured = {name: 0.0625 + 0.1 * k for k, name in enumerate(CARD_KINDS[kind].metrics)}
    splits = {"validation": measured, "test": measured}
    facts |= {"arguments": {"seed": 17, "backbone_name_or_path": None}}
    return results | facts | {"last": splits, "best": splits, "dataset": "openmoji categories"}


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


def test_the_sizes_of_the_splits_stand_above_the_table(results):
    assert "Number of images" not in render_model_card(results, "my-ncr").text, "older results"
    sizes = {"validation": 300, "test": 1000}
    text = render_model_card(results | {"sizes": sizes}, "my-ncr").text
    assert "Number of images:\nvalidation 300, test 1000.\n\n| checkpoint" in text
    text = render_model_card(results | {"sizes": {"test": 3}}, "my-ncr").text
    assert "test 3. Figures of fewer than 100 tell little." in text


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
        "Recipe `small`",
        "    python examples/train_ncr.py --output_dir runs/ncr",
        "epoch 5.0 of 6.0",
        "| dataset | `openmoji`, configuration `cmp_40` |",
        "| training pairs | 4321 |",
        "| noise | complete mismatch",
        "| asked for | 40 % |",
        "| really wrong | 39.11 % |",
        'AutoModel.from_pretrained("my-ncr")',
    ):
        assert fact in text, fact


def test_a_noise_type_of_the_table_brings_its_title(results, monkeypatch):
    class Swap(CaptionNoise):
        title = "swap: texts exchanged with the next image"

    monkeypatch.setitem(NOISE_TYPES, "swap", Swap)
    results["noise"]["type"] = "swap"
    assert f"| noise | {Swap.title} |" in render_model_card(results, "my-ncr").text
    results["noise"]["type"] = "swop"
    assert "| noise | swop |" in render_model_card(results, "my-ncr").text


def numbers(value: Any) -> set[str]:
    """Every number in the results, as the card may print it."""
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values())) if value else set()
    if isinstance(value, float):
        shown = {str(value), f"{100 * value:g}", f"{100 * value:.2f}", f"{round(value, 2)}"}
        return shown | {f"{value:.1f}", f"{value:.3f}", f"{round(value, 4)}"}
    return set(re.findall(r"\d+(?:\.\d+)?", str(value)))


@pytest.mark.parametrize("kind", list(CARD_KINDS))
def test_no_number_was_not_measured(results, kind):
    card = str(render_model_card(of_kind(results, kind), "my-model"))
    card = re.sub(r"```.*?```", "", card, flags=re.DOTALL)  # code, and the citation's year
    card = re.sub(r"CC BY-SA 4\.0|by-sa/4\.0|cc-by-sa-4\.0|Apache-2\.0", "", card)
    found = set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\w)", card))
    of_the_measure = {"classes": {"0", "1", "50"}}.get(kind, set())
    assert found - numbers(of_kind(results, kind)) <= of_the_measure
    assert "999" not in card
    assert "888" not in card


def test_nothing_is_left_of_the_template(results):
    text = str(render_model_card(results, "my-ncr"))
    assert not re.search(r"\{\{|\}\}|\{%|%\}", text)
    assert "Undefined" not in text
    assert "None" not in text


def test_an_unknown_protocol_is_called_unknown(results):
    text = render_model_card(results | {"noise": None}, "my-ncr").text
    assert "| noise | unknown" in text
    assert "How much of the training data is wrong is unknown" in text
    assert "None" not in text


def test_without_a_choice_there_is_no_best_epoch(results):
    """`RobustTrainer.best_epoch` gives None where no checkpoint was chosen."""
    text = render_model_card(results | {"best_epoch": None}, "my-ncr").text
    assert "epoch None" not in text


def test_a_plain_run_claims_no_division(results):
    text = render_model_card(results | {"method": "plain"}, "my-plain").text
    assert "**plain**" in text
    assert "division" not in text


def test_a_pretrained_encoder_is_named(results, tmp_path):
    plain = render_model_card(results, "my-ncr")
    assert "It began from random weights." in plain.text
    assert plain.data.base_model is None
    arguments = {
        "vision_model_name_or_path": "microsoft/resnet-18",
        "text_model_name_or_path": str(tmp_path),
    }
    results["arguments"] |= arguments
    card = render_model_card(results, "my-ncr")
    assert f"It began from `microsoft/resnet-18`, `{tmp_path}`." in card.text
    assert card.data.base_model == ["microsoft/resnet-18"]  # a folder is none on the Hub
    assert "the model has seen nothing else" not in card.text
    results["arguments"]["text_model_name_or_path"] = "minilm"
    card = render_model_card(results, "my-ncr")
    assert card.data.base_model[1:] == ["sentence-transformers/all-MiniLM-L6-v2"]


def test_names_on_the_hub_are_told_from_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "here").mkdir(parents=True)
    assert hub_id("org/there") == "org/there"
    assert hub_id("bert-base-uncased") == "bert-base-uncased"
    for name in (None, "", "org/here", str(tmp_path), "./x", "a/b/c", "x y", "~/x"):
        assert hub_id(name) is None


def test_the_embedded_data_comes_with_its_licence(results):
    from noisy_xmodal.data.card import read_card

    facts = read_card("openmoji.md").data
    card = render_model_card(results, "my-ncr")
    terms = EMBEDDED_DATA["openmoji"]
    assert card.data.license == terms.license == facts.license
    assert f"[{facts.terms}]" in card.text
    own = results | {"command": "train_ncr.py --dataset_name me/openmoji"}
    card = render_model_card(own, "my-ncr")  # somebody's data of that name
    assert card.data.license is None
    assert "OpenMoji" not in card.text
    assert "state a licence before you share" in card.text


def test_data_of_the_hub_is_linked(results):
    found = {"dataset_id": "org/f8k", "dataset": "f8k", "data_license": "mit"}
    card = render_model_card(results | found, "org/my-ncr")
    assert (card.data.datasets, card.data.license) == (["org/f8k"], "mit")
    assert {result.dataset_type for result in card.data.eval_results} == {"org/f8k"}
    words = render_model_card(results | found | {"data_license": "Ask me"}, "org/my-ncr")
    assert words.data.license is None
    assert "under Ask me" in words.text


@pytest.mark.parametrize("kind", list(CARD_KINDS))
def test_the_client_of_the_hub_reads_the_card(results, kind):
    facts = of_kind(results, kind) | {"dataset_id": "org/f8k", "data_license": "mit"}
    facts["arguments"] = facts["arguments"] | {"text_model_name_or_path": "org/bert"}
    for known in (facts, of_kind(results, kind)):
        card = render_model_card(known, "org/model")
        assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()


def test_no_task_of_the_hub_is_claimed(results):
    for kind in CARD_KINDS:
        data = render_model_card(of_kind(results, kind), "x").data
        assert data.pipeline_tag is None
        assert not {"zero-shot-image-classification", "feature-extraction"} & set(data.tags)


def test_the_code_suits_what_the_model_reads(results, tmp_path):
    def code(results, **config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return render_model_card(results, "org/m", tmp_path).text

    pictures = code(results, vision_config={})
    assert 'pipeline("image-text-retrieval", model="org/m")' in pictures
    assert "image-text-match" not in pictures  # its scores are not calibrated
    assert "image-text-match" in code(results, vision_config={}, match_scale=2.0)
    assert "image-text-match" in code(of_kind(results, "joint pairs"), vision_config={})
    regions = code(results, vision_config=None, region_size=36)
    assert "(n_regions, 36)" in regions
    assert "pipeline(" not in regions
    vectors = of_kind(results, "classes")
    assert "(n_images, 7)" in code(vectors, image_size=7, text_size=5)
    for sizes in ((7, 5), (512, 512), (704, 300)):
        assert "with_vectors" not in code(vectors, image_size=sizes[0], text_size=sizes[1])
    assert "rows = with_vectors(rows)" in code(vectors, image_size=704, text_size=512)
    vectors["arguments"]["backbone_name_or_path"] = "openai/clip"
    assert 'pipeline("image-text-retrieval"' in code(vectors)


def test_pictures_are_shown_where_they_are(results, tmp_path):
    assert "## Plots" not in render_model_card(results, "m", tmp_path).text
    (tmp_path / "divisions").mkdir()
    for name in ("divisions/epoch_002.png", "divisions/epoch_010.png", "curve.png", "other.png"):
        (tmp_path / name).touch()
    text = render_model_card(results, "m", tmp_path).text
    shown = re.findall(r"!\[[^]]*\]\((.*?)\)", text)
    assert shown == ["divisions/epoch_010.png", "curve.png"]


def test_options_of_the_training_are_told(results, tmp_path):
    options = {"learning_rate": 0.0125, "optim": "adamw", "lr_scheduler_type": "None"}
    (tmp_path / "training_args.json").write_text(json.dumps(options | {"hub_token": "<TOKEN>"}))
    text = render_model_card(results, "m", tmp_path).text
    assert "| learning_rate | 0.0125 |" in text
    assert "| seed | 17 |" in text
    assert "vision_model_name_or_path" not in text  # was left open
    assert "TOKEN" not in text
    assert "None" not in text


PUBLISHED = "### Published by the authors (not measured here)"


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"dataset": "flickr30k-noisy"}, []),  # cmp_40 is not in NCR's table
        ({"dataset": "f30k", "ratio": 0.2}, ["| Table 1 | Flickr30K | cmp_20 | 75.0 |"]),
        ({"dataset": "x", "dataset_id": "a/ms_coco", "ratio": 0.5}, ["1K", "5K", "| 53.1 |"]),
        ({"dataset": "coconuts", "ratio": 0.2}, []),
        ({"dataset": "f30k", "ratio": 0.2, "level": "image"}, []),
        ({"dataset": "f30k", "ratio": 0.2, "method": "plain"}, []),
        ({"dataset": "cc152k", "type": "natural"}, ["| Table 2 | CC152K | natural | 39.5 |"]),
        ({"dataset": "f30k", "task": "joint pairs", "method": "RCAR"}, ["| 21.9 | 13.6 |"]),
    ],
)
def test_published_figures_stand_apart(results, facts, shown):
    noise = {key: facts.pop(key) for key in ("ratio", "level", "type") if key in facts}
    results |= facts | {"command": "train --dataset_name x", "noise": results["noise"] | noise}
    text = render_model_card(results, "m").text
    assert (PUBLISHED in text) == bool(shown)
    section = text.partition(PUBLISHED)[2].partition("##")[0]
    for part in shown:
        assert part in section
        assert part not in text.replace(section, "")


@pytest.mark.parametrize(
    ("noise", "shown"),
    [({}, True), ({"level": "shared"}, False), ({"exclude_true": True}, False)],
)
def test_label_noise_of_another_kind_has_no_published_figures(results, noise, shown):
    results = of_kind(results, "classes") | {"dataset": "wiki_roph"}
    sym = {"type": "symmetric_label_noise", "level": "modality", "ratio": 0.6, "n_wrong": 3}
    text = render_model_card(results | {"noise": sym | noise}, "m").text
    assert ("| Table 2 | Wikipedia | sym_60 | 0.601 | 0.578 |" in text) == shown


def test_published_gains_agree_with_the_text_of_dmcm():
    """Section 3.3 gives the mean gain over MRL, whose row of Table 2 is this."""
    mrl = {"i2t": (2.295 + 2.718 + 2.526) / 12, "t2i": (2.210 + 2.716 + 2.547) / 12}
    rows = [figures.values for figures in PAPERS["DMCM"].figures]
    means = [sum(column) / 12 for column in zip(*rows, strict=True)]
    assert len(rows) == 12
    assert means[0] - mrl["i2t"] == pytest.approx(0.0343, abs=6e-5)
    assert means[1] - mrl["t2i"] == pytest.approx(0.0333, abs=2e-4)


def test_the_paper_is_cited(results):
    for kind, year in {"pairs": 2021, "joint pairs": 2023, "classes": 2024}.items():
        text = render_model_card(of_kind(results, kind), "m").text
        bibtex = text.partition("```bibtex\n")[2].partition("```")[0]
        assert bibtex.count("{") == bibtex.count("}")
        assert re.search(rf"year += \{{{year}\}}", bibtex)
    other = of_kind(results, "classes") | {"method": "MRL", "citation": "Hu et al. CVPR 2021."}
    text = render_model_card(other, "m").text
    assert "bibtex" not in text
    assert text.rstrip().endswith("Hu et al. CVPR 2021.")
    assert "## Citation" not in render_model_card(other | {"citation": ""}, "m").text


def test_two_networks_are_told_where_there_are_two(results):
    told = "of two networks whose similarities are averaged"
    assert told in render_model_card(results, "m").text
    assert told not in render_model_card(results | {"networks": 1}, "m").text
    for kind in ("joint pairs", "classes"):
        assert told not in render_model_card(of_kind(results, kind), "m").text


def test_rendering_leaves_the_results_alone(results):
    before = copy.deepcopy(results)
    render_model_card(results, "my-ncr")
    assert results == before


def test_the_card_is_written_under_the_folders_name(results, tmp_path: Path):
    folder = tmp_path / "my-ncr"
    folder.mkdir()
    (folder / "README.md").write_text("old")
    path = write_model_card(str(folder), results)
    assert path == folder / "README.md"
    assert path.read_text(encoding="utf-8") == str(render_model_card(results, "my-ncr"))
    assert [entry.name for entry in folder.iterdir()] == ["README.md"]
    write_model_card(folder, results, name="org/ncr")
    assert ModelCard.load(path).data.model_name == "org/ncr"
    assert 'from_pretrained("org/ncr")' in path.read_text(encoding="utf-8")
