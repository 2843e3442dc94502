"""Refurbishers: new targets from the given labels, the predictions and the clean probability.

Only operators are used, so NumPy arrays and torch tensors work alike.

Sources: Huang et al., "Learning with Noisy Correspondence for Cross-modal Matching" (NCR), NeurIPS
2021, Section 3.2, Eq. 4. Guo and Ding, "Robust cross-modal retrieval with alignment refurbishment"
(RCAR), FITEE 2023, Eq. 11.

| NCR      | RCAR    | in the code                                   |
|----------|---------|-----------------------------------------------|
| y_i      | y_i     | given[i]                                      |
| w_i      | 1 - w_i | clean_probability[i]                          |
|          | w_i     | noise_probability[i]                          |
| P^k      |         | predicted, by the network that is trained     |
|          | z_i     | predicted, at 1/2 and above taken for 1       |
| P^A, P^B |         | predicted and peer_predicted, in either order |
| y-hat_i  | y-hat_i | the returned target                           |
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


def refurbish_alignment(
    given: Array, predicted: Array, noise_probability: Array, hard: bool = True
) -> Array:
    """Refurbish labels by one network's predictions (RCAR, Eq. 11).

    Args:
        given: Given labels, (n,), 1 for a pair that the data calls aligned.
        predicted: Probability of "aligned" by the network, (n,), 0 to 1.
        noise_probability: Probability that each pair is noisy, (n,).
        hard: Take the likelier class of the prediction and of the mixed label, as printed. Where
            both are equally likely, it is "aligned". False mixes the probabilities themselves.

    Returns:
        Labels, (n,); only 0 and 1 where hard.
    """
    if not hard:
        return bootstrap(given, predicted, 1 - noise_probability)
    mixed = bootstrap(given, 1.0 * (predicted >= 0.5), 1 - noise_probability)  # (n,)
    return 1.0 * (mixed >= 0.5)
