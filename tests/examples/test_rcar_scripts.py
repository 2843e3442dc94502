"""RCAR's scripts by their command contracts, run in this process."""

import json

import datasets
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import BertConfig, BertModel

from example_scripts import options_of, script
from noisy_xmodal import MatchingConfig, MatchingModel, MatchingProcessor, RegionFeatureProcessor
from noisy_xmodal.data import DatasetError
from noisy_xmodal.methods.from_options import build_pair_processor, build_single_stream_model
from noisy_xmodal.modules import train_word_tokenizer
from noisy_xmodal.noise import CompleteMismatch
from tiny_rcar import TEXT_SIZES
from toy_pairs import REGION_SIZE, toy_pairs

TINY = ["--num_train_epochs", "3", "--mlm_epochs", "1", "--warmup_epochs", "2"]
TINY += ["--hidden_size", "16", "--intermediate_size", "16", "--negatives_per_positive", "1"]
TINY += ["--disable_tqdm", "True", "--use_cpu", "True"]
PLAIN = ["--robust", "False", "--mlm_epochs", "0", "--validation_images", "7"]
RECALLS = {f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)} | {"rsum"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of Parquet with boxes, and a two-tower model of its words, in that order."""
    root = tmp_path_factory.mktemp("data")
    noise = CompleteMismatch(0.4, "caption")
    for split, rows in {
        "train": toy_pairs(40, noise),
        "validation": toy_pairs(12, seed=1),
        "test": toy_pairs(12, seed=2),
    }.items():
        boxes = [[[0.0, 0.0, 0.5, 1.0]] * len(row) for row in rows["regions"]]
        feature = datasets.List(datasets.List(datasets.Value("float32")))
        (root / "pairs").mkdir(exist_ok=True)
        path = root / "pairs" / f"{split}.parquet"
        rows.add_column("boxes", boxes, feature=feature).to_parquet(path)
    words = [caption for row in toy_pairs(60)["captions"] for caption in row]
    processor = MatchingProcessor(RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(words))
    config = MatchingConfig(
        region_size=REGION_SIZE,
        vocab_size=len(processor.tokenizer),
        hidden_size=8,
        word_size=8,
        word_encoder="words",
        similarity="cosine",
    )
    MatchingModel(config).save_pretrained(root / "towers")
    processor.save_pretrained(root / "towers")
    return root


def train(data, out, *options):
    argv = ["--dataset_name", str(data / "pairs"), "--output_dir", str(out), *TINY, *options]
    return script("train_rcar").main(argv)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("rcar")
    shortlists = ["--shortlist_model_name_or_path", str(data / "towers"), "--shortlist_size", "5"]
    return out, train(data, out, *shortlists, "--box_geometry", "7d", "--negatives", "similar")


def test_training_writes_what_it_promises(trained):
    out, results = trained
    for name in (
        *("config.json", "model.safetensors", "processor_config.json", "README.md"),
        *("results.json", "losses.json", "losses.png", "features.json", "features.png"),
        *("retrieved.json", "retrieved.png", "divisions/divisions.json"),
        *("divisions/refurbishments.json", "divisions/epoch_002.png"),
    ):
        assert (out / name).is_file(), name
    written = json.loads((out / "results.json").read_text())
    assert written == json.loads(json.dumps(results))
    assert set(written["best"]) == set(written["last"]) == {"validation", "test"}
    card = (out / "README.md").read_text()
    assert f"| {written['best']['test']['rsum']:.1f} |" in card
    assert "**RCAR**" in card
    assert "A cross-encoder" in card
    assert "first\n5 answers" in card


def test_the_recall_of_the_shortlists_stands_beside_the_result(trained):
    _, results = trained
    metrics = results["last"]["test"]
    assert set(metrics) >= RECALLS
    assert metrics["shortlist_k"] == 5
    assert metrics["i2t_r5"] == pytest.approx(metrics["shortlist_i2t_recall"])
    assert metrics["t2i_r5"] == pytest.approx(metrics["shortlist_t2i_recall"])
    assert metrics["scored_pairs"] < 12 * 24


@pytest.mark.parametrize("reranks", [True, False])
def test_evaluate_gives_what_training_measured(data, trained, tmp_path, reranks, capsys):
    out, results = trained
    argv = ["--model_name_or_path", out, "--dataset_name", data / "pairs", "--split", "test"]
    argv += ["--results_file", tmp_path / "r.json"]
    if reranks:
        argv += ["--shortlist_model_name_or_path", data / "towers", "--shortlist_size", 5]
    script("evaluate").main([str(word) for word in argv])
    measured = json.loads((tmp_path / "r.json").read_text())
    assert measured.pop("cost")["seconds_per_text_query"] > 0
    assert set(measured) >= RECALLS
    assert "captions have more than" not in capsys.readouterr().out, "none is cut"
    if reranks:
        assert measured == pytest.approx(results["best"]["test"])


def test_shortlists_are_refused_for_a_two_tower_model(data, tmp_path):
    argv = ["--model_name_or_path", data / "towers", "--dataset_name", data / "pairs"]
    argv += ["--shortlist_model_name_or_path", data / "towers"]
    argv += ["--results_file", tmp_path / "r.json"]
    with pytest.raises(ValueError, match="cross-encoder such as RCAR"):
        script("evaluate").main([str(word) for word in argv])


def test_parts_can_be_left_out_and_validation_be_cut(data, tmp_path):
    results = train(data, tmp_path, *PLAIN)
    assert results["method"] == "ITM"
    assert results["best_chosen_by"] == "7 of 12 validation images"
    assert not (tmp_path / "divisions").exists()
    assert len(json.loads((tmp_path / "losses.json").read_text())) == 3


def test_the_text_encoder_and_the_stream_start_from_a_pretrained_model(data, tmp_path):
    tokenizer = train_word_tokenizer(["a dog runs", "a cat"], mask=True)
    tokenizer.save_pretrained(tmp_path / "bert")
    config = BertConfig(**TEXT_SIZES | {"vocab_size": len(tokenizer), "num_hidden_layers": 2})
    bert = BertModel(config)
    bert.save_pretrained(tmp_path / "bert")
    options = ["--dataset_name", str(data / "pairs"), "--output_dir", "unused"]
    options += ["--text_model_name_or_path", str(tmp_path / "bert"), "--stream_start", "text"]

    def build(n_layers):
        argv = [*options, "--num_hidden_layers", str(n_layers)]
        arguments, model_args, *_, choice = options_of("train_rcar", argv)
        rows = toy_pairs(4)
        processor = build_pair_processor(rows, choice, arguments, model_args)
        return build_single_stream_model(processor, choice, model_args)

    model = build(1)
    assert model.config.hidden_size == TEXT_SIZES["hidden_size"]
    words, upper = bert.embeddings.word_embeddings.weight, bert.encoder.layer[1].output.dense.weight
    assert torch.equal(model.word_embeddings.weight, words)
    assert torch.equal(model.encoder.layers[0].feed_forward[2].weight, upper)
    with pytest.raises(StrictDataclassError, match="is 3 and the text encoder has 2"):
        build(3)


def test_boxes_that_the_data_lacks_are_refused_before_training(data, tmp_path):
    with pytest.raises(DatasetError, match="no column 'corners'"):
        train(data, tmp_path, "--box_geometry", "5d", "--box_column", "corners")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [("--validation_images", "0"), ("--text_hidden_layers", "-1"), ("--shortlist_size", "-2")],
)
def test_numbers_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=f"^{options[0]} is {options[1]}: give "):
        options_of("train_rcar", ["--output_dir", "unused", *options])


def test_the_speed_of_scoring_is_measured_on_equal_scores(trained, data, tmp_path):
    out, _ = trained
    argv = ["--model_name_or_path", out, "--dataset_name", data / "pairs", "--n_images", 4]
    argv += ["--n_texts", 8, "--repetitions", 1, "--threads", 1, "--output", tmp_path / "s.json"]
    found = script("measure_scoring").main([str(word) for word in argv])
    assert found == json.loads((tmp_path / "s.json").read_text())
    assert found["float32"]["largest_difference"] < 1e-6
    assert found["bfloat16"]["largest_difference"] < 0.05
