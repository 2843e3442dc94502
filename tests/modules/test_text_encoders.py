"""Transformers text encoders: frozen, with stored outputs, with words beside them."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig

from noisy_xmodal.modules import BiGruEncoder, TransformerTextEncoder, WordEncoder
from noisy_xmodal.modules.bert_layers import load_divided
from noisy_xmodal.modules.stored_outputs import StoredOutputs, TextOutputs, token_digests

IDS = torch.tensor([[5, 6, 7, 0, 0], [8, 0, 0, 0, 0], [9, 4, 5, 6, 11]])
MASK = (IDS > 0).long()
LENGTHS = (3, 1, 5)


def make_encoder(
    words: str | None = None,
    is_frozen: bool = True,
    normalize: bool = False,
    n_top: int = 0,
    **options: Any,
) -> TransformerTextEncoder:
    sizes = {
        "vocab_size": 16,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 16,
    }
    config = BertConfig(**(sizes | options))
    kinds = {"words": WordEncoder, "bigru": BiGruEncoder}
    beside = kinds[words](16, 6, 4, 0.5, normalize=False) if words else None
    return TransformerTextEncoder(config, 4, normalize, beside, is_frozen, n_top).eval()


def store(encoder: TransformerTextEncoder, ids: Tensor, mask: Tensor) -> None:
    """Store the outputs of some texts as `store_text_outputs` does."""
    rows = encoder.output_rows(ids, mask)
    lengths = torch.tensor([len(row) for row in rows])
    digests = torch.from_numpy(token_digests(ids, mask))
    order = digests.numpy().argsort()
    starts = (lengths.cumsum(0) - lengths).numpy()
    flat = torch.cat([torch.from_numpy(row) for row in rows]).numpy()
    parts = digests.numpy()[order], starts[order], lengths.numpy()[order], flat
    encoder.stored.add("texts", TextOutputs(*parts))


@pytest.mark.parametrize("words", ["words", "bigru"])
@pytest.mark.parametrize("is_frozen", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_token_is_its_word_plus_the_sentence(words, is_frozen, normalize):
    encoder = make_encoder(words, is_frozen, normalize)
    tokens, mask = encoder(IDS, MASK)
    assert torch.equal(mask, MASK.bool())
    for row, length in enumerate(LENGTHS):
        ids = IDS[row : row + 1, :length]
        whole = torch.ones_like(ids)
        states = encoder.backbone(input_ids=ids, attention_mask=whole).last_hidden_state[0]
        mean = sum(states) / length  # (8,)
        sentence = encoder.projection(mean / mean.norm())  # (4,)
        for position, word in enumerate(encoder.words(ids, whole).tokens[0]):
            expected = word + sentence
            if normalize:
                expected = functional.normalize(expected, dim=0)
            torch.testing.assert_close(tokens[row, position], expected, atol=1e-3, rtol=0)


def test_without_words_the_tokens_are_the_projected_states():
    encoder = make_encoder()
    hidden = encoder.backbone(input_ids=IDS, attention_mask=MASK).last_hidden_state
    tokens, mask = encoder(IDS, MASK)
    torch.testing.assert_close(tokens[mask], encoder.projection(hidden)[mask], atol=2e-3, rtol=0)


@pytest.mark.parametrize("words", [None, "words"])
def test_stored_outputs_are_those_that_are_computed(words):
    """Whether all texts, some or none are stored, and however they are padded."""
    encoder = make_encoder(words)
    computed = encoder(IDS, MASK)
    expected = computed.tokens[computed.mask]
    for rows in ([0, 1, 2], [2, 0], [1]):
        some = copy.deepcopy(encoder)
        store(some, IDS[rows], MASK[rows])
        tokens, mask = some(IDS, MASK)
        torch.testing.assert_close(tokens[mask], expected, atol=2e-3, rtol=0)
        padded = functional.pad(IDS, (0, 2)), functional.pad(MASK, (0, 2))
        tokens, mask = some(*padded)
        torch.testing.assert_close(tokens[mask], expected, atol=2e-3, rtol=0)


def test_what_is_stored_is_not_computed(monkeypatch):
    encoder = make_encoder("words")
    store(encoder, IDS, MASK)
    expected = encoder(IDS, MASK).tokens
    monkeypatch.setattr(encoder, "output_rows", None)
    assert torch.equal(encoder(IDS[:, :5], MASK).tokens, expected)


def test_a_frozen_text_model_never_trains():
    encoder = make_encoder("words").train()
    assert encoder.words.training
    assert encoder.words.dropout.training
    assert not any(module.training for module in encoder.backbone.modules())
    encoder(IDS, MASK).tokens.sum().backward()
    assert all(parameter.grad is None for parameter in encoder.backbone.parameters())
    assert encoder.projection.weight.grad.abs().sum() > 0
    assert encoder.words.words.weight.grad.abs().sum() > 0


def test_a_trained_text_model_reads_no_store():
    encoder = make_encoder("words", is_frozen=False)
    before = encoder(IDS, MASK).tokens
    store(encoder, IDS, MASK)
    with torch.no_grad():
        encoder.backbone.embeddings.word_embeddings.weight.normal_()
    assert not torch.allclose(encoder(IDS, MASK).tokens, before)
    encoder.train()(IDS, MASK).tokens.sum().backward()
    gradients = [p.grad for n, p in encoder.backbone.named_parameters() if "pooler" not in n]
    assert all(gradient is not None for gradient in gradients)


# Last layers that are trained

DEEP = {"num_hidden_layers": 3, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def divided(words: str | None, n_top: int) -> tuple[TransformerTextEncoder, TransformerTextEncoder]:
    """An encoder with layers on top, and a whole one with the same weights."""
    torch.manual_seed(1)
    whole, parts = (make_encoder(words, bool(n), n_top=n, **DEEP) for n in (0, n_top))
    parts.load_state_dict(
        {
            name: value
            for name, value in whole.state_dict().items()
            if not name.startswith("backbone")
        },
        strict=False,
    )
    load_divided(parts.backbone, list(parts.top.layers), whole.backbone)
    return parts, whole


@pytest.mark.parametrize("words", [None, "words"])
@pytest.mark.parametrize("n_top", [1, 3])
@pytest.mark.parametrize("is_stored", [True, False])
def test_layers_on_top_compute_what_the_whole_model_does(words, n_top, is_stored):
    parts, whole = divided(words, n_top)
    expected, mask = whole(IDS, MASK)
    if is_stored:
        store(parts, IDS, MASK)
        parts.backbone.embeddings.word_embeddings.weight.data.fill_(torch.nan)
    assert parts.stored_kind == "tokens"
    torch.testing.assert_close(parts(IDS, MASK).tokens[mask], expected[mask], atol=5e-3, rtol=0)


def test_layers_on_top_are_trained_and_those_below_are_not():
    parts, _ = divided("words", 2)
    parts.train()(IDS, MASK).tokens.sum().backward()
    assert all(parameter.grad is None for parameter in parts.backbone.parameters())
    assert all(parameter.grad is not None for parameter in parts.top.parameters())
    assert parts.top.training
    assert not parts.backbone.training


def test_digests_are_of_real_tokens_alone():
    digests = token_digests(IDS, MASK)
    assert len(set(digests.tolist())) == 3
    others = torch.where(MASK > 0, IDS, 3), MASK
    assert (token_digests(*(functional.pad(one, (0, 3)) for one in others)) == digests).all()
    assert (token_digests(IDS.flip(0), MASK.flip(0)) == digests[::-1]).all()


def test_a_store_is_not_part_of_the_weights_and_a_copy_has_its_own():
    encoder = make_encoder("words")
    names = set(encoder.state_dict())
    store(encoder, IDS, MASK)
    assert set(encoder.state_dict()) == names
    twin = copy.deepcopy(encoder)
    encoder.stored.clear()
    digests = token_digests(IDS, MASK)
    assert encoder.stored.read(digests) == [None] * 3
    assert all(row is not None for row in twin.stored.read(digests))
    assert StoredOutputs().read(digests) == [None] * 3
