"""The scripts for pairs with classes by their command contracts, run in this process."""

import json
import subprocess
import sys

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoProcessor, BertModel

from example_scripts import EXAMPLES, options_of, script
from noisy_xmodal import LabelRetrievalEvaluator, inject_noise, noise_protocol
from noisy_xmodal.methods.label_options import label_fields
from tiny_backbones import picture_dataset, save_encoders
from toy_labels import IMAGE_SIZE, N_CLASSES, TEXT_SIZE, toy_labels


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two folders of Parquet with splits: noisy labels with their protocol, and a plain label."""
    root = tmp_path_factory.mktemp("data")
    splits = {"train": (120, 0), "validation": (40, 1), "test": (40, 2)}
    for config, noise in (("noisy", "sym_40"), ("plain", None)):
        folder = root / config
        folder.mkdir()
        for name, (n, seed) in splits.items():
            rows = toy_labels(n, seed=seed)
            if config == "plain":
                rows = rows.rename_column("true_label", "kind")
                rows = rows.remove_columns(["image_label", "text_label"])
            elif name == "train":
                rows = inject_noise(rows, noise)
            rows.to_parquet(folder / f"{name}.parquet")
    return root


SMALL = ["--num_train_epochs", "4", "--per_device_train_batch_size", "30", "--hidden_size", "8"]
SMALL += ["--disable_tqdm", "True", "--use_cpu", "True", "--embedding_size", "6"]


def train(data, out, *options):
    argv = ["--dataset_name", str(data / "noisy"), "--output_dir", str(out), *SMALL, *options]
    return script("train_dmcm").main(argv)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("dmcm")
    return out, train(data, out, "--noise_rate", "0.4")


def test_training_writes_what_it_promises(trained, capsys):
    out, results = trained
    for name in (
        *("config.json", "model.safetensors", "processor_config.json", "README.md"),
        *("results.json", "curve.json", "curve.png", "divisions/divisions.json"),
        *("divisions/epoch_002.png", "divisions/epoch_003.png"),
    ):
        assert (out / name).is_file(), name
    written = json.loads((out / "results.json").read_text())
    assert written == json.loads(json.dumps(results))
    assert set(written["best"]) == set(written["last"]) == {"validation", "test"}
    card = (out / "README.md").read_text()
    for checkpoint in ("last", "best"):
        for split in ("validation", "test"):
            assert f"{written[checkpoint][split]['i2t_map']:.3f}" in card
    assert "**DMCM**" in card
    assert "Dual-Mix" in card


def test_best_is_chosen_on_validation_and_the_oracle_on_test(trained):
    out, results = trained
    curve = json.loads((out / "curve.json").read_text())
    assert [row["epoch"] for row in curve] == [1, 2, 3, 4]
    best = max(curve, key=lambda row: row["validation"]["map"])
    assert results["best_epoch"] == best["epoch"]
    assert results["best"]["test"] == pytest.approx(best["test"])
    assert results["last"]["test"] == pytest.approx(curve[-1]["test"])
    assert results["best_on_test"]["test"]["map"] == max(row["test"]["map"] for row in curve)


def test_evaluate_gives_what_training_measured(data, trained, tmp_path):
    out, results = trained
    argv = ["--model_name_or_path", out, "--dataset_name", data / "noisy", "--split", "test"]
    argv += ["--results_file", tmp_path / "r.json", "--precision_recall_file", tmp_path / "pr.json"]
    script("evaluate").main([str(word) for word in argv])
    measured = json.loads((tmp_path / "r.json").read_text())
    assert measured.pop("cost")["seconds_per_text_query"] > 0
    assert {"i2t_map", "t2i_map"} <= set(measured)
    assert measured == pytest.approx(results["best"]["test"])
    curves = json.loads((tmp_path / "pr.json").read_text())
    assert len(curves["i2t_precision"]) == len(curves["recall"])


@pytest.mark.parametrize("method", ["mrl", "lcn", "dcca", "sdml", "ce"])
def test_other_methods_train_with_the_same_command(data, tmp_path, method):
    results = train(data, tmp_path, "--method", method, "--num_train_epochs", "2")
    assert 0 < results["last"]["test"]["map"] <= 1
    assert not (tmp_path / "divisions").exists()


def test_a_table_with_one_label_column_trains_as_it_is(data, tmp_path):
    argv = ["--dataset_name", str(data / "plain"), "--label_column", "kind", *SMALL]
    argv += ["--inject_noise", "sym_20", "--output_dir", str(tmp_path)]
    results = script("train_dmcm").main(argv)
    assert results["noise"]["ratio"] == 0.2
    assert results["dataset_config"] == "sym_20"


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """Rows of pictures and captions that have vectors too, and two encoders."""
    root = tmp_path_factory.mktemp("drawings")
    for name, seed in (("train", 0), ("validation", 1), ("test", 2)):
        rows = picture_dataset(15, seed)
        for side in ("image", "text"):
            rows = rows.add_column(f"{side}_features", [[float(seed), 1.0]] * 15)
        rows.to_parquet(root / f"{name}.parquet")
    save_encoders(root)
    return root


WITH_ENCODERS = ["--num_train_epochs", "2", "--warmup_epochs", "1", "--hidden_size", "8"]
WITH_ENCODERS += ["--disable_tqdm", "True", "--use_cpu", "True", "--plot_divisions", "False"]
WITH_ENCODERS += ["--per_device_train_batch_size", "15"]


def test_a_pair_of_encoders_describes_pictures_and_texts_once(drawings, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    pair = f"{drawings / 'vision'}+{drawings / 'text'}"
    argv = ["--backbone", pair, *WITH_ENCODERS]
    argv += ["--dataset_name", str(drawings), "--output_dir", str(tmp_path / "out")]
    results = script("train_dmcm").main(argv)
    kept = sorted((tmp_path / "cache/noisy_xmodal_vectors").glob("*.npy"))
    shapes = [np.load(path).shape for path in kept]
    assert sorted(set(shapes)) == [(15, 6), (15, 16)]
    assert len(shapes) == 6  # two sides of three splits

    model, processor = (
        auto.from_pretrained(tmp_path / "out") for auto in (AutoModel, AutoProcessor)
    )
    assert (model.config.image_size, model.config.text_size) == (6, 16)
    own = BertModel.from_pretrained(drawings / "text").state_dict()
    for key, value in model.backbone.text_model.state_dict().items():
        assert torch.equal(value, own[key])
    rows = datasets.Dataset.from_parquet(str(drawings / "test.parquet"))
    measured = LabelRetrievalEvaluator(processor)(model, rows)
    assert measured["map"] == pytest.approx(results["best"]["test"]["map"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text", "is a BertModel .* has no vectors for images and texts"),
        ("vision+", "is no pair of encoders"),
        ("vision+vision", "vision is no text encoder"),
    ],
)
def test_a_backbone_that_cannot_work_is_refused_before_the_data_is_read(
    drawings, name, message, monkeypatch
):
    monkeypatch.chdir(drawings)
    module = script("train_dmcm")
    monkeypatch.setattr(module, "load_training_labels", None)
    with pytest.raises((ValueError, OSError), match=message):
        module.main(["--backbone", name, "--output_dir", "out", "--use_cpu", "True"])


def test_the_known_rate_is_what_the_protocol_asked_for():
    clean, noisy = toy_labels(), inject_noise(toy_labels(), "sym_60")
    assert noise_protocol(noisy)["share_wrong"] < 0.55  # labels may be replaced by themselves

    def rate(option, train):
        argv = ["--output_dir", "unused", "--use_cpu", "True", "--noise_rate", option]
        args, _, choice = options_of("train_dmcm", argv)
        return label_fields(choice, args, train).get("noise_rate")

    assert rate("known", noisy) == 0.6
    assert rate("0.25", clean) == 0.25
    assert rate("estimated", noisy) is None
    with pytest.raises(ValueError, match="carries no noise protocol"):
        rate("known", clean)
    with pytest.raises(ValueError, match="'half'"):
        rate("half", clean)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label_column", "species"], "has no column 'species'"),
        (["--method", "mrl", "--method_options", '{"gamma": 1}'], "no option 'gamma'"),
        (["--noise_rate", "2"], "noise_rate"),
        (["--per_device_train_batch_size", "500"], "500"),
        (["--class_loss", "hinge"], "'hinge'"),
        (["--warmup_epochs", "9"], "warmup_epochs"),
    ],
)
def test_bad_options_end_in_a_message_before_training(data, tmp_path, options, message):
    with pytest.raises(Exception, match=message):
        train(data, tmp_path / "out", *options)
    assert not list(tmp_path.glob("out/checkpoint-*"))


def test_sizes_of_the_world_are_those_of_the_model(trained):
    config = json.loads((trained[0] / "config.json").read_text())
    assert (config["image_size"], config["text_size"]) == (IMAGE_SIZE, TEXT_SIZE)
    assert config["n_classes"] == N_CLASSES
    assert config["hidden_sizes"] == [8, 8]


def test_the_class_loss_is_part_of_the_name(data, tmp_path):
    small = ["--num_train_epochs", "1", "--warmup_epochs", "0"]
    gce = train(data, tmp_path / "gce", "--method", "ce", "--class_loss", "gce", *small)
    assert gce["method"] == "CE (gce)"
    own = train(data, tmp_path / "ce", "--method", "ce", *small)
    assert own["method"] == "CE"


def test_a_run_without_evaluation_has_no_oracle_of_the_best_epoch(data, tmp_path):
    without = ["--eval_strategy", "no", "--load_best_model_at_end", "False"]
    small = ["--num_train_epochs", "1", "--warmup_epochs", "0"]
    results = train(data, tmp_path, "--method", "ce", *small, *without)
    assert results["best_on_test"] is None
    assert results["best_epoch"] is None


def test_options_of_dmcm_are_not_lost_on_other_methods(data, tmp_path):
    with pytest.raises(ValueError, match="--mixing_weight is no option of --method"):
        train(data, tmp_path, "--method", "mrl", "--mixing_weight", "0.5")


def test_region_features_with_captions_and_labels_train_as_they_are(tmp_path):
    """The field's layout with `_labels.txt`, from raw files to mAP."""
    raw = tmp_path / "raw"
    raw.mkdir()
    rng = np.random.default_rng(0)
    for name, n in (("train", 60), ("dev", 20), ("test", 20)):
        labels = np.arange(n) % 3
        regions = labels[:, None, None] + 0.3 * rng.standard_normal((n, 4, 5))
        np.save(raw / f"{name}_ims.npy", regions.astype(np.float16))
        captions = [f"word{label} number {rng.integers(9)}" for label in labels for _ in "ab"]
        (raw / f"{name}_caps.txt").write_text("\n".join(captions) + "\n")
        (raw / f"{name}_labels.txt").write_text("\n".join(map(str, labels)) + "\n")
    write = [
        "--data_dir",
        str(raw),
        "--out",
        str(tmp_path / "data"),
        "--configs",
        "clean",
        "sym_40",
    ]
    path = str(EXAMPLES.parent / "dataset_scripts" / "precomp.py")
    subprocess.run([sys.executable, path, *write], check=True, capture_output=True)
    argv = ["--dataset_name", str(tmp_path / "data"), "--dataset_config_name", "sym_40", *SMALL]
    results = script("train_dmcm").main([*argv, "--output_dir", str(tmp_path / "out")])
    assert results["noise"]["ratio"] == 0.4
    argv = ["--model_name_or_path", str(tmp_path / "out"), "--dataset_name", str(tmp_path / "data")]
    argv += ["--dataset_config_name", "clean", "--results_file", str(tmp_path / "r.json")]
    script("evaluate").main(argv)
    measured = json.loads((tmp_path / "r.json").read_text())
    assert measured.pop("cost")["seconds_per_text_query"] > 0
    assert measured == pytest.approx(results["best"]["test"])
    assert measured["map"] > 0.4
