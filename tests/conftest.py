"""Small data and models that the tests of several folders share.

`variant` runs a test over every similarity head, and over every kind of encoder under one head.
"""

import gc
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import accelerate.utils.memory
import datasets
import numpy as np
import pytest
import torch
from transformers import BertConfig, ResNetConfig

from noisy_xmodal import MatchingConfig, NcrConfig, NcrProcessor, RegionFeatureProcessor
from noisy_xmodal.data.regions import region_feature
from noisy_xmodal.modules import train_word_tokenizer
from noisy_xmodal.modules.similarity import SIMILARITY_HEADS

# Training leaves the C library's memory as it is where the environment speaks of it; zero is its
# default. Else every later test of this process would run in memory that is never given back.
os.environ.setdefault("MALLOC_PERTURB_", "0")

REGION_SIZE = 4
WORDS = [
    "red",
    "green",
    "blue",
    "cat",
    "dog",
    "bird",
    "runs",
    "sleeps",
    "eats",
    "here",
    "there",
    "now",
]

#: (similarity head, what the image encoder reads, what encodes texts)
VARIANTS = [(name, "regions", "bigru") for name in SIMILARITY_HEADS] + [
    ("cosine", "regions", "words"),
    ("cosine", "frozen", "words"),
    ("sgr", "pixels", "bigru"),
    ("scan_t2i", "pixels", "bert"),
    ("cosine", "regions", "frozen"),
    ("scan_t2i", "regions", "frozen+words"),
    ("sgr", "regions", "bert+bigru"),
]


@pytest.fixture(autouse=True)
def _quiet_and_seeded() -> None:
    datasets.disable_progress_bars()
    torch.manual_seed(0)


@pytest.fixture(params=VARIANTS, ids=["-".join(variant) for variant in VARIANTS])
def variant(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    """Each of `VARIANTS` in turn."""
    return request.param


@pytest.fixture
def tiny_regions_dataset() -> Callable[..., datasets.Dataset]:
    """Makes datasets of region features by the column contract, always the same ones.

    Images have 1 to 4 regions of `REGION_SIZE`, captions 2 to 5 of `WORDS`. The oracle marks
    exactly round(noisy_share * n_pairs) pairs; nothing else about them is wrong.
    """

    def make(
        n_images: int = 6, captions_per_image: int = 2, noisy_share: float = 0.0
    ) -> datasets.Dataset:
        rng = np.random.default_rng(n_images)
        n_pairs = n_images * captions_per_image
        captions = [" ".join(rng.choice(WORDS, rng.integers(2, 6))) for _ in range(n_pairs)]
        is_noisy = rng.permutation(n_pairs) < round(noisy_share * n_pairs)
        own = [slice(i * captions_per_image, (i + 1) * captions_per_image) for i in range(n_images)]
        return datasets.Dataset.from_dict(
            {
                "regions": [
                    rng.standard_normal((1 + i % 4, REGION_SIZE)).astype(np.float32).tolist()
                    for i in range(n_images)
                ],
                "image_id": [f"image {i}" for i in range(n_images)],
                "captions": [captions[pairs] for pairs in own],
                "is_noisy": [is_noisy[pairs].tolist() for pairs in own],
            },
            features=datasets.Features(
                {
                    "regions": region_feature(REGION_SIZE, "float32"),
                    "image_id": datasets.Value("string"),
                    "captions": datasets.List(datasets.Value("string")),
                    "is_noisy": datasets.List(datasets.Value("bool")),
                }
            ),
        )

    return make


@pytest.fixture
def tiny_processor() -> NcrProcessor:
    """Reads what `tiny_regions_dataset` makes; its tokenizer knows `WORDS` (ids 4 to 15)."""
    return NcrProcessor(RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(WORDS))


@pytest.fixture
def tiny_config() -> Callable[..., Any]:
    """Makes configs of 8 hidden units: `tiny_config(NcrConfig, *variant, margin=0.1)`."""

    def make(
        kind: type[MatchingConfig] | type[NcrConfig] = MatchingConfig,
        similarity: str = "cosine",
        images: str = "regions",
        texts: str = "bigru",
        **options: Any,
    ) -> Any:
        if similarity in ("saf", "sgr", "sgraf_joint"):
            options.setdefault("similarity_options", {"similarity_size": 6})
        if images in ("pixels", "frozen"):
            options["vision_training"] = "frozen" if images == "frozen" else "full"
            options["vision_config"] = ResNetConfig(
                embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic"
            )
        model, _, words = texts.partition("+")
        has_model = model in ("bert", "frozen")
        if has_model:
            options["text_config"] = BertConfig(
                vocab_size=16,
                hidden_size=8,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=8,
                max_position_embeddings=16,
            )
            options["text_training"] = "frozen" if model == "frozen" else "full"
            options["words_beside"] = bool(words)
        if words or not has_model:
            options["word_encoder"] = words or model
        sizes = {"hidden_size": 8}
        if images == "regions":
            sizes["region_size"] = REGION_SIZE
        if words or not has_model:
            sizes |= {"vocab_size": 16, "word_size": 6}
        return kind(similarity=similarity, **(sizes | options))

    return make


@pytest.fixture
def tiny_inputs() -> Callable[..., dict[str, torch.Tensor]]:
    """Makes inputs of a model with a `tiny_config`: ragged texts, ragged regions or pixels."""

    def make(config: MatchingConfig, n_images: int = 3, n_texts: int = 4) -> dict[str, Any]:
        random = torch.Generator().manual_seed(1)
        lengths = torch.tensor([3, 1, 5, 2, 4, 5, 1, 2])
        words = torch.arange(5) < lengths[:n_texts, None]
        inputs = {
            "input_ids": torch.randint(4, 16, (n_texts, 5), generator=random) * words,
            "attention_mask": words.long(),
        }
        if config.vision_config is not None:
            return inputs | {"pixel_values": torch.randn(n_images, 3, 16, 16, generator=random)}
        return inputs | {
            "regions": torch.randn(n_images, 5, REGION_SIZE, generator=random),
            "region_mask": torch.arange(5) < lengths.flip(0)[:n_images, None],
        }

    return make


@pytest.fixture
def regions_dataset() -> datasets.Dataset:
    """Four rows with 1, 2, 3, 4 regions and 2, 1, 3, 2 captions; pairs 1 and 5 are wrong."""
    counts = (2, 1, 3, 2)
    wrong = {1, 5}
    first = np.cumsum((0, *counts))
    pairs = [range(first[i], first[i + 1]) for i in range(4)]
    return datasets.Dataset.from_dict(
        {
            "regions": [np.full((i + 1, 4), i, dtype=np.float16).tolist() for i in range(4)],
            "image_id": [f"id{i}" for i in range(4)],
            "captions": [[f"pair {p}" for p in row] for row in pairs],
            "is_noisy": [[p in wrong for p in row] for row in pairs],
        },
        features=datasets.Features(
            {
                "regions": region_feature(4, "float16"),
                "image_id": datasets.Value("string"),
                "captions": datasets.List(datasets.Value("string")),
                "is_noisy": datasets.List(datasets.Value("bool")),
            }
        ),
    )


def pytest_collection_finish() -> None:
    """Keep what was imported out of garbage collections, and the one of each training out.

    Each would search all that pytest and the libraries have made.
    """
    gc.collect()
    gc.freeze()
    accelerate.utils.memory.gc = SimpleNamespace(collect=lambda: 0)
