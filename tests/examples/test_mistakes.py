"""The scripts on models of transformers as they are, and on what a person may get wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import (
    AutoModel,
    CLIPImageProcessorPil,
    CLIPProcessor,
    SiglipImageProcessorPil,
    SiglipProcessor,
)

from example_scripts import script
from noisy_xmodal import train_word_tokenizer
from noisy_xmodal.data import DatasetError
from noisy_xmodal.evaluation.scoring import score_matrix
from noisy_xmodal.models.two_towers import load_two_towers
from noisy_xmodal.training.run import run_script
from tiny_backbones import CAPTIONS, backbone_config, picture_dataset
from toy_pairs import toy_pairs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures in `data.parquet`, regions in `regions.parquet`, models in `clip` and `siglip`."""
    folder = tmp_path_factory.mktemp("mistakes")
    picture_dataset(5).remove_columns(["image_label", "text_label"]).to_parquet(
        folder / "data.parquet"
    )
    toy_pairs(14).to_parquet(folder / "regions.parquet")
    words = train_word_tokenizer(CAPTIONS)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    CLIPProcessor(images, words).save_pretrained(folder / "clip")
    images = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    SiglipProcessor(images, words).save_pretrained(folder / "siglip")
    for kind in ("clip", "siglip"):
        AutoModel.from_config(backbone_config(kind)).save_pretrained(folder / kind)
    (folder / "broken").mkdir()
    (folder / "broken/config.json").write_text('{"model_type": ')
    (folder / "broken/preprocessor_config.json").write_text("{")
    (folder / "mine.json").write_text('{"notes": "of something else"}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        patch.chdir(folder)
        yield folder


EVALUATE = ["--dataset_name", "data.parquet", "--split", "train"]


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("train_ncr", "--beta 0.3", "unrecognized arguments: --beta 0.3"),
        ("train_ncr", "--recip paper", "--recip paper. Is it --recipe? See "),
        ("train_rcar", "--mlm_epoch 3", "Is it --mlm_epochs?"),
        ("train_ncr", "--epochs 3", "Is it --num_train_epochs?"),
        ("train_ncr", "--batch-size=4", "Is it --per_device_train_batch_size?"),
        ("train_dmcm", "--co_divide True", "unrecognized arguments: --co_divide True"),
    ],
)
def test_options_of_other_scripts_and_parts_of_names_are_refused(name, words, says, capsys):
    with pytest.raises(SystemExit) as caught:
        script(name).main(["--output_dir", "never", *words.split()])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("train_ncr", "--method vse --co_rectify False", "no option of --method vse"),
        ("train_ncr", '--method sps --method_options {"temperature":0}', "must be a number in"),
        ("train_ncr", "--margin -1 --objective triplet", "margin"),
        ("train_ncr", "--similarity_options {bad", "not valid JSON"),
        ("train_ncr", "--inject_noise foo", "config name 'foo' is unknown"),
        ("train_ncr", "--inject_noise sym_40", "noise on class labels, .* use train_dmcm.py"),
        ("train_rcar", "--validation_share 1.5", "give a share above 0 and below 1"),
        ("train_rcar", "--resume_from_checkpoint True", "has no checkpoint to resume from"),
        ("train_ncr", "--output_dir used", "holds checkpoints of an earlier run"),
        ("train_dmcm", "--inject_noise cmp_40", "noise on captions, .* use train_ncr.py"),
        ("train_rcar", "--mask_probability 2 --mlm_epochs 1", "mask_probability"),
        ("train_rcar", '--method_options {"foo":1}', "foo"),
        ("train_dmcm", "--noise_rate 2", "noise_rate"),
        ("train_dmcm", "--noise_rate some", "give a share such as 0.4, known or estimated"),
        ("train_dmcm", '--method lcn --method_options {"foo":1}', "no option 'foo'"),
        ("train_dmcm", "--beta 7", "beta"),
    ],
)
def test_what_no_data_could_make_right_is_refused_before_they_are_read(
    name, words, says, place, monkeypatch
):
    def read(*_, **__):
        pytest.fail("data were read")

    for loader in ("load_openmoji", "load_openmoji_labels"):
        monkeypatch.setattr(f"noisy_xmodal.training.splits.{loader}", read)
    Path("used/checkpoint-3").mkdir(parents=True, exist_ok=True)
    with pytest.raises(Exception, match=says):
        script(name).main(["--output_dir", "never", *words.split()])


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_two_tower_model_of_transformers_is_evaluated_as_it_is(kind, place):
    argv = ["--model_name_or_path", kind, *EVALUATE]
    found = script("evaluate").main(argv)
    images = list(picture_dataset(5)["image"])
    scores = score_matrix(*load_two_towers(kind), images, CAPTIONS)
    own = np.diag(scores)
    ranks = 1 + (scores > own[:, None]).sum(axis=1), 1 + (scores > own).sum(axis=0)
    for way, rank in zip(("i2t", "t2i"), ranks, strict=True):
        assert found[f"{way}_r1"] == pytest.approx(100 * (rank == 1).mean())
        assert found[f"{way}_medr"] == np.floor(np.median(rank))
    written = json.loads(Path("results.json").read_text())
    assert written.pop("cost")["parameters"] > 0
    assert written == found
    assert script("evaluate").main(argv) == found  # over its own file
    with pytest.raises(DatasetError, match="takes images, but the dataset has the column"):
        script("evaluate").main([*argv, "--dataset_name", "regions.parquet"])


def test_scores_of_several_models_are_averaged(place):
    kinds = ("clip", "siglip")
    found = script("evaluate").main(["--model_name_or_path", *kinds, *EVALUATE])
    images = list(picture_dataset(5)["image"])
    models = [load_two_towers(kind) for kind in kinds]
    scores = sum(score_matrix(*model, images, CAPTIONS) for model in models)
    ranks = 1 + (scores > np.diag(scores)[:, None]).sum(axis=1)
    for k in (1, 5, 10):
        assert found[f"i2t_r{k}"] == pytest.approx(100 * (ranks <= k).mean())
    cost = json.loads(Path("results.json").read_text())["cost"]
    assert cost["parameters"] == sum(model.num_parameters() for model, _ in models)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--label_column", "x"], "--label_column does nothing for"),
        (["--precision_recall_file", "x.json"], "--precision_recall_file does nothing for"),
        (["--shortlist_size", "5"], "without --shortlist_model_name_or_path"),
        (["--shortlist_weight", "5"], "without --shortlist_model_name_or_path"),
        (["--device", "gpu"], "no device 'gpu' here: give one of"),
        (["--results_file", "mine.json"], "not written by this command"),
        (["--results_file", "/proc/r.json"], "cannot be written"),
        (["--results_file", "clip"], "a folder"),
        (["--fold_size", "0"], "--fold_size is 0"),
        (["--block_size", "-3"], "--block_size is -3"),
        (["--shortlist_model_name_or_path", "clip"], "is for one cross-encoder"),
    ],
)
def test_evaluate_refuses_what_does_nothing_or_does_not_fit_at_once(
    options, says, place, monkeypatch
):
    evaluate = script("evaluate")
    monkeypatch.setattr(evaluate, "load_data", None)
    with pytest.raises(ValueError, match=says):
        evaluate.main(["--model_name_or_path", "clip", *EVALUATE, *options])


def test_columns_are_those_of_a_dataset_that_is_named(place):
    with pytest.raises(ValueError, match="--image_column does nothing without --dataset_name"):
        script("evaluate").main(["--model_name_or_path", "clip", "--image_column", "x"])


TRAINING = ["--output_dir", "out", "--validation_share", "0.2", "--dataset_name"]


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("evaluate", "--model_name_or_path clip --dataset_name no.csv", "no.csv"),
        ("evaluate", "--model_name_or_path broken --dataset_name data.parquet", "broken cannot"),
        ("evaluate", "--model_name_or_path clip --dataset_name data.parquet", "no --split test"),
        ("audit", "--dataset_name data.parquet --dataset_config_name cmp_4O", "cmp_4O"),
        ("audit", "--dataset_name data.parquet --model_name_or_path broken", "broken cannot"),
        ("audit", "--dataset_name data.parquet --noise_seed 3", "--noise_seed does nothing"),
        ("compare", "--runs nowhere", "nowhere/results.json is missing"),
        ("compare", "--runs clip --output mine.json", "not written by this command"),
        ("draw_shapes", "--output_dir clip", "clip is not empty"),
        ("draw_shapes", "--output_dir new --wrong_share nan", "--wrong_share is nan"),
        ("study_audit", "--dataset_name data.parquet --noise cmp_4O --output_dir s", "cmp_4O"),
        ("paper", "ncr-table9 --output_dir o", "there is no table 'ncr-table9'"),
        ("paper", "ncr-table1 --output_dir o", "ncr-table1 needs --data_dir"),
        ("paper", "ncr-fig3a --scale small --cells no --output_dir o", "--cells no selects no"),
        ("paper", "ncr-fig3a --scale tiny --output_dir o", "--scale is 'tiny'"),
        ("train_ncr", "--vision_model_name_or_path broken", "broken cannot be loaded"),
        ("train_ncr", "--text_model_name_or_path broken", "broken cannot be loaded"),
        ("train_ncr", "--similarity_options {x", "--similarity_options is '{x', which is not"),
        (
            "train_ncr",
            "--similarity cosin",
            "Unknown similarity head 'cosin'. Available",
        ),
        ("train_ncr", '--similarity_options {"foo":1}', "'cosine' has no option 'foo'"),
        (
            "train_ncr",
            '--similarity sgr --similarity_options {"steps":"3"}',
            "The similarity head 'sgr' cannot be built with the options {'steps': '3'}",
        ),
        ("train_ncr", "--similarity magic", "magic"),
        ("train_rcar", "--vision_model_name_or_path broken", "broken cannot be loaded"),
        ("measure_scoring", "--model_name_or_path clip", "give a trained RCAR"),
        ("measure_mixtures", "--checkpoint nowhere --dataset_name data.parquet", "nowhere"),
    ],
)
def test_a_persons_mistake_ends_a_script_in_a_line(name, words, says, place, capsys):
    argv = words.split()
    if name.startswith("train"):
        argv += [*TRAINING, "data.parquet", "--disable_tqdm", "True"]
    with pytest.raises(SystemExit) as ended:
        run_script(lambda: script(name).main(argv))
    assert ended.value.code == 1
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    last = printed.splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
    assert "unexpected" not in last
