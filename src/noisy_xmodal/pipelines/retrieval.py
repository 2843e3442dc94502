"""Search images by text, or texts by image, with a trained model."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..modules.pair_scoring import output_scores
from .base import PairPipeline, as_inputs, batch_of

if TYPE_CHECKING:
    from ..evaluation.collection import Collection

_MAX_PASSES = 1_000  # joint forward passes per query without a warning
_OTHER: dict[Any, str] = {"image": "text", "text": "image"}


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
            same inputs. Its model encodes the items; it is not saved with this pipeline.
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
        self._items: Any = None
        self._ids: Any = None

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
            DatasetError: If a dataset is streamed, or several splits.
            FileNotFoundError: If a file does not exist.
            ValueError: If not exactly one of images and texts is passed, it is empty, or the number
                of ids differs.
        """
        if (images is None) == (texts is None):
            raise ValueError("pass either `images` or `texts` to index")
        from ..evaluation.collection import Collection, dataset_items  # loads the data stack

        side: Any = "text" if images is None else "image"
        items, names = texts if images is None else images, None
        if hasattr(items, "column_names"):
            vectors = getattr(self.processor, "reads_vectors_only", False)
            items, names = dataset_items(items, side, vectors)
        if (side == "text" or self.retriever is not None) and not isinstance(items, Sequence):
            items = list(items)  # they are in the answers, or re-ranked
        encoder = self.retriever or self
        collection = Collection.encode(
            encoder.model, encoder.processor, side, items, block_size=batch_size, progress=True
        )
        if ids is None:
            ids = range(len(collection)) if names is None else names
        if len(ids) != len(collection):
            raise ValueError(
                f"there are {len(ids)} ids for {len(collection)} {side}s: give one each"
            )
        self._collection, self._items, self._ids = collection, items, ids
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
        return {}, {"top_k": top_k}, {}

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
        is_slow = self.retriever is None and hasattr(self.model, "score_pairs")
        if is_slow and len(collection) > _MAX_PASSES:
            warnings.warn(
                f"{type(self.model).__name__} makes {len(collection):,} joint passes for each "
                "query: index fewer, or give a pipeline with a two-tower model as `retriever`",
                stacklevel=2,
            )
        return super().__call__(as_inputs(query if inputs is None else inputs), **kwargs)

    def preprocess(self, query: Any) -> dict[str, tuple[Any]]:
        """Check one query."""
        is_text = isinstance(query, str) or np.ndim(query) == 1
        if self.collection.side == "image" and not is_text:
            raise ValueError(
                f"images are indexed, so a query must be a text: found a {type(query).__name__}"
            )
        return {"query": (query,)}

    def _forward(self, inputs: dict[str, Any], top_k: int = 5) -> dict[str, Tensor]:
        queries = batch_of(inputs["query"])
        depth = top_k if self.retriever is None else self.shortlist
        scores, positions = self.collection.search(queries, depth)
        if self.retriever is not None:
            ranked = [
                self._rerank(query, own.tolist(), top_k)
                for query, own in zip(queries, positions, strict=True)
            ]
            scores, positions = (np.concatenate(part) for part in zip(*ranked, strict=True))
        # both (n_queries, top_k)
        return {"scores": torch.from_numpy(scores), "positions": torch.from_numpy(positions)}

    def _rerank(self, query: Any, shortlist: list[int], top_k: int) -> tuple[Any, Any]:
        """Scores and positions of the best of a shortlist by the pipeline's own model, (1, n)."""
        from ..evaluation.collection import Collection

        items = [self._items[position] for position in shortlist]
        answers = Collection.encode(self.model, self.processor, self.collection.side, items)
        scores, order = answers.search([query], top_k)
        return scores, np.array(shortlist)[order]

    def postprocess(self, outputs: dict[str, Tensor]) -> list[dict[str, Any]]:
        """The answers to one query."""
        values = output_scores(self.model, outputs["scores"][0]).tolist()
        return [
            {"index": position, "id": self._ids[position], "score": value}
            | ({"text": self._items[position]} if self.collection.side == "text" else {})
            for position, value in zip(outputs["positions"][0].tolist(), values, strict=True)
        ]

    @property
    def collection(self) -> "Collection":
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
