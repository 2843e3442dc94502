"""Search a dataset: images by words, or captions by an image, with any two-tower model.

    answers = search("runs/ncr", "openmoji", "running woman")
    answers["results"][0]  # {"rank": 1, "score": 0.71, "image_id": "1F3C3", ...}

The first search computes the vectors of the collection and caches them on disk. A single-stream
model, such as RCAR, can re-rank the best answers.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModel, AutoProcessor

from .data import PairDataset, append_boxes
from .data.any_dataset.columns import ColumnOptions
from .data.columns import CAPTIONS, IMAGE, column_values
from .entry.devices import device_of
from .entry.errors import load_part
from .entry.outputs import check_output, is_summary
from .evaluation.figures import is_figure
from .evaluation.reranking import rerank
from .evaluation.scoring import eval_mode
from .evaluation.vector_index import INDEX_KINDS
from .files import write_json
from .models.two_towers import NotTwoTowersError, load_two_towers
from .modules.image_loading import load_images, load_regions
from .modules.pair_scoring import output_scores
from .modules.text_limits import count_truncated
from .searching.collection import (
    Collection,
    Side,
    collection_vectors,
    count_truncated_captions,
    images_for_model,
    load_or_build_index,
    open_collection,
    search_folder,
)
from .searching.grid import draw_pictures, draw_texts
from .searching.unknown_words import unknown_words

TEXT_TO_IMAGE, IMAGE_TO_TEXT = "text_to_image", "image_to_text"
_DIRECTIONS = ("auto", TEXT_TO_IMAGE, IMAGE_TO_TEXT)
_ARRAY_SUFFIX = ".npy"


def search(
    model_name_or_path: str | os.PathLike[str],
    dataset_name: str | os.PathLike[str],
    query: str | Path,
    *,
    config_name: str | None = None,
    split: str | None = None,
    top_k: int = 10,
    direction: str = "auto",
    reranker: str | os.PathLike[str] | None = None,
    shortlist: int = 32,
    index: str = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    image_column: str | None = None,
    caption_column: str | None = None,
    id_column: str | None = None,
    output: str | os.PathLike[str] = "search.png",
    device: str | None = "cpu",
    progress: bool = True,
) -> dict[str, Any]:
    """Find the best answers to a query, and write them as a figure and as JSON.

    Args:
        model_name_or_path: Folder or Hub id of a two-tower model: NCR or a matching model with the
            similarity "cosine", CLIP, SigLIP, ...
        dataset_name: A dataset for `load_pairs`, or "openmoji".
        query: Words, or the path of an image (an `.npy` file for a model of region features).
        config_name: Configuration of the dataset.
        split: Its split; by default "test" if it exists, else the first.
        top_k: Number of answers.
        direction: "text_to_image", "image_to_text", or "auto": words, unless the query is a path.
        reranker: Folder or Hub id of a single-stream model, such as RCAR, that re-ranks the best
            answers.
        shortlist: Number of answers to re-rank, at least `top_k`.
        index: "auto", "exact", "ivf" or "hnsw", see `VectorIndex.build`.
        cache_dir: Folder of the vectors; by default in the cache of `datasets`.
        image_column: Column of the image, if it is not detected.
        caption_column: Column of the captions, if it is not detected.
        id_column: Column of the image names, if it is not detected.
        output: PNG to write; the JSON file has the same name.
        device: Device of the models; None for a GPU if there is one.
        progress: Whether to show progress bars.

    Returns:
        `query`, `direction`, `model`, `reranker`, `dataset` (`name`, `config`, `split`), `index`
        (`kind`, `n`), `left_out`, `notes` on texts, `grid`, `json`, and `results`, best first:
        `rank`, `score`, `image_id`, `row`, `caption`, then `captions` of an image or `pair_id` of
        a caption, and with a reranker `retrieval_rank` and `retrieval_score`.

    Raises:
        DatasetError: If the dataset or the split does not exist.
        FileNotFoundError: If the query is a path and the file does not exist.
        ValueError: If an option or the model is invalid.
    """
    picture = check_output(os.fspath(output), "--output", ".png", is_figure)
    check_output(picture.with_suffix(".json"), "--output", ".json", is_summary)
    device = device_of(device)
    if min(top_k, shortlist) < 1:
        raise ValueError(f"top_k is {top_k} and shortlist is {shortlist}: give at least 1")
    if index not in INDEX_KINDS:
        raise ValueError(f"index is {index!r}: give one of {', '.join(INDEX_KINDS)}")
    direction = _direction_of(query, direction)
    side: Side = "image" if direction == TEXT_TO_IMAGE else "text"
    model, processor = _load_retriever(model_name_or_path, device)
    ranker = None if reranker is None else _load_reranker(reranker, device)
    query_input = _read_query(query, direction, processor)
    folder = search_folder(cache_dir)
    columns = ColumnOptions(image_column, caption_column, id_column)
    collection = open_collection(str(dataset_name), config_name, split, side, folder, columns)
    vectors, path = collection_vectors(collection, side, model, processor, folder, progress)
    vector_index = load_or_build_index(vectors, index, path, progress)
    depth = top_k if reranker is None else max(top_k, shortlist)
    query_vector = _query_vector(model, processor, query_input, direction)
    scores, places = vector_index.search(query_vector, depth)
    is_answer = places[0] >= 0
    answers = _answers(collection, side, places[0][is_answer], scores[0][is_answer])
    if ranker is not None:
        answers = _rerank_answers(*ranker, collection, query_input, side, answers)
    answers = answers[:top_k]
    _draw(picture, collection, direction, query, query_input, answers)
    results = [{name: answer[name] for name in answer if name != "place"} for answer in answers]
    summary = {
        "query": str(query),
        "direction": direction,
        "model": str(model_name_or_path),
        "reranker": None if reranker is None else str(reranker),
        "dataset": {"name": str(dataset_name), "config": config_name, "split": collection.split},
        "index": {"kind": vector_index.kind, "n": len(vector_index)},
        "results": results,
        "notes": _notes(processor, query_input, collection, side, path),
        "left_out": collection.left_out,
        "grid": str(picture),
        "json": str(picture.with_suffix(".json")),
    }
    write_json(picture.with_suffix(".json"), summary)
    return summary


def _notes(
    processor: Any, query_input: Any, collection: Collection, side: Side, path: Path
) -> list[str]:
    """Warnings about unknown words of the query and truncated texts."""
    notes = []
    if isinstance(query_input, str):
        notes += unknown_words(processor.tokenizer, query_input)
        query = count_truncated(processor, [query_input])
        if query.n_cut:
            notes.append(f"The query has more than {query.limit} tokens and is truncated.")
    if side == "text":
        captions = count_truncated_captions(collection, processor, path)
        notes += [captions.message()] if captions.n_cut else []
    return notes


def _direction_of(query: str | Path, direction: str) -> str:
    if direction not in _DIRECTIONS:
        raise ValueError(f"direction is {direction!r}: give one of {list(_DIRECTIONS)}")
    if isinstance(query, str) and not query.strip():
        raise ValueError("the query is empty: give words, or the path of an image")
    if direction != "auto":
        return direction
    if isinstance(query, Path):
        return IMAGE_TO_TEXT
    suffix = Path(query).suffix.lower()
    is_name = suffix in Image.registered_extensions() or suffix == _ARRAY_SUFFIX
    is_file = os.path.isfile(query)
    if is_name and (len(query.split()) == 1 or is_file):
        return IMAGE_TO_TEXT  # a missing file raises an error later
    if not is_file:
        return TEXT_TO_IMAGE
    try:
        Image.open(query).close()
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"the query is the file {query}, which Pillow cannot read as an image: give an image, "
            f"or search for the word itself by --direction {TEXT_TO_IMAGE}"
        ) from error
    return IMAGE_TO_TEXT


def _load_retriever(name: str | os.PathLike[str], device: str) -> tuple[Any, Any]:
    try:
        return load_two_towers(name, device)
    except NotTwoTowersError as error:
        raise ValueError(
            f"{error}. To search with RCAR, give a two-tower model as the model and RCAR as the "
            "reranker."
        ) from error


def _load_reranker(name: str | os.PathLike[str], device: str) -> tuple[Any, Any]:
    model = load_part(AutoModel, name, use_safetensors=True)
    if not hasattr(model, "score_pairs"):
        raise ValueError(
            f"{name} is a {type(model).__name__}, which does not score single pairs: give a "
            "single-stream model, such as RCAR, as the reranker"
        )
    processor = load_part(AutoProcessor, name)
    return model.eval().to(device), processor


def _read_query(query: str | Path, direction: str, processor: Any) -> Any:
    """The words, the image, or the region features of the query."""
    if direction == TEXT_TO_IMAGE:
        return str(query)
    if not os.path.isfile(query):
        raise FileNotFoundError(
            f"the query is an image, and there is no file {query}: correct the path, or search "
            f"with words by --direction {TEXT_TO_IMAGE}"
        )
    takes_regions = hasattr(processor.image_processor, "region_size")
    return (load_regions if takes_regions else load_images)([query])[0]


def _query_vector(
    model: Any, processor: Any, query_input: Any, direction: str
) -> NDArray[np.float32]:
    with eval_mode(model):
        if direction == TEXT_TO_IMAGE:
            features, encode = processor(text=[query_input]), model.get_text_features
        else:
            images = images_for_model(processor, [query_input])
            features, encode = processor(images=images[0:1]), model.get_image_features
        inputs = {name: value.to(model.device) for name, value in features.items()}
        return encode(**inputs).float().cpu().numpy()  # (1, size)


def _answers(
    collection: Collection, side: Side, places: NDArray[np.int64], scores: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """The items at positions of the index, in the format of the results."""
    pairs, names = collection.pairs, collection.image_ids()
    captions = pairs.captions() if side == "text" else column_values(pairs.dataset, CAPTIONS)
    answers = []
    for rank, (place, score) in enumerate(zip(places.tolist(), scores.tolist(), strict=True), 1):
        row = place if side == "image" else int(pairs.row_of_pair[place])
        texts = captions[place]
        answers.append(
            {
                "rank": rank,
                "score": score,
                "image_id": names[row],
                "row": int(collection.rows[row]),
                "caption": texts if side == "text" else next(iter(texts), ""),
                "place": place,
            }
            | ({"pair_id": place} if side == "text" else {"captions": list(texts)})
        )
    return answers


def _rerank_answers(
    model: Any,
    processor: Any,
    collection: Collection,
    query_input: Any,
    side: Side,
    answers: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """The answers in the order of the reranker."""
    if side == "image":
        rows = collection.pairs.dataset.select([answer["place"] for answer in answers])
        if getattr(model.config, "box_size", 0):
            rows = append_boxes(rows, collection.split)
        images: Any = images_for_model(processor, PairDataset(rows).images)
        texts = [query_input]
    else:
        images = images_for_model(processor, [query_input])
        texts = [answer["caption"] for answer in answers]
    chosen = np.ones((len(images), len(texts)), dtype=bool)
    scores = rerank(model, processor, images, texts, chosen).ravel()  # (n_answers,)
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{type(model).__name__} gives a score that is not finite: look for a diverged model"
        )
    values = output_scores(model, torch.from_numpy(scores)).tolist()
    order = np.argsort(-scores, kind="stable").tolist()
    return [
        answers[i]
        | {
            "rank": rank,
            "score": values[i],
            "retrieval_rank": answers[i]["rank"],
            "retrieval_score": answers[i]["score"],
        }
        for rank, i in enumerate(order, 1)
    ]


def _draw(
    path: Path,
    collection: Collection,
    direction: str,
    query: str | Path,
    query_input: Any,
    answers: list[dict[str, Any]],
) -> None:
    if direction == IMAGE_TO_TEXT:
        draw_texts(
            path,
            f"captions for {Path(query).name}",
            answers,
            query_input if isinstance(query_input, Image.Image) else None,
        )
    elif collection.pairs.visual == IMAGE:
        draw_pictures(
            path,
            f"“{query_input}”",
            answers,
            lambda answer: collection.pairs.visuals([answer["place"]])[0],
        )
    else:
        title = f"“{query_input}”: images by name, with their first captions"
        draw_texts(path, title, answers)
