"""Losses of single pairs and of random pairs by a pretrained model.

The loss of image i with caption c is the symmetric cross-entropy of CLIP against a fixed sample of
references instead of a batch:

    loss(i, c) = (log mean_c' exp s(i, c') + log mean_i' exp s(i', c)) / 2 - s(i, c)

where s is the similarity divided by the temperature, c' runs over reference captions and i' over
reference images. This is negCLIPLoss divided by the temperature, with a fixed sample in place of a
batch: a pair loses what its image and its caption have in common with everything (Wang et al.,
"CLIPLoss and Norm-Based Data Selection Methods for Multimodal Contrastive Learning", NeurIPS 2024).

Random pairs combine the same images and captions and get the same loss. A caption
with the same text as one of the image's captions is not used in a random pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ..modules.list_inputs import check_list
from ..noise.equal_texts import SharedTexts
from .scoring import ScoringModel, eval_mode

#: Reference images and reference captions; more hardly change the ranks of the pairs.
N_REFERENCES = 2048
#: Minimum number of random pairs, if there are enough mismatched captions.
_MIN_RANDOM = 20_000
#: Maximum number of random pairs with sibling losses.
_MAX_EXCHANGED = 60_000
_BLOCK = 4096
#: Pairs per block for models without vectors.
_CHUNK = 64
_NO_RANDOM = (
    "Random pairs cannot be formed, because every caption matches every image: give pairs of two "
    "or more images with different captions."
)


class PairLosses(NamedTuple):
    """Losses of pairs and of random pairs by one model.

    The evidence has three columns: the loss of the pair, the mean loss of the image with the
    siblings (the other captions of the image), and the mean loss of the caption with the siblings,
    text with text; NaN without siblings or for a model without vectors.

    Attributes:
        losses: (n_pairs,).
        random_losses: (n_random,).
        evidence: Of the pairs, (n_pairs, 3).
        caption_exchanged: Of pairs whose caption is replaced by a random one, (n, 3).
        set_exchanged: Of images whose captions are all replaced by those of a random image, (n, 3).
    """

    losses: NDArray[np.float64]
    random_losses: NDArray[np.float64]
    evidence: NDArray[np.float64]
    caption_exchanged: NDArray[np.float64]
    set_exchanged: NDArray[np.float64]


def mean_losses(parts: Sequence[PairLosses]) -> PairLosses:
    """The mean of the losses of the same pairs and random pairs by several models.

    Args:
        parts: Losses with the same seed.
    """
    return PairLosses(*(np.mean(arrays, axis=0) for arrays in zip(*parts, strict=True)))


def pair_losses_from_vectors(
    images: np.ndarray,
    texts: np.ndarray,
    image_of_text: np.ndarray,
    scale: float,
    seed: int = 0,
    shared_texts: SharedTexts | None = None,
) -> PairLosses:
    """Losses of pairs by the vectors of two towers.

    Args:
        images: Unit vectors, (n_images, size); may be memory-mapped.
        texts: Unit vectors, (n_pairs, size); may be memory-mapped.
        image_of_text: Row of the image of each text, ascending, (n_pairs,).
        scale: Inverse temperature.
        seed: Seed of references and random pairs.
        shared_texts: Which images share which texts; by default none do.

    Raises:
        ValueError: If every text matches every image.
    """
    rng = np.random.default_rng(seed)
    some_images, some_texts = _reference_rows(rng, len(images), len(texts))
    references = References(images[some_images], texts[some_texts], scale)
    scorer = _VectorLosses.of(images, texts, image_of_text, references)
    all_texts = np.arange(len(texts))
    evidence = scorer.evidence(image_of_text, all_texts, image_of_text, all_texts)
    replaced, others = _random_pairs(rng, image_of_text, shared_texts)
    random_losses = scorer.losses(image_of_text[replaced], others)
    sample = np.sort(rng.permutation(len(others))[:_MAX_EXCHANGED])
    replaced, others = replaced[sample], others[sample]
    rows = image_of_text[replaced]
    return PairLosses(
        evidence[:, 0].copy(),
        random_losses,
        evidence,
        scorer.evidence(rows, others, rows, replaced),
        scorer.evidence(rows, others, image_of_text[others], others),
    )


class References(NamedTuple):
    """What the losses of a model compare with.

    Attributes:
        images: Unit vectors of images, (n_references, size).
        texts: Unit vectors of texts, (n_references, size).
        scale: Inverse temperature.
    """

    images: np.ndarray
    texts: np.ndarray
    scale: float

    @classmethod
    def of(cls, images: np.ndarray, texts: np.ndarray, scale: float, seed: int = 0) -> "References":
        """The references that `pair_losses_from_vectors` draws from the same vectors."""
        some_images, some_texts = _reference_rows(
            np.random.default_rng(seed), len(images), len(texts)
        )
        return cls(images[some_images], texts[some_texts], scale)


def evidence_from_vectors(
    images: np.ndarray, texts: np.ndarray, image_of_text: np.ndarray, references: References
) -> NDArray[np.float64]:
    """Evidence of further pairs of the same model, (n_pairs, 3), see `PairLosses`.

    Args:
        images: Unit vectors, (n_images, size).
        texts: Unit vectors, (n_pairs, size).
        image_of_text: Row of the image of each text, ascending, (n_pairs,).
        references: Those of the pairs that were judged before.
    """
    scorer, own = _VectorLosses.of(images, texts, image_of_text, references), np.arange(len(texts))
    return scorer.evidence(image_of_text, own, image_of_text, own)


@dataclass(frozen=True, eq=False)
class _VectorLosses:
    """Vectors and the terms of their losses that do not depend on a single pair.

    Attributes:
        images: (n_images, size).
        texts: (n_texts, size).
        first_texts: First text of each image, and the number of texts, (n_images + 1,).
        image_terms: Log mean exp of the scores with reference texts, (n_images,).
        text_terms: The same of each text with reference images, (n_texts,).
        text_text_terms: The same of each text with reference texts, (n_texts,).
        scale: Inverse temperature.
    """

    images: np.ndarray
    texts: np.ndarray
    first_texts: NDArray[np.int64]
    image_terms: NDArray[np.float64]
    text_terms: NDArray[np.float64]
    text_text_terms: NDArray[np.float64]
    scale: float

    @classmethod
    def of(
        cls,
        images: np.ndarray,
        texts: np.ndarray,
        image_of_text: np.ndarray,
        references: References,
    ) -> "_VectorLosses":
        """Of the vectors of some images, and of their texts in the order of the images."""
        scale = references.scale
        return cls(
            images,
            texts,
            np.concatenate([[0], np.cumsum(np.bincount(image_of_text, minlength=len(images)))]),
            _log_mean_exp(images, references.texts, scale),
            _log_mean_exp(texts, references.images, scale),
            _log_mean_exp(texts, references.texts, scale),
            scale,
        )

    def losses(self, rows: np.ndarray, columns: np.ndarray) -> NDArray[np.float64]:
        """Loss of images with texts, (n,)."""
        losses = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            image, text = _floats(self.images[rows[part]]), _floats(self.texts[columns[part]])
            similarity = np.einsum("nd,nd->n", image, text)
            terms = (self.image_terms[rows[part]] + self.text_terms[columns[part]]) / 2
            losses[part] = terms - self.scale * similarity
        return losses

    def evidence(
        self, rows: np.ndarray, columns: np.ndarray, sets: np.ndarray, excluded: np.ndarray
    ) -> NDArray[np.float64]:
        """Evidence of images with texts, (n, 3).

        Args:
            rows: The images, (n,).
            columns: The texts, (n,).
            sets: The images whose texts are the siblings, (n,).
            excluded: The text of each set that is not a sibling, (n,).
        """
        evidence = np.full((len(rows), 3), np.nan)
        evidence[:, 0] = self.losses(rows, columns)
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            evidence[part, 1:] = self._sibling_losses(
                rows[part], columns[part], sets[part], excluded[part]
            )
        return evidence

    def _sibling_losses(
        self, rows: np.ndarray, columns: np.ndarray, sets: np.ndarray, excluded: np.ndarray
    ) -> NDArray[np.float64]:
        """The last two columns of the evidence, (n, 2)."""
        distinct, position = np.unique(sets, return_inverse=True)
        counts = self.first_texts[distinct + 1] - self.first_texts[distinct]
        ends = np.cumsum(counts)
        starts = ends - counts
        members = np.arange(ends[-1]) + np.repeat(self.first_texts[distinct] - starts, counts)
        n_siblings = (counts[position] - 1).astype(np.float64)  # (n,)
        n_siblings[n_siblings == 0] = np.nan

        def sibling_mean(values: np.ndarray, own: np.ndarray) -> np.ndarray:
            sums = np.add.reduceat(values, starts, axis=0)[position]
            return (sums - own) / (n_siblings if values.ndim == 1 else n_siblings[:, None])

        vectors = sibling_mean(
            _floats(self.texts[members]), _floats(self.texts[excluded])
        )  # (n, size)
        text = sibling_mean(self.text_terms[members], self.text_terms[excluded])  # (n,)
        text_text = sibling_mean(self.text_text_terms[members], self.text_text_terms[excluded])
        with_image = np.einsum("nd,nd->n", _floats(self.images[rows]), vectors)
        with_text = np.einsum("nd,nd->n", _floats(self.texts[columns]), vectors)
        return np.stack(
            [
                (self.image_terms[rows] + text) / 2 - self.scale * with_image,
                (self.text_text_terms[columns] + text_text) / 2 - self.scale * with_text,
            ],
            axis=1,
        )


def pair_losses_from_scores(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[str],
    image_of_text: np.ndarray,
    scale: float,
    seed: int = 0,
    shared_texts: SharedTexts | None = None,
    progress: bool = False,
) -> PairLosses:
    """Losses of pairs by a model without image vectors, against the pairs of a chunk.

    Args:
        model: A model whose `score` compares all images of a block with all its texts.
        processor: Its processor.
        images: The images; slicing must give a list.
        texts: Captions, (n_pairs,).
        image_of_text: Row of the image of each text, (n_pairs,).
        scale: Inverse temperature.
        seed: Seed of the chunks.
        shared_texts: See `pair_losses_from_vectors`.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: See `pair_losses_from_vectors`.
    """
    check_list(images, "images")
    check_list(texts, "texts")
    order = np.random.default_rng(seed).permutation(len(texts))
    losses, random = np.empty(len(texts)), []
    with eval_mode(model), tqdm(total=len(texts), desc="scoring", disable=not progress) as bar:
        # Chunks have equal size, or one less: a loss grows with the number of references.
        for pairs in np.array_split(order, -(-len(order) // _CHUNK)):
            rows = image_of_text[pairs]
            distinct, position = np.unique(rows, return_inverse=True)
            image = processor(images=[images[row] for row in distinct.tolist()])
            text = processor(text=[texts[pair] for pair in pairs.tolist()])
            scores = model.score(
                model.encode_image(**{k: v.to(model.device) for k, v in image.items()}),
                model.encode_text(**{k: v.to(model.device) for k, v in text.items()}),
            )  # (n_distinct, n_pairs)
            logits = scores.cpu().double() * scale  # (n_distinct, n_pairs), float64 needs the CPU
            chunk_losses = _chunk_losses(logits[position].numpy())  # (n_pairs, n_pairs)
            losses[pairs] = chunk_losses.diagonal()
            mismatch = _is_mismatch(image_of_text, pairs[:, None], pairs[None], shared_texts)
            random.append(chunk_losses[mismatch])
            bar.update(len(pairs))
    random_losses = np.concatenate(random)
    if not len(random_losses):
        raise ValueError(_NO_RANDOM)
    evidence, random_evidence = (
        np.stack([values, *[np.full(len(values), np.nan)] * 2], axis=1)
        for values in (losses, random_losses[:_MAX_EXCHANGED])
    )
    return PairLosses(losses, random_losses, evidence, random_evidence, random_evidence)


def _chunk_losses(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Loss of every image of a chunk with each of its texts, (n, n)."""
    image_terms = np.logaddexp.reduce(logits, axis=1) - np.log(len(logits))  # (n,)
    text_terms = np.logaddexp.reduce(logits, axis=0) - np.log(len(logits))  # (n,)
    return np.asarray((image_terms[:, None] + text_terms[None]) / 2 - logits)


def _reference_rows(
    rng: np.random.Generator, n_images: int, n_texts: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random images and texts, ascending, which is fastest for memory-mapped files."""
    images, texts = (
        np.sort(rng.choice(n, min(n, N_REFERENCES), replace=False)) for n in (n_images, n_texts)
    )
    return images, texts


def _log_mean_exp(vectors: np.ndarray, references: np.ndarray, scale: float) -> NDArray[np.float64]:
    """Log mean exp of the scores of every vector with all references, (n,)."""
    others = torch.from_numpy(_floats(references)).T * scale  # (size, n_references)
    sums = np.empty(len(vectors))
    for start in range(0, len(vectors), _BLOCK):
        block = torch.from_numpy(_floats(vectors[start : start + _BLOCK]))
        sums[start : start + len(block)] = torch.logsumexp(block @ others, dim=1).numpy()
    return sums - np.log(others.shape[1])


def _is_mismatch(
    image_of_text: np.ndarray, own: np.ndarray, others: np.ndarray, shared_texts: SharedTexts | None
) -> NDArray[np.bool_]:
    """Whether the images of the texts `own` do not match the texts `others`, broadcast."""
    if shared_texts is not None:
        return ~shared_texts.match(image_of_text[own], others)
    return np.asarray(image_of_text[own] != image_of_text[others])


def _random_pairs(
    rng: np.random.Generator, image_of_text: np.ndarray, shared_texts: SharedTexts | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Texts, and for each a random text that does not match its image; about equally frequent."""
    n = len(image_of_text)
    replaced, others = [], []
    for _ in range(max(1, -(-_MIN_RANDOM // max(n, 1)))):
        permutation = rng.permutation(n)
        differs = np.flatnonzero(
            _is_mismatch(image_of_text, np.arange(n), permutation, shared_texts)
        )
        replaced.append(differs)
        others.append(permutation[differs])
    if not any(map(len, replaced)):
        raise ValueError(_NO_RANDOM)
    return np.concatenate(replaced), np.concatenate(others)


def _floats(values: np.ndarray) -> NDArray[np.float32]:
    """A float32 copy: torch warns about read-only arrays."""
    return np.array(values, dtype=np.float32)
