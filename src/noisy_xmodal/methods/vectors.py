"""One vector for each image and each text of a batch, whatever compares them."""

from typing import Any

from torch import Tensor


def pair_vectors(output: Any) -> tuple[Tensor, Tensor]:
    """Unit vectors of the images and of the texts of a batch, (n_pairs, size) each.

    They are those that a two-tower head compares, or the means of regions and words for a head that
    has no vectors.

    Args:
        output: A `MatchingOutput`.
    """
    if output.image_embeds is None:
        return output.image_means, output.text_means
    return output.image_embeds, output.text_embeds
