"""What the pipelines have in common: a model and its processor, read, checked and saved as one."""

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset
from transformers import Pipeline

from ..entry.devices import device_of


class PairPipeline(Pipeline):
    """A pipeline over a matching model; the model is kept in eval mode.

    Args:
        model: A model of this library.
        processor: Its processor.
        kwargs: As for any pipeline (`device`, `batch_size`, `num_workers`), and parameters of a
            call.

    Raises:
        TypeError: If the model does not compare images with texts.
        ValueError: If there is no processor, or no such device.
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
            raise ValueError(f"no processor came with the {name}: pass `processor=` as well")
        kwargs.pop("local_files_only", None)  # which transformers hands on to every pipeline
        if isinstance(kwargs.get("device"), str):
            kwargs["device"] = device_of(kwargs["device"])
        super().__init__(model=model, processor=processor, **kwargs)
        if self.tokenizer is None and self.image_processor is None:
            # Batches are put together only where a part that could pad is known; vectors need none.
            self.feature_extractor = processor
        self.model.eval()

    def _ready(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """The inputs on the model's device, and the model in eval mode."""
        self.model.eval()
        return {name: value.to(self.model.device) for name, value in inputs.items()}

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save model and processor, so that `pipeline(task, model=save_directory)` loads both.

        Args:
            save_directory: Folder to write.
            kwargs: Passed on to the `save_pretrained` of both.
        """
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)


def is_text_input(name: str) -> bool:
    """Whether a model input is one of the text's, by its name."""
    return name in ("input_ids", "attention_mask", "text_features")


def as_inputs(given: Any) -> Any:
    """Inputs as transformers' pipelines take them: rows are streamed, tuples are lists.

    Args:
        given: What a person calls a pipeline with.

    Raises:
        ValueError: If it is an empty list.
    """
    if isinstance(given, tuple):
        given = list(given)
    if isinstance(given, list) and not given:
        raise ValueError("the list of inputs is empty: pass at least one")
    return StreamedRows(given) if hasattr(given, "column_names") else given


class StreamedRows(Dataset):
    """A dataset of the datasets library in the dress of torch's, which pipelines stream.

    Args:
        rows: The dataset.
    """

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Any:
        return self._rows[row]
