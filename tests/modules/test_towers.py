"""Towers, scalings, projections and prototypes against loops and definitions."""

import math

import pytest
import torch
from torch import Tensor, nn

from noisy_xmodal.modules.towers import (
    ACTIVATIONS,
    FeatureScaling,
    LinearProjection,
    Prototypes,
    build_decoder,
    build_tower,
)

BY_HAND = {
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
}


def linear_by_hand(layer: nn.Linear, row: list[float]) -> list[float]:
    weights, biases = layer.weight.tolist(), layer.bias.tolist()
    return [
        sum(w * x for w, x in zip(line, row, strict=True)) + bias
        for line, bias in zip(weights, biases, strict=True)
    ]


def sizes_of(tower: nn.Sequential) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in tower if isinstance(m, nn.Linear)]


def new_scaling(size: int) -> FeatureScaling:
    scaling = FeatureScaling(size)
    nn.init.zeros_(scaling.mean)
    nn.init.ones_(scaling.scale)
    return scaling


@pytest.mark.parametrize("hidden_sizes", [[], [4], [4, 3]])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_a_tower_is_linear_layers_with_an_activation_between_them(activation, hidden_sizes):
    tower = build_tower(5, hidden_sizes, 2, activation)
    features = torch.randn(3, 5)
    expected = []
    for row in features.tolist():
        layers = [module for module in tower if isinstance(module, nn.Linear)]
        for layer in layers[:-1]:
            row = [BY_HAND[activation](value) for value in linear_by_hand(layer, row)]
        expected.append(linear_by_hand(layers[-1], row))
    torch.testing.assert_close(tower(features), torch.tensor(expected))
    assert len(tower) == 2 * len(hidden_sizes) + 1


def test_batch_norm_normalises_each_activation_without_weights_of_its_own():
    tower = build_tower(5, [4, 3], 2, "tanh", batch_norm=True)
    features = torch.randn(20, 5)
    values = features.double()
    for linear, norm in ((tower[0], tower[2]), (tower[3], tower[5])):
        assert not list(norm.parameters())
        values = torch.tanh(values @ linear.weight.double().T + linear.bias.double())
        variance = values.var(dim=0, correction=0)
        values = (values - values.mean(dim=0)) / (variance + 1e-5).sqrt()
    expected = values @ tower[6].weight.double().T + tower[6].bias.double()
    torch.testing.assert_close(tower(features), expected.float())
    assert len(tower) == 7


def test_a_decoder_has_the_sizes_of_its_tower_reversed():
    sizes = ([7, 4], 3)
    tower, decoder = build_tower(5, *sizes), build_decoder(5, *sizes)
    assert sizes_of(tower) == [(5, 7), (7, 4), (4, 3)]
    assert sizes_of(decoder) == [(3, 4), (4, 7), (7, 5)]
    assert decoder(tower(torch.randn(2, 5))).shape == (2, 5)


def test_a_decoder_has_the_activation_of_its_tower():
    assert isinstance(build_decoder(5, [4], 3, "tanh")[1], nn.Tanh)


def test_an_unknown_activation_is_refused():
    with pytest.raises(KeyError, match="swish"):
        build_tower(5, [4], 3, "swish")


def test_fitted_scaling_gives_mean_0_and_variance_1():
    features = torch.randn(50, 4) * torch.tensor([1.0, 1e-3, 30.0, 5.0]) + torch.arange(4)
    scaling = new_scaling(4)
    scaling.fit(features)
    scaled = scaling(features)
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.var(dim=0, correction=0), torch.ones(4))
    others = torch.randn(3, 4)
    expected = (others - features.mean(dim=0)) / features.std(dim=0, correction=0)
    torch.testing.assert_close(scaling(others), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.7, 1e6])
def test_a_number_that_never_varies_becomes_0(constant):
    features = torch.randn(30, 3)
    features[:, 1] = constant
    scaling = new_scaling(3)
    scaling.fit(features)
    assert scaling.scale.isfinite().all()
    assert (scaling(features)[:, 1] == 0).all()
    unseen = features + 5  # where it does vary, it still says nothing
    assert (scaling(unseen)[:, 1] == 0).all()
    assert (scaling(features)[:, [0, 2]].std(dim=0) > 0.9).all()


def test_one_row_alone_is_scaled_to_zeros():
    scaling = new_scaling(3)
    scaling.fit(torch.tensor([[1.0, 2.0, 3.0]]))
    assert (scaling(torch.randn(2, 3)) == 0).all()


def test_large_half_precision_features_are_fitted_in_double():
    features = (1000 + torch.randn(400, 2)).half()
    scaling = new_scaling(2)
    scaling.fit(features)
    scaled = scaling(features.float())
    torch.testing.assert_close(scaled.std(dim=0, correction=0), torch.ones(2), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("mean", "scale", "expected"),
    [
        ([0.0, 0.0], [1.0, 1.0], True),
        ([0.0, 0.1], [1.0, 1.0], False),
        ([0.0, 0.0], [1.0, 0.0], False),
        ([0.0, 0.0], [1.0, 2.0], False),
    ],
)
def test_identity_is_what_changes_nothing(mean, scale, expected):
    scaling = new_scaling(2)
    scaling.mean.copy_(Tensor(mean))
    scaling.scale.copy_(Tensor(scale))
    features = torch.randn(3, 2)
    assert scaling.is_identity is expected
    assert torch.equal(scaling(features), features) is expected


def test_fitting_is_no_step_of_training():
    scaling = new_scaling(3)
    scaling.fit(torch.randn(5, 3, requires_grad=True))
    assert not scaling.scale.requires_grad
    assert not list(scaling.parameters())
    assert set(scaling.state_dict()) == {"mean", "scale"}
    assert not scaling.is_identity


def test_a_linear_projection_centres_and_multiplies():
    projection = LinearProjection(3, 2)
    projection.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    projection.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]]))
    found = projection(torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]))
    assert found.tolist() == [[0.0, 0.0], [-2.0, 7.0]]
    assert not list(projection.parameters())


def test_logits_are_cosines_times_the_length_of_the_output():
    prototypes = Prototypes(3, 2)
    with torch.no_grad():
        prototypes.weight.copy_(torch.tensor([[3.0, 4.0], [-2.0, 0.0], [0.0, 0.1]]))
    found = prototypes(torch.tensor([[1.0, 0.0], [5.0, 10.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, -1.0, 0.0], [11.0, -5.0, 10.0]]))


def test_the_length_of_a_prototype_has_no_gradient():
    """A step along the prototype itself changes no logit."""
    prototypes = Prototypes(3, 4)
    nn.init.normal_(prototypes.weight)
    prototypes(torch.randn(2, 4)).square().sum().backward()
    along = (prototypes.weight.grad * prototypes.weight).sum(dim=1)
    torch.testing.assert_close(along, torch.zeros(3), atol=1e-5, rtol=0)
    assert prototypes.weight.grad.abs().sum() > 0.1


def test_prototypes_take_half_precision_outputs():
    prototypes = Prototypes(3, 4)
    nn.init.normal_(prototypes.weight)
    outputs = torch.randn(2, 4)
    found = prototypes(outputs.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), prototypes(outputs), atol=0.05, rtol=0.02)


def test_a_column_is_scaled_by_itself():
    """A time stamp beside it does not make a column constant, nor do small numbers."""
    features = torch.randn(50, 3, dtype=torch.float64) * torch.tensor([1.0, 2e9, 1e-10])
    scaling = FeatureScaling(3)
    nn.init.zeros_(scaling.mean)
    nn.init.ones_(scaling.scale)
    scaling.fit(features.float())
    found = scaling(features.float())
    torch.testing.assert_close(found.std(dim=0, correction=0), torch.ones(3), atol=1e-3, rtol=0)
