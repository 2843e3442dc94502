"""Encoders: shapes, unit length, and texts that do not notice how they were padded."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, ResNetConfig, ViTConfig

from noisy_xmodal.modules import (
    WORD_ENCODERS,
    BiGruEncoder,
    GruEncoder,
    RegionEncoder,
    TransformerTextEncoder,
    VisionEncoder,
    WordEncoder,
)

LENGTHS = [3, 6, 1, 4]


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Word ids (4, 6), 0 where padded, and their mask; the lengths are in no order."""
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return torch.randint(1, 20, mask.shape) * mask, mask.long()


def text_encoder(name: str, **options) -> nn.Module:
    if name != "bert":
        return WORD_ENCODERS[name](20, 5, 8, **options)
    config = BertConfig(
        vocab_size=20,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
    )
    return TransformerTextEncoder(config, 8, **options)


every_text_encoder = pytest.mark.parametrize("name", ["bigru", "gru", "words", "bert"])


def test_regions_are_projected_one_by_one_and_scaled():
    encoder = RegionEncoder(4, 8)
    regions = torch.randn(2, 3, 4)
    tokens = encoder(regions).tokens
    for i in range(2):
        for k in range(3):
            vector = encoder.projection.weight @ regions[i, k] + encoder.projection.bias
            torch.testing.assert_close(tokens[i, k], vector / vector.norm())


def test_regions_keep_their_length_without_normalisation():
    encoder = RegionEncoder(4, 8, normalize=False)
    regions = torch.randn(2, 3, 4)
    torch.testing.assert_close(encoder(regions).tokens, encoder.projection(regions))


def test_region_mask_is_all_true_by_default_and_kept_as_bool():
    encoder = RegionEncoder(4, 8)
    regions = torch.randn(2, 3, 4)
    mask = encoder(regions).mask
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[True] * 3] * 2
    given = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert encoder(regions, given).mask.tolist() == given.bool().tolist()


def test_half_precision_regions_are_read_by_a_float_model():
    encoder = RegionEncoder(4, 8)
    regions = torch.randn(2, 3, 4).half()
    torch.testing.assert_close(encoder(regions).tokens, encoder(regions.float()).tokens)


@pytest.mark.parametrize("shape", [(2, 3, 5), (3, 4), (4,), (1, 2, 3, 4)])
def test_regions_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"n_regions, 4\).*found \(.*`region_size`") as error:
        RegionEncoder(4, 8)(torch.zeros(shape))
    assert str(shape) in str(error.value)


def test_a_resnet_grid_becomes_one_token_a_cell():
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic")
    encoder = VisionEncoder(config, 8).eval()
    pixels = torch.randn(2, 3, 32, 48)
    tokens, mask = encoder(pixels)
    grid = encoder.backbone(pixel_values=pixels).last_hidden_state
    assert grid.shape == (2, 6, 4, 6)  # the stem divides by 4, the second stage by 2
    assert tokens.shape == (2, 24, 8)
    assert mask.shape == (2, 24)
    assert mask.all()
    for row, column in [(0, 0), (0, 5), (1, 2), (3, 1)]:
        vector = encoder.projection(grid[1, :, row, column])
        torch.testing.assert_close(tokens[1, row * 6 + column], vector / vector.norm())


def test_vit_gives_one_token_a_patch_and_the_class_token():
    config = ViTConfig(
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        image_size=32,
        patch_size=8,
    )
    encoder = VisionEncoder(config, 8, normalize=False).eval()
    pixels = torch.randn(2, 3, 32, 32)
    tokens, mask = encoder(pixels)
    assert tokens.shape == (2, 17, 8)
    assert mask.shape == (2, 17)
    assert mask.all()
    hidden = encoder.backbone(pixel_values=pixels).last_hidden_state
    torch.testing.assert_close(tokens, encoder.projection(hidden))


@every_text_encoder
def test_more_padding_changes_no_word(name):
    encoder = text_encoder(name).eval()
    ids, mask = texts()
    tokens = encoder(ids, mask).tokens
    more = torch.zeros(4, 3, dtype=torch.long)
    padded = encoder(torch.cat([ids, more], dim=1), torch.cat([mask, more], dim=1))
    assert padded.tokens.shape == (4, 9, 8)
    assert padded.mask[:, 6:].sum() == 0
    real = mask.bool()
    torch.testing.assert_close(padded.tokens[:, :6][real], tokens[real])


@every_text_encoder
def test_a_text_alone_has_the_words_it_has_in_a_batch(name):
    encoder = text_encoder(name).eval()
    ids, mask = texts()
    batch = encoder(ids, mask)
    for i, length in enumerate(LENGTHS):
        alone = encoder(ids[i : i + 1, :length], torch.ones(1, length, dtype=torch.long))
        torch.testing.assert_close(batch.tokens[i, :length], alone.tokens[0])


@every_text_encoder
def test_what_stands_in_the_padding_changes_no_word(name):
    encoder = text_encoder(name).eval()
    ids, mask = texts()
    real = mask.bool()
    other = ids.masked_fill(~real, 17)
    torch.testing.assert_close(encoder(other, mask).tokens[real], encoder(ids, mask).tokens[real])


@every_text_encoder
def test_words_have_unit_length_unless_told_otherwise(name):
    ids, mask = texts()
    real = mask.bool()
    lengths = text_encoder(name)(ids, mask).tokens[real].norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones(len(lengths)))
    free = text_encoder(name, normalize=False)(ids, mask).tokens[real].norm(dim=-1)
    assert (free - 1).abs().max() > 1e-3


@every_text_encoder
def test_the_mask_is_returned_as_bool(name):
    ids, mask = texts()
    encoded = text_encoder(name)(ids, mask)
    assert encoded.mask.dtype == torch.bool
    assert encoded.mask.tolist() == mask.bool().tolist()


def test_bigru_is_the_mean_of_two_grus():
    encoder = BiGruEncoder(20, 5, 8, normalize=False).eval()
    directions = []
    for suffix in ("", "_reverse"):
        gru = nn.GRU(5, 8, batch_first=True)
        gru.load_state_dict({key: getattr(encoder.gru, key + suffix) for key in gru.state_dict()})
        directions.append(gru)
    ids, mask = texts()
    tokens = encoder(ids, mask).tokens
    for i, length in enumerate(LENGTHS):
        words = encoder.words(ids[i : i + 1, :length])
        forward = directions[0](words)[0]
        backward = directions[1](words.flip(1))[0].flip(1)
        torch.testing.assert_close(tokens[i : i + 1, :length], (forward + backward) / 2)


def test_a_token_of_the_gru_is_its_state_after_the_word():
    encoder = GruEncoder(20, 5, 8, normalize=False).eval()
    ids, mask = texts()
    tokens = encoder(ids, mask).tokens
    for i, length in enumerate(LENGTHS):
        states = encoder.gru(encoder.words(ids[i : i + 1, :length]))[0]
        torch.testing.assert_close(tokens[i : i + 1, :length], states)


@pytest.mark.parametrize("word_size", [5, 8])
def test_plain_words_are_looked_up(word_size):
    encoder = WordEncoder(20, word_size, 8, normalize=False).eval()
    assert isinstance(encoder.projection, nn.Identity) == (word_size == 8)
    ids, mask = texts()
    tokens = encoder(ids, mask).tokens
    assert tokens.shape == (4, 6, 8)
    for i in range(4):
        for k in range(6):
            word = encoder.words.weight[ids[i, k]]
            torch.testing.assert_close(tokens[i, k], encoder.projection(word))


@pytest.mark.parametrize("name", ["bigru", "words"])
def test_dropout_of_words_is_for_training_only(name):
    encoder = text_encoder(name, dropout=0.5)
    ids, mask = texts()
    real = mask.bool()
    first, second = (encoder(ids, mask).tokens[real] for _ in range(2))
    assert not torch.equal(first, second)
    encoder.eval()
    first, second = (encoder(ids, mask).tokens[real] for _ in range(2))
    assert torch.equal(first, second)


def test_image_dropout_acts_in_training_only():
    regions = torch.randn(2, 3, 4)
    encoder = RegionEncoder(4, 8, dropout=0.5, normalize=False)
    assert not torch.equal(encoder(regions).tokens, encoder(regions).tokens)
    encoder.eval()
    assert torch.equal(encoder(regions).tokens, encoder.projection(regions))
