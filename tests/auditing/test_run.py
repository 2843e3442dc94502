"""Audits from end to end: of region features, of a folder of pictures, and by models that exist."""

import gc
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from transformers import BertConfig, BertModel, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

from noisy_xmodal import (
    MatchingConfig,
    MatchingModel,
    NcrProcessor,
    RcarModel,
    RcarProcessor,
    RegionFeatureProcessor,
    train_word_tokenizer,
)
from noisy_xmodal.auditing.cleaning import CleaningRefusedError
from noisy_xmodal.auditing.loading import load_rows
from noisy_xmodal.auditing.reviews import RIGHT, WRONG, Decision, ReviewFile
from noisy_xmodal.auditing.run import AuditOptions, _work_folder, audit
from noisy_xmodal.data import DatasetError, load_pairs
from tiny_backbones import CAPTIONS, backbone_config
from tiny_rcar import rcar_config
from toy_pairs import REGION_SIZE, toy_pairs

RECIPE = {"folds": 2, "rounds": 1, "epochs": 1, "batch_size": 8}
RECIPE |= {"text_model_name_or_path": "none"}
COLUMNS = [
    *("pair_id", "image_id", "caption", "clean_probability", "loss"),
    *("suggested_caption", "suggested_image_id", "troubles", "misfit_words"),
]


@pytest.fixture(scope="module", autouse=True)
def _nothing_to_collect() -> Iterator[None]:
    """A training ends with a look at all objects of the process, which are many in a test run."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `regions.parquet`, 14 images of two captions, and a cache of its own."""
    folder = tmp_path_factory.mktemp("audits")
    toy_pairs(14).remove_columns("is_noisy").to_parquet(folder / "regions.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        yield folder


@pytest.fixture(scope="module")
def regions(place: Path) -> AuditOptions:
    return AuditOptions(
        str(place / "regions.parquet"),
        inject_noise="cmp_20",
        output=place / "regions" / "audit.parquet",
        disable_tqdm=True,
        **RECIPE,
    )


@pytest.fixture(scope="module")
def of_regions(regions: AuditOptions) -> dict[str, Any]:
    return audit(regions, "the command")


@pytest.fixture(scope="module")
def photos(place: Path) -> Path:
    """Two dozen JPEGs with a table, of which two are broken, one is missing, one says nothing."""
    folder = place / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["file_name,caption"]
    for number in range(24):
        name = f"{number:02}.jpg"
        blocks = rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)
        picture = PIL.Image.fromarray(blocks).resize((48, 40), PIL.Image.Resampling.BICUBIC)
        picture.save(folder / name)
        text = f"{CAPTIONS[number % len(CAPTIONS)]} {number}"
        lines.append(f"{name},{'' if number == 5 else text}")
    lines.append("nowhere.jpg,a text")
    (folder / "03.jpg").write_bytes((folder / "03.jpg").read_bytes()[:500])
    (folder / "08.jpg").write_text("no picture")
    shutil.copy(folder / "10.jpg", folder / "11.jpg")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def check_files(summary: dict[str, Any], options: AuditOptions, n_pairs: int) -> Any:
    """What holds of every audit; returns the table."""
    table = pq.read_table(options.output)
    assert table.column_names[: len(COLUMNS)] == COLUMNS
    assert len(table) == summary["n_pairs"] == n_pairs
    assert sorted(table["pair_id"].to_pylist()) == list(range(n_pairs))
    assert (np.diff(table["clean_probability"].to_numpy()) >= 0).all()
    for left, right in zip(table.to_pylist(), table.to_pylist()[1:], strict=False):
        if left["clean_probability"] == right["clean_probability"]:
            assert left["loss"] >= right["loss"] or options.model_name_or_path is None
    kept = json.loads(options.output.with_suffix(".json").read_text())
    assert kept == summary
    assert 0 <= summary["wrong_interval"][0] <= summary["wrong_interval"][1] <= 1
    report = options.output.with_suffix(".html").read_text(encoding="utf-8")
    assert table["caption"][0].as_py() in report
    assert not list(options.output.parent.glob("*.work"))
    assert not list(options.output.parent.glob(".*"))
    return table


def test_region_features_with_noise_put_in(
    of_regions: dict[str, Any], regions: AuditOptions, place: Path
) -> None:
    table = check_files(of_regions, regions, 28)
    assert table.column_names[len(COLUMNS) :] == ["is_noisy"]
    assert sum(table["is_noisy"].to_pylist()) == 6  # round(28 / 5)
    assert of_regions["oracle"]["true_share"] == pytest.approx(6 / 28)
    assert of_regions["n_images"] == 14
    assert of_regions["injected_noise"] == "cmp_20"
    assert of_regions["recipe"]["epochs"] == 1
    assert of_regions["command"] == "the command"
    assert any("28 pairs are few" in note for note in of_regions["warnings"])
    captions = load_pairs(place / "regions.parquet")["train"]["captions"][:]
    own = {str(row): texts for row, texts in enumerate(captions)}
    for row in table.to_pylist():
        assert (row["caption"] in own[row["image_id"]]) or row["is_noisy"]
        assert row["suggested_image_id"] != row["image_id"]
        assert row["suggested_caption"] is not None
        assert row["suggested_caption"] != row["caption"]


def test_the_same_audit_gives_the_same_bits(
    of_regions: dict[str, Any], regions: AuditOptions, place: Path
) -> None:
    again = replace(regions, output=place / "again" / "audit.parquet")
    found = audit(again, "the command")
    assert again.output.read_bytes() == regions.output.read_bytes()
    for name in found.keys() - {"seconds", "table", "report", "summary"}:
        assert found[name] == of_regions[name]


def test_reviews_are_learnt_from_and_decide(
    of_regions: dict[str, Any], regions: AuditOptions, place: Path
) -> None:
    table = pq.read_table(regions.output).to_pylist()
    reviews = ReviewFile(place / "reviewed" / "reviews.parquet")
    best, worst = table[-1], table[0]
    for row, decision in ((best, WRONG), (worst, RIGHT), (table[1], WRONG)):
        reviews.add(Decision(row["image_id"], row["caption"], decision))
    reviews.add(Decision("gone", "away", RIGHT))
    with_reviews = replace(
        regions, output=place / "reviewed" / "audit.parquet", reviews=reviews.path
    )
    found = audit(with_reviews)
    again = {row["pair_id"]: row for row in pq.read_table(with_reviews.output).to_pylist()}
    for row, decision, chance in ((best, "wrong", 0), (worst, "right", 1), (table[1], "wrong", 0)):
        assert again[row["pair_id"]]["clean_probability"] == chance
        assert again[row["pair_id"]]["review"] == decision
    assert [row["review"] for row in again.values()].count(None) == 25
    assert found["reviews"]["file"] == str(reviews.path)
    assert "People reviewed 3 pairs" in with_reviews.report.read_text(encoding="utf-8")
    assert (found["reviews"]["reviewed"], found["reviews"]["missing"]) == (3, 1)
    assert found["reviews"]["oracle_of_others"]["true_share"] == pytest.approx(
        sum(row["is_noisy"] for row in table[2:-1]) / 25
    )
    assert any("1 reviewed pair is not in the dataset" in line for line in found["warnings"])
    assert of_regions["reviews"] is None
    # The models are others: they were trained without the pairs that were called wrong.
    losses = [
        [row["loss"] for row in sorted(rows, key=lambda row: row["pair_id"])]
        for rows in (table, again.values())
    ]
    assert losses[0] != losses[1]


def test_reviews_that_cannot_be_read_are_refused_at_once(regions: AuditOptions) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.parquet does not exist"):
        audit(replace(regions, reviews=Path("nowhere.parquet")))


def test_captions_that_are_not_read_to_their_end_are_counted(
    of_regions: dict[str, Any], regions: AuditOptions, place: Path
) -> None:
    found = audit(replace(regions, max_seq_length=3, output=place / "short" / "audit.parquet"))
    captions = [
        text for own in load_pairs(place / "regions.parquet")["train"]["captions"] for text in own
    ]
    n_long = sum(len(text.split()) > 1 for text in captions)
    line = f"{n_long} of 28 captions have more than 3 tokens and are truncated."
    assert n_long > 0
    assert line in found["warnings"]
    assert line in (place / "short" / "audit.html").read_text()
    assert found["recipe"]["max_seq_length"] == 3
    assert not any("tokens" in note for note in of_regions["warnings"])


def test_a_stopped_audit_goes_on(
    regions: AuditOptions, of_regions: dict[str, Any], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    stopped = replace(regions, output=place / "stopped.parquet")
    with monkeypatch.context() as patch:
        patch.setattr("noisy_xmodal.auditing.run.suggest", stop)
        with pytest.raises(KeyboardInterrupt):
            audit(stopped)
    assert (place / "stopped.work").is_dir()
    monkeypatch.setattr("noisy_xmodal.auditing.cross_fit.RobustTrainer", None)  # no training
    audit(stopped)
    assert stopped.output.read_bytes() == regions.output.read_bytes()
    assert not (place / "stopped.work").exists()


def test_a_stopped_audit_does_not_go_on_with_other_small_models(
    regions: AuditOptions, of_regions: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = load_rows(regions)
    folder = _work_folder(regions, rows, [])
    assert _work_folder(regions, rows, []) == folder
    monkeypatch.setattr("noisy_xmodal.auditing.small_model.MODEL_VERSION", 0)
    assert _work_folder(regions, rows, []) != folder


def test_a_folder_of_pictures_without_a_vision_model(photos: Path, place: Path) -> None:
    options = AuditOptions(
        str(photos),
        vision_model_name_or_path="none",
        output=place / "photos.parquet",
        clean=place / "clean",
        clean_weights=True,
        force_clean=True,
        shown=5,
        disable_tqdm=True,
        **RECIPE,
    )
    summary = audit(options)
    table = check_files(summary, options, 21)
    assert table.column_names == COLUMNS
    assert summary["oracle"] == {}
    assert summary["n_images"] == 21
    left_out = summary["left_out"]
    assert len(left_out) == 4
    for name, why in (
        ("03.jpg", "runcated"),
        ("08.jpg", "not a picture that Pillow can read"),
        ("05.jpg", "its caption is empty"),
        ("nowhere.jpg", "the file does not exist"),
    ):
        assert any(name in line and why in line for line in left_out), (name, left_out)
    assert summary["similar_images"] == 1  # the copy
    names = set(table["image_id"].to_pylist())
    assert {"03.jpg", "05.jpg", "08.jpg"}.isdisjoint(names)
    clean = load_pairs(place / "clean")["train"]
    assert summary["cleaned"]["pairs_kept"] == len(clean) == 21
    chances = dict(zip(*(table[name].to_pylist() for name in ("caption", COLUMNS[3])), strict=True))
    for texts, weights in zip(clean["captions"], clean["clean_probability"], strict=True):
        assert weights == pytest.approx([chances[text] for text in texts])
    report = (place / "photos.html").read_text(encoding="utf-8")
    assert report.count("data:image/") >= 5
    assert "nowhere.jpg" in report


def save_matching(folder: Path) -> None:
    words = [text for texts in toy_pairs(14)["captions"] for text in texts]
    processor = NcrProcessor(RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(words))
    config = MatchingConfig(
        region_size=REGION_SIZE,
        vocab_size=len(processor.tokenizer),
        word_encoder="words",
        word_size=8,
        hidden_size=8,
        similarity="cosine",
    )
    MatchingModel(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def save_rcar(folder: Path) -> None:
    words = [text for texts in toy_pairs(14)["captions"] for text in texts]
    tokenizer = train_word_tokenizer(words)
    config = rcar_config({"vocab_size": len(tokenizer)}, region_size=REGION_SIZE)
    RcarModel(config).save_pretrained(folder)
    RcarProcessor(RegionFeatureProcessor(REGION_SIZE), tokenizer).save_pretrained(folder)


def save_clip(folder: Path) -> None:
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    CLIPModel(backbone_config("clip")).save_pretrained(folder)
    CLIPProcessor(images, train_word_tokenizer(CAPTIONS)).save_pretrained(folder)


def save_bert(folder: Path) -> None:
    words = [text for texts in toy_pairs(14)["captions"] for text in texts]
    tokenizer = train_word_tokenizer(words)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = BertConfig(vocab_size=len(tokenizer), num_attention_heads=2, **sizes)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("save", [save_matching, save_rcar, save_clip])
def test_a_model_that_is_there_judges(
    save: Callable[[Path], None], place: Path, photos: Path
) -> None:
    name = save.__name__
    save(place / name)
    options = AuditOptions(
        str(photos if save is save_clip else place / "regions.parquet"),
        model_name_or_path=str(place / name),
        output=place / f"{name}.parquet",
        disable_tqdm=True,
    )
    summary = audit(options)
    table = check_files(summary, options, 21 if save is save_clip else 28)
    assert summary["judge"] == f"Judged by {place / name}."
    assert table["misfit_words"].null_count < len(table)
    assert summary["recipe"] is None
    suggested = table["suggested_caption"].null_count
    assert suggested == (len(table) if save is save_rcar else 0)
    assert np.isfinite(table["loss"].to_numpy()).all()
    assert not any("by heart" in line for line in summary["warnings"])


def test_a_judge_that_was_trained_on_these_pairs_is_named(place: Path) -> None:
    save_matching(place / "trained")
    options = AuditOptions(
        str(place / "regions.parquet"),
        model_name_or_path=str(place / "trained"),
        output=place / "trained.parquet",
        disable_tqdm=True,
    )
    for name, is_named in (("other.parquet", False), ("regions.parquet", True)):
        (place / "trained/results.json").write_text(json.dumps({"dataset": name}))
        warnings = audit(options)["warnings"]
        assert any("may have learnt the wrong ones by heart" in w for w in warnings) == is_named


@pytest.mark.parametrize("kind", ["text", "own encoder", "CLIP"])
def test_small_models_read_what_frozen_models_know(
    kind: str,
    regions: AuditOptions,
    photos: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = place / f"frozen {kind}"
    option = "encoder_name_or_path"
    if kind == "text":
        option = "text_model_name_or_path"
        save_bert(folder)
    else:
        (save_clip if kind == "CLIP" else save_matching)(folder)
    options = replace(
        regions,
        dataset_name=str(photos) if kind == "CLIP" else regions.dataset_name,
        output=place / f"{kind}.parquet",
        **{"text_model_name_or_path": None, option: str(folder)},
    )
    with monkeypatch.context() as patch:
        patch.setattr("noisy_xmodal.auditing.run.suggest", None)
        with pytest.raises(TypeError):
            audit(options)
    models = list((place / f"{kind}.work").rglob("model.safetensors"))
    assert len(models) == 2
    assert all(model.stat().st_size < 2**22 for model in models)  # without the frozen model
    captions = load_file(models[0])["text_encoder.projection.weight"]
    assert captions.shape[1] == {"text": 16, "own encoder": 8, "CLIP": 10}[kind]
    monkeypatch.setattr("noisy_xmodal.auditing.cross_fit.RobustTrainer", None)  # no training
    monkeypatch.setattr("noisy_xmodal.evaluation.cache._make", None)  # frozen vectors are kept
    monkeypatch.setattr("noisy_xmodal.auditing.run.suggest", lambda *_: (np.full(42, -1),) * 2)
    summary = audit(options)
    check_files(summary, options, 21 if kind == "CLIP" else 28)
    assert summary["judge"].endswith(f"on this dataset, on features of {folder}.")


def test_cleaning_is_refused_where_the_judge_cannot_tell(
    place: Path, regions: AuditOptions
) -> None:
    save_matching(place / "blind")
    options = replace(
        regions,
        inject_noise=None,
        model_name_or_path=str(place / "blind"),
        output=place / "blind.parquet",
        clean=place / "blind-clean",
    )
    for weights in (True, False):
        with pytest.raises(
            CleaningRefusedError, match=r"judge cannot tell .* --force_clean"
        ) as refused:
            audit(replace(options, clean_weights=weights))
    summary = refused.value.summary
    table = check_files(summary, options, 28)  # nothing but the clean dataset is missing
    assert not (place / "blind-clean").exists()
    assert (summary["wrong_share"], summary["judge_can_tell"]) == (None, False)
    assert summary["wrong_interval"][0] == summary["judged_wrong"] == 0
    assert summary["cleaned"] is None
    assert any(
        "does not distinguish these pairs from random ones" in line for line in summary["warnings"]
    )
    assert table["clean_probability"].to_pylist() == [0.8] * 28
    forced = audit(replace(options, output=place / "forced.parquet", force_clean=True))
    assert forced["cleaned"]["pairs_kept"] == 28


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr("noisy_xmodal.auditing.run.load_rows", refuse)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": Path("audit.csv")}, r"--output is audit\.csv: .*\.parquet"),
        ({"output": Path("file/audit.parquet")}, r"--output file/audit\.parquet cannot be written"),
        ({"clean": Path("full")}, "full"),
        ({"clean_threshold": 1.5}, r"--clean_threshold is 1\.5"),
        ({"clean_threshold": float("nan")}, "--clean_threshold is nan"),
        ({"folds": 1}, "--folds is 1: give at least 2"),
        ({"rounds": 0}, "--rounds is 0"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"batch_size": 1}, "--batch_size is 1"),
        ({"max_seq_length": 2}, "--max_seq_length is 2: give at least 3"),
        ({"model_name_or_path": "/nowhere/model"}, "/nowhere/model is not a folder here"),
        ({"model_name_or_path": "full"}, "full contains no model"),
    ],
)
def test_options_that_do_not_fit_stop_it_before_any_work(
    changes: dict[str, Any],
    message: str,
    regions: AuditOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("not a folder")
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    with pytest.raises((ValueError, OSError), match=message):
        audit(replace(regions, **({"output": Path("audit.parquet")} | changes)))
    assert not Path("audit.parquet").exists()
    assert Path("full/notes.txt").read_text() == "mine"


def test_a_model_of_other_images_is_refused(
    place: Path, photos: Path, regions: AuditOptions
) -> None:
    save_matching(place / "of regions")
    with pytest.raises(DatasetError, match="takes region features, but the dataset has the column"):
        audit(
            replace(
                regions,
                dataset_name=str(photos),
                model_name_or_path=str(place / "of regions"),
                inject_noise=None,
                output=place / "of regions.parquet",
            )
        )
    save_clip(place / "of pictures")
    with pytest.raises(DatasetError, match="takes images, but the dataset has the column"):
        audit(replace(regions, model_name_or_path=str(place / "of pictures")))


def test_an_audit_of_another_dataset_is_not_overwritten(
    regions: AuditOptions, of_regions: dict[str, Any], place: Path, photos: Path
) -> None:
    table = regions.output.read_bytes()
    for other in ({"dataset_name": str(photos)}, {"dataset_config_name": "cmp_40"}):
        with pytest.raises(
            ValueError, match=r"is the audit of .*regions\.parquet, and would be lost"
        ):
            audit(replace(regions, **other))
    assert regions.output.read_bytes() == table


def test_features_of_another_size_are_refused(place: Path, regions: AuditOptions) -> None:
    save_matching(place / "wide")
    config = MatchingConfig.from_pretrained(place / "wide", region_size=REGION_SIZE + 1)
    MatchingModel(config).save_pretrained(place / "wide")
    tokenizer = NcrProcessor.from_pretrained(place / "wide").tokenizer
    NcrProcessor(RegionFeatureProcessor(REGION_SIZE + 1), tokenizer).save_pretrained(place / "wide")
    with pytest.raises(DatasetError, match=f"features of size {REGION_SIZE + 1}"):
        audit(replace(regions, model_name_or_path=str(place / "wide")))


def test_one_of_several_splits_is_audited(place: Path, regions: AuditOptions) -> None:
    parts = datasets.DatasetDict(valid=toy_pairs(14), other=toy_pairs(14, seed=1))
    parts.save_to_disk(place / "parts")
    save_matching(place / "judge")
    options = replace(
        regions,
        dataset_name=str(place / "parts"),
        output=place / "part.parquet",
        model_name_or_path=str(place / "judge"),
        inject_noise=None,
    )
    with pytest.raises(DatasetError, match=r"has the splits .* choose one with --split"):
        audit(options)
    summary = audit(replace(options, split="other"))
    assert summary["split"] == "other"
    captions = set(pq.read_table(options.output)["caption"].to_pylist())
    assert captions == {text for texts in parts["other"]["captions"] for text in texts}
