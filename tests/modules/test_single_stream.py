"""The single-stream transformer: its sums by hand, its shortcuts, and PyTorch's own layer."""

import math

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from noisy_xmodal import RcarModel
from noisy_xmodal.modules.single_stream import SingleStreamEncoder, SingleStreamLayer
from tiny_rcar import rcar_config

SIZE, HEADS, INNER, EPS = 12, 3, 20, 1e-12
LENGTHS = [5, 2, 1, 4]


def make_layer(**options: float) -> SingleStreamLayer:
    """A layer without dropout whose normalisations are no identity either."""
    rates = {"dropout": 0.0, "attention_dropout": 0.0}
    layer = SingleStreamLayer(SIZE, HEADS, INNER, **(rates | options))
    for norm in (layer.attention_norm, layer.feed_forward_norm):
        nn.init.normal_(norm.weight, 1.0, 0.2)
        nn.init.normal_(norm.bias, 0.0, 0.2)
    return layer


def make_encoder(n_layers: int = 3) -> SingleStreamEncoder:
    encoder = SingleStreamEncoder(make_layer() for _ in range(n_layers))
    nn.init.normal_(encoder.norm.weight, 1.0, 0.2)
    nn.init.normal_(encoder.norm.bias, 0.0, 0.2)
    return encoder.eval()


def sequences() -> tuple[Tensor, Tensor]:
    """Tokens (4, 5, SIZE) and their mask, bool."""
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return torch.randn(len(LENGTHS), max(LENGTHS), SIZE), mask


def slow_norm(vector: Tensor, norm: nn.LayerNorm) -> Tensor:
    centred = vector - vector.mean()
    return centred / torch.sqrt((centred**2).mean() + EPS) * norm.weight + norm.bias


def slow_gelu(vector: Tensor) -> Tensor:
    return torch.stack([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in vector])


def slow_layer(layer: SingleStreamLayer, tokens: Tensor) -> Tensor:
    """One sequence of real tokens, (length, SIZE), head by head and token by token."""
    weight, bias = layer.query_key_value.weight, layer.query_key_value.bias
    normalised = torch.stack([slow_norm(token, layer.attention_norm) for token in tokens])
    query, key, value = (
        normalised @ weight[part * SIZE : (part + 1) * SIZE].T + bias[part * SIZE :][:SIZE]
        for part in range(3)
    )
    width = SIZE // HEADS
    outputs = []
    for i in range(len(tokens)):
        heads = []
        for head in range(HEADS):
            own = slice(head * width, (head + 1) * width)
            exponentials = [
                math.exp(float(query[i, own] @ key[j, own]) / math.sqrt(width))
                for j in range(len(tokens))
            ]
            shares = [number / sum(exponentials) for number in exponentials]
            heads.append(sum(share * value[j, own] for j, share in enumerate(shares)))
        token = tokens[i] + layer.attention_output(torch.cat(heads))
        first, _, second = layer.feed_forward
        inner = slow_gelu(first(slow_norm(token, layer.feed_forward_norm)))
        outputs.append(token + second(inner))
    return torch.stack(outputs)


@torch.no_grad()
def test_a_layer_is_attention_and_a_network_on_normalised_tokens():
    layer, (tokens, _) = make_layer().eval(), sequences()
    found = layer(tokens)
    for row, output in zip(tokens, found, strict=True):
        torch.testing.assert_close(output, slow_layer(layer, row), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_with_a_mask_a_layer_reads_the_real_tokens_alone():
    layer, (tokens, mask) = make_layer().eval(), sequences()
    found = layer(tokens, mask)
    for row, output, length in zip(tokens, found, LENGTHS, strict=True):
        expected = slow_layer(layer, row[:length])
        torch.testing.assert_close(output[:length], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_stack_is_layer_after_layer_and_a_last_normalisation():
    encoder, (tokens, mask) = make_encoder(), sequences()
    found = encoder(tokens, mask)
    for row, output, length in zip(tokens, found, LENGTHS, strict=True):
        states = row[:length]
        for layer in encoder.layers:
            states = slow_layer(layer, states)
        expected = torch.stack([slow_norm(state, encoder.norm) for state in states])
        torch.testing.assert_close(output[:length], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_a_layer_is_that_of_pytorch_with_the_same_weights(masked):
    layer, (tokens, mask) = make_layer().eval(), sequences()
    reference = nn.TransformerEncoderLayer(
        SIZE, HEADS, INNER, activation="gelu", layer_norm_eps=EPS, batch_first=True, norm_first=True
    ).eval()
    names = {
        "self_attn.in_proj_": "query_key_value.",
        "self_attn.out_proj.": "attention_output.",
        "linear1.": "feed_forward.0.",
        "linear2.": "feed_forward.2.",
        "norm1.": "attention_norm.",
        "norm2.": "feed_forward_norm.",
    }
    own = layer.state_dict()
    reference.load_state_dict(
        {
            theirs + kind: own[ours + kind]
            for theirs, ours in names.items()
            for kind in ("weight", "bias")
        }
    )
    expected = reference(tokens, src_key_padding_mask=~mask if masked else None)
    found = layer(tokens, mask if masked else None)
    real = mask if masked else torch.ones_like(mask)
    torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_what_stands_in_the_padding_changes_no_real_token():
    encoder, (tokens, mask) = make_encoder(), sequences()
    other = tokens + 100.0 * torch.randn_like(tokens) * ~mask[:, :, None]
    expected, found = encoder(tokens, mask), encoder(other, mask)
    torch.testing.assert_close(found[mask], expected[mask])
    assert not torch.allclose(encoder(other), encoder(tokens))


@torch.no_grad()
def test_a_mask_of_real_tokens_alone_is_no_mask():
    encoder, (tokens, mask) = make_encoder(), sequences()
    torch.testing.assert_close(encoder(tokens, torch.ones_like(mask)), encoder(tokens))


@torch.no_grad()
@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3, None])
@pytest.mark.parametrize("projects", [False, True])
def test_few_outputs_and_known_projections_change_no_token(n_layers, masked, n_outputs, projects):
    encoder, (tokens, mask) = make_encoder(n_layers), sequences()
    given = mask if masked else None
    projected = encoder.first.project(tokens) if projects else None
    found = encoder(tokens, given, n_outputs=n_outputs, projected=projected)
    assert found.shape == (len(LENGTHS), n_outputs or max(LENGTHS), SIZE)
    real = mask[:, :n_outputs] if masked else torch.ones_like(mask[:, :n_outputs])
    expected = encoder(tokens, given)[:, :n_outputs]
    torch.testing.assert_close(found[real], expected[real])


@torch.no_grad()
def test_projections_that_are_given_are_used():
    encoder, (tokens, _) = make_encoder(), sequences()
    projected = encoder.first.project(tokens + 1.0 * torch.randn_like(tokens))
    assert not torch.allclose(encoder(tokens, projected=projected), encoder(tokens))


@pytest.mark.parametrize("name", ["dropout", "attention_dropout"])
def test_dropout_acts_in_training_only(name):
    layer, (tokens, mask) = make_layer(**{name: 0.5}), sequences()
    assert not torch.equal(layer(tokens, mask), layer(tokens, mask))
    layer.eval()
    assert torch.equal(layer(tokens, mask), layer(tokens, mask))


def test_gradient_checkpointing_computes_layers_twice_and_changes_no_gradient(tiny_inputs):
    config = rcar_config(
        {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        hidden_dropout=0.0,
        attention_dropout=0.0,
    )
    model = RcarModel(config).train()
    inputs = tiny_inputs(config)
    inputs["masked_input_ids"] = inputs["input_ids"][:3].clone()
    inputs["input_ids"] = inputs["input_ids"][:3]
    inputs["attention_mask"] = inputs["attention_mask"][:3]
    inputs["is_masked"] = inputs["attention_mask"].bool()
    runs: list[int] = []
    for layer in model.encoder.layers:
        layer.attention_output.register_forward_hook(lambda *_: runs.append(1))
    gradients, counts = [], []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        runs.clear()
        model.zero_grad()
        output = model(**inputs)
        (output.logits_per_image.square().sum() + output.word_logits.square().sum()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        counts.append(len(runs))
    assert counts == [4, 8]  # two layers, for the pairs and for the masked words
    for name, gradient in gradients[0].items():
        if gradient is not None:
            torch.testing.assert_close(gradients[1][name], gradient, msg=name)
    assert {name for name, gradient in gradients[1].items() if gradient is None} == {
        name for name in gradients[0] if ".pooler." in name
    }


@torch.no_grad()
@pytest.mark.parametrize(
    "bert", [(BertModel, BertConfig), (RobertaModel, RobertaConfig)], ids=["bert", "roberta"]
)
@pytest.mark.parametrize("n_outputs", [None, 2])
def test_layers_that_start_from_bert_give_its_output(bert, n_outputs):
    kind, config = bert
    model = kind(
        config(
            vocab_size=16,
            hidden_size=SIZE,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            intermediate_size=INNER,
            initializer_range=0.5,
        )
    ).eval()
    for parameter in model.parameters():  # norms and biases that are no identity
        parameter.add_(0.1 * torch.randn_like(parameter))
    eps = model.config.layer_norm_eps
    encoder = SingleStreamEncoder(
        SingleStreamLayer(SIZE, HEADS, INNER, layer_norm_eps=eps, norm_first=False)
        for _ in range(2)
    ).eval()
    for own, theirs in zip(encoder.layers, model.encoder.layer, strict=True):
        own.load_bert_layer(theirs)
    words = torch.randint(3, 16, (4, 5))
    _, mask = sequences()
    found = encoder(model.embeddings(input_ids=words), mask, n_outputs=n_outputs)
    expected = model(input_ids=words, attention_mask=mask.long()).last_hidden_state
    real = mask[:, :n_outputs]
    torch.testing.assert_close(found[real], expected[:, :n_outputs][real], atol=1e-5, rtol=1e-4)
