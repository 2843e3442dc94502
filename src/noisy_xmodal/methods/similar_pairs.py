"""Similarities of training pairs by a two-tower model, from which hard negatives are drawn."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data import PairDataset
from ..data.digests import Digests, array_digests
from ..evaluation import store_text_outputs
from ..evaluation.collection import Collection, images_for_model
from ..models.two_towers import logit_scale_of


class SimilarPairs:
    """Unit vectors of the images and captions of a training split.

    Args:
        image_vectors: (n_images, size).
        text_vectors: (n_pairs, size).
        row_of_pair: Row of each pair's image, (n_pairs,).
        scale: Inverse temperature of the similarities.
    """

    def __init__(
        self,
        image_vectors: NDArray[np.float32],
        text_vectors: NDArray[np.float32],
        row_of_pair: NDArray[np.integer],
        scale: float,
    ) -> None:
        self.image_vectors, self.text_vectors = image_vectors, text_vectors
        self.row_of_pair, self.scale = row_of_pair, scale

    @classmethod
    def by_model(
        cls, model: Any, processor: Any, pairs: PairDataset, progress: bool = False
    ) -> "SimilarPairs":
        """Encode a training split.

        Args:
            model: A two-tower model with a temperature.
            processor: Its processor.
            pairs: The training split.
            progress: Whether to show progress bars.

        Raises:
            ValueError: If it is another kind of model.
        """
        if not model.is_two_tower:
            raise ValueError(
                f"{type(model).__name__} has no vectors of images and captions: take similar "
                "negatives from a two-tower model."
            )
        images, captions = images_for_model(processor, pairs.images), pairs.captions()
        store_text_outputs(model, processor, captions, progress=progress)
        image = Collection.encode(model, processor, "image", images, progress=progress).encodings
        text = Collection.encode(model, processor, "text", captions, progress=progress).encodings
        return cls(image, text, pairs.row_of_pair, logit_scale_of(model))

    def logits(self, pair_id: Tensor) -> Tensor:
        """Logits of the images of some pairs with their captions, (n_pairs, n_pairs), on the CPU.

        Args:
            pair_id: The pairs, (n_pairs,).
        """
        ids = pair_id.cpu().numpy()
        images = torch.from_numpy(self.image_vectors[self.row_of_pair[ids]])  # (n_pairs, size)
        return self.scale * images @ torch.from_numpy(self.text_vectors[ids]).T

    def digests(self) -> Digests:
        """A digest of each caption's vector, (n_pairs,)."""
        return array_digests(self.text_vectors)
