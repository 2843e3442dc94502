"""Judging the pairs of a shard by models of a cross-fit that have not seen them.

An image of the sample is judged by the models that left it out. An image that looks like one of the
sample is judged like that one. Any other is judged by the models of one fold, chosen by its digest,
so that copies of an image are judged alike. The losses of these pairs are distributed as those of
the fold's own pairs, so that what the sample says about a loss holds for them as well.
"""

from collections.abc import Callable
from itertools import compress
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..arguments.audit import THRESHOLD, TROUBLES
from ..data import PairDataset
from ..data.columns import IS_NOISY
from ..evaluation.collection import Collection, Side, embed_pairs
from ..evaluation.pair_losses import References, evidence_from_vectors
from ..files import atomic_write
from ..models.matching.modeling_matching import MatchingModel
from .cross_fit import CrossFit
from .duplicates import ALIKE_BITS, hash_bytes, is_flat
from .judgement import Calibration, Judgement
from .kept_shards import KeptShard
from .known_pairs import KnownPairs
from .small_model import CaptionProcessor
from .suggestions import Pool

#: See `ShardJudge.write_part`.
Conclude = Callable[
    [NDArray[np.float64], NDArray[np.float64], KnownPairs | None], NDArray[np.float64]
]
#: Images of the sample that suggestions are taken from: all are compared with every wrong pair.
_MOST_SUGGESTED = 20_000
_BLOCK = 256


class ShardJudge:
    """Judges shards as a sample of their pairs was judged.

    Args:
        fit: The cross-fit, after `judge`.
        judgement: Its judgement of the sample.
        sample: The sample.
        names: Name of each shard.
    """

    def __init__(
        self, fit: CrossFit, judgement: Judgement, sample: KeptShard, names: list[str]
    ) -> None:
        self._fit = fit
        self._calibration = Calibration(fit.losses, judgement)
        self._fold_of_row = judgement.fold_of_row
        self._sample = sample
        self._names = names
        self._judges: dict[int, list[tuple[MatchingModel, References]]] = {}
        self._pools: dict[int, Pool] = {}
        n_rows = fit.pairs.n_images
        pool_rows = np.linspace(0, n_rows - 1, min(n_rows, _MOST_SUGGESTED)).astype(np.int64)
        self._pool_rows = pool_rows
        self._pool_pairs = np.flatnonzero(np.isin(fit.pairs.row_of_pair, pool_rows))
        self._place_in_pool = np.full(n_rows, -1)
        self._place_in_pool[pool_rows] = np.arange(len(pool_rows))
        digests, hashes, _ = sample.looks
        self._order = np.argsort(digests, kind="stable")
        self._digests = digests[self._order]
        self._hashed = np.flatnonzero(~is_flat(hashes))
        self._index = faiss.IndexBinaryFlat(64)
        if len(self._hashed):
            self._index.add(hash_bytes(hashes[self._hashed]))

    def write_part(
        self,
        number: int,
        shard: KeptShard,
        first_pair: int,
        path: Path,
        conclude: Conclude,
        known: KnownPairs | None = None,
    ) -> None:
        """Judge a shard and write its part of the table, worst first.

        Args:
            number: Number of the shard.
            shard: The shard.
            first_pair: Number of pairs in the shards before it.
            path: The Parquet file.
            conclude: Function of the tails and clean probabilities of pairs, and of what people
                decided about them, that returns their clean probabilities in the end.
            known: What people decided about the pairs of the shard.
        """
        pairs, n_pairs = shard.pairs, len(shard.pairs)
        rows = pairs.row_of_pair
        own_rows, fold_of_row, alike = self._folds(number, shard)
        losses, tail, clean = np.zeros((3, n_pairs))
        better_text, better_row = np.full((2, n_pairs), -1)
        for fold in np.unique(fold_of_row).tolist():
            some = np.flatnonzero(fold_of_row == fold)
            at = np.flatnonzero(fold_of_row[rows] == fold)
            part = pairs.select(some)
            evidence, image, text = self._evidence(fold, part, shard)
            losses[at] = evidence[:, 0]
            tail[at], clean[at] = self._calibration.judge(fold, evidence)
            wrong = np.flatnonzero(clean[at] < THRESHOLD)
            if len(wrong):
                better_text[at[wrong]], better_row[at[wrong]] = self._better(
                    fold, part, wrong, image, text, own_rows[some]
                )
        clean = conclude(tail, clean, known)
        order = np.lexsort((-losses, -tail, clean))
        table = self._table(number, shard, order, losses, clean, better_text, better_row)
        if known is not None:
            made = (known.decisions.get(pair) for pair in order.tolist())
            decisions = [None if one is None else one.decision for one in made]
            table = table.append_column("review", pa.array(decisions, pa.string()))
        table = table.set_column(0, "pair_id", pa.array(first_pair + order))
        facts = {"alike": str(alike), "wrong": str(int((clean < THRESHOLD).sum()))}
        facts["doubt"] = str(float((1 - clean).sum()))
        with atomic_write(path) as aside:
            pq.write_table(table.replace_schema_metadata(facts), aside, compression="zstd")

    def judge_pairs(
        self, number: int, shard: KeptShard, wanted: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tail and clean probability of some pairs of a shard, (n_wanted,) each.

        Args:
            number: Number of the shard.
            shard: The shard.
            wanted: The pairs, ascending.
        """
        rows = np.unique(shard.pairs.row_of_pair[wanted])
        part = shard.pairs.select(rows)  # with all captions of these images
        fold_of_row = self._folds(number, shard)[1][rows]
        tail, clean = np.zeros((2, len(part)))
        for fold in np.unique(fold_of_row).tolist():
            at = np.flatnonzero(fold_of_row[part.row_of_pair] == fold)
            own = part.select(np.flatnonzero(fold_of_row == fold))
            tail[at], clean[at] = self._calibration.judge(fold, self._evidence(fold, own, shard)[0])
        pairs = np.flatnonzero(np.isin(shard.pairs.row_of_pair, rows))  # those of `part`
        places = np.searchsorted(pairs, wanted)
        return tail[places], clean[places]

    def suggest(self, wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Better captions and images for some pairs of the sample, see `suggestions.suggest`.

        Args:
            wanted: The pairs.
        """
        pairs = self._fit.pairs
        best_text, best_row = np.full((2, len(pairs)), -1)
        fold_of_pair = self._fold_of_row[pairs.row_of_pair]  # (n_pairs,)
        for fold in np.unique(fold_of_pair[wanted]).tolist():
            own = wanted[fold_of_pair[wanted] == fold]
            rows = np.unique(pairs.row_of_pair[own])
            part = pairs.select(rows)
            at = np.flatnonzero(np.isin(pairs.row_of_pair, rows))  # pairs of `part`
            some = np.flatnonzero(np.isin(at, own))
            _, image, text = self._evidence(fold, part, self._sample)
            better = self._better(fold, part, some, image, text, rows)
            best_text[at[some]], best_row[at[some]] = better
        return best_text, best_row

    def _better(
        self,
        fold: int,
        part: PairDataset,
        wanted: NDArray[np.int64],
        image: np.ndarray,
        text: np.ndarray,
        own_rows: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs and rows of the sample for some pairs, whose images have `own_rows` there."""
        rows = part.row_of_pair[wanted]
        own = np.where(own_rows >= 0, self._place_in_pool[own_rows], -1)[rows]
        captions = [part.caption(pair) for pair in wanted.tolist()]
        places, images = self._pool(fold).best(image, text[wanted], rows, captions, own)
        return (
            np.where(places >= 0, self._pool_pairs[places], -1),
            np.where(images >= 0, self._pool_rows[images], -1),
        )

    def _folds(
        self, number: int, shard: KeptShard
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Row of each image in the sample, -1 outside; its fold; how many look like a sample's."""
        digests, hashes, _ = shard.looks
        n_folds = self._fit.options.folds
        fold = (digests % np.uint64(n_folds)).astype(np.int64)  # (n_images,)
        near = np.full(len(digests), -1)
        rows = np.flatnonzero(~is_flat(hashes))
        if len(rows) and len(self._hashed):
            distance, found = self._index.search(hash_bytes(hashes[rows]), 1)
            is_near = distance[:, 0] <= ALIKE_BITS
            near[rows[is_near]] = self._hashed[found[is_near, 0]]
        place = np.minimum(np.searchsorted(self._digests, digests), len(self._digests) - 1)
        same = self._digests[place] == digests
        near[same] = self._order[place[same]]
        own = np.full(len(digests), -1)
        shards, sample_rows = self._sample.places
        here = np.flatnonzero(shards == number)
        own[sample_rows[here]] = here
        n_alike = int(((near >= 0) & (own < 0)).sum())
        near[own >= 0] = own[own >= 0]
        fold[near >= 0] = self._fold_of_row[near[near >= 0]]
        return own, fold, n_alike

    def _evidence(
        self, fold: int, part: PairDataset, shard: KeptShard
    ) -> tuple[NDArray[np.float64], np.ndarray, np.ndarray]:
        """Mean evidence by the models of a fold, (n, 3), and vectors by the last of them."""
        if fold not in self._judges:
            self._judges[fold] = self._fit.judges_of(fold)
        processor = self._fit.processor
        if shard.captions is not None:
            processor = CaptionProcessor(
                processor.image_processor, processor.tokenizer, shard.captions.texts
            )
        parts, image, text = [], np.empty(0), np.empty(0)
        for model, references in self._judges[fold]:
            if shard.captions is not None:
                encoder: Any = model.text_encoder
                encoder.vectors = shard.captions.vectors
            sides: tuple[tuple[Side, Any], ...] = ("image", part.images), ("text", part.captions())
            image, text = (
                Collection.encode(model, processor, side, items, block_size=_BLOCK).encodings
                for side, items in sides
            )
            parts.append(evidence_from_vectors(image, text, part.row_of_pair, references))
        return np.mean(parts, axis=0), image, text

    def _pool(self, fold: int) -> Pool:
        """A part of the sample by the model that judged a fold last."""
        if fold not in self._pools:
            model, folder = self._fit.model_of(fold)
            pairs = self._fit.pairs.select(self._pool_rows)
            captions = pairs.captions()
            vectors = embed_pairs(model, self._fit.processor, pairs.images, captions, folder)
            self._pools[fold] = Pool(*vectors, pairs.row_of_pair, captions)
        return self._pools[fold]

    def _table(
        self,
        number: int,
        shard: KeptShard,
        order: NDArray[np.int64],
        losses: NDArray[np.float64],
        clean: NDArray[np.float64],
        better_text: NDArray[np.int64],
        better_row: NDArray[np.int64],
    ) -> pa.Table:
        pairs, sample = shard.pairs, self._sample
        captions, sample_captions = pairs.captions(), self._fit.pairs.captions()
        rows = pairs.row_of_pair[order].tolist()
        texts, images = better_text[order].tolist(), better_row[order].tolist()
        shards = sample.places[0]
        columns = {
            "pair_id": pa.array(order),
            "image_id": [shard.image_ids[row] for row in rows],
            "caption": [captions[pair] for pair in order.tolist()],
            "clean_probability": clean[order],
            "loss": losses[order],
            "suggested_caption": pa.array(
                [sample_captions[text] if text >= 0 else None for text in texts], pa.string()
            ),
            "suggested_image_id": pa.array(
                [sample.image_ids[row] if row >= 0 else None for row in images], pa.string()
            ),
            "troubles": pa.array(
                [",".join(compress(TROUBLES, has)) or None for has in shard.has_trouble[order]],
                pa.string(),
            ),
            "shard": pa.array([self._names[number]] * len(order), pa.string()),
            "suggested_image_shard": pa.array(
                [self._names[shards[row]] if row >= 0 else None for row in images], pa.string()
            ),
        }
        if pairs.is_noisy is not None:
            columns[IS_NOISY] = pairs.is_noisy[order]
        return pa.table(columns)
