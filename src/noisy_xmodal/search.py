"""Search a dataset: pictures by words, or captions by a picture, with any two-tower model.

    found = search("runs/ncr", "openmoji", "running woman")
    found["results"][0]  # {"rank": 1, "score": 0.71, "image_id": "1F3C3", ...}

The vectors of the collection are made at the first search and kept on disk. A model of joint
passes, such as RCAR, can put the best answers in order.
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
from .models.two_towers import NotTwoTowersError, load_two_towers
from .modules.image_loading import load_images, load_regions
from .modules.pair_scoring import output_scores
from .modules.text_limits import count_truncated
from .searching.collection import (
    Collection,
    Side,
    as_read_by,
    collection_vectors,
    cut_captions,
    index_of,
    open_collection,
    search_folder,
)
from .searching.grid import draw_pictures, draw_texts
from .searching.unknown_words import unknown_words
from .training.files import write_json

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
    """Find what fits a query best, and write it as a picture and as JSON.

    Args:
        model_name_or_path: Folder or Hub id of a two-tower model: NCR or a matching model with the
            similarity "cosine", CLIP, SigLIP, ...
        dataset_name: What `load_pairs` opens, or "openmoji".
        query: Words, or the path of a picture (of an `.npy` file for a model of region features).
        config_name: Configuration of the dataset.
        split: Its split; "test" by default where there is one, else the first.
        top_k: Answers.
        direction: "text_to_image", "image_to_text", or "auto": words, unless the query is a path.
        reranker: Folder or Hub id of a model of joint passes, such as RCAR, that puts the best
            answers in order.
        shortlist: How many it puts in order, at least `top_k`.
        index: "auto", "exact", "ivf" or "hnsw", see `VectorIndex.build`.
        cache_dir: Where vectors are kept; the cache of `datasets` by default.
        image_column: Column of the image, where it is not found by itself.
        caption_column: Column of the captions, likewise.
        id_column: Column that names the image, likewise.
        output: PNG to write; the JSON is written beside it.
        device: Where the models run; None for a GPU where there is one.
        progress: Whether to show progress bars.

    Returns:
        `query`, `direction`, `model`, `reranker`, `dataset` (`name`, `config`, `split`), `index`
        (`kind`, `n`), `left_out`, `notes` on texts, `grid`, `json`, and `results`, best first:
        `rank`, `score`, `image_id`, `row`, `caption`, then `captions` of a found image or `pair_id`
        of a found caption, and with a reranker `retrieval_rank` and `retrieval_score`.

    Raises:
        DatasetError: If the dataset or the split is not there.
        FileNotFoundError: If the query is the path of no file.
        ValueError: If an option or the model does not fit.
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
    asked = _read_query(query, direction, processor)
    folder = search_folder(cache_dir)
    columns = ColumnOptions(image_column, caption_column, id_column)
    collection = open_collection(str(dataset_name), config_name, split, side, folder, columns)
    vectors, path = collection_vectors(collection, side, model, processor, folder, progress)
    found = index_of(vectors, index, path, progress)
    depth = top_k if reranker is None else max(top_k, shortlist)
    scores, places = found.search(_query_vector(model, processor, asked, direction), depth)
    kept = places[0] >= 0
    answers = _answers(collection, side, places[0][kept], scores[0][kept])
    if ranker is not None:
        answers = _reranked(*ranker, collection, asked, side, answers)
    answers = answers[:top_k]
    _draw(picture, collection, direction, query, asked, answers)
    results = [{name: answer[name] for name in answer if name != "place"} for answer in answers]
    summary = {
        "query": str(query),
        "direction": direction,
        "model": str(model_name_or_path),
        "reranker": None if reranker is None else str(reranker),
        "dataset": {"name": str(dataset_name), "config": config_name, "split": collection.split},
        "index": {"kind": found.kind, "n": len(found)},
        "results": results,
        "notes": _notes(processor, asked, collection, side, path),
        "left_out": collection.left_out,
        "grid": str(picture),
        "json": str(picture.with_suffix(".json")),
    }
    write_json(picture.with_suffix(".json"), summary)
    return summary


def _notes(processor: Any, asked: Any, collection: Collection, side: Side, path: Path) -> list[str]:
    """What a reader must know of the query's words, and of texts that are not read to their end."""
    notes = []
    if isinstance(asked, str):
        notes += unknown_words(processor.tokenizer, asked)
        cut = count_truncated(processor, [asked])
        if cut.n_cut:
            notes.append(f"The query has more than {cut.limit} tokens; the rest is not read.")
    if side == "text":
        cut = cut_captions(collection, processor, path)
        notes += [cut.message()] if cut.n_cut else []
    return notes


def _direction_of(query: str | Path, direction: str) -> str:
    if direction not in _DIRECTIONS:
        raise ValueError(f"direction is {direction!r}: give one of {list(_DIRECTIONS)}")
    if isinstance(query, str) and not query.strip():
        raise ValueError("the query is empty: give words, or the path of a picture")
    if direction != "auto":
        return direction
    if isinstance(query, Path):
        return IMAGE_TO_TEXT
    suffix = Path(query).suffix.lower()
    is_name = suffix in Image.registered_extensions() or suffix == _ARRAY_SUFFIX
    is_file = os.path.isfile(query)
    if is_name and (len(query.split()) == 1 or is_file):
        return IMAGE_TO_TEXT  # also of a file that is missing, which is a mistake worth a word
    if not is_file:
        return TEXT_TO_IMAGE
    try:
        Image.open(query).close()
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"the query is the file {query}, which is no picture that Pillow reads: give a "
            f"picture, or search with the word itself by --direction {TEXT_TO_IMAGE}"
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
            f"{name} is a {type(model).__name__}, which scores no single pairs by joint passes: "
            "give a model that does as the reranker, such as RCAR"
        )
    processor = load_part(AutoProcessor, name)
    return model.eval().to(device), processor


def _read_query(query: str | Path, direction: str, processor: Any) -> Any:
    """The words, the picture, or the region features that are asked with."""
    if direction == TEXT_TO_IMAGE:
        return str(query)
    if not os.path.isfile(query):
        raise FileNotFoundError(
            f"the query is a picture, and there is no file {query}: correct the path, or search "
            f"with words by --direction {TEXT_TO_IMAGE}"
        )
    reads_regions = hasattr(processor.image_processor, "region_size")
    return (load_regions if reads_regions else load_images)([query])[0]


def _query_vector(model: Any, processor: Any, asked: Any, direction: str) -> NDArray[np.float32]:
    with eval_mode(model):
        if direction == TEXT_TO_IMAGE:
            given, encode = processor(text=[asked]), model.get_text_features
        else:
            images = as_read_by(processor, [asked])
            given, encode = processor(images=images[0:1]), model.get_image_features
        inputs = {name: value.to(model.device) for name, value in given.items()}
        return encode(**inputs).float().cpu().numpy()  # (1, size)


def _answers(
    collection: Collection, side: Side, places: NDArray[np.int64], scores: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """What was found at places of the index, with the names that the results have."""
    pairs, names = collection.pairs, collection.image_ids()
    captions = pairs.captions() if side == "text" else column_values(pairs.dataset, CAPTIONS)
    answers = []
    for rank, (place, score) in enumerate(zip(places.tolist(), scores.tolist(), strict=True), 1):
        at = place if side == "image" else int(pairs.row_of_pair[place])
        own = captions[place]
        answers.append(
            {
                "rank": rank,
                "score": score,
                "image_id": names[at],
                "row": int(collection.rows[at]),
                "caption": own if side == "text" else next(iter(own), ""),
                "place": place,
            }
            | ({"pair_id": place} if side == "text" else {"captions": list(own)})
        )
    return answers


def _reranked(
    model: Any,
    processor: Any,
    collection: Collection,
    asked: Any,
    side: Side,
    answers: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """The answers in the order of a model of joint passes."""
    if side == "image":
        rows = collection.pairs.dataset.select([answer["place"] for answer in answers])
        if getattr(model.config, "box_size", 0):
            rows = append_boxes(rows, collection.split)
        images: Any = as_read_by(processor, PairDataset(rows).images)
        texts = [asked]
    else:
        images = as_read_by(processor, [asked])
        texts = [answer["caption"] for answer in answers]
    chosen = np.ones((len(images), len(texts)), dtype=bool)
    scores = rerank(model, processor, images, texts, chosen).ravel()  # (n_answers,)
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{type(model).__name__} gives a score that is not finite: look for a diverged model"
        )
    shown = output_scores(model, torch.from_numpy(scores)).tolist()
    order = np.argsort(-scores, kind="stable").tolist()
    return [
        answers[at]
        | {
            "rank": rank,
            "score": shown[at],
            "retrieval_rank": answers[at]["rank"],
            "retrieval_score": answers[at]["score"],
        }
        for rank, at in enumerate(order, 1)
    ]


def _draw(
    path: Path,
    collection: Collection,
    direction: str,
    query: str | Path,
    asked: Any,
    answers: list[dict[str, Any]],
) -> None:
    if direction == IMAGE_TO_TEXT:
        draw_texts(
            path,
            f"captions for {Path(query).name}",
            answers,
            asked if isinstance(asked, Image.Image) else None,
        )
    elif collection.pairs.visual == IMAGE:
        draw_pictures(
            path,
            f"“{asked}”",
            answers,
            lambda answer: collection.pairs.visuals([answer["place"]])[0],
        )
    else:
        draw_texts(path, f"“{asked}”: images by name, with their first captions", answers)
