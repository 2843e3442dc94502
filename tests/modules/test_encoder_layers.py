"""How far below the top a parameter lies, for the encoders that people use."""

import pytest
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    CLIPConfig,
    Dinov2Config,
    EfficientNetConfig,
    PreTrainedConfig,
    ResNetConfig,
    SiglipConfig,
    T5Config,
    ViTConfig,
)

from noisy_xmodal.modules.encoder_layers import is_in_layer, layers_below_top

SIZES = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8}
TEXT = SIZES | {"vocab_size": 20, "max_position_embeddings": 8, "num_hidden_layers": 2}
TEXT |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
PICTURES = {"image_size": 16, "patch_size": 8}

#: Config, and how far some parameters lie below the top layer.
ENCODERS: dict[str, tuple[PreTrainedConfig, dict[str, int]]] = {
    "bert": (
        BertConfig(**SIZES, vocab_size=20, max_position_embeddings=8),
        {
            "embeddings.word_embeddings.weight": 3,
            "embeddings.LayerNorm.bias": 3,
            "encoder.layer.0.attention.self.query.weight": 2,
            "encoder.layer.2.output.dense.bias": 0,
            "pooler.dense.weight": 0,
        },
    ),
    "vit": (
        ViTConfig(**SIZES, **PICTURES),
        {"embeddings.cls_token": 3, "layers.1.mlp.fc1.weight": 1, "layernorm.weight": 0},
    ),
    "dinov2": (
        Dinov2Config(**SIZES, **PICTURES),
        {"embeddings.mask_token": 3, "encoder.layer.0.norm1.weight": 2, "layernorm.bias": 0},
    ),
    "resnet": (
        ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 2], layer_type="basic"),
        {
            "embedder.embedder.convolution.weight": 2,
            "encoder.stages.0.layers.0.layer.1.convolution.weight": 1,
            "encoder.stages.1.layers.1.layer.1.convolution.weight": 0,
        },
    ),
    "efficientnet": (
        EfficientNetConfig(width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=8),
        {
            "embeddings.convolution.weight": 7,
            "encoder.blocks.2.projection.project_conv.weight": 4,
            "encoder.blocks.6.expansion.expand_conv.weight": 0,
            "encoder.top_conv.weight": 0,
        },
    ),
    "t5": (
        T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=3, num_heads=2),
        {"shared.weight": 3, "encoder.block.0.layer.0.SelfAttention.q.weight": 2},
    ),
    "clip": (
        CLIPConfig(text_config=TEXT, vision_config=SIZES | PICTURES, projection_dim=6),
        {
            "logit_scale": 0,
            "visual_projection.weight": 0,
            "text_model.embeddings.token_embedding.weight": 2,
            "text_model.encoder.layers.0.mlp.fc1.weight": 1,
            "text_model.final_layer_norm.weight": 0,
            "vision_model.embeddings.class_embedding": 3,
            "vision_model.pre_layrnorm.weight": 3,
            "vision_model.encoder.layers.2.mlp.fc2.bias": 0,
        },
    ),
    "siglip": (
        SiglipConfig(text_config=TEXT, vision_config=SIZES | PICTURES),
        {"logit_bias": 0, "vision_model.head.probe": 0, "text_model.head.weight": 0},
    ),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_parameters_lie_as_far_below_the_top_as_their_names_say(kind):
    config, expected = ENCODERS[kind]
    encoder = AutoModel.from_config(config)
    below = layers_below_top(encoder)
    assert set(below) == {name for name, _ in encoder.named_parameters()}
    assert {name: below[name] for name in expected} == expected


def test_without_numbered_layers_there_are_none():
    assert layers_below_top(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == {}
    assert not is_in_layer("pooler.dense")
    assert is_in_layer("encoder.layer.11.output.dense")
