"""Base of the pipelines: a model and its processor, loaded, checked and saved together."""

import os
from typing import Any

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

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save model and processor, so that `pipeline(task, model=save_directory)` loads both.

        Args:
            save_directory: Folder to write.
            kwargs: Arguments of both `save_pretrained` methods.
        """
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)


def as_inputs(inputs: Any) -> Any:
    """Convert inputs for transformers pipelines: tuples to lists, datasets to streams of rows.

    Args:
        inputs: Inputs of a call.

    Raises:
        ValueError: If it is an empty list.
    """
    if isinstance(inputs, tuple):
        inputs = list(inputs)
    if isinstance(inputs, list) and not inputs:
        raise ValueError("the list of inputs is empty: pass at least one")
    return (row for row in inputs) if hasattr(inputs, "column_names") else inputs


def batch_of(items: Any) -> list[Any]:
    """The items of a batch, each of which `preprocess` returned as a tuple of one.

    transformers would move or pad anything else.

    Args:
        items: One such tuple, or a list of them.
    """
    return list(items) if isinstance(items, tuple) else [item for (item,) in items]
