"""The losses of the compared systems against slow recomputation from their formulas."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from label_trainers import make_label_trainer, tiny_label_model, weights
from noisy_xmodal.methods.dscmr import likelihood
from noisy_xmodal.models.common_space.modeling_common_space import CommonSpaceOutput
from noisy_xmodal.training import LabelBatch
from toy_labels import N_CLASSES, toy_labels

N = 20


def one_batch(trainer, size=N):
    """Outputs of the fresh model for pairs whose two labels often differ."""
    batch = trainer.task.make_batch(trainer.train_dataset.__getitems__(list(range(size))))
    assert (batch.image_label != batch.text_label).any()
    with torch.no_grad():
        return trainer.model(**batch.inputs), batch


def losses_of(trainer, output, batch):
    found = trainer.method.loss(output, batch)
    assert found.shape == (len(batch.pair_id),)
    return found.detach().tolist()


def sides(output, batch, part):
    """Rows of both modalities in float64, with the labels of each."""
    for modality, labels in (("image", batch.image_label), ("text", batch.text_label)):
        yield np.float64(output[f"{modality}_{part}"].numpy()), labels.tolist()


def unit(vector):
    return vector / math.sqrt(sum(x * x for x in vector))


def euclid(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def probability(logits, label):
    return math.exp(logits[label]) / sum(math.exp(x) for x in logits)


def one_hot(label):
    return [float(k == label) for k in range(N_CLASSES)]


# A class loss alone


def test_class_loss_is_the_cross_entropy_of_both_modalities(tmp_path):
    trainer = make_label_trainer("ce", tmp_path)
    output, batch = one_batch(trainer)
    expected = np.zeros(N)
    for logits, labels in sides(output, batch, "class_logits"):
        expected += [-math.log(probability(logits[i], labels[i])) for i in range(N)]
    assert losses_of(trainer, output, batch) == pytest.approx(expected, abs=1e-5)


def test_class_loss_by_name_with_its_options(tmp_path):
    chosen = {"class_loss": "0.5*gce+mae", "class_loss_options": {"rho": 0.3}}
    trainer = make_label_trainer("ce", tmp_path, fields={"method_options": chosen})
    output, batch = one_batch(trainer)
    expected = np.zeros(N)
    for logits, labels in sides(output, batch, "class_logits"):
        p = np.array([probability(logits[i], labels[i]) for i in range(N)])
        expected += 0.5 * (1 - p**0.3) / 0.3 + 1 - p
    assert losses_of(trainer, output, batch) == pytest.approx(expected, abs=1e-5)


def test_unknown_class_loss_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match=r"'mse'.*choose from"):
        make_label_trainer("ce", tmp_path, fields={"method_options": {"class_loss": "mse"}})
    assert not list(tmp_path.iterdir())


# MRL


def slow_clustering(output, batch):
    expected = np.zeros(len(batch.pair_id))
    for logits, labels in sides(output, batch, "class_logits"):
        expected += [math.log(1 - probability(logits[i], labels[i])) for i in range(len(labels))]
    return expected


def slow_contrast(output, temperature):
    """Of each embedding and its counterpart, among all others of both modalities."""
    z = np.concatenate([output.image_outputs.numpy(), output.text_outputs.numpy()]).astype(float)
    n = len(z) // 2
    loss = np.zeros(n)
    for i in range(2 * n):
        others = [math.exp(z[i] @ z[j] / temperature) for j in range(2 * n) if j != i]
        loss[i % n] -= math.log(math.exp(z[i] @ z[(i + n) % (2 * n)] / temperature) / sum(others))
    return loss


@pytest.mark.parametrize(
    ("options", "beta", "temperature"),
    [({}, 0.7, 1.0), ({"beta": 0.2, "contrastive_temperature": 0.5}, 0.2, 0.5)],
)
def test_mrl_mixes_clustering_and_contrast_from_the_first_step(
    tmp_path, options, beta, temperature
):
    trainer = make_label_trainer("mrl", tmp_path, fields={"method_options": options})
    assert not trainer.state.epoch
    output, batch = one_batch(trainer)
    expected = beta * slow_clustering(output, batch) + (1 - beta) * slow_contrast(
        output, temperature
    )
    assert losses_of(trainer, output, batch) == pytest.approx(expected, abs=1e-5)


def test_warm_up_of_mrl_is_the_class_loss_alone(tmp_path):
    trainer = make_label_trainer("mrl_warmup", tmp_path, num_train_epochs=3, warmup_epochs=2)
    output, batch = one_batch(trainer)
    clustering, contrast = slow_clustering(output, batch), slow_contrast(output, 1.0)
    both = 0.7 * clustering + 0.3 * contrast
    found = trainer.method.warm_up_loss(output, batch)
    assert found.tolist() == pytest.approx(clustering, abs=1e-5)
    assert losses_of(trainer, output, batch) == pytest.approx(both, abs=1e-5)
    inputs = trainer.train_dataset.__getitems__(list(range(N)))
    for epoch, expected in ((0.0, clustering), (1.75, clustering), (2.0, both), (2.75, both)):
        trainer.state.epoch = epoch
        loss = float(trainer.compute_loss(trainer.model, inputs).detach())
        assert loss == pytest.approx(expected.mean(), abs=1e-5)


# LCN


def predictions_that_never_agree(n_pairs):
    """Labels 0, and logits whose largest is class 1 for images and 2 for texts."""
    given = torch.zeros(n_pairs, dtype=torch.long)
    batch = LabelBatch(0, torch.arange(n_pairs), given, given, {})
    image_logits, text_logits = torch.zeros(n_pairs, N_CLASSES), torch.zeros(n_pairs, N_CLASSES)
    image_logits[:, 1] = text_logits[:, 2] = 3.0
    return CommonSpaceOutput(image_class_logits=image_logits, text_class_logits=text_logits), batch


@pytest.mark.parametrize(("n_epochs", "n_pairs"), [(3, 7), (100, 50), (30, 25), (1, 5)])
def test_lcn_replaces_more_labels_in_every_epoch(tmp_path, n_epochs, n_pairs):
    trainer = make_label_trainer("lcn", tmp_path, num_train_epochs=n_epochs)
    output, batch = predictions_that_never_agree(n_pairs)
    for epoch in range(n_epochs):
        for within in (0.0, 0.75):
            trainer.state.epoch = epoch + within
            images, texts = trainer.method.labels(output, batch)
            replaced = int((images == 1).sum() + (texts == 2).sum())
            assert replaced == math.floor(Fraction(epoch + 1, n_epochs) * 2 * n_pairs)
            assert set(images.tolist()) <= {0, 1}
            assert set(texts.tolist()) <= {0, 2}
            assert (batch.image_label == 0).all()
            assert (batch.text_label == 0).all()


def test_lcn_draws_from_both_modalities_together_and_anew(tmp_path):
    trainer = make_label_trainer("lcn", tmp_path)
    trainer.state.epoch = 0.0
    output, batch = predictions_that_never_agree(12)
    draws = [trainer.method.labels(output, batch) for _ in range(40)]
    of_images = {int((images == 1).sum()) for images, _ in draws}
    assert len(of_images) > 2
    at_least_once = torch.stack([torch.cat(draw) > 0 for draw in draws]).any(dim=0)
    assert at_least_once.all()


def test_lcn_keeps_no_correction(tmp_path):
    trainer = make_label_trainer("lcn", tmp_path, save_strategy="no", eval_strategy="no")
    given = trainer.train_dataset.image_labels.copy(), trainer.train_dataset.text_labels.copy()
    trainer.train()
    np.testing.assert_array_equal(trainer.train_dataset.image_labels, given[0])
    np.testing.assert_array_equal(trainer.train_dataset.text_labels, given[1])
    assert not any(name in trainer.pair_state for name in ("target", "is_clean", "loss"))


def test_lcn_has_the_losses_of_mrl_with_the_labels_of_its_draw(tmp_path):
    trainer = make_label_trainer("lcn", tmp_path)
    trainer.state.epoch = 0.0
    output, batch = one_batch(trainer)
    torch.manual_seed(5)
    images, texts = trainer.method.labels(output, batch)
    assert not torch.equal(
        torch.cat([images, texts]), torch.cat([batch.image_label, batch.text_label])
    )
    corrected = replace(batch, image_label=images, text_label=texts)
    expected = 0.7 * slow_clustering(output, corrected) + 0.3 * slow_contrast(output, 1.0)
    torch.manual_seed(5)
    assert losses_of(trainer, output, batch) == pytest.approx(expected, abs=1e-5)


# SDML


def test_sdml_is_distance_to_the_class_and_to_the_input(tmp_path):
    trainer = make_label_trainer("sdml", tmp_path, fields={"method_options": {"alpha": 0.3}})
    output, batch = one_batch(trainer)
    expected = np.zeros(N)
    for modality, (z, labels) in zip(
        ("image", "text"), sides(output, batch, "outputs"), strict=True
    ):
        directions = trainer.model.classifier.weight.detach().double().numpy()
        features = getattr(trainer.train_dataset, f"{modality}_features").astype(float)
        scaled = (features - features.mean(axis=0)) / features.std(axis=0)
        rebuilt = output[f"{modality}_reconstruction"].double().numpy()
        for i in range(N):
            assert np.linalg.norm(z[i]) == pytest.approx(1, abs=1e-6)
            logits = [float(z[i] @ direction) for direction in directions]
            to_class = euclid(logits, one_hot(labels[i]))
            expected[i] += 0.3 * euclid(unit(rebuilt[i]), unit(scaled[i])) + 0.7 * to_class
    assert losses_of(trainer, output, batch) == pytest.approx(expected, abs=1e-5)


def test_directions_of_sdml_are_orthonormal_and_have_no_gradient():
    directions = tiny_label_model("sdml").classifier.weight
    assert not directions.requires_grad
    torch.testing.assert_close(directions @ directions.T, torch.eye(N_CLASSES))


# DSCMR


def cosine(a, b):
    return float(unit(a) @ unit(b))


def slow_likelihood(a, b, a_labels, b_labels):
    """-log sigmoid of the right sign, of each row of a and averaged over those of b."""
    rows = []
    for x, x_label in zip(a, a_labels, strict=True):
        terms = []
        for y, y_label in zip(b, b_labels, strict=True):
            theta = cosine(x, y) / 2
            terms.append(math.log(1 + math.exp(theta)) - (x_label == y_label) * theta)
        rows.append(sum(terms) / len(terms))
    return np.array(rows)


def test_likelihood_of_dscmr_is_a_double_loop():
    a, b = torch.randn(5, 3), torch.randn(7, 3)
    a_labels, b_labels = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 0, 1, 3, 2, 1, 0])
    normalized = [torch.nn.functional.normalize(side) for side in (a, b)]
    found = likelihood(*normalized, a_labels, b_labels)
    expected = slow_likelihood(
        a.double().numpy(), b.double().numpy(), a_labels.tolist(), b_labels.tolist()
    )
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_dscmr_is_the_sum_of_its_three_terms(tmp_path):
    chosen = {"discrimination_weight": 0.5, "invariance_weight": 0.25}
    trainer = make_label_trainer("dscmr", tmp_path, fields={"method_options": chosen})
    output, batch = one_batch(trainer)
    (images, image_labels), (texts, text_labels) = sides(output, batch, "outputs")
    expected = np.array([0.25 * euclid(images[i], texts[i]) for i in range(N)])
    for logits, labels in sides(output, batch, "class_logits"):
        expected += [euclid(logits[i], one_hot(labels[i])) for i in range(N)]
    for a, b, a_labels, b_labels in (
        (images, images, image_labels, image_labels),
        (images, texts, image_labels, text_labels),
        (texts, texts, text_labels, text_labels),
    ):
        expected += 0.5 * slow_likelihood(a, b, a_labels, b_labels)
    assert losses_of(trainer, output, batch) == pytest.approx(expected, abs=1e-5)


def test_last_layer_of_dscmr_is_one_for_both_modalities(tmp_path):
    trainer = make_label_trainer("dscmr", tmp_path)
    trainer.train()
    trainer.save_model()
    again = type(trainer.model).from_pretrained(tmp_path)
    for model in (trainer.model, again):
        assert model.text_tower[-1].weight is model.image_tower[-1].weight
        assert model.text_tower[0].weight is not model.image_tower[0].weight
    assert torch.equal(again.image_tower[-1].weight, trainer.model.image_tower[-1].weight)


# DCCA and DCCAE


def inverse_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**-0.5) @ vectors.T


def slow_cca(x, y, ridge):
    """Weights of both views and the correlations, by symmetric square roots."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    n = len(x) - 1
    x_root = inverse_root(x.T @ x / n + ridge * np.eye(x.shape[1]))
    y_root = inverse_root(y.T @ y / n + ridge * np.eye(y.shape[1]))
    left, correlations, right = np.linalg.svd(x_root @ (x.T @ y / n) @ y_root)
    return x_root @ left, y_root @ right.T, correlations


def training_outputs(trainer):
    """Outputs of both towers for all training pairs, with what the projections make of them."""
    model, pairs = trainer.model, trainer.train_dataset
    model.eval()
    inputs = {
        f"{modality}_features": torch.tensor(getattr(pairs, f"{modality}_features"))
        for modality in ("image", "text")
    }
    with torch.no_grad():
        output = model(**inputs)
        found = {}
        for modality in ("image", "text"):
            outputs = output[f"{modality}_outputs"]
            projected = getattr(model, f"{modality}_projection")(outputs)
            unit_rows = projected / projected.norm(dim=1, keepdim=True)
            torch.testing.assert_close(output[f"{modality}_embeds"], unit_rows)
            found[modality] = outputs.double().numpy(), projected.double().numpy()
    return found["image"], found["text"]


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_dcca_is_minus_the_total_correlation_for_every_pair(tmp_path, ridge):
    trainer = make_label_trainer("dcca", tmp_path, fields={"method_options": {"ridge": ridge}})
    output, batch = one_batch(trainer)
    (images, _), (texts, _) = sides(output, batch, "outputs")
    expected = -slow_cca(images, texts, ridge)[2].sum()
    assert losses_of(trainer, output, batch) == pytest.approx([expected] * N, abs=1e-4)


def test_dcca_knows_no_labels(tmp_path):
    results = []
    for noise in (None, "sym_80"):
        rows = toy_labels(noise=noise)
        trainer = make_label_trainer("dcca", tmp_path, train=rows, save_strategy="no")
        trainer.train()
        results.append(weights(trainer))
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


@pytest.mark.parametrize("method", ["dcca", "dccae"])
def test_projection_after_an_epoch_is_linear_cca_up_to_sign(tmp_path, method):
    trainer = make_label_trainer(method, tmp_path, num_train_epochs=1, warmup_epochs=0)
    trainer.train()
    views = training_outputs(trainer)
    *expected, _ = slow_cca(views[0][0], views[1][0], 1e-3)
    for (outputs, projected), directions in zip(views, expected, strict=True):
        variables = (outputs - outputs.mean(axis=0)) @ directions[:, :3]
        signs = np.sign((variables * projected).sum(axis=0))
        np.testing.assert_allclose(projected, variables * signs, atol=2e-3)


def test_projected_training_outputs_have_the_canonical_correlations(tmp_path):
    trainer = make_label_trainer("dcca", tmp_path, fields={"method_options": {"ridge": 1e-9}})
    trainer.train()
    (images, projected_images), (texts, projected_texts) = training_outputs(trainer)
    bases = [np.linalg.qr(view - view.mean(axis=0))[0] for view in (images, texts)]
    correlations = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)[:3]
    found = np.corrcoef(projected_images, projected_texts, rowvar=False)
    np.testing.assert_allclose(np.diag(found[:3, 3:]), correlations, atol=1e-4)
    np.testing.assert_allclose(found[:3, :3], np.eye(3), atol=1e-3)
    np.testing.assert_allclose(found[3:, 3:], np.eye(3), atol=1e-3)


def test_projection_is_saved_and_fitted_anew_in_every_epoch(tmp_path):
    trainer = make_label_trainer("dcca", tmp_path)
    fresh = trainer.model.image_projection.weight.clone()
    trainer.train()
    saved = [
        type(trainer.model).from_pretrained(tmp_path / f"checkpoint-{step}").image_projection
        for step in (4, 8)
    ]
    assert not torch.equal(saved[0].weight, fresh)
    assert not torch.equal(saved[0].weight, saved[1].weight)
    assert torch.equal(saved[1].weight, trainer.model.image_projection.weight)
    assert torch.equal(saved[1].mean, trainer.model.image_projection.mean)


@pytest.mark.parametrize("mode", [True, False])
def test_fitting_the_projection_moves_nothing_else(tmp_path, mode):
    trainer = make_label_trainer("dcca", tmp_path)
    trainer.model.train(mode)
    before, random_state = weights(trainer), torch.get_rng_state()
    trainer.method.fit_projection()
    assert trainer.model.training == mode
    assert torch.equal(torch.get_rng_state(), random_state)
    changed = [n for n, value in weights(trainer).items() if not torch.equal(value, before[n])]
    assert sorted(changed) == [
        f"{modality}_projection.{part}"
        for modality in ("image", "text")
        for part in ("mean", "weight")
    ]


def test_dccae_adds_the_reconstruction_error_of_each_pair(tmp_path):
    chosen = {"reconstruction_weight": 0.2}
    trainer = make_label_trainer("dccae", tmp_path, fields={"method_options": chosen})
    output, batch = one_batch(trainer)
    (images, _), (texts, _) = sides(output, batch, "outputs")
    expected = np.full(N, -slow_cca(images, texts, 1e-3)[2].sum())
    for modality in ("image", "text"):
        features = getattr(trainer.train_dataset, f"{modality}_features").astype(float)
        scaled = ((features - features.mean(axis=0)) / features.std(axis=0))[:N]
        rebuilt = output[f"{modality}_reconstruction"].double().numpy()
        for i in range(N):
            error = sum((x - y) ** 2 for x, y in zip(rebuilt[i], scaled[i], strict=True))
            expected[i] += 0.2 * error / features.shape[1]
    assert losses_of(trainer, output, batch) == pytest.approx(expected, abs=1e-4)
