"""Base of the pipelines: a model and its processor, loaded, checked and saved together."""

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset
from transformers import Pipeline

from ..entry.devices import device_of


class PairPipeline(Pipeline):
    """A pipeline with a matching model in eval mode.

    Args:
        model: A model of this library.
        processor: Its processor.
        kwargs: As for any pipeline (`device`, `batch_size`, `num_workers`), and parameters of a
            call.

    Raises:
        TypeError: If the model does not compare images with texts.
        ValueError: If there is no processor, or the device does not exist.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_video_processor = False

    def __init__(self, model: Any, processor: Any = None, **kwargs: Any) -> None:
        name = type(model).__name__
        if not all(hasattr(model, part) for part in ("encode_image", "encode_text", "score")):
            raise TypeError(
                f"{name} does not compare images with texts: give a model of noisy_xmodal, such "
                "as NcrModel"
            )
        if processor is None:
            raise ValueError(f"the {name} has no processor: pass `processor=` as well")
        kwargs.pop("local_files_only", None)  # passed by transformers to every pipeline
        if isinstance(kwargs.get("device"), str):
            kwargs["device"] = device_of(kwargs["device"])
        super().__init__(model=model, processor=processor, **kwargs)
        if self.tokenizer is None and self.image_processor is None:
            # transformers only batches inputs if one of these attributes is set.
            self.feature_extractor = processor
        self.model.eval()

    def _to_device(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Move the inputs to the model's device, and set the model to eval mode."""
        self.model.eval()
        return {name: value.to(self.model.device) for name, value in inputs.items()}

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save model and processor, so that `pipeline(task, model=save_directory)` loads both.

        Args:
            save_directory: Folder to write.
            kwargs: Arguments of both `save_pretrained` methods.
        """
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)


def is_text_input(name: str) -> bool:
    """Whether a model input belongs to the text."""
    return name in ("input_ids", "attention_mask", "text_features")


def as_inputs(inputs: Any) -> Any:
    """Convert inputs for transformers pipelines: tuples to lists, datasets to torch datasets.

    Args:
        inputs: Inputs of a call.

    Raises:
        ValueError: If it is an empty list.
    """
    if isinstance(inputs, tuple):
        inputs = list(inputs)
    if isinstance(inputs, list) and not inputs:
        raise ValueError("the list of inputs is empty: pass at least one")
    return TorchRows(inputs) if hasattr(inputs, "column_names") else inputs


class TorchRows(Dataset):
    """Adapts a `datasets.Dataset` to torch, so that pipelines stream it.

    Args:
        rows: The dataset.
    """

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Any:
        return self._rows[row]
