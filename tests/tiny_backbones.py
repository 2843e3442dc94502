"""Two-tower models of transformers, tiny and untrained, with what they read."""

from pathlib import Path

import datasets
import numpy as np
from PIL import Image
from transformers import (
    AutoModel,
    BaseImageProcessor,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ResNetConfig,
    ResNetModel,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    SiglipConfig,
    SiglipImageProcessorPil,
    VisionTextDualEncoderConfig,
    ViTConfig,
    ViTImageProcessorPil,
)

from noisy_xmodal import CommonSpaceProcessor, train_word_tokenizer

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
TEXT = SIZES | {"vocab_size": 50, "max_position_embeddings": 12}
TEXT |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
VISION = SIZES | {"image_size": 32, "patch_size": 16}

#: Width of the vectors that each backbone gives.
WIDTHS = {"clip": 10, "siglip": 16, "siglip2": 16, "dual": 10}

CAPTIONS = ["a red cat", "one blue dog", "the old cat", "a small bird", "one red bird"]


RESNET = ResNetConfig(embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic")


def save_encoders(folder: Path) -> tuple[str, str]:
    """Folders of a random ResNet and a random BERT, with an image processor and a tokenizer."""
    vision, text = folder / "vision", folder / "text"
    ResNetModel(RESNET).save_pretrained(vision)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(vision)
    BertModel(BertConfig(**TEXT)).save_pretrained(text)
    train_word_tokenizer(CAPTIONS, max_length=64).save_pretrained(text)
    return str(vision), str(text)


def backbone_config(kind: str) -> PreTrainedConfig:
    """A config of "clip", "siglip", "siglip2" or "dual" (a ViT and a BERT put together)."""
    if kind == "clip":
        return CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=WIDTHS["clip"])
    if kind == "dual":
        return VisionTextDualEncoderConfig.from_vision_text_configs(
            ViTConfig(**VISION), BertConfig(**TEXT), projection_dim=WIDTHS["dual"]
        )
    text = TEXT | {"hidden_size": 24, "projection_size": WIDTHS[kind]}
    if kind == "siglip":
        return SiglipConfig(text_config=text, vision_config=VISION)
    vision = SIZES | {"patch_size": 16, "num_patches": 4}
    return Siglip2Config(text_config=text, vision_config=vision)


def image_processor(kind: str) -> BaseImageProcessor:
    """An image processor of that backbone."""
    if kind == "siglip2":
        return Siglip2ImageProcessorPil(patch_size=16, max_num_patches=4)
    if kind == "siglip":
        return SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def word_tokenizer(max_length: int = 12) -> PreTrainedTokenizerBase:
    """A tokenizer of the words of `CAPTIONS`."""
    return train_word_tokenizer(CAPTIONS, max_length=max_length)


def save_backbone(kind: str, folder: Path) -> PreTrainedModel:
    """A random model of transformers, saved with a tokenizer that has no limit of its own."""
    model = AutoModel.from_config(backbone_config(kind))
    model.logit_scale.data.fill_(1.5)
    model.save_pretrained(folder)
    image_processor(kind).save_pretrained(folder)
    word_tokenizer(max_length=10**9).save_pretrained(folder)
    return model.eval()


def picture_processor(max_length: int = 12, **options: float) -> CommonSpaceProcessor:
    """Reads pictures of any size, and texts in the words of `CAPTIONS`."""
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    return CommonSpaceProcessor(
        CLIPImageProcessorPil(**sizes, **options),
        word_tokenizer(max_length),
    )


def pictures(n_pictures: int = 5, seed: int = 0) -> list[Image.Image]:
    """Pictures of noise, 20 by 30."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (n_pictures, 20, 30, 3), dtype=np.uint8)
    return [Image.fromarray(block) for block in blocks]


def picture_dataset(n_pairs: int = 5, seed: int = 0) -> datasets.Dataset:
    """Labelled rows of pictures and captions, of three classes in turn."""
    labels = [row % 3 for row in range(n_pairs)]
    kind = datasets.ClassLabel(names=["x", "y", "z"])
    return datasets.Dataset.from_dict(
        {
            "image": pictures(n_pairs, seed),
            "captions": [[CAPTIONS[row % len(CAPTIONS)]] for row in range(n_pairs)],
            "image_id": [str(row) for row in range(n_pairs)],
            "image_label": labels,
            "text_label": labels,
        },
        features=datasets.Features(
            {
                "image": datasets.Image(),
                "captions": datasets.List(datasets.Value("string")),
                "image_id": datasets.Value("string"),
                "image_label": kind,
                "text_label": kind,
            }
        ),
    )
