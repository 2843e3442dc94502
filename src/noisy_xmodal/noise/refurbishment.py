"""Refurbishers: new targets from the given labels, the predictions and the clean probability.

They use operators only, so they take NumPy arrays and torch tensors.

Sources: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching" (NCR), NeurIPS
2021, Section 3.2, Eq. 4. Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment"
(RCAR), FITEE 2023, Eq. 11.

| NCR      | RCAR    | in the code                                   |
|----------|---------|-----------------------------------------------|
| y_i      | y_i     | given[i]                                      |
| w_i      | 1 - w_i | clean_probability[i]                          |
|          | w_i     | noise_probability[i]                          |
| P^k      |         | predicted, by the network in training         |
|          | z_i     | predicted, rounded: 1 from 1/2 on             |
| P^A, P^B |         | predicted and peer_predicted, in either order |
| y-hat_i  | y-hat_i | the returned target                           |
"""

from typing import Any, TypeAlias

Array: TypeAlias = Any  # a NumPy array or a torch tensor


def bootstrap(given: Array, predicted: Array, clean_probability: Array) -> Array:
    """Mix the given label with the prediction: the clean line of Eq. 4, for every pair.

    Args:
        given: Given labels, (n,), 1 for a pair of the data.
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

    The target of a pair judged clean is its label, mixed with the network's own prediction by the
    clean probability. The target of a pair judged noisy is the mean of both predictions.

    Args:
        given: Given labels, (n,), 1 for a pair of the data.
        predicted: Predictions of the network in training, (n,), 0 to 1.
        peer_predicted: Predictions of its peer, (n,), 0 to 1.
        clean_probability: Probability that each pair is clean, (n,).
        is_clean: True for pairs judged clean, (n,).

    Returns:
        Targets, (n,).
    """
    mixed = bootstrap(given, predicted, clean_probability)  # (n,)
    mean = (predicted + peer_predicted) / 2  # (n,)
    return is_clean * mixed + (is_clean == 0) * mean


def refurbish_alignment(
    given: Array, predicted: Array, noise_probability: Array, hard: bool = True
) -> Array:
    """Refurbish labels by one network's predictions (RCAR, Eq. 11).

    Args:
        given: Given labels, (n,), 1 for a pair labelled aligned.
        predicted: Probability of "aligned" by the network, (n,), 0 to 1.
        noise_probability: Probability that each pair is noisy, (n,).
        hard: Round the prediction and the mixed label to the more probable class, as printed; in a
            tie to "aligned". False mixes the probabilities themselves.

    Returns:
        Labels, (n,); only 0 and 1 if hard.
    """
    if not hard:
        return bootstrap(given, predicted, 1 - noise_probability)
    mixed = bootstrap(given, 1.0 * (predicted >= 0.5), 1 - noise_probability)  # (n,)
    return 1.0 * (mixed >= 0.5)
