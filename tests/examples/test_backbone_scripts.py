"""A pretrained two-tower model through the scripts: zero-shot, plain and robust fine-tuning."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    IJepaConfig,
    VisionTextDualEncoderConfig,
)

from example_scripts import options_of, script
from noisy_xmodal import NcrModel
from noisy_xmodal.arguments.matching import (
    ADAPTER_LEARNING_RATE,
    BACKBONE_LEARNING_RATE,
    FROZEN_LEARNING_RATE,
)
from noisy_xmodal.arguments.model_names import HUB_NAMES
from noisy_xmodal.models.two_towers import two_tower_path
from noisy_xmodal.modules.pretrained import encoder_path
from noisy_xmodal.training.run import run_script
from tiny_backbones import SIZES, VISION, picture_dataset, save_backbone, save_encoders
from toy_pairs import toy_pairs

DATA = ["--dataset_name", "data.parquet"]
TRAIN = [
    *("--num_train_epochs", "2", "--warmup_epochs", "1", "--per_device_train_batch_size", "6"),
    *("--use_cpu", "True", "--disable_tqdm", "True", "--plot_divisions", "False"),
]
FROZEN = ["--vision_training", "frozen"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Pictures in `data.parquet`, regions in `regions.parquet`, models in `clip` and `siglip2`."""
    folder = tmp_path_factory.mktemp("backbones")
    rows = picture_dataset(16).remove_columns(["image_label", "text_label"])
    rows.to_parquet(folder / "data.parquet")
    toy_pairs(14).to_parquet(folder / "regions.parquet")
    for kind in ("clip", "siglip2"):
        save_backbone(kind, folder / kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        patch.chdir(folder)
        yield folder


def train(name: str, *further: str, data: str = "data.parquet") -> dict:
    """Fine-tune a model; the results."""
    argv = ["--backbone_name_or_path", name, "--dataset_name", data, *TRAIN, *further]
    return script("train_ncr").main(argv)


@pytest.mark.parametrize("kind", ["clip", "siglip2"])
def test_it_is_fine_tuned_and_evaluated(kind: str, place: Path) -> None:
    """CLIP by NCR with a frozen vision tower, SigLIP 2 plainly with all weights."""
    is_ncr = kind == "clip"
    plain = ["--method", "vse++", "--learning_rate", "0.002"]
    results = train(kind, "--output_dir", f"{kind}-out", *(FROZEN if is_ncr else plain))
    assert results["epochs"] == 2
    assert results["arguments"]["similarity"] is None  # its own
    rate = json.loads(Path(f"{kind}-out", "training_args.json").read_text())["learning_rate"]
    assert rate == (BACKBONE_LEARNING_RATE if is_ncr else 0.002)
    start = AutoModel.from_pretrained(kind).state_dict()
    model = AutoModel.from_pretrained(f"{kind}-out")
    for network in getattr(model, "peers", (model,)):  # both peers began from the same weights
        weights = network.backbone.state_dict().items()
        changed = {name for name, value in weights if not torch.equal(value, start[name])}
        assert "text_model" in {name.partition(".")[0] for name in changed}
        assert is_ncr != any(name.startswith("vision_model") for name in changed)
    found = script("evaluate").main(
        ["--model_name_or_path", f"{kind}-out", *DATA, "--split", "train"]
    )
    assert 0 <= found["rsum"] <= 600


def test_a_trained_joint_space_divides_at_once_and_learns_slowly(place: Path) -> None:
    def settled(*words: str) -> tuple[int, float]:
        options = ["--output_dir", "out", "--backbone_name_or_path", "clip", *words]
        _, _, training, _ = options_of("train_ncr", options)
        return training.warmup_epochs, training.learning_rate

    frozen = [*FROZEN, "--text_training", "frozen"]
    assert settled() == (0, BACKBONE_LEARNING_RATE)
    assert settled(*frozen) == (0, FROZEN_LEARNING_RATE)
    assert settled(*frozen, "--warmup_epochs", "1", "--learning_rate", "0.1") == (1, 0.1)


def test_models_of_openai_have_short_names() -> None:
    for name, hub_name in HUB_NAMES.items():
        assert encoder_path(name) == two_tower_path(name) == hub_name


@pytest.mark.parametrize("name", ["clip", "vision+text"])
def test_adapters_beside_a_frozen_tower_are_saved_as_plain_weights(name: str, place: Path) -> None:
    save_encoders(place)
    out = f"adapted-{name}"
    ways = ["--text_training", "lora", "--vision_training", "frozen", "--lora_rank", "2"]
    train(name, "--output_dir", out, *ways, "--robust", "False", "--max_steps", "2")
    rate = "learning_rate" if name == "clip" else "encoder_learning_rate"
    assert json.loads(Path(out, "training_args.json").read_text())[rate] == ADAPTER_LEARNING_RATE
    model = NcrModel.from_pretrained(out)
    assert (model.config.text_training, model.config.vision_training) == ("full", "frozen")
    start = AutoModel.from_pretrained("clip" if name == "clip" else "text").state_dict()
    part = model.peer_a.backbone if name == "clip" else model.peer_a.backbone.text_model
    found = part.state_dict()
    changed = {weight for weight in start if not start[weight].equal(found[weight])}
    assert any(".layer" in weight for weight in changed)
    assert not any("embeddings" in weight or "vision_model" in weight for weight in changed)


def refusal(capsys: pytest.CaptureFixture[str], name: str, *further: str, **data: str) -> str:
    """The line that a person reads."""
    with pytest.raises(SystemExit):
        run_script(lambda: train(name, "--output_dir", "refused", *further, **data))
    assert not Path("refused", "model.safetensors").exists()
    return capsys.readouterr().err


def test_what_does_not_suit_a_backbone_is_refused(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    def refuse(*arguments: str, **data: str) -> str:
        return refusal(capsys, *arguments, **data)

    assert "--similarity is 'sgr': the backbone has" in refuse("clip", "--similarity", "sgr")
    assert "--hidden_size is 8: the backbone has" in refuse("clip", "--hidden_size", "8")
    assert "--min_word_frequency is 2: the text" in refuse("clip", "--min_word_frequency", "2")
    assert "--method scan is the similarity head" in refuse("clip", "--method", "scan")
    for option in ("vision_model_name_or_path", "text_model_name_or_path"):
        assert f"--{option} does nothing beside" in refuse("clip", f"--{option}", "minilm")
    regions = refuse("clip", data="regions.parquet")
    assert "clip reads pictures, and the dataset has region features" in regions


def test_models_that_cannot_be_a_backbone_are_refused(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    bert = BertConfig(**SIZES, vocab_size=50, max_position_embeddings=12)
    BertModel(bert).save_pretrained("bert")
    assert "bert is a BertModel" in refusal(capsys, "bert")

    shutil.copytree("clip", "no tokenizer", ignore=shutil.ignore_patterns("tokenizer*"))
    assert "no tokenizer has no tokenizer" in refusal(capsys, "no tokenizer")

    shutil.copytree("clip", "ijepa")
    grid = VisionTextDualEncoderConfig.from_vision_text_configs(
        IJepaConfig(**VISION), bert, projection_dim=8
    )
    AutoModel.from_config(grid).save_pretrained("ijepa")
    assert "ijepa gives no vector of a picture and of a text" in refusal(capsys, "ijepa")
