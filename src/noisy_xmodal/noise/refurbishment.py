"""Refurbishers: new targets from the given labels, the predictions and the clean probability.

Only operators are used, so NumPy arrays and torch tensors work alike.

Source: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching", NeurIPS 2021,
Section 3.2, Eq. 4.

| symbol   | in the code                                       |
|----------|---------------------------------------------------|
| y_i      | given[i]                                          |
| w_i      | clean_probability[i]                              |
| P^k      | predicted, by the network that is trained         |
| P^A, P^B | predicted and peer_predicted, in either order     |
| y-hat_i  | the returned target                               |
"""

from typing import Any, TypeAlias

Array: TypeAlias = Any  # a NumPy array or a torch tensor


def bootstrap(given: Array, predicted: Array, clean_probability: Array) -> Array:
    """Mix the given label with the prediction: the clean line of Eq. 4, for every pair.

    Args:
        given: Given labels, (n,), 1 for a pair that the data calls matching.
        predicted: Predictions of the network, (n,), 0 to 1.
        clean_probability: Probability that each pair is clean, (n,).

    Returns:
        Targets, (n,).
    """
    return clean_probability * given + (1 - clean_probability) * predicted


def co_rectify(
    given: Array,
    predicted: Array,
    peer_predicted: Array,
    clean_probability: Array,
    is_clean: Array,
) -> Array:
    """Rectify targets with two networks (Eq. 4).

    A pair judged clean keeps its label as far as it is trusted, the rest comes from the network's
    own prediction. A pair judged noisy loses its label for the mean of both predictions.

    Args:
        given: Given labels, (n,), 1 for a pair that the data calls matching.
        predicted: Predictions of the network that is trained, (n,), 0 to 1.
        peer_predicted: Predictions of its peer, (n,), 0 to 1.
        clean_probability: Probability that each pair is clean, (n,).
        is_clean: True for pairs judged clean, (n,).

    Returns:
        Targets, (n,).
    """
    trusted = bootstrap(given, predicted, clean_probability)  # (n,)
    agreed = (predicted + peer_predicted) / 2  # (n,)
    return is_clean * trusted + (is_clean == 0) * agreed
