"""TERAN's image encoder: boxes, the class token, padding, and features of another size."""

import pytest
import torch

from noisy_xmodal import MatchingConfig, MatchingModel
from noisy_xmodal.modules.region_transformer import RegionTransformer

SIZE, LENGTHS = 4, [3, 1]


def build(geometry: str = "5d") -> RegionTransformer:
    torch.manual_seed(0)
    return RegionTransformer(SIZE, 6, 1, geometry, normalize=False).eval()


def regions(size: int = SIZE + 4) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(2, 3, size), torch.arange(3) < torch.tensor(LENGTHS)[:, None]


@pytest.mark.parametrize("geometry", ["none", "5d", "7d"])
def test_regions_with_boxes_pass_through_the_layers_after_a_class_token(geometry):
    encoder, (rows, mask) = build(geometry), regions(SIZE if geometry == "none" else SIZE + 4)
    tokens, token_mask = encoder(rows, mask)
    assert token_mask.sum(dim=1).tolist() == [length + 1 for length in LENGTHS]
    for i, length in enumerate(LENGTHS):
        inputs = []
        for row in [torch.zeros_like(rows[0, 0]), *rows[i, :length]]:
            left, top, right, bottom = row[-4:]
            width, height = right - left, bottom - top
            numbers = [left, top, right, bottom, width * height]
            numbers += [width, height] if geometry == "7d" else []
            joined = torch.cat([row[:SIZE], torch.stack(numbers)])
            inputs.append(row if geometry == "none" else encoder.boxes(joined))
        whole = torch.ones(1, length + 1, dtype=torch.bool)
        states = encoder.transformer(torch.stack(inputs)[None], whole)
        torch.testing.assert_close(tokens[i, : length + 1], encoder.projection(states[0]))


def test_padding_changes_nothing():
    encoder, (rows, mask) = build(), regions()
    garbage = torch.where(mask.unsqueeze(-1), rows, float("nan"))
    tokens, token_mask = encoder(garbage, mask)
    torch.testing.assert_close(tokens[token_mask], encoder(rows, mask).tokens[token_mask])


def test_features_without_boxes_are_refused_with_the_remedy():
    message = r"\(n_images, n_regions, 8\).*4 numbers and a box, found \(2, 3, 4\).*append_boxes"
    with pytest.raises(ValueError, match=message):
        build()(*regions(SIZE))


def test_a_model_reads_boxes_and_is_saved_with_its_layers(tmp_path):
    config = MatchingConfig(
        region_size=SIZE,
        region_layers=1,
        box_geometry="5d",
        hidden_size=8,
        vocab_size=9,
        word_size=4,
        normalize_tokens=False,
        similarity="teran",
    )
    torch.manual_seed(0)
    model = MatchingModel(config).eval()
    assert config.box_size == 4
    assert model.head.has_class_token
    rows, mask = regions()
    inputs = {"input_ids": torch.randint(1, 9, (2, 4)), "regions": rows, "region_mask": mask}
    model.save_pretrained(tmp_path)
    loaded = MatchingModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(**inputs).scores, model(**inputs).scores)
