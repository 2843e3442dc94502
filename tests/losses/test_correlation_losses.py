"""Canonical correlations against an eigenvalue solution in NumPy and against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA

from noisy_xmodal.losses import canonical_correlations, correlation_loss, fit_linear_cca

RIDGE = 0.05


def random_views(seed=0, n=60, d1=5, d2=3, dtype=torch.float64):
    """Two views of two shared signals, with noise."""
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(n, 2, generator=generator, dtype=dtype)
    views = []
    for width in (d1, d2):
        mix = torch.randn(2, width, generator=generator, dtype=dtype)
        noise = torch.randn(n, width, generator=generator, dtype=dtype)
        views.append(signal @ mix + noise + 3)
    return views


def correlations_by_eigenvalues(x, y, ridge):
    """Roots of the eigenvalues of Sxx^-1 Sxy Syy^-1 Syx."""
    joint = np.cov(np.hstack([x.numpy(), y.numpy()]).T)
    joint += ridge * np.eye(len(joint))
    d1 = x.shape[1]
    xx, xy, yy = joint[:d1, :d1], joint[:d1, d1:], joint[d1:, d1:]
    squares = np.linalg.eigvals(np.linalg.inv(xx) @ xy @ np.linalg.inv(yy) @ xy.T).real
    return np.sqrt(np.sort(squares.clip(0))[::-1][: min(x.shape[1], y.shape[1])])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ridge", [0.0, 1e-3, RIDGE])
@pytest.mark.parametrize("widths", [(5, 3), (3, 5), (4, 4), (1, 2)])
def test_correlations_are_those_of_the_eigenvalues(seed, ridge, widths):
    x, y = random_views(seed, d1=widths[0], d2=widths[1])
    correlations = canonical_correlations(x, y, ridge)
    assert correlations.shape == (min(widths),)
    assert (correlations.diff() <= 0).all()
    expected = correlations_by_eigenvalues(x, y, ridge)
    np.testing.assert_allclose(correlations.numpy(), expected, atol=1e-7)


def test_linear_cca_finds_what_scikit_learn_finds():
    x, y = random_views(n=200)
    cca = fit_linear_cca(x, y, n_components=2, ridge=0.0)
    theirs = CCA(n_components=2, tol=1e-12, max_iter=5000).fit(x.numpy(), y.numpy())
    for ours, other in zip(
        (cca.project_x(x), cca.project_y(y)), theirs.transform(x.numpy(), y.numpy()), strict=True
    ):
        for component in range(2):
            agreement = np.corrcoef(ours[:, component].numpy(), other[:, component])[0, 1]
            assert abs(agreement) == pytest.approx(1, abs=1e-5)


def test_projections_are_white_and_correlated_as_said():
    x, y = random_views()
    cca = fit_linear_cca(x, y, n_components=3, ridge=0.0)
    both = torch.cat([cca.project_x(x), cca.project_y(y)], dim=1)  # (n, 6)
    cross = torch.diag(cca.correlations)
    expected = torch.cat([torch.cat([torch.eye(3), cross], 1), torch.cat([cross, torch.eye(3)], 1)])
    torch.testing.assert_close(torch.cov(both.T), expected.double())
    torch.testing.assert_close(both.mean(dim=0), torch.zeros(6).double())
    torch.testing.assert_close(cca.correlations, canonical_correlations(x, y, 0.0))


def test_components_are_kept_from_the_largest_on():
    x, y = random_views()
    correlations = canonical_correlations(x, y)
    cca = fit_linear_cca(x, y, n_components=2)
    assert cca.x_weights.shape == (5, 2)
    assert cca.y_weights.shape == (3, 2)
    torch.testing.assert_close(cca.correlations, correlations[:2])
    torch.testing.assert_close(correlation_loss(x, y), -correlations.sum())
    torch.testing.assert_close(correlation_loss(x, y, n_components=2), -correlations[:2].sum())


def test_shift_and_linear_maps_do_not_matter_without_ridge():
    x, y = random_views()
    mixed = 2 * x @ (torch.eye(5) + 0.1 * torch.ones(5, 5)).double() - 7
    torch.testing.assert_close(
        canonical_correlations(mixed, y, 0.0), canonical_correlations(x, y, 0.0)
    )


def test_views_that_are_the_same_correlate_fully():
    x, _ = random_views()
    torch.testing.assert_close(canonical_correlations(x, x, 0.0), torch.ones(5).double())


@pytest.mark.parametrize("n_components", [None, 1, 3])
@pytest.mark.parametrize("widths", [(5, 3), (3, 5), (4, 4)])
def test_gradient_matches_finite_differences(n_components, widths):
    views = random_views(n=12, d1=widths[0], d2=widths[1])
    assert torch.autograd.gradcheck(
        lambda x, y: correlation_loss(x, y, RIDGE, n_components),
        tuple(view.requires_grad_() for view in views),
    )


def test_gradient_where_all_correlations_are_equal():
    """Equal views without ridge: every correlation is 1, the sum at its peak."""
    x = random_views()[0]
    views = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    correlation_loss(*views, ridge=0.0).backward()
    for view in views:
        torch.testing.assert_close(view.grad, torch.zeros_like(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("case", ["constant", "repeated", "white"])
def test_gradients_are_finite_at_degenerate_views(case):
    x, y = random_views()
    if case == "constant":
        x = torch.ones_like(x)  # all correlations are 0
    elif case == "repeated":
        x = x[:, :1].repeat(1, 5)  # all but one are 0
    else:  # covariance with equal eigenvalues
        x = torch.linalg.qr(x - x.mean(dim=0))[0]
        y = x[:, :3].clone()
    x.requires_grad_(), y.requires_grad_()
    value = correlation_loss(x, y)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(y.grad).all()


def test_single_precision_comes_back_as_single():
    x, y = random_views(dtype=torch.float32)
    loss = correlation_loss(x.requires_grad_(), y)
    loss.backward()
    assert loss.dtype == x.grad.dtype == torch.float32
    cca = fit_linear_cca(x, y, 2)
    assert not cca.x_weights.requires_grad
    assert cca.project_x(x.detach()).dtype == torch.float32
    assert canonical_correlations(x.half(), y.half()).dtype == torch.float32


def test_following_the_gradient_raises_the_correlation():
    """A linear map of the narrow view is learned until the wide view says it all."""
    x, y = random_views(n=100)
    weights = torch.eye(3).double()[:, :1].requires_grad_()
    best = fit_linear_cca(x, y, 1).correlations[0].item()
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss = correlation_loss(x, y @ weights)
        loss.backward()
        optimizer.step()
    assert -loss.item() == pytest.approx(best, abs=2e-3)


@pytest.mark.parametrize(("n", "d1", "d2"), [(5, 5, 3), (5, 3, 6), (1, 1, 1), (0, 2, 2)])
def test_more_samples_than_dimensions_are_needed(n, d1, d2):
    message = f"{n} samples for {max(d1, d2)} dimensions.*larger batches or a smaller latent size"
    for function in (canonical_correlations, correlation_loss):
        with pytest.raises(ValueError, match=message):
            function(torch.zeros(n, d1), torch.zeros(n, d2))
    with pytest.raises(ValueError, match=message):
        fit_linear_cca(torch.zeros(n, d1), torch.zeros(n, d2), 1)


@pytest.mark.parametrize("shapes", [((9, 2), (8, 2)), ((9,), (9,)), ((9, 0), (9, 2))])
def test_views_are_of_the_same_samples(shapes):
    with pytest.raises(ValueError, match="two views of the same samples"):
        correlation_loss(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", [0, 1])
def test_samples_are_finite(bad, which):
    views = random_views()
    views[which][[7, 9], 1] = bad
    with pytest.raises(ValueError, match=f"{'xy'[which]} is not finite at sample 7"):
        correlation_loss(*views)


def test_a_singular_covariance_needs_a_ridge():
    x, y = random_views()
    x[:, 2] = 1.0
    with pytest.raises(ValueError, match="covariance of x is singular with ridge 0: raise"):
        correlation_loss(x, y, ridge=0.0)
    with pytest.raises(ValueError, match="ridge is -1"):
        correlation_loss(x, y, ridge=-1)


@pytest.mark.parametrize("n_components", [0, 4])
def test_components_are_at_most_the_narrow_width(n_components):
    x, y = random_views()
    with pytest.raises(ValueError, match=f"n_components is {n_components}: give 1 to 3"):
        correlation_loss(x, y, n_components=n_components)
    with pytest.raises(ValueError, match=f"n_components is {n_components}: give 1 to 3"):
        fit_linear_cca(x, y, n_components)


def test_projected_samples_are_as_wide_as_in_the_fit():
    cca = fit_linear_cca(*random_views(), 2)
    with pytest.raises(ValueError, match=r"samples have shape \(4, 3\): give \(n, 5\)"):
        cca.project_x(torch.zeros(4, 3))
    assert cca.project_y(torch.zeros(0, 3)).shape == (0, 2)
