"""The probability that an image and a text match."""

from typing import Any

import torch
from scipy.special import expit
from torch import Tensor

from .base import PairPipeline, as_inputs, batch_of


class ImageTextMatchPipeline(PairPipeline):
    """The probability that an image and a text match; task "image-text-match".

    The model is RCAR, or a model with calibrated scores, see `noisy_xmodal.evaluation.calibrate`.

    ```python
    match = pipeline("image-text-match", model="runs/ncr")
    match(image="cat.jpg", text="a red cat")  # {"score": 0.97, "label": "match"}
    match([{"image": "cat.jpg", "text": "a red cat"}, ...], batch_size=32)
    ```

    Args:
        model: A model of this library.
        processor: Its processor.
        threshold: Minimum probability of the label "match", 0.5 by default.
        kwargs: As for any pipeline.
    """

    def _sanitize_parameters(
        self, threshold: float | None = None, **unknown: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise TypeError(f"image-text-match has no option {sorted(unknown)}: pass `threshold`")
        if threshold is None:
            return {}, {}, {}
        if not 0 <= threshold <= 1:
            raise ValueError(f"`threshold` is {threshold}: give a probability, 0 to 1")
        return {}, {}, {"threshold": threshold}

    def __call__(
        self, inputs: Any = None, *, image: Any = None, text: Any = None, **kwargs: Any
    ) -> Any:
        """Compute the match probability of one or several pairs.

        Args:
            inputs: A dict with `image` (a PIL image, the path of a local file or an array; a
                feature vector for a model of vectors) and `text`; or a list, a generator or a
                dataset of these.
            image: One image or a list of images, instead of `inputs`.
            text: One text or a list of texts, instead of `inputs`.
            kwargs: `threshold`, `batch_size`, `num_workers`.

        Returns:
            `score`, the probability of a match, and `label`, "match" or "mismatch"; a list for a
            list, a stream for a generator or a dataset.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: If the model's scores are not calibrated, or a pair is incomplete.
        """
        self._match_function()
        if inputs is None:
            inputs = _pairs(image, text)
        elif image is not None or text is not None:
            raise ValueError("pass the pairs, or `image` and `text`, not both")
        return super().__call__(as_inputs(inputs), **kwargs)

    def preprocess(self, pair: Any) -> dict[str, tuple[Any]]:
        """Check one pair."""
        if not isinstance(pair, dict) or not {"image", "text"} <= pair.keys():
            value = sorted(pair) if isinstance(pair, dict) else type(pair).__name__
            raise ValueError(f'a pair must be {{"image": ..., "text": ...}}, found {value}')
        if isinstance(pair["text"], list) and all(isinstance(text, str) for text in pair["text"]):
            raise ValueError("a pair has one text: pass a pair for each of several texts")
        return {"image": (pair["image"],), "text": (pair["text"],)}

    def _forward(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        from ..evaluation.scoring import pair_scores  # loads the data stack

        images, texts = batch_of(inputs["image"]), batch_of(inputs["text"])
        scores = pair_scores(self.model, self.processor, images, texts, len(images))
        return {"scores": torch.from_numpy(scores)}  # (n,)

    def postprocess(self, outputs: dict[str, Tensor], threshold: float = 0.5) -> dict[str, Any]:
        """Convert the score of one pair to a probability and a label."""
        scale, bias = self._match_function()
        probability = float(expit(scale * float(outputs["scores"][0]) + bias))
        return {
            "score": probability,
            "label": "match" if probability >= threshold else "mismatch",
        }

    def _match_function(self) -> tuple[float, float]:
        """Scale and bias that convert scores to log-odds."""
        config = self.model.config
        if not hasattr(config, "match_scale"):
            return 1.0, 0.0
        if config.match_scale is None or config.match_bias is None:
            raise ValueError(
                f"the scores of this {type(self.model).__name__} are not calibrated: call "
                "noisy_xmodal.evaluation.calibrate(model, processor, images, texts, groups) on "
                "validation pairs, or calibrate_on(model, processor, split), and save the model"
            )
        return config.match_scale, config.match_bias


def _pairs(image: Any, text: Any) -> Any:
    if image is None or text is None:
        raise ValueError('pass pairs {"image": ..., "text": ...}, or both `image` and `text`')
    are_lists = isinstance(image, list | tuple), isinstance(text, list | tuple)
    if not any(are_lists):
        return {"image": image, "text": text}
    if not all(are_lists) or len(image) != len(text):
        counts = [len(image) if are_lists[0] else 1, len(text) if are_lists[1] else 1]
        raise ValueError(
            f"there are {counts[0]} images and {counts[1]} texts: give lists of equal length"
        )
    return [{"image": one, "text": other} for one, other in zip(image, text, strict=True)]
