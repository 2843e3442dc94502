"""Classification losses against loops over samples and classes, and what they all promise."""

import math
import pickle

import pytest
import torch
import torch.nn.functional as F

from noisy_xmodal.losses import (
    CLASSIFICATION_LOSSES,
    classification_loss,
    generalized_cross_entropy_loss,
    mean_absolute_error_loss,
    reverse_cross_entropy_loss,
    robust_clustering_loss,
)

N, K = 6, 5
CLASSES = torch.tensor([0, 3, 4, 1, 1, 2])
ONE_HOT = F.one_hot(CLASSES, K).float()

over_losses = pytest.mark.parametrize(
    "loss", CLASSIFICATION_LOSSES.values(), ids=CLASSIFICATION_LOSSES
)


def random_logits(seed=0, n=N, k=K):
    return 2 * torch.randn(n, k, generator=torch.Generator().manual_seed(seed))


def soft_labels(seed=0):
    """Two classes mixed as DMCM does, so that most entries are 0."""
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    return 0.1 * ONE_HOT + 0.9 * ONE_HOT[order]


def sum_of(q, values):
    return sum(a * b for a, b in zip(q, values, strict=True))


def focal_terms(p, gamma):
    return [-((1 - x) ** gamma) * math.log(x) for x in p]


def power_terms(p, rho):
    return [1 - x**rho for x in p]


def reverse_by_hand(p, q, log_zero):
    return -sum(a * (math.log(b) if b > 0 else log_zero) for a, b in zip(p, q, strict=True))


# case -> (name, options, value of one sample from its probabilities and its target)
FORMULAS = {
    "ce": ("ce", {}, lambda p, q: -sum_of(q, [math.log(x) for x in p])),
    "mae": ("mae", {}, lambda p, q: 1 - sum_of(q, p)),
    "mae l1": (
        "mae",
        {"form": "l1"},
        lambda p, q: sum(abs(a - b) for a, b in zip(p, q, strict=True)),
    ),
    "gce": ("gce", {}, lambda p, q: (1 - sum_of(q, p) ** 0.7) / 0.7),
    "gce rho": ("gce", {"rho": 0.3}, lambda p, q: (1 - sum_of(q, p) ** 0.3) / 0.3),
    "nce": (
        "nce",
        {},
        lambda p, q: sum_of(q, [math.log(x) for x in p]) / sum(math.log(x) for x in p),
    ),
    "ngce": ("ngce", {}, lambda p, q: (1 - sum_of(q, p) ** 0.7) / sum(power_terms(p, 0.7))),
    "ngce expected": (
        "ngce",
        {"rho": 0.4, "form": "expected"},
        lambda p, q: sum_of(q, power_terms(p, 0.4)) / sum(power_terms(p, 0.4)),
    ),
    "focal": ("focal", {}, lambda p, q: sum_of(q, focal_terms(p, 2))),
    "nfocal": (
        "nfocal",
        {},
        lambda p, q: sum_of(q, focal_terms(p, 0.5)) / sum(focal_terms(p, 0.5)),
    ),
    "rce": ("rce", {}, lambda p, q: reverse_by_hand(p, q, -4)),
    "sce": (
        "sce",
        {"ce_weight": 0.3, "rce_weight": 0.6, "log_zero": -6},
        lambda p, q: -0.3 * sum_of(q, [math.log(x) for x in p]) + 0.6 * reverse_by_hand(p, q, -6),
    ),
    "robust_clustering": ("robust_clustering", {}, lambda p, q: math.log(1 - sum_of(q, p))),
}


@pytest.mark.parametrize(("name", "options", "formula"), FORMULAS.values(), ids=FORMULAS)
@pytest.mark.parametrize("targets", [CLASSES, soft_labels()], ids=["classes", "soft"])
def test_losses_are_the_printed_formulas(name, options, formula, targets):
    logits = random_logits()
    expected = []
    for i in range(N):
        powers = [math.exp(x) for x in logits[i].tolist()]
        target = (ONE_HOT if targets.ndim == 1 else targets)[i].tolist()
        expected.append(formula([x / sum(powers) for x in powers], target))
    values = CLASSIFICATION_LOSSES[name](logits, targets, **options)
    assert values.tolist() == pytest.approx(expected, abs=1e-5)


def test_every_loss_has_a_formula_here():
    assert {name for name, _, _ in FORMULAS.values()} == set(CLASSIFICATION_LOSSES)


@over_losses
def test_one_value_per_sample(loss):
    values = loss(random_logits(), CLASSES)
    assert values.shape == (N,)
    assert values.dtype == torch.float32
    assert len(values.unique()) == N
    assert loss(torch.zeros(0, K), torch.zeros(0, dtype=torch.long)).shape == (0,)
    assert loss(torch.zeros(0, K), torch.zeros(0, K)).shape == (0,)


@over_losses
def test_a_class_is_all_of_the_mass(loss):
    of_class = loss(random_logits(), CLASSES)
    torch.testing.assert_close(loss(random_logits(), ONE_HOT), of_class)
    torch.testing.assert_close(loss(random_logits(), ONE_HOT.long()), of_class)
    torch.testing.assert_close(loss(random_logits(), CLASSES.to(torch.uint8)), of_class)


@over_losses
def test_order_of_samples_and_names_of_classes_do_not_matter(loss):
    logits, targets = random_logits(), soft_labels()
    samples, classes = torch.tensor([3, 1, 5, 0, 2, 4]), torch.tensor([2, 0, 4, 1, 3])
    values = loss(logits, targets)
    torch.testing.assert_close(loss(logits[samples], targets[samples]), values[samples])
    torch.testing.assert_close(loss(logits[:, classes], targets[:, classes]), values)


@over_losses
@pytest.mark.parametrize("peak", [1e4, -1e4])
@pytest.mark.parametrize("targets", [CLASSES, ONE_HOT, soft_labels()], ids=["class", "one", "soft"])
def test_saturated_probabilities_are_finite(loss, peak, targets):
    logits = (peak * ONE_HOT + 0.1 * random_logits()).requires_grad_()
    values = loss(logits, targets)
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(logits.grad).all()


@over_losses
@pytest.mark.parametrize("targets", [CLASSES, soft_labels().double()], ids=["classes", "soft"])
def test_gradient_matches_finite_differences(loss, targets):
    logits = random_logits().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), (logits,))


@over_losses
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(loss, dtype):
    logits = random_logits().to(dtype)
    for targets in (CLASSES, soft_labels().to(dtype)):
        values = loss(logits, targets)
        assert values.dtype == torch.float32
        assert torch.isfinite(values).all()
        whole = targets if targets.ndim == 1 else targets.float()
        torch.testing.assert_close(values, loss(logits.float(), whole))


@over_losses
def test_loss_falls_as_the_class_given_becomes_likely(loss):
    logits = random_logits(n=1).repeat(12, 1)
    logits[:, 2] = torch.linspace(-8, 8, 12)  # the ratios of the other classes stay
    assert (loss(logits, torch.full((12,), 2)).diff() < 0).all()


@pytest.mark.parametrize(
    ("name", "total"),
    [("mae", K - 1), ("rce", 4 * (K - 1)), ("nce", 1), ("ngce", 1), ("nfocal", 1)],
)
def test_noise_tolerant_losses_sum_to_a_constant_over_the_classes(name, total):
    values = [CLASSIFICATION_LOSSES[name](random_logits(), torch.full((N,), k)) for k in range(K)]
    torch.testing.assert_close(torch.stack(values).sum(dim=0), torch.full((N,), float(total)))


def test_absolute_error_of_a_class_is_twice_the_reduced():
    logits = random_logits()
    torch.testing.assert_close(
        mean_absolute_error_loss(logits, CLASSES, form="l1"),
        2 * mean_absolute_error_loss(logits, CLASSES),
    )


def test_generalized_cross_entropy_lies_between_cross_entropy_and_absolute_error():
    logits = random_logits().double()
    for rho, name in ((1e-9, "ce"), (1.0, "mae")):
        torch.testing.assert_close(
            generalized_cross_entropy_loss(logits, CLASSES, rho),
            CLASSIFICATION_LOSSES[name](logits, CLASSES),
        )


@pytest.mark.parametrize(("normalised", "plain"), [("nfocal", "nce"), ("focal", "ce")])
def test_focus_of_zero_is_none(normalised, plain):
    torch.testing.assert_close(
        CLASSIFICATION_LOSSES[normalised](random_logits(), CLASSES, gamma=0.0),
        CLASSIFICATION_LOSSES[plain](random_logits(), CLASSES),
    )


def test_a_trace_of_mass_costs_no_more_than_none():
    none, trace = torch.tensor([[1.0, 0.0]]), torch.tensor([[1 - 1e-6, 1e-6]])
    values = [reverse_cross_entropy_loss(torch.zeros(1, 2), q).item() for q in (none, trace)]
    assert values == pytest.approx([2.0, 2.0], abs=1e-5)


def test_robust_clustering_is_negative_and_bounded():
    logits = torch.tensor([[100.0, 0.0], [0.0, 100.0], [0.0, 0.0]])
    values = robust_clustering_loss(logits, torch.zeros(3, dtype=torch.long))
    assert values.tolist() == pytest.approx([math.log(1e-7), 0.0, math.log(0.5)])
    # far beyond what 1 - p resolves in single precision
    near_one = robust_clustering_loss(torch.tensor([[40.0, 0.0]]), torch.tensor([0]), eps=1e-30)
    assert near_one.item() == pytest.approx(-40)


def test_a_sum_by_name_is_the_weighted_sum():
    logits = random_logits()
    parts = [CLASSIFICATION_LOSSES[name](logits, CLASSES) for name in ("ngce", "mae")]
    torch.testing.assert_close(classification_loss("ngce+mae")(logits, CLASSES), sum(parts))
    torch.testing.assert_close(
        classification_loss("2*ngce + 0.5 * mae")(logits, CLASSES), 2 * parts[0] + 0.5 * parts[1]
    )


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_a_single_loss_has_its_name(name):
    torch.testing.assert_close(
        classification_loss(name)(random_logits(), soft_labels()),
        CLASSIFICATION_LOSSES[name](random_logits(), soft_labels()),
    )


def test_options_go_to_the_losses_that_know_them():
    logits, ngce = random_logits(), CLASSIFICATION_LOSSES["ngce"]
    mae = mean_absolute_error_loss(logits, soft_labels())
    loss = classification_loss("ngce+mae", rho=0.3)
    expected = ngce(logits, soft_labels(), rho=0.3) + mae
    torch.testing.assert_close(loss(logits, soft_labels()), expected)

    printed = classification_loss("ngce+mae", ngce_form="expected", mae_form="l1")
    expected = ngce(logits, soft_labels(), form="expected") + mean_absolute_error_loss(
        logits, soft_labels(), form="l1"
    )
    torch.testing.assert_close(printed(logits, soft_labels()), expected)

    both = classification_loss("gce+ngce", rho=0.2, ngce_rho=0.9)
    expected = generalized_cross_entropy_loss(logits, CLASSES, rho=0.2) + ngce(
        logits, CLASSES, rho=0.9
    )
    torch.testing.assert_close(both(logits, CLASSES), expected)


def test_a_loss_by_name_can_be_read_compared_and_stored():
    loss = classification_loss("ngce+mae", rho=0.7)
    assert repr(loss) == "ClassificationLoss(name='ngce+mae', options={'rho': 0.7})"
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert loss != classification_loss("ngce+mae", rho=0.6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ngce+mea", {}, "loss 'mea' in 'ngce\\+mea' is unknown: choose from ce, mae"),
        ("", {}, "loss '' in '' is unknown"),
        ("ngce+", {}, "loss '' in 'ngce\\+' is unknown"),
        ("x*mae", {}, "weight 'x' in 'x\\*mae'"),
        ("-1*mae", {}, "weight '-1'"),
        ("nan*mae", {}, "weight 'nan'"),
        ("ngce+mae", {"gamma": 2}, "no loss in .* has an option 'gamma'.* form, rho"),
        ("ngce+mae", {"mae_rho": 2}, "no loss in .* has an option 'mae_rho'"),
        ("ce", {"rho": 2}, "choose from none"),
        ("gce", {"rho": 0.0}, "rho is 0.0"),
        ("ngce", {"rho": 1.1}, "rho is 1.1"),
        ("focal", {"gamma": -1}, "gamma is -1"),
        ("rce", {"log_zero": 0}, "log_zero is 0"),
        ("robust_clustering", {"eps": 0}, "eps is 0"),
        ("mae", {"form": "l2"}, "form is 'l2': choose from 'reduced', 'l1'"),
        ("ngce", {"form": "l1"}, "form is 'l1': choose from 'reduced', 'expected'"),
    ],
)
def test_what_is_unknown_is_refused_before_training(name, options, message):
    with pytest.raises(ValueError, match=message):
        classification_loss(name, **options)


@over_losses
@pytest.mark.parametrize("shape", [(N,), (N, K, 1), (N, 1), (N, 0)])
def test_logits_have_a_column_per_class(loss, shape):
    with pytest.raises(ValueError, match="logits has shape"):
        loss(torch.zeros(shape), CLASSES)


@over_losses
def test_logits_are_floating(loss):
    with pytest.raises(ValueError, match=r"type torch\.int64"):
        loss(torch.zeros(N, K, dtype=torch.long), CLASSES)


@over_losses
@pytest.mark.parametrize("shape", [(N - 1,), (N, 1), (N, K + 1), (1, N, K), ()])
def test_targets_fit_the_logits(loss, shape):
    with pytest.raises(ValueError, match="targets has shape"):
        loss(random_logits(), torch.zeros(shape))


@over_losses
@pytest.mark.parametrize("wrong", [-1, K])
def test_classes_are_columns(loss, wrong):
    targets = CLASSES.clone()
    targets[[2, 4]] = wrong
    with pytest.raises(ValueError, match=f"class {wrong} at sample 2: give numbers from 0 to 4"):
        loss(random_logits(), targets)


@over_losses
def test_classes_are_integers(loss):
    with pytest.raises(ValueError, match=r"targets has type torch\.float32"):
        loss(random_logits(), CLASSES.float())


@over_losses
@pytest.mark.parametrize(
    "row", [[0.0] * 5, [1.0, 1, 0, 0, 0], [1.5, -0.5, 0, 0, 0], [math.nan] * 5]
)
def test_soft_labels_are_distributions(loss, row):
    targets = soft_labels()
    targets[3] = torch.tensor(row)
    with pytest.raises(ValueError, match="targets at sample 3 sum to"):
        loss(random_logits(), targets)


@over_losses
def test_rounding_in_soft_labels_is_let_pass(loss):
    values = loss(random_logits(), ONE_HOT * (1 + 1e-6))
    torch.testing.assert_close(values, loss(random_logits(), ONE_HOT), atol=1e-4, rtol=1e-4)
