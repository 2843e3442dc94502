"""Two peers: apart in training, averaged at inference, together in one folder."""

import copy
import json
import os
import subprocess
import sys
from typing import Any, get_args

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoProcessor, BertConfig, DistilBertConfig

from noisy_xmodal import MatchingConfig, MatchingModel, NcrConfig, NcrModel, NcrProcessor
from noisy_xmodal.losses import SOFT_MARGINS
from noisy_xmodal.methods.objectives import OBJECTIVES

IMAGE_INPUTS = ("regions", "region_mask", "pixel_values")


@pytest.fixture
def model(variant, tiny_config) -> NcrModel:
    return NcrModel(tiny_config(NcrConfig, *variant)).eval()


def split(inputs: dict[str, torch.Tensor]) -> tuple[dict[str, Any], dict[str, Any]]:
    images = {name: value for name, value in inputs.items() if name in IMAGE_INPUTS}
    return images, {name: value for name, value in inputs.items() if name not in images}


def test_the_ensemble_is_the_mean_of_its_peers(model, tiny_inputs):
    inputs = tiny_inputs(model.config)
    output, (a, b) = model(**inputs), [peer(**inputs) for peer in model.peers]
    assert output.scores.shape == (3, 4)
    assert not torch.allclose(a.scores, b.scores)
    torch.testing.assert_close(output.scores, (a.scores + b.scores) / 2)
    torch.testing.assert_close(
        output.logits_per_image, (a.logits_per_image + b.logits_per_image) / 2
    )
    assert torch.equal(output.logits_per_text, output.logits_per_image.T)
    assert output.peers is None


def test_encode_and_score_give_the_scores_of_forward(model, tiny_inputs):
    inputs = tiny_inputs(model.config)
    images, texts = split(inputs)
    scores = model.score(model.encode_image(**images), model.encode_text(**texts))
    torch.testing.assert_close(scores, model(**inputs).scores)


def test_two_towers_have_joint_embeddings_and_others_say_why_not(model, tiny_inputs):
    inputs = tiny_inputs(model.config)
    images, texts = split(inputs)
    output = model(**inputs)
    assert model.is_two_tower == (model.config.similarity in ("cosine", "vsrn"))
    if not model.is_two_tower:
        assert output.image_embeds is None
        assert output.text_embeds is None
        with pytest.raises(ValueError, match=f"{model.config.similarity!r}.*no vector"):
            model.get_image_features(**images)
        with pytest.raises(ValueError, match=f"{model.config.similarity!r}.*no vector"):
            model.get_text_features(**texts)
        return
    image, text = model.get_image_features(**images), model.get_text_features(**texts)
    assert image.shape == (3, 16)
    assert text.shape == (4, 16)
    torch.testing.assert_close(image @ text.T, output.scores)
    torch.testing.assert_close(image.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(4))
    assert torch.equal(output.image_embeds, image)
    assert torch.equal(output.text_embeds, text)


@pytest.mark.parametrize("dealt", [[0, 1, 0, 1, 0, 1], [1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1]])
def test_each_peer_sees_its_own_pairs_alone(model, tiny_inputs, dealt):
    inputs = tiny_inputs(model.config, n_images=6, n_texts=6)
    peer = torch.tensor(dealt)
    output = model(**inputs, peer=peer)
    assert output.scores is None
    assert len(output.peers) == 2
    for k, network in enumerate(model.peers):
        rows = [row for row, owner in enumerate(dealt) if owner == k]
        expected = network(**{name: value[rows] for name, value in inputs.items()})
        assert output.peers[k].scores.shape == (len(rows), len(rows))
        assert torch.equal(output.peers[k].scores, expected.scores)
        assert torch.equal(output.peers[k].logits_per_image, expected.logits_per_image)


def test_the_other_peers_pairs_change_nothing(tiny_config, tiny_inputs):
    """Not even in training mode, where batch statistics are shared by a peer's pairs."""
    model = NcrModel(tiny_config(NcrConfig, "saf", images="pixels", dropout=0.0))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    inputs = tiny_inputs(model.config, n_images=6, n_texts=6)
    peer = torch.tensor([0, 1, 1, 0, 1, 0])
    before = model(**inputs, peer=peer).peers[0].scores
    changed = dict(inputs)
    changed["pixel_values"] = inputs["pixel_values"] + 5.0 * (peer == 1)[:, None, None, None]
    after = model(**changed, peer=peer).peers
    assert torch.equal(after[0].scores, before)
    assert not torch.allclose(after[1].scores, model(**inputs, peer=peer).peers[1].scores)


def test_peers_gradients_stay_apart(tiny_config, tiny_inputs):
    model = NcrModel(tiny_config(NcrConfig))
    inputs = tiny_inputs(model.config, n_images=6, n_texts=6)
    output = model(**inputs, peer=torch.tensor([0, 1, 0, 1, 0, 1]))
    output.peers[0].logits_per_image.log_softmax(dim=1).diagonal().sum().backward()
    assert all(parameter.grad is not None for parameter in model.peer_a.parameters())
    assert all(parameter.grad is None for parameter in model.peer_b.parameters())


def test_every_weight_of_both_peers_gets_a_gradient(variant, tiny_config, tiny_inputs):
    model = NcrModel(tiny_config(NcrConfig, *variant))
    inputs = tiny_inputs(model.config, n_images=8, n_texts=8)
    output = model(**inputs, peer=torch.tensor([0, 1] * 4))
    sum(
        peer.logits_per_image.log_softmax(dim=1).diagonal().sum() for peer in output.peers
    ).backward()
    for name, parameter in model.named_parameters():
        if ".pooler." in name or not parameter.requires_grad:
            continue  # BERT's class token head, which no token goes through, and frozen weights
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_peers_begin_with_different_weights(model):
    a, b = (dict(peer.named_parameters()) for peer in model.peers)
    assert a.keys() == b.keys()
    matrices = [name for name, part in a.items() if part.dim() > 1 and part.requires_grad]
    assert matrices
    for name in matrices:
        assert not torch.equal(a[name], b[name]), name
        assert a[name].data_ptr() != b[name].data_ptr(), name


def test_the_seed_decides_the_weights(tiny_config):
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(NcrModel(tiny_config(NcrConfig)).state_dict())
    name = "peer_b.image_encoder.projection.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


def test_saved_and_loaded_it_gives_the_same_scores(model, tiny_inputs, tmp_path):
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("config.json", "model.safetensors", "noisy_xmodal_shim.py")
    }
    inputs = tiny_inputs(model.config)
    expected = model(**inputs)
    for loader in (NcrModel, AutoModel):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is NcrModel
        output = copy.deepcopy(loaded)(**inputs)  # aligned, see test_matching_model.py
        assert torch.equal(output.scores, expected.scores)
        assert torch.equal(output.logits_per_image, expected.logits_per_image)


def test_a_peer_saved_alone_is_a_matching_model(model, tiny_inputs, tmp_path):
    inputs = tiny_inputs(model.config)
    for name, peer in zip("ab", model.peers, strict=True):
        peer.save_pretrained(tmp_path / name)
        loaded = AutoModel.from_pretrained(tmp_path / name)
        assert type(loaded) is MatchingModel
        assert type(loaded.config) is MatchingConfig
        assert torch.equal(copy.deepcopy(loaded)(**inputs).scores, peer(**inputs).scores)


def test_the_config_survives_json(variant, tiny_config, tmp_path):
    config = tiny_config(NcrConfig, *variant, anchor_share=0.2, objective="infonce")
    config.save_pretrained(tmp_path)
    for loader in (NcrConfig, AutoConfig):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is NcrConfig
        assert loaded.to_dict() | {"_name_or_path": ""} == config.to_dict()
        assert (loaded.anchor_share, loaded.objective) == (0.2, "infonce")
        assert type(loaded.vision_config) is type(config.vision_config)
        assert type(loaded.text_config) is type(config.text_config)


def test_a_peers_config_is_the_shape_alone(variant, tiny_config):
    config = tiny_config(NcrConfig, *variant, image_dropout=0.25, logit_scale_init=1.0)
    peer = config.peer_config()
    assert type(peer) is MatchingConfig
    own = peer.to_dict()
    method = {"objective", "margin", "soft_margin", "curve", "clean_threshold", "co_rectify"}
    method |= {"co_divide"}
    assert not method & set(own)
    ignored = {"model_type", "transformers_version", "architectures"}
    whole = config.to_dict()
    assert {k: v for k, v in own.items() if k not in ignored} == {
        k: whole[k] for k in own if k not in ignored
    }


FROZEN: dict[str, Any] = {
    "text_config": BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=2),
    "text_training": "frozen",
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0}, "`margin` must be positive, found 0"),
        ({"margin": -0.2}, "`margin` must be positive, found -0.2"),
        ({"curve": 1}, "`curve` must be positive and not 1, found 1"),
        ({"curve": 0}, "`curve` must be positive and not 1, found 0"),
        ({"clean_threshold": 1.5}, r"`clean_threshold` must be in \[0, 1\], found 1.5"),
        ({"anchor_share": 0}, r"`anchor_share` must be in \(0, 1\], found 0"),
        ({"anchor_share": 1.1}, r"`anchor_share` must be in \(0, 1\], found 1.1"),
        ({"objective": "hinge"}, r"(?s)'objective'.*'sum_triplet', 'infonce'.*hinge"),
        ({"soft_margin": "cubic"}, r"(?s)'soft_margin'.*'exponential', 'linear', 'sine'.*cubic"),
        ({"rectification": "step"}, r"(?s)'rectification'.*'epoch', 'batch'.*step"),
        ({"hidden_size": 0}, "`hidden_size` must be at least 1, found 0"),
        (FROZEN | {"text_layers": -1}, "`text_layers` must be at least 0, found -1"),
        (FROZEN | {"text_layers": 3}, "`text_layers` is 3 and the text encoder has 2 layers"),
        (
            FROZEN | {"text_layers": 1, "text_config": DistilBertConfig(dim=8, n_heads=2)},
            "`text_layers` is 1 and the text encoder a distilbert: its layers must be BERT's",
        ),
    ],
)
def test_impossible_configs_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(StrictDataclassError, match=message):
        NcrConfig(**options)


def test_an_unknown_head_is_refused_with_the_known_ones(tiny_config):
    with pytest.raises(
        ValueError,
        match=r"'clip'.*cosine, scan_t2i, scan_i2t, saf, sgr, sgraf_joint, imram, vsrn, teran",
    ):
        NcrModel(tiny_config(NcrConfig, similarity="clip"))


def test_the_names_in_the_config_are_those_of_the_tables():
    assert set(get_args(NcrConfig.__annotations__["objective"])) == set(OBJECTIVES)
    assert set(get_args(NcrConfig.__annotations__["soft_margin"])) == set(SOFT_MARGINS)


@pytest.mark.parametrize(
    "missing", ["peer_b.logit_scale", "peer_b.image_encoder.projection.weight"]
)
def test_weights_that_a_checkpoint_lacks_are_initialised(
    tiny_config, tiny_inputs, tmp_path, missing
):
    model = NcrModel(tiny_config(NcrConfig, logit_scale_init=0.5))
    torch.nn.init.constant_(model.peer_a.logit_scale, 3.0)
    torch.nn.init.constant_(model.peer_b.logit_scale, 4.0)
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors[missing]
    save_file(tensors, path, metadata={"format": "pt"})
    loaded = NcrModel.from_pretrained(tmp_path)
    state = loaded.state_dict()
    for name, tensor in tensors.items():
        assert torch.equal(state[name], tensor), name
    if missing.endswith("logit_scale"):
        assert loaded.peer_b.logit_scale.item() == 0.5
    else:
        assert 0 < state[missing].abs().max() <= (6 / 12) ** 0.5  # Xavier, 4 -> 8
    assert loaded(**tiny_inputs(loaded.config)).scores.isfinite().all()


FRESH_PROCESS = """
import copy, json, sys
import torch
import noisy_xmodal
from transformers import AutoConfig, AutoModel, AutoProcessor

folder = sys.argv[1]
model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
inputs = processor(images=[[[1.0, 2.0, 3.0, 4.0]]], text=["red cat", "a dog runs here"])
with torch.no_grad():
    scores = copy.deepcopy(model)(**inputs).scores.tolist()
names = [type(it).__name__ for it in (AutoConfig.from_pretrained(folder), model, processor)]
stacks = [name for name in sys.modules if name.startswith("noisy_xmodal.training")]
print(json.dumps([names, scores, stacks]))
"""


def test_a_fresh_process_loads_the_folder(tiny_config, tiny_processor, tmp_path):
    model = NcrModel(tiny_config(NcrConfig)).eval()
    model.save_pretrained(tmp_path)
    tiny_processor.save_pretrained(tmp_path)
    assert type(AutoProcessor.from_pretrained(tmp_path)) is NcrProcessor
    inputs = tiny_processor(images=[[[1.0, 2.0, 3.0, 4.0]]], text=["red cat", "a dog runs here"])
    run = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    assert run.returncode == 0, run.stderr
    names, scores, stacks = json.loads(run.stdout.splitlines()[-1])
    assert names == ["NcrConfig", "NcrModel", "NcrProcessor"]
    assert scores == model(**inputs).scores.tolist()
    assert stacks == []
