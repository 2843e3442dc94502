"""Canonical correlation: how well two views of the same samples can be mapped onto each other.

Source: Andrew et al., "Deep Canonical Correlation Analysis" (DCCA), ICML 2013, Section 3; the same
term serves Wang et al., "On Deep Multi-View Representation Learning" (DCCAE), ICML 2015.

| symbol                   | in the code                                                       |
|--------------------------|-------------------------------------------------------------------|
| H_1, H_2 (columns)       | x, y (rows)                                                       |
| r_1, r_2                 | ridge, added to each variance                                     |
| Sigma_11, Sigma_22       | covariance of x and of y with ridge                               |
| T                        | whitened, L_x^-1 Sigma_12 L_y^-T with Sigma_11 = L_x L_x^T        |
| corr(H_1, H_2) = |T|_tr  | minus `correlation_loss`                                          |

Cholesky factors replace the matrix square roots of the paper. They differ by rotations, which leave
the singular values unchanged, and have a gradient where eigenvalues repeat. All computations are in
float64 on the CPU.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LinearCca:
    """Linear maps of two views onto their canonical variables, in descending order of correlation.

    Attributes:
        x_mean: Mean of the first view, (d1,); all attributes are float64.
        x_weights: Direction of each variable in the first view, (d1, k).
        y_mean: Mean of the second view, (d2,).
        y_weights: Direction of each variable in the second view, (d2, k).
        correlations: Correlation of each pair of variables, (k,), descending.
    """

    x_mean: Tensor
    x_weights: Tensor
    y_mean: Tensor
    y_weights: Tensor
    correlations: Tensor

    def project_x(self, x: Tensor) -> Tensor:
        """Project samples of the first view.

        Args:
            x: Samples, (n, d1).

        Returns:
            Canonical variables, (n, k), in float32 or better.

        Raises:
            ValueError: If the samples have another width.
        """
        return _project(x, self.x_mean, self.x_weights)

    def project_y(self, y: Tensor) -> Tensor:
        """Project samples of the second view.

        Args:
            y: Samples, (n, d2).

        Returns:
            Canonical variables, (n, k), in float32 or better.

        Raises:
            ValueError: If the samples have another width.
        """
        return _project(y, self.y_mean, self.y_weights)


def canonical_correlations(x: Tensor, y: Tensor, ridge: float = 1e-3) -> Tensor:
    """Canonical correlations of two views, with a gradient.

    Args:
        x: First view of each sample, (n, d1).
        y: Second view of each sample, (n, d2).
        ridge: Added to the variances, 0 or more. It lowers all correlations, most strongly along
            directions whose variance is near it.

    Returns:
        Correlations, (min(d1, d2),), descending, in float32 or better.

    Raises:
        ValueError: If a shape does not fit, there are not more samples than dimensions, a value is
            not finite, or a covariance is singular.
    """
    whitened, _, _ = _whitened_covariance(x, y, ridge)  # (d1, d2)
    return torch.linalg.svdvals(whitened).to(_result_type(x, y)).to(x.device)


def correlation_loss(
    x: Tensor, y: Tensor, ridge: float = 1e-3, n_components: int | None = None
) -> Tensor:
    """Minus the total correlation of two views, the loss of DCCA.

    Correlation is a property of a batch, so this loss has no value per sample. A batch must have
    many more samples than the views have dimensions.

    Args:
        x: First view of each sample, (n, d1).
        y: Second view of each sample, (n, d2).
        ridge: Added to the variances, 0 or more.
        n_components: How many of the largest correlations to add up; by default all.

    Returns:
        Loss of the batch, a scalar from -min(d1, d2) to 0.

    Raises:
        ValueError: As `canonical_correlations`, or if n_components is out of range.
    """
    correlations = canonical_correlations(x, y, ridge)  # (min(d1, d2),)
    n_components = len(correlations) if n_components is None else n_components
    _check_components(n_components, len(correlations))
    return -correlations[:n_components].sum()


@torch.no_grad()
def fit_linear_cca(x: Tensor, y: Tensor, n_components: int, ridge: float = 1e-3) -> LinearCca:
    """Fit linear CCA, which maps the outputs of DCCA into a common space.

    Args:
        x: First view of each sample, (n, d1).
        y: Second view of each sample, (n, d2).
        n_components: Canonical variables to keep, 1 to min(d1, d2).
        ridge: Added to the variances, 0 or more.

    Returns:
        The maps, without gradient. On the fitted samples the variables of a view have mean 0 and,
        without ridge, variance 1 and no correlation with each other.

    Raises:
        ValueError: As `canonical_correlations`, or if n_components is out of range.
    """
    whitened, x_factor, y_factor = _whitened_covariance(x, y, ridge)  # (d1, d2), (d1, d1), (d2, d2)
    _check_components(n_components, min(whitened.shape))
    left, correlations, right = torch.linalg.svd(whitened, full_matrices=False)
    x_weights = torch.linalg.solve_triangular(x_factor.T, left, upper=True)  # (d1, min(d1, d2))
    y_weights = torch.linalg.solve_triangular(y_factor.T, right.T, upper=True)  # (d2, min(d1, d2))
    return LinearCca(
        x_mean=_double(x).mean(dim=0),
        x_weights=x_weights[:, :n_components].clone(),
        y_mean=_double(y).mean(dim=0),
        y_weights=y_weights[:, :n_components].clone(),
        correlations=correlations[:n_components].clone(),
    )


def _whitened_covariance(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    """T, (d1, d2), and the Cholesky factors of the two covariances, (d1, d1) and (d2, d2)."""
    _check_views(x, y)
    if ridge < 0:
        raise ValueError(f"ridge is {ridge}: give 0 or more, such as 1e-3")
    x_centred = _double(x) - _double(x).mean(dim=0)  # (n, d1)
    y_centred = _double(y) - _double(y).mean(dim=0)  # (n, d2)
    x_factor = _cholesky(x_centred, ridge, "x")  # (d1, d1)
    y_factor = _cholesky(y_centred, ridge, "y")  # (d2, d2)
    covariance = x_centred.T @ y_centred / (len(x) - 1)  # (d1, d2)
    half = torch.linalg.solve_triangular(x_factor, covariance, upper=False)  # (d1, d2)
    return torch.linalg.solve_triangular(y_factor, half.T, upper=False).T, x_factor, y_factor


def _cholesky(centred: Tensor, ridge: float, name: str) -> Tensor:
    """Cholesky factor of the covariance with ridge, (d, d)."""
    covariance = centred.T @ centred / (len(centred) - 1)  # (d, d)
    covariance = covariance + torch.full_like(covariance[0], ridge).diag()
    factor, failed_at = torch.linalg.cholesky_ex(covariance)
    if failed_at.item():
        raise ValueError(
            f"the covariance of {name} is singular with ridge {ridge:g}: raise the ridge, or leave "
            "out dimensions that are constant or linear combinations of others"
        )
    return factor


def _check_views(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or 0 in (x.shape[1], y.shape[1]):
        raise ValueError(
            f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}: give two views of the same "
            "samples, (n, d1) and (n, d2)"
        )
    widest = max(x.shape[1], y.shape[1])
    if len(x) < 2 or len(x) <= widest:
        raise ValueError(
            f"{len(x)} samples for {widest} dimensions: correlations are all 1 without more "
            "samples than dimensions; take larger batches or a smaller latent size"
        )
    for name, view in (("x", x), ("y", y)):
        if not torch.isfinite(view).all():
            first = int((~torch.isfinite(view).all(dim=1)).int().argmax())
            raise ValueError(
                f"{name} is not finite at sample {first}: look for a diverged model or bad input"
            )


def _check_components(n_components: int, n_correlations: int) -> None:
    if not 1 <= n_components <= n_correlations:
        raise ValueError(
            f"n_components is {n_components}: give 1 to {n_correlations}, the narrower view's width"
        )


def _project(samples: Tensor, mean: Tensor, weights: Tensor) -> Tensor:
    if samples.ndim != 2 or samples.shape[1] != len(mean):
        raise ValueError(
            f"samples have shape {tuple(samples.shape)}: give (n, {len(mean)}), as in the fit"
        )
    projected = (_double(samples) - mean) @ weights  # (n, k)
    return projected.to(_result_type(samples, samples)).to(samples.device)


def _double(values: Tensor) -> Tensor:
    """The values as float64 on the CPU, since not every device supports float64."""
    return values.cpu().double()


def _result_type(x: Tensor, y: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
