"""Losses of single pairs, and of random pairs beside them, by a model that is there.

The loss of image i with caption c is the symmetric cross-entropy of CLIP against a fixed sample of
references in place of a batch:

    loss(i, c) = (log mean_c' exp s(i, c') + log mean_i' exp s(i', c)) / 2 - s(i, c)

where s is the similarity divided by the temperature, c' runs over reference captions and i' over
reference images. Random pairs are made of the same images and captions and judged alike; a caption
with the very text of one of the image's own makes no random pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ..data.equal_texts import SharedTexts
from ..modules.list_inputs import check_list
from .scoring import ScoringModel, eval_mode

#: References of each kind; more change the ranks of the pairs by little.
N_REFERENCES = 2048
#: Random pairs at least, where there are captions of other images to make them of.
_LEAST_RANDOM = 20_000
#: Random pairs whose siblings are looked at.
_MOST_EXCHANGED = 60_000
_BLOCK = 4096
#: Pairs whose scores are compared with each other at most, for models without vectors.
_CHUNK = 64
_NO_RANDOM = (
    "No image can be given a caption that is none of its own, so that no random pair can be made "
    "to compare with: give pairs of two images or more, with different captions."
)


class JudgedPairs(NamedTuple):
    """Losses of pairs and of random pairs, by one model.

    The evidence has three columns: the loss of a pair, the mean loss of its siblings (the other
    captions of its image) with the image, and the mean loss of its caption with its siblings, text
    with text; NaN where there are no siblings or the model has no vectors.

    Attributes:
        losses: (n_pairs,).
        random_losses: (n_random,).
        evidence: Of the pairs, (n_pairs, 3).
        caption_exchanged: Of pairs whose caption is exchanged for a random one, (n, 3).
        set_exchanged: Of images that are given the captions of a random image, (n, 3).
    """

    losses: NDArray[np.float64]
    random_losses: NDArray[np.float64]
    evidence: NDArray[np.float64]
    caption_exchanged: NDArray[np.float64]
    set_exchanged: NDArray[np.float64]


def judge_vectors(
    images: np.ndarray,
    texts: np.ndarray,
    image_of_text: np.ndarray,
    scale: float,
    seed: int = 0,
    shared_texts: SharedTexts | None = None,
) -> JudgedPairs:
    """Losses of pairs by the vectors of two towers.

    Args:
        images: Unit vectors, (n_images, size), possibly mapped from a file.
        texts: Unit vectors, (n_pairs, size), likewise; those of an image stand together.
        image_of_text: Row of the image of each text, ascending, (n_pairs,).
        scale: Inverse temperature.
        seed: Seed of references and random pairs.
        shared_texts: Which images share which texts; by default, none do.

    Raises:
        ValueError: If no image can be given a text that is none of its own.
    """
    rng = np.random.default_rng(seed)
    some_images = _sample(rng, len(images))
    some_texts = _sample(rng, len(texts))
    judge = _VectorJudge(
        images,
        texts,
        np.concatenate([[0], np.cumsum(np.bincount(image_of_text, minlength=len(images)))]),
        _log_mean_exp(images, texts[some_texts], scale),
        _log_mean_exp(texts, images[some_images], scale),
        _log_mean_exp(texts, texts[some_texts], scale),
        scale,
    )
    own = np.arange(len(texts))
    given = judge.evidence(image_of_text, own, image_of_text, own)
    replaced, others = _random_pairs(rng, image_of_text, shared_texts)
    random_losses = judge.losses(image_of_text[replaced], others)
    some = np.sort(rng.permutation(len(others))[:_MOST_EXCHANGED])
    replaced, others = replaced[some], others[some]
    rows = image_of_text[replaced]
    return JudgedPairs(
        given[:, 0].copy(),
        random_losses,
        given,
        judge.evidence(rows, others, rows, replaced),
        judge.evidence(rows, others, image_of_text[others], others),
    )


@dataclass(frozen=True, eq=False)
class _VectorJudge:
    """Vectors with what their losses have in common.

    Attributes:
        images: (n_images, size).
        texts: (n_texts, size).
        first_texts: First text of each image, and the number of texts, (n_images + 1,).
        of_image: Log mean exp of the scores with reference texts, (n_images,).
        of_text: The same of each text with reference images, (n_texts,).
        among_texts: The same of each text with reference texts, (n_texts,).
        scale: Inverse temperature.
    """

    images: np.ndarray
    texts: np.ndarray
    first_texts: NDArray[np.int64]
    of_image: NDArray[np.float64]
    of_text: NDArray[np.float64]
    among_texts: NDArray[np.float64]
    scale: float

    def losses(self, rows: np.ndarray, columns: np.ndarray) -> NDArray[np.float64]:
        """Loss of images with texts, (n,)."""
        found = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            image, text = _floats(self.images[rows[part]]), _floats(self.texts[columns[part]])
            similar = np.einsum("nd,nd->n", image, text)
            common = (self.of_image[rows[part]] + self.of_text[columns[part]]) / 2
            found[part] = common - self.scale * similar
        return found

    def evidence(
        self, rows: np.ndarray, columns: np.ndarray, sets: np.ndarray, without: np.ndarray
    ) -> NDArray[np.float64]:
        """Evidence of images with texts, (n, 3).

        Args:
            rows: The images, (n,).
            columns: The texts, (n,).
            sets: The images whose texts are the siblings, (n,).
            without: The text of each set that is none of them, (n,).
        """
        found = np.full((len(rows), 3), np.nan)
        found[:, 0] = self.losses(rows, columns)
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            found[part, 1:] = self._siblings(rows[part], columns[part], sets[part], without[part])
        return found

    def _siblings(
        self, rows: np.ndarray, columns: np.ndarray, sets: np.ndarray, without: np.ndarray
    ) -> NDArray[np.float64]:
        """The last two columns of the evidence, (n, 2)."""
        distinct, position = np.unique(sets, return_inverse=True)
        counts = self.first_texts[distinct + 1] - self.first_texts[distinct]
        ends = np.cumsum(counts)
        starts = ends - counts
        members = np.arange(ends[-1]) + np.repeat(self.first_texts[distinct] - starts, counts)
        left = (counts[position] - 1).astype(np.float64)  # (n,)
        left[left == 0] = np.nan

        def mean_of_others(values: np.ndarray, own: np.ndarray) -> np.ndarray:
            sums = np.add.reduceat(values, starts, axis=0)[position]
            return (sums - own) / (left if values.ndim == 1 else left[:, None])

        vectors = mean_of_others(
            _floats(self.texts[members]), _floats(self.texts[without])
        )  # (n, size)
        text = mean_of_others(self.of_text[members], self.of_text[without])  # (n,)
        among = mean_of_others(self.among_texts[members], self.among_texts[without])  # (n,)
        with_image = np.einsum("nd,nd->n", _floats(self.images[rows]), vectors)
        with_text = np.einsum("nd,nd->n", _floats(self.texts[columns]), vectors)
        return np.stack(
            [
                (self.of_image[rows] + text) / 2 - self.scale * with_image,
                (self.among_texts[columns] + among) / 2 - self.scale * with_text,
            ],
            axis=1,
        )


def judge_scores(
    model: ScoringModel,
    processor: Any,
    images: Sequence[Any],
    texts: Sequence[str],
    image_of_text: np.ndarray,
    scale: float,
    seed: int = 0,
    shared_texts: SharedTexts | None = None,
    progress: bool = False,
) -> JudgedPairs:
    """Losses of pairs by a model that has no vector an image, against the pairs of a chunk.

    Args:
        model: A model whose `score` compares all images of a block with all its texts.
        processor: Its processor.
        images: Anything that gives a list for a slice.
        texts: Captions, (n_pairs,).
        image_of_text: Row of the image of each text, (n_pairs,).
        scale: Inverse temperature.
        seed: Seed of the chunks.
        shared_texts: See `judge_vectors`.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: See `judge_vectors`.
    """
    check_list(images, "images")
    check_list(texts, "texts")
    order = np.random.default_rng(seed).permutation(len(texts))
    losses, random = np.empty(len(texts)), []
    with eval_mode(model), tqdm(total=len(texts), desc="judging", disable=not progress) as bar:
        # Of one size, or one less: a loss is larger where there is more to be compared with.
        for pairs in np.array_split(order, -(-len(order) // _CHUNK)):
            rows = image_of_text[pairs]
            distinct, position = np.unique(rows, return_inverse=True)
            image = processor(images=[images[row] for row in distinct.tolist()])
            text = processor(text=[texts[pair] for pair in pairs.tolist()])
            scores = model.score(
                model.encode_image(**{k: v.to(model.device) for k, v in image.items()}),
                model.encode_text(**{k: v.to(model.device) for k, v in text.items()}),
            )  # (n_distinct, n_pairs)
            logits = scores.cpu().double() * scale  # (n_distinct, n_pairs), where there is float64
            found = _chunk_losses(logits[position].numpy())  # (n_pairs, n_pairs)
            losses[pairs] = found.diagonal()
            random.append(
                found[_are_wrong(image_of_text, pairs[:, None], pairs[None], shared_texts)]
            )
            bar.update(len(pairs))
    random_losses = np.concatenate(random)
    if not len(random_losses):
        raise ValueError(_NO_RANDOM)
    alone, alone_random = (
        np.stack([values, *[np.full(len(values), np.nan)] * 2], axis=1)
        for values in (losses, random_losses[:_MOST_EXCHANGED])
    )
    return JudgedPairs(losses, random_losses, alone, alone_random, alone_random)


def _chunk_losses(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Loss of every image of a chunk with each of its texts, (n, n)."""
    of_image = np.logaddexp.reduce(logits, axis=1) - np.log(len(logits))  # (n,)
    of_text = np.logaddexp.reduce(logits, axis=0) - np.log(len(logits))  # (n,)
    found: NDArray[np.float64] = (of_image[:, None] + of_text[None]) / 2 - logits
    return found


def _sample(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Some rows in their order, which is how a mapped file is read fastest."""
    return np.sort(rng.choice(n, min(n, N_REFERENCES), replace=False))


def _log_mean_exp(vectors: np.ndarray, references: np.ndarray, scale: float) -> NDArray[np.float64]:
    """Of the scores of every vector with all references, (n,)."""
    others = torch.from_numpy(_floats(references)).T * scale  # (size, n_references)
    found = np.empty(len(vectors))
    for start in range(0, len(vectors), _BLOCK):
        block = torch.from_numpy(_floats(vectors[start : start + _BLOCK]))
        found[start : start + len(block)] = torch.logsumexp(block @ others, dim=1).numpy()
    return found - np.log(others.shape[1])


def _are_wrong(
    image_of_text: np.ndarray, own: np.ndarray, others: np.ndarray, shared_texts: SharedTexts | None
) -> NDArray[np.bool_]:
    """Whether the images of texts are wrong with other texts, of the shape of both together."""
    if shared_texts is not None:
        return ~shared_texts.match(image_of_text[own], others)
    return np.asarray(image_of_text[own] != image_of_text[others])


def _random_pairs(
    rng: np.random.Generator, image_of_text: np.ndarray, shared_texts: SharedTexts | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Texts, and a text that is wrong for the image of each, about as often as any other."""
    n = len(image_of_text)
    replaced, others = [], []
    for _ in range(max(1, -(-_LEAST_RANDOM // max(n, 1)))):
        drawn = rng.permutation(n)
        differs = np.flatnonzero(_are_wrong(image_of_text, np.arange(n), drawn, shared_texts))
        replaced.append(differs)
        others.append(drawn[differs])
    found = np.concatenate(replaced), np.concatenate(others)
    if not len(found[0]):
        raise ValueError(_NO_RANDOM)
    return found


def _floats(values: np.ndarray) -> NDArray[np.float32]:
    """As float32 in memory of its own: torch warns of arrays that it must not write to."""
    return np.array(values, dtype=np.float32)
