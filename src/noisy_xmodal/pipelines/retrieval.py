"""Search images by text, or texts by image, with a trained model."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..modules.list_inputs import check_list
from ..modules.pair_scoring import image_inputs, output_scores, text_inputs
from .base import PairPipeline, as_inputs
from .collection import Collection, encode_all, read_dataset, to_device

_MAX_PASSES = 1_000  # joint forward passes per query without a warning
_OTHER = {"image": "text", "text": "image"}


class ImageTextRetrievalPipeline(PairPipeline):
    """The best images for a text, or texts for an image; task "image-text-retrieval".

    Index a collection once, then search it:

    ```python
    retrieval = pipeline("image-text-retrieval", model="runs/ncr")
    retrieval.index(images=["cat.jpg", "dog.jpg", ...])
    retrieval("a red cat", top_k=2)
    # [{"index": 0, "id": 0, "score": 0.83}, {"index": 7, "id": 7, "score": 0.41}]
    ```

    A two-tower model compares vectors, other heads compare encodings. A single-stream model, such
    as RCAR, needs one joint forward pass for every item and every query, which is slow for more
    than a few hundred items. With a `retriever` it only re-ranks the retriever's best answers.

    Args:
        model: A model of this library.
        processor: Its processor.
        retriever: For a single-stream model, a pipeline of this task with a faster model of the
            same inputs. It indexes the same items, and is not saved with this pipeline.
        shortlist: Number of the retriever's answers to re-rank, the maximum number of answers.
        top_k: Answers per query, 5 by default.
        kwargs: As for any pipeline.

    Raises:
        TypeError: If the model needs no retriever, or the retriever is not a pipeline of this task.
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
        self._retriever_collection: Collection | None = None  # of the same items

    def index(
        self,
        images: Any = None,
        texts: Any = None,
        ids: Sequence[Any] | None = None,
        batch_size: int = 32,
    ) -> "ImageTextRetrievalPipeline":
        """Encode the items to search; replaces an earlier index.

        The index is in memory. Index again after a file has changed.

        Args:
            images: PIL images, paths of local files or arrays (feature vectors for a model of
                vectors), a list or any other iterable; or a dataset with a column `image` or
                `regions` (`image_features`).
            texts: Captions or vectors, or a dataset with a column `captions`, each of whose
                captions is an item (`text_features`); instead of images.
            ids: Names of the items in the answers; by default a dataset's `image_id`, else the
                positions.
            batch_size: Items per block.

        Returns:
            The pipeline.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: If not exactly one of images and texts is passed, it is empty, or the number
                of ids differs.
        """
        if (images is None) == (texts is None):
            raise ValueError("pass either `images` or `texts` to index")
        side = "text" if images is None else "image"
        items = texts if images is None else images
        check_list(items, f"{side}s")
        is_dataset = hasattr(items, "column_names")
        if self.retriever is not None:
            items = items if is_dataset else list(items)  # it is read twice
            self.retriever.index(**{f"{side}s": items}, ids=ids, batch_size=batch_size)
            self._retriever_collection = self.retriever.collection
        dataset_ids = None
        if is_dataset:
            vectors = getattr(self.processor, "reads_vectors_only", False)
            items, dataset_ids = read_dataset(items, side, vectors)
        blocks, sizes, texts = encode_all(
            items, lambda block: self._encode(side, self._inputs(side, block)), batch_size, side
        )
        n_items = sum(sizes)
        if ids is None:
            ids = list(range(n_items)) if dataset_ids is None else dataset_ids
        if len(ids) != n_items:
            raise ValueError(f"there are {len(ids)} ids for {n_items} {side}s: give one each")
        self._collection = Collection(side, blocks, sizes, ids, texts if side == "text" else None)
        return self

    def _sanitize_parameters(
        self, top_k: int | None = None, **unknown: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise TypeError(f"image-text-retrieval has no option {sorted(unknown)}: pass `top_k`")
        if top_k is None:
            return {}, {}, {}
        if top_k < 1:
            raise ValueError(f"`top_k` is {top_k}: give at least 1")
        return {}, {}, {"top_k": top_k}

    def __call__(
        self, inputs: Any = None, *, text: Any = None, image: Any = None, **kwargs: Any
    ) -> Any:
        """Search the index.

        Args:
            inputs: A query, or a list, a generator or a torch dataset of queries: texts for an
                index of images, images for an index of texts.
            text: Text queries, instead of `inputs`.
            image: Image queries, instead of `inputs`.
            kwargs: `top_k`, `batch_size`, `num_workers`.

        Returns:
            The answers to a query, best first: `index`, the position of the item, `id`, `score`
            (the match probability for RCAR) and `text` for an index of texts. A list of these for a
            list of queries, a stream for a generator or a dataset.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: If nothing is indexed, the query has the modality of the index, or there is
                no query.
        """
        collection = self.collection
        other = _OTHER[collection.side]
        queries = {"text": text, "image": image}
        if queries[collection.side] is not None:
            raise ValueError(
                f"{collection.side}s are indexed: search with `{other}=`, or index {other}s first"
            )
        query = queries[other]
        if (inputs is None) == (query is None):
            raise ValueError(f"pass one query or list of queries, `{other}=`")
        if self.retriever is not None:
            self._check_retriever(self.retriever.collection, collection)
        elif hasattr(self.model, "score_pairs") and len(collection) > _MAX_PASSES:
            warnings.warn(
                f"{type(self.model).__name__} makes {len(collection):,} joint passes for each "
                "query: index fewer, or give a pipeline with a two-tower model as `retriever`",
                stacklevel=2,
            )
        return super().__call__(as_inputs(query if inputs is None else inputs), **kwargs)

    def preprocess(self, query: Any) -> dict[str, Any]:
        """Read one query."""
        side = _OTHER[self.collection.side]
        if side == "text" and not isinstance(query, str) and np.ndim(query) != 1:
            raise ValueError(
                f"images are indexed, so a query must be a text: found a {type(query).__name__}"
            )
        inputs: dict[str, Any] = self._inputs(side, [query])
        return inputs if self.retriever is None else inputs | {"query": (query,)}

    def _forward(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        collection = self.collection
        raw = inputs.pop("query", None)
        query = self._encode(_OTHER[collection.side], inputs)
        if self.retriever is not None:
            queries = list(raw) if isinstance(raw, tuple) else [item for (item,) in raw]
            return {"scores": self._shortlist_scores(self.retriever, queries, query)}

        def score_block(block: Any) -> Tensor:
            if self.model.is_two_tower:
                return query @ block.T  # (n_queries, n_block)
            if collection.side == "image":
                return self.model.score(block, query).T
            return self.model.score(query, block)

        return {"scores": collection.scores(score_block, self.model.device)}  # (n_queries, n_items)

    def _shortlist_scores(
        self, retriever: "ImageTextRetrievalPipeline", queries: list[Any], query: Any
    ) -> Tensor:
        """Scores of each query's shortlist, minus infinity elsewhere, (n_queries, n_items)."""
        collection = self.collection
        inputs = retriever._inputs(_OTHER[collection.side], queries)
        retriever_scores = retriever._forward(inputs)["scores"]  # (n_queries, n_items)
        best = retriever_scores.argsort(dim=1, descending=True, stable=True)[:, : self.shortlist]
        mask = torch.zeros_like(retriever_scores, dtype=torch.bool).scatter_(1, best, True)
        scores = torch.full_like(retriever_scores, -torch.inf)  # (n_queries, n_items)
        for start, block in zip(collection.starts.tolist(), collection.blocks, strict=False):
            rows, columns = mask[:, start : start + len(block[0])].nonzero(as_tuple=True)
            if len(rows):
                sides, pairs = (query, to_device(block, self.model.device)), (rows, columns)
                if collection.side == "image":
                    sides, pairs = sides[::-1], pairs[::-1]
                positions = torch.stack(pairs, dim=1).to(self.model.device)  # (n_pairs, 2)
                pair_scores = self.model.score_pairs(*sides, positions)  # (n_pairs,)
                scores[rows, start + columns] = pair_scores.float().cpu()
        return scores

    def postprocess(self, outputs: dict[str, Tensor], top_k: int = 5) -> list[dict[str, Any]]:
        """Sort the answers to one query."""
        scores = outputs["scores"][0]  # (n_items,)
        return self.collection.best(scores, output_scores(self.model, scores), top_k)

    @property
    def collection(self) -> Collection:
        """The indexed items.

        Raises:
            ValueError: If nothing is indexed.
        """
        if self._collection is None:
            raise ValueError(
                "nothing is indexed: call index(images=[...]) to search images by text, or "
                "index(texts=[...]) to search texts by image"
            )
        return self._collection

    def _check_retriever(self, other: Collection, own: Collection) -> None:
        if other is not self._retriever_collection:
            raise ValueError(
                f"the retriever has indexed {len(other)} {other.side}s and this pipeline "
                f"{len(own)} {own.side}s, which are not the same items: index again by this "
                "pipeline"
            )

    def _inputs(self, side: str, items: list[Any]) -> dict[str, Tensor]:
        return (image_inputs if side == "image" else text_inputs)(self.processor, items)

    @torch.no_grad()
    def _encode(self, side: str, inputs: dict[str, Tensor]) -> Any:
        name = "get_{}_features" if self.model.is_two_tower else "encode_{}"
        return getattr(self.model, name.format(side))(**self._to_device(inputs))
