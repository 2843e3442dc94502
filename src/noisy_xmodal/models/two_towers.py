"""One interface to two-tower models of this library and of transformers (CLIP, SigLIP, ...).

Code in a model folder is never run, and weights are read only from safetensors files.
"""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    PreTrainedConfig,
)

from ..arguments.model_names import HUB_NAMES
from ..entry.errors import load_part
from ..files import read_json
from ..modules.pretrained import load_tokenizer
from ..modules.tower_outputs import NotTwoTowersError, inverse_temperature
from .matching.modeling_matching import MatchingModel
from .matching.processing_matching import MatchingProcessor
from .sharing import Installed

#: How types of models begin, or of their text towers, that are trained with texts padded to the
#: full length.
_FULL_LENGTH = ("siglip", "tipsv2", "align")


def two_tower_path(name_or_path: str | os.PathLike[str]) -> str:
    """The folder or Hub id of a model as transformers loads it.

    Args:
        name_or_path: Folder, Hub id or a key of `HUB_NAMES`. Of a folder of sentence-transformers
            with a CLIP, it is the subfolder of that.

    Raises:
        NotTwoTowersError: If the folder has no model.
    """
    name = HUB_NAMES.get(os.fspath(name_or_path), os.fspath(name_or_path))
    path = Path(name).expanduser()
    if not path.is_dir():
        return name
    folders = [path]
    if (path / "modules.json").is_file():
        modules = read_json(path / "modules.json")
        folders += [path / str(module.get("path", "")) for module in modules]
    for folder in folders:
        if (folder / "config.json").is_file():
            return str(folder)
    names = sorted(entry.name for entry in path.iterdir())
    raise NotTwoTowersError(
        f"{path} contains no model: there is no config.json, but {names[:5] or 'nothing'}"
    )


def two_tower_config(path: str) -> tuple[PreTrainedConfig, Any]:
    """The configuration of a two-tower model, and its class.

    Args:
        path: From `two_tower_path`.

    Raises:
        NotTwoTowersError: If it is another kind of model.
        OSError: If the model does not exist.
    """
    config = load_part(AutoConfig, path)
    kind = MODEL_MAPPING.get(type(config), None)
    if isinstance(kind, tuple | list):
        kind = kind[0]
    has_towers = all(hasattr(kind, f"get_{side}_features") for side in ("image", "text"))
    if not (has_towers or (kind is not None and issubclass(kind, Installed))):
        kind_name = getattr(kind, "__name__", config.model_type)
        raise NotTwoTowersError(
            f"{path} is a {kind_name} (model type {config.model_type!r}), which has no vectors for "
            "images and texts: give a two-tower model, such as CLIP, SigLIP or NCR with the "
            "similarity 'cosine'"
        )
    return config, kind


def text_padding(config: PreTrainedConfig) -> bool | str:
    """How texts are padded, see `MatchingProcessor`: as in the training of the model."""
    return "max_length" if config.model_type.startswith(_FULL_LENGTH) else True


def two_tower_processor(path: str, config: PreTrainedConfig) -> MatchingProcessor:
    """The image processor and the tokenizer of a two-tower model of transformers.

    Texts are padded by `text_padding`, and truncated to the positions of the model.

    Args:
        path: From `two_tower_path`.
        config: From `two_tower_config`.

    Raises:
        OSError: If one of them is missing.
    """
    images = load_part(AutoImageProcessor, path, backend="pil")
    processor = MatchingProcessor(images, load_tokenizer(path), text_padding(config))
    text = getattr(config, "text_config", None)
    # Before any call: a tokenizer without a limit would pad a text to a billion tokens.
    processor.limit_text(getattr(text, "max_position_embeddings", None))
    return processor


def load_two_towers(
    name_or_path: str | os.PathLike[str], device: torch.device | str = "cpu"
) -> tuple[Any, Any]:
    """Load a model with one vector per image and per text, in eval mode.

    Args:
        name_or_path: Folder or Hub id of such a model, of this library or of transformers.
        device: Device of the model.

    Returns:
        The model and its processor. A model of transformers is the backbone of a `MatchingModel`.

    Raises:
        NotTwoTowersError: If it is another kind of model, or reads only feature vectors.
        OSError: If the model does not exist, or has no safetensors file.
    """
    path = two_tower_path(name_or_path)
    config, kind = two_tower_config(path)
    model = load_part(AutoModel, path, use_safetensors=True)
    if not issubclass(kind, Installed):
        processor: Any = two_tower_processor(path, config)
        model = MatchingModel.from_backbone(model)
        processor.limit_text(model.text_length_limit)
        return model.eval().to(device), processor
    if not model.is_two_tower:
        head = getattr(config, "similarity", None)
        raise NotTwoTowersError(
            f"{path} is a {kind.__name__}{f' with the similarity {head!r}' if head else ''}, which "
            "compares images and texts part by part and has no vector per image: give a two-tower "
            "model"
        )
    processor = load_part(AutoProcessor, path)
    if getattr(processor, "reads_vectors_only", False):
        raise NotTwoTowersError(
            f"{path} is a {kind.__name__} that reads feature vectors: give a model that reads "
            "pictures (or regions) and texts"
        )
    return model.eval().to(device), processor


def logit_scale_of(model: Any) -> float:
    """Inverse temperature of a two-tower model: logits are similarities times this factor.

    Args:
        model: A model from `load_two_towers`.

    Raises:
        ValueError: If the model has no temperature.
    """
    if hasattr(model, "peers"):
        return sum(logit_scale_of(peer) for peer in model.peers) / len(model.peers)
    if isinstance(model, MatchingModel) and model.backbone is not None:
        model = model.backbone
    return inverse_temperature(model).item()
