"""Search pictures by words, or texts by a picture, with a trained model."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..modules.list_inputs import check_list
from ..modules.pair_scoring import image_inputs, output_scores, text_inputs
from .base import PairPipeline, as_inputs
from .indexed import Collection, encode_all, moved, read_dataset

_MANY_PASSES = 1_000
_OTHER = {"image": "text", "text": "image"}


class ImageTextRetrievalPipeline(PairPipeline):
    """The best pictures for a text, or texts for a picture; task "image-text-retrieval".

    Index a collection once, then ask:

    ```python
    retrieval = pipeline("image-text-retrieval", model="runs/ncr")
    retrieval.index(images=["cat.jpg", "dog.jpg", ...])
    retrieval("a red cat", top_k=2)
    # [{"index": 0, "id": 0, "score": 0.83}, {"index": 7, "id": 7, "score": 0.41}]
    ```

    A two-tower model compares vectors, and other heads the encodings of both sides. A model that
    scores by joint passes over an image and a text, such as RCAR, makes one pass for every item of
    the index and every query, which takes long for more than some hundred items; with a
    `retriever`, it makes them for the retriever's best answers only and puts these in order.

    Args:
        model: A model of this library.
        processor: Its processor.
        retriever: For a model of joint passes, a pipeline of this task with a cheaper model that
            reads the same; it indexes what this one indexes, and is not saved with it.
        shortlist: The retriever's answers that are put in order; no query has more.
        top_k: Answers to a query, 5 by default.
        kwargs: As for any pipeline.

    Raises:
        TypeError: If the model makes no joint passes that a retriever could spare, or the retriever
            is no pipeline of this task.
        ValueError: If `shortlist` is below 1.
    """

    def __init__(
        self,
        model: Any,
        processor: Any = None,
        retriever: "ImageTextRetrievalPipeline | None" = None,
        shortlist: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, processor, **kwargs)
        if retriever is not None:
            if not isinstance(retriever, ImageTextRetrievalPipeline):
                raise TypeError(f"`retriever` is a {type(retriever).__name__}: give a pipeline")
            if not hasattr(model, "score_pairs"):
                raise TypeError(
                    f"{type(model).__name__} makes no joint passes: it needs no `retriever`"
                )
            if shortlist < 1:
                raise ValueError(f"`shortlist` is {shortlist}: give at least 1")
        self.retriever = retriever
        self.shortlist = shortlist
        self._collection: Collection | None = None
        self._shortlisted: Collection | None = None  # the retriever's, of the same items

    def index(
        self,
        images: Any = None,
        texts: Any = None,
        ids: Sequence[Any] | None = None,
        batch_size: int = 32,
    ) -> "ImageTextRetrievalPipeline":
        """Encode what is to be searched, in place of what was indexed before.

        The index is in memory and of what is read now: index again after a file has changed.

        Args:
            images: Pictures, paths of local files or arrays (feature vectors for a model of
                vectors), a list or any other iterable; or a dataset with a column `image` or
                `regions` (`image_features`).
            texts: In place of images, captions (or vectors), or a dataset with a column `captions`,
                of which each is a text of its own (`text_features`).
            ids: A name for each, for the answers; by default a dataset's `image_id`, else the
                position.
            batch_size: Items that are encoded at once.

        Returns:
            The pipeline.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If both or neither are given, there is nothing in them, or not one id each.
        """
        if (images is None) == (texts is None):
            raise ValueError("pass either `images` or `texts` to index")
        side = "text" if images is None else "image"
        items = texts if images is None else images
        check_list(items, f"{side}s")
        is_dataset = hasattr(items, "column_names")
        if self.retriever is not None:
            items = items if is_dataset else list(items)  # both read it
            self.retriever.index(**{f"{side}s": items}, ids=ids, batch_size=batch_size)
            self._shortlisted = self.retriever._indexed()
        found_ids = None
        if is_dataset:
            of_vectors = getattr(self.processor, "reads_vectors_only", False)
            items, found_ids = read_dataset(items, side, of_vectors)
        blocks, sizes, kept = encode_all(
            items, lambda block: self._encode(side, self._inputs(side, block)), batch_size, side
        )
        n_items = sum(sizes)
        if ids is None:
            ids = list(range(n_items)) if found_ids is None else found_ids
        if len(ids) != n_items:
            raise ValueError(f"found {len(ids)} ids for {n_items} {side}s: give one each")
        self._collection = Collection(side, blocks, sizes, ids, kept if side == "text" else None)
        return self

    def _sanitize_parameters(
        self, top_k: int | None = None, **unknown: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise TypeError(f"image-text-retrieval knows no {sorted(unknown)}: pass `top_k`")
        if top_k is None:
            return {}, {}, {}
        if top_k < 1:
            raise ValueError(f"`top_k` is {top_k}: ask for at least 1 answer")
        return {}, {}, {"top_k": top_k}

    def __call__(
        self, inputs: Any = None, *, text: Any = None, image: Any = None, **kwargs: Any
    ) -> Any:
        """Ask the index.

        Args:
            inputs: A query, or a list, a generator or a torch dataset of queries: texts where
                images are indexed, images where texts are.
            text: The same by its name, for an index of images.
            image: The same by its name, for an index of texts.
            kwargs: `top_k`, `batch_size`, `num_workers`.

        Returns:
            The answers to a query, best first: `index`, the position in what was indexed, `id`,
            `score`, RCAR's the probability of a match, and `text` for an index of texts. There are
            fewer than `top_k` where fewer are indexed. A list of these for a list of queries, a
            stream for a generator or a dataset.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If nothing is indexed, the index is of what was asked with, or there is no
                query.
        """
        indexed = self._indexed()
        given = {"text": text, "image": image}
        if given[indexed.side] is not None:
            wanted = _OTHER[indexed.side]
            raise ValueError(
                f"{indexed.side}s are indexed: ask with `{wanted}=`, or index {wanted}s first"
            )
        query = given[_OTHER[indexed.side]]
        if (inputs is None) == (query is None):
            raise ValueError(f"pass one query or list of queries, `{_OTHER[indexed.side]}=`")
        if self.retriever is not None:
            self._check_retriever(self.retriever._indexed(), indexed)
        elif hasattr(self.model, "score_pairs") and len(indexed) > _MANY_PASSES:
            warnings.warn(
                f"{type(self.model).__name__} makes {len(indexed):,} joint passes for each query: "
                "index fewer, or give a pipeline with a two-tower model as `retriever`",
                stacklevel=2,
            )
        return super().__call__(as_inputs(query if inputs is None else inputs), **kwargs)

    def preprocess(self, query: Any) -> dict[str, Any]:
        """Read one query."""
        side = _OTHER[self._indexed().side]
        if side == "text" and not isinstance(query, str) and np.ndim(query) != 1:
            raise ValueError(
                f"images are indexed, so a query is a text: found a {type(query).__name__}"
            )
        inputs: dict[str, Any] = self._inputs(side, [query])
        return inputs if self.retriever is None else inputs | {"query": (query,)}

    def _forward(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        indexed = self._indexed()
        queries = inputs.pop("query", None)
        query = self._encode(_OTHER[indexed.side], inputs)
        if self.retriever is not None:
            raw = list(queries) if isinstance(queries, tuple) else [one for (one,) in queries]
            return {"scores": self._shortlist_scores(self.retriever, raw, query)}

        def score_block(block: Any) -> Tensor:
            if self.model.is_two_tower:
                return query @ block.T  # (n_queries, n_block)
            if indexed.side == "image":
                return self.model.score(block, query).T
            return self.model.score(query, block)

        return {"scores": indexed.scores(score_block, self.model.device)}  # (n_queries, n_items)

    def _shortlist_scores(
        self, retriever: "ImageTextRetrievalPipeline", raw: list[Any], query: Any
    ) -> Tensor:
        """Scores of each query's shortlist, minus infinity elsewhere, (n_queries, n_items)."""
        indexed = self._indexed()
        cheap = retriever._forward(retriever._inputs(_OTHER[indexed.side], raw))["scores"]
        best = cheap.argsort(dim=1, descending=True, stable=True)[:, : self.shortlist]
        chosen = torch.zeros_like(cheap, dtype=torch.bool).scatter_(1, best, True)
        scores = torch.full_like(cheap, -torch.inf)  # (n_queries, n_items)
        for start, block in zip(indexed.starts.tolist(), indexed.blocks, strict=False):
            rows, columns = chosen[:, start : start + len(block[0])].nonzero(as_tuple=True)
            if len(rows):
                ready = moved(block, self.model.device)
                sides, pairs = (query, ready), (rows, columns)
                if indexed.side == "image":
                    sides, pairs = sides[::-1], pairs[::-1]
                positions = torch.stack(pairs, dim=1).to(self.model.device)  # (n_pairs, 2)
                found = self.model.score_pairs(*sides, positions)  # (n_pairs,)
                scores[rows, start + columns] = found.float().cpu()
        return scores

    def postprocess(self, outputs: dict[str, Tensor], top_k: int = 5) -> list[dict[str, Any]]:
        """Put the answers to one query in order."""
        scores = outputs["scores"][0]  # (n_items,)
        return self._indexed().best(scores, output_scores(self.model, scores), top_k)

    def _indexed(self) -> Collection:
        if self._collection is None:
            raise ValueError(
                "nothing is indexed: call index(images=[...]) to search images by text, or "
                "index(texts=[...]) to search texts by image"
            )
        return self._collection

    def _check_retriever(self, theirs: Collection, own: Collection) -> None:
        if theirs is not self._shortlisted:
            raise ValueError(
                f"the retriever has {len(theirs)} {theirs.side}s indexed and this pipeline "
                f"{len(own)} {own.side}s, which are not the same ones: index again, by this "
                "pipeline"
            )

    def _inputs(self, side: str, items: list[Any]) -> dict[str, Tensor]:
        read = image_inputs if side == "image" else text_inputs
        return read(self.processor, items)

    @torch.no_grad()
    def _encode(self, side: str, inputs: dict[str, Tensor]) -> Any:
        kind = "get_{}_features" if self.model.is_two_tower else "encode_{}"
        return getattr(self.model, kind.format(side))(**self._ready(inputs))
