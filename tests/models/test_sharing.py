"""What a saved folder carries for the Hub, and what is refused when a folder is loaded."""

import ast
import json
import math
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import HTTPError, StrictDataclassError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoProcessor,
    BertConfig,
    PreTrainedModel,
    ResNetConfig,
)

import noisy_xmodal
from noisy_xmodal import (
    CommonSpaceConfig,
    CommonSpaceModel,
    DmcmConfig,
    DmcmModel,
    DmcmProcessor,
    EncoderPairConfig,
    EncoderPairModel,
    MatchingConfig,
    MatchingModel,
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RcarModel,
    RegionFeatureProcessor,
)
from noisy_xmodal.models import sharing
from noisy_xmodal.modules import train_word_tokenizer
from tiny_backbones import backbone_config
from tiny_rcar import rcar_config

RESNET = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")
BERT = BertConfig(
    vocab_size=16,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=8,
    max_position_embeddings=16,
)
SMALL = {"region_size": 4, "vocab_size": 16, "word_size": 6, "hidden_size": 8}
VECTORS = {"image_size": 6, "text_size": 5, "hidden_sizes": [7], "embedding_size": 8}

#: Every model class, and every kind of encoder in at least one.
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "matching": lambda: MatchingModel(MatchingConfig(**SMALL)),
    "matching with words": lambda: MatchingModel(
        MatchingConfig(**SMALL, word_encoder="words", similarity="cosine")
    ),
    "ncr": lambda: NcrModel(
        NcrConfig(hidden_size=8, vision_config=RESNET, text_config=BERT, similarity="saf")
    ),
    "rcar": lambda: RcarModel(rcar_config()),
    "common space": lambda: CommonSpaceModel(
        CommonSpaceConfig(**VECTORS, canonical_size=4, reconstructs=True, classifier="linear")
    ),
    "common space of pictures": lambda: CommonSpaceModel(
        CommonSpaceConfig(hidden_sizes=[7], backbone_config=backbone_config("clip"))
    ),
    "encoder pair": lambda: EncoderPairModel(
        EncoderPairConfig(vision_config=RESNET, text_config=BERT, projection_size=5)
    ),
    "dmcm": lambda: DmcmModel(DmcmConfig(**VECTORS, batch_norm=True)),
}


@pytest.fixture(params=list(MODELS))
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    return MODELS[request.param]().eval()


def saved(folder: Path, **fields: Any) -> Path:
    """A folder with a tiny model, with some fields of its config.json changed by hand."""
    MODELS["matching with words"]().save_pretrained(folder)
    change(folder / "config.json", **fields)
    return folder


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def assert_same_weights(found: PreTrainedModel, expected: PreTrainedModel) -> None:
    assert type(found) is type(expected)
    states = found.state_dict(), expected.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# What is saved


def test_a_folder_names_its_classes_and_carries_the_shim(model, tmp_path):
    model.save_pretrained(tmp_path)
    family = type(model).__name__.removesuffix("Model")
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["auto_map"] == {
        "AutoConfig": f"noisy_xmodal_shim.{family}Config",
        "AutoModel": f"noisy_xmodal_shim.{family}Model",
        "AutoProcessor": f"noisy_xmodal_shim.{family}Processor",
    }
    names: dict[str, Any] = {}
    code = (tmp_path / "noisy_xmodal_shim.py").read_text()
    exec(compile(ast.parse(code), "shim", "exec"), names)
    assert names[f"{family}Model"] is type(model)
    assert names[f"{family}Config"] is type(model.config)
    assert names[f"{family}Processor"] is getattr(noisy_xmodal, f"{family}Processor")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("config.json", "model.safetensors", "noisy_xmodal_shim.py")
    ]


def test_the_shim_stays_in_the_folder(tmp_path):
    """A config that was loaded is the one that was saved, and saves the same again."""
    model = MODELS["matching"]()
    model.save_pretrained(tmp_path / "a")
    loaded = AutoModel.from_pretrained(tmp_path / "a")
    assert not hasattr(model.config, "auto_map")
    assert not hasattr(loaded.config, "auto_map")
    loaded.save_pretrained(tmp_path / "b")
    for name in ("config.json", "noisy_xmodal_shim.py", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_code_of_installed_classes_is_not_copied(tmp_path):
    """transformers registers classes that it found through a shim, and copies registered ones."""
    model = MODELS["ncr"]()
    for kind in (NcrModel, NcrConfig, NcrProcessor, RegionFeatureProcessor):
        kind.register_for_auto_class("AutoAnything")
    model.save_pretrained(tmp_path)
    NcrProcessor(RegionFeatureProcessor(4), train_word_tokenizer(["a cat"])).save_pretrained(
        tmp_path
    )
    assert [path.name for path in tmp_path.glob("*.py")] == ["noisy_xmodal_shim.py"]
    assert "auto_map" not in json.loads((tmp_path / "tokenizer_config.json").read_text())


@pytest.mark.parametrize(
    "build",
    [
        lambda: NcrProcessor(RegionFeatureProcessor(4), train_word_tokenizer(["a red cat"])),
        lambda: DmcmProcessor(),
    ],
)
def test_a_processor_names_its_classes_too(build, tmp_path):
    processor = build()
    processor.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "processor_config.json").read_text())
    assert written["auto_map"]["AutoProcessor"] == f"noisy_xmodal_shim.{type(processor).__name__}"
    assert (tmp_path / "noisy_xmodal_shim.py").is_file()
    assert type(AutoProcessor.from_pretrained(tmp_path)) is type(processor)


def test_a_class_of_somebody_else_gets_no_shim(tmp_path):
    class OtherModel(MatchingModel):
        pass

    class OtherConfig(MatchingConfig):
        pass

    OtherConfig.__module__ = OtherModel.__module__ = "elsewhere"
    OtherModel(OtherConfig(**SMALL)).save_pretrained(tmp_path)
    assert not (tmp_path / "noisy_xmodal_shim.py").exists()
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())


# What is loaded


def test_a_sharded_checkpoint_is_the_same_model(model, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size=200)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert_same_weights(AutoModel.from_pretrained(tmp_path), model)


def inputs_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Three images and two texts in float32, as processors give them."""
    random = torch.Generator().manual_seed(1)
    config = model.config
    if isinstance(config, CommonSpaceConfig) and config.backbone_config is None:
        sizes = {"image_features": (3, config.image_size), "text_features": (2, config.text_size)}
        return {name: torch.randn(size, generator=random) for name, size in sizes.items()}
    texts = {"input_ids": torch.tensor([[1, 5, 9, 2], [1, 7, 2, 0]])}
    texts["attention_mask"] = (texts["input_ids"] != 0).long()
    if getattr(config, "vision_config", None) or getattr(config, "backbone_config", None):
        return texts | {"pixel_values": torch.randn(3, 3, 32, 32, generator=random)}
    return texts | {"regions": torch.randn(3, 5, config.region_size, generator=random)}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_a_precision_gives_nearly_the_same(model, tmp_path, dtype):
    model.save_pretrained(tmp_path)
    half = AutoModel.from_pretrained(tmp_path, dtype=dtype)
    assert {weight.dtype for weight in half.parameters()} == {dtype}
    with torch.no_grad():
        expected, found = (one(**inputs_of(model)).logits_per_image for one in (model, half))
    assert found.dtype == torch.float32
    assert found.shape == (3, 2)
    spread = float(expected.abs().max())
    assert float((found - expected).abs().max()) < 0.03 * spread


@pytest.mark.parametrize("device_map", ["auto", "cpu", {"": "cpu"}])
def test_a_device_map_puts_it_there(model, tmp_path, device_map):
    model.save_pretrained(tmp_path)
    assert_same_weights(AutoModel.from_pretrained(tmp_path, device_map=device_map), model)


@pytest.fixture
def garbage_is_nan():
    """Memory that nobody wrote to holds NaN, and not what chance left there."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(1).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def test_weights_that_are_not_there_are_those_of_a_new_model(model, tmp_path, garbage_is_nan):
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    kept = sorted(stored)[0]
    save_file({kept: stored[kept]}, tmp_path / "model.safetensors", {"format": "pt"})
    loaded = AutoModel.from_pretrained(tmp_path)
    new = type(model)(model.config).state_dict()
    for name, found in loaded.state_dict().items():
        expected = stored[kept] if name == kept else new[name]
        assert found.isfinite().all(), name
        if name == kept or expected.unique().numel() == 1:
            assert torch.equal(found, expected), name
        elif expected.numel() >= 32:
            assert float(found.std()) == pytest.approx(float(expected.std()), rel=0.6), name
        else:
            assert found.abs().max() <= 5 * expected.abs().max(), name


# What is refused


@contextmanager
def little_memory(more: int = 300 * 2**20) -> Iterator[None]:
    """Whoever asks for more bytes than these on top of what is in use gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_little_memory_is_little():
    with little_memory(), pytest.raises((MemoryError, RuntimeError)):
        torch.empty(400 * 2**20, dtype=torch.uint8)


def test_numbers_are_finite_and_not_negative():
    for value in (math.nan, math.inf):
        with pytest.raises(StrictDataclassError, match=r"`margin` must be a finite number, found"):
            NcrConfig(margin=value)
    for name in ("layer_norm_eps", "initializer_range"):
        with pytest.raises(StrictDataclassError, match=f"`{name}` must not be negative, found -1"):
            rcar_config(**{name: -1})


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": "8"},
        {"vocab_size": [16]},
        {"dropout": None},
        {"similarity_options": "steps"},
        {"normalize_tokens": "yes"},
        {"vision_config": {"model_type": "no_such_model"}},
        {"text_config": {"model_type": "bert", "hidden_size": "8"}},
        {"text_config": 5},
    ],
)
def test_fields_of_the_wrong_type_are_refused(tmp_path, fields):
    folder = saved(tmp_path / "model", **fields)
    name = next(iter(fields))
    with pytest.raises((StrictDataclassError, ValueError, TypeError)) as refused:
        AutoModel.from_pretrained(folder)
    assert (
        name in str(refused.value)
        or "no_such_model" in str(refused.value)
        or ("hidden_size" in str(refused.value))
    )


@pytest.mark.parametrize(
    "fields", [{"vocab_size": 2**40}, {"vocab_size": 2**23, "word_size": 2**20}]
)
def test_a_config_that_asks_for_far_more_than_the_weights_hold_is_refused(tmp_path, fields):
    """What would be initialised, 32 TiB for the second, is never allocated."""
    folder = saved(tmp_path / "model", **fields)
    with little_memory(), pytest.raises(ValueError, match="do not belong together") as refused:
        AutoModel.from_pretrained(folder)
    assert "text_encoder.words.weight" in str(refused.value)
    assert "(stored: [16, 6])" in str(refused.value)


def test_a_partial_checkpoint_may_lack_a_little(tmp_path, monkeypatch):
    folder = saved(tmp_path / "model")
    stored = load_file(folder / "model.safetensors")
    lacking = stored.pop("text_encoder.words.weight").numel()
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr(sharing, "MOST_MISSING", lacking)
    assert AutoModel.from_pretrained(folder).text_encoder.words.weight.isfinite().all()
    monkeypatch.setattr(sharing, "MOST_MISSING", lacking - 1)
    with pytest.raises(ValueError, match=f"needs {lacking} numbers"):
        AutoModel.from_pretrained(folder)


def test_weights_that_are_pickles_alone_are_refused(tmp_path):
    folder = saved(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    marker = tmp_path / "executed"
    (folder / "pytorch_model.bin").write_bytes(executing(marker))
    for load in (AutoModel.from_pretrained, MatchingModel.from_pretrained):
        with pytest.raises(ValueError, match=r"pytorch_model\.bin alone\. That is a pickle"):
            load(folder)
    assert not marker.exists()


def executing(marker: Path) -> bytes:
    """A pickle that makes a file when it is read."""
    return b"cbuiltins\nopen\n(V" + str(marker).encode() + b"\nVw\ntR."


def test_the_pickle_of_these_tests_does_run_code(tmp_path):
    import pickle

    pickle.loads(executing(tmp_path / "executed")).close()
    assert (tmp_path / "executed").exists()


def test_pickles_are_not_read_by_other_ways(tmp_path):
    folder = saved(tmp_path / "model")
    marker = tmp_path / "executed"
    (folder / "pytorch_model.bin").write_bytes(executing(marker))
    assert AutoModel.from_pretrained(folder).config.hidden_size == 8  # safetensors is there
    with pytest.raises(ValueError, match="use_safetensors=False"):
        AutoModel.from_pretrained(folder, use_safetensors=False)
    config = AutoConfig.from_pretrained(folder)
    with pytest.raises(ValueError, match="is not a safetensors file"):
        MatchingModel.from_pretrained(folder / "pytorch_model.bin", config=config)
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"logit_scale": "pytorch_model.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="is not a safetensors file"):
        AutoModel.from_pretrained(folder)
    assert not marker.exists()


def test_an_adapter_in_the_folder_is_refused(tmp_path):
    pytest.importorskip("peft")
    folder, marker = saved(tmp_path / "model"), tmp_path / "executed"
    (folder / "adapter_model.bin").write_bytes(executing(marker))
    adapter = {"peft_type": "LORA", "base_model_name_or_path": str(folder)}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    for kind in (AutoModel, MatchingModel):
        with pytest.raises(ValueError, match=r"contains an adapter of peft"):
            kind.from_pretrained(folder)
    assert not marker.exists()


@pytest.mark.parametrize("climb", ["../secret.safetensors", "{root}/secret.safetensors"])
def test_an_index_that_climbs_out_of_its_folder_is_refused(tmp_path, climb):
    folder = saved(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "secret.safetensors")
    index = {"metadata": {}, "weight_map": {"logit_scale": climb.format(root=tmp_path)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="lies outside that folder"):
        AutoModel.from_pretrained(folder)


def test_a_folder_that_is_reached_by_climbing_is_fine(tmp_path, monkeypatch):
    saved(tmp_path / "model")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert AutoModel.from_pretrained("../model").config.hidden_size == 8


def test_a_download_that_breaks_off_is_called_so(tmp_path, monkeypatch):
    """transformers then says that a local folder of the same name may be in the way."""

    def broken(*arguments: Any, **options: Any) -> None:
        raise OSError("Can't load the model") from HTTPError("peer closed connection")

    folder = saved(tmp_path / "model")
    monkeypatch.setattr(PreTrainedModel, "from_pretrained", broken)
    with pytest.raises(OSError, match=r"download of .*model failed: peer closed.* try again"):
        MatchingModel.from_pretrained(folder)


def test_weights_that_are_not_there_at_all_are_asked_for(tmp_path):
    folder = saved(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModel.from_pretrained(folder)
