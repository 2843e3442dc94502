"""The vectors by which methods compare images, and texts, for heads with and without them."""

import pytest
import torch

from noisy_xmodal import MatchingModel
from noisy_xmodal.methods.vectors import pair_vectors


@pytest.mark.parametrize("similarity", ["scan_t2i", "sgr", "cosine"])
def test_a_head_without_vectors_has_the_means_of_real_tokens(similarity, tiny_config, tiny_inputs):
    config = tiny_config(similarity=similarity)
    model, inputs = MatchingModel(config).eval(), tiny_inputs(config, 4, 4)
    with torch.no_grad():
        output = model(**inputs)
        texts = model.encode_text(inputs.pop("input_ids"), inputs.pop("attention_mask"))
        images = model.encode_image(**inputs)
    found = pair_vectors(output)
    if similarity == "cosine":
        assert found[0] is output.image_embeds
        assert output.image_means is None
        return
    for vectors, (tokens, mask) in zip(found, (images, texts), strict=True):
        for vector, row, counts in zip(vectors, tokens, mask, strict=True):
            mean = sum(token for token, real in zip(row, counts, strict=True) if real)
            torch.testing.assert_close(vector, mean / mean.norm(), rtol=1e-4, atol=1e-6)
