"""Search a dataset: images by words, or captions by an image, with any two-tower model.

    answers = search("runs/ncr", "openmoji", "running woman")
    answers["results"][0]  # {"rank": 1, "score": 0.71, "image_id": "1F3C3", ...}

The first search computes the vectors of the collection and caches them on disk. A single-stream
model, such as RCAR, can re-rank the best answers.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModel, AutoProcessor

from .data import DatasetError, PairDataset, append_boxes, load_pairs
from .data.columns import CAPTIONS, IMAGE, IMAGE_ID, column_values
from .data.digests import combined_digest, image_digests, text_digests
from .data.pictures import image_problems, picture_sources
from .data.readers import embedded_pairs
from .entry.devices import device_of
from .entry.errors import load_part
from .entry.outputs import check_output, is_summary
from .evaluation.cache import cache_folder, cache_name
from .evaluation.collection import Collection, Side, images_for_model
from .evaluation.figures import draw_answers, draw_pictures, is_figure
from .files import read_json, write_json
from .models.two_towers import NotTwoTowersError, load_two_towers
from .modules.image_loading import load_images, load_regions
from .modules.pair_scoring import output_scores
from .modules.text_limits import TruncationCount, count_truncated

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
        cache_dir: Folder of the vectors; by default in the cache of `datasets`.
        image_column: Column of the image, if it is not detected.
        caption_column: Column of the captions, if it is not detected.
        id_column: Column of the image names, if it is not detected.
        output: PNG to write; the JSON file has the same name.
        device: Device of the models; None for a GPU if there is one.
        progress: Whether to show progress bars.

    Returns:
        `query`, `direction`, `model`, `reranker`, `dataset` (`name`, `config`, `split`), `index`
        (`n`, the number of vectors), `left_out`, `notes` on texts, `grid`, `json`, and `results`,
        best first: `rank`, `score`, `image_id`, `row`, `caption`, then `captions` of an image or
        `pair_id` of a caption, and with a reranker `retrieval_rank` and `retrieval_score`.

    Raises:
        DatasetError: If the dataset or the split does not exist.
        FileNotFoundError: If the query is a path and the file does not exist.
        ValueError: If an option or the model is invalid.
    """
    picture = check_output(os.fspath(output), "--output", ".png", is_figure)
    summary_file = check_output(picture.with_suffix(".json"), "--output", ".json", is_summary)
    device = device_of(device)
    if min(top_k, shortlist) < 1:
        raise ValueError(f"top_k is {top_k} and shortlist is {shortlist}: give at least 1")
    direction = _direction_of(query, direction)
    side: Side = "image" if direction == TEXT_TO_IMAGE else "text"
    model, processor = _load_retriever(model_name_or_path, device)
    ranker = None if reranker is None else _load_reranker(reranker, device)
    query_input = _read_query(query, direction, processor)
    folder = cache_folder(cache_dir)
    columns = {
        "image_column": image_column,
        "caption_column": caption_column,
        "id_column": id_column,
    }
    searched = _open_split(str(dataset_name), config_name, split, side, folder, columns)
    items = searched.items(processor)
    path = folder / f"{cache_name(model, processor, side, searched.digests(folder))}.npy"
    collection = Collection.encode(model, processor, side, items, path, progress=progress)
    depth = top_k if ranker is None else max(top_k, shortlist)
    places, scores = _search(collection, query_input, depth)
    answers = [{"score": score} for score in scores]
    if ranker is not None:
        has_boxes = getattr(ranker[0].config, "box_size", 0) > 0
        listed = Collection.encode(*ranker, side, searched.items(ranker[1], places, has_boxes))
        order, values = _search(listed, query_input, top_k)
        answers = [
            {"score": value, "retrieval_rank": i + 1, "retrieval_score": scores[i]}
            for i, value in zip(order, values, strict=True)
        ]
        places = [places[i] for i in order]
    results = [
        {"rank": rank, "score": answer["score"]} | searched.answer(place) | answer
        for rank, (place, answer) in enumerate(zip(places, answers, strict=True), 1)
    ]
    if direction == IMAGE_TO_TEXT:
        draw_answers(picture, f"captions for {Path(query).name}", results, query_input)
    elif searched.pairs.visual == IMAGE:
        pictures = (searched.pairs.visuals([place])[0] for place in places)
        draw_pictures(picture, f"“{query_input}”", results, pictures)
    else:
        title = f"“{query_input}”: images by name, with their first captions"
        draw_answers(picture, title, results)
    summary = {
        "query": str(query),
        "direction": direction,
        "model": str(model_name_or_path),
        "reranker": None if reranker is None else str(reranker),
        "dataset": {"name": str(dataset_name), "config": config_name, "split": searched.split},
        "index": {"n": len(collection)},
        "results": results,
        "notes": _notes(processor, query_input, items, side, path),
        "left_out": searched.left_out,
        "grid": str(picture),
        "json": str(summary_file),
    }
    write_json(summary_file, summary)
    return summary


@dataclass(frozen=True, eq=False)
class _Split:
    """The split to search.

    Attributes:
        side: What is searched.
        pairs: Its usable rows with their captions.
        rows: Number in the split of each row of `pairs`, (n_rows,).
        split: Name of the split.
        left_out: A line with the reason for each image that does not decode and each empty caption.
    """

    side: Side
    pairs: PairDataset
    rows: NDArray[np.int64]
    split: str
    left_out: list[str]

    def items(
        self, processor: Any, places: list[int] | None = None, with_boxes: bool = False
    ) -> Any:
        """All images or captions, or those at some places, as inputs of a processor."""
        if self.side == "text":
            captions = self.pairs.captions()
            return captions if places is None else [captions[place] for place in places]
        pairs = self.pairs if places is None else self.pairs.select(np.array(places))
        if with_boxes:
            pairs = PairDataset(append_boxes(pairs.dataset, self.split))
        return images_for_model(processor, pairs.images)

    def digests(self, folder: Path) -> NDArray[np.uint64]:
        """Digests of the images or captions."""
        if self.side == "text":
            return text_digests(self.pairs.captions())
        return image_digests(self.pairs.dataset, folder)

    def answer(self, place: int) -> dict[str, Any]:
        """An image or a caption in the format of the results."""
        row = place if self.side == "image" else int(self.pairs.row_of_pair[place])
        item = self.pairs.dataset.select([row])
        answer = {"image_id": column_values(item, IMAGE_ID)[0], "row": int(self.rows[row])}
        if self.side == "text":
            return answer | {"caption": self.pairs.caption(place), "pair_id": place}
        texts = list(column_values(item, CAPTIONS)[0])
        return answer | {"caption": next(iter(texts), ""), "captions": texts}


def _open_split(
    dataset_name: str,
    config_name: str | None,
    split: str | None,
    side: Side,
    folder: Path,
    columns: dict[str, str | None],
) -> _Split:
    """Open a split; for an image search without the images that do not decode."""
    notes: dict[str, list[str]] = {}
    splits = embedded_pairs(dataset_name, config_name, columns)
    if splits is None:
        splits = load_pairs(dataset_name, config_name, left_out=notes, **columns)
    chosen = split or ("test" if "test" in splits else next(iter(splits)))
    if chosen not in splits:
        raise DatasetError(
            f"{dataset_name} has no split {chosen!r}; its splits are {list(splits)}."
        )
    dataset, left_out = splits[chosen], notes.get(chosen, [])
    rows = np.arange(len(dataset))
    if side == "image" and IMAGE in dataset.column_names:
        bad = _bad_images(dataset, chosen, folder)
        names = column_values(dataset.select(sorted(bad)), IMAGE_ID) if bad else []
        left_out += [f"{name}: {bad[row]}" for row, name in zip(sorted(bad), names, strict=True)]
        rows = np.setdiff1d(rows, list(bad)).astype(np.int64)  # (n_rows,)
        dataset = dataset.select(rows.tolist()) if bad else dataset
    return _Split(side, PairDataset(dataset), rows, chosen, left_out)


def _bad_images(dataset: Any, split: str, folder: Path) -> dict[int, str]:
    """The rows whose images do not decode, each with the reason; cached."""
    cache = folder / f"{combined_digest(image_digests(dataset, folder))}.bad.json"
    if cache.is_file():
        bad = {int(row): problem for row, problem in read_json(cache).items()}
    else:
        title = f"Checking pictures of {split}"
        problems = image_problems(picture_sources(dataset), len(dataset), title)
        bad = {row: problem for row, problem in enumerate(problems) if problem is not None}
        write_json(cache, bad)
    if len(bad) == len(dataset):
        raise DatasetError(
            f"None of the {len(bad):,} images of split '{split}' decodes; row 0: {bad[0]}."
        )
    return bad


def _search(collection: Collection, query: Any, k: int) -> tuple[list[int], list[float]]:
    """Positions and scores of the k best items."""
    if collection.side == "text":
        query = images_for_model(collection.processor, [query])[0]
    scores, places = collection.search([query], k)
    values = output_scores(collection.model, torch.from_numpy(scores[0]))
    return places[0].tolist(), values.tolist()


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
    if not hasattr(processor.image_processor, "region_size"):
        return load_images([query])[0]
    regions = load_regions([query])[0]
    if regions.ndim != 2:
        raise ValueError(
            f"{query} has the shape {regions.shape}: give the region features of one image, "
            "(n_regions, size)"
        )
    return regions


def _notes(processor: Any, query: Any, items: Any, side: Side, path: Path) -> list[str]:
    """Warnings about unknown words of the query and truncated texts."""
    notes = []
    if isinstance(query, str):
        notes += _unknown_words(processor.tokenizer, query)
        truncation = count_truncated(processor, [query])
        if truncation.n_cut:
            notes.append(f"The query has more than {truncation.limit} tokens and is truncated.")
    if side == "text":
        cache = path.with_suffix(".cut.json")
        if not cache.is_file():
            write_json(cache, count_truncated(processor, items).to_dict())
        captions = TruncationCount(**read_json(cache))
        notes += [captions.message()] if captions.n_cut else []
    return notes


def _unknown_words(tokenizer: Any, text: str) -> list[str]:
    """A warning about words of a query that are not in the vocabulary; empty if all are."""
    if tokenizer.unk_token_id is None or not tokenizer.is_fast:
        return []
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, spans = encoding["input_ids"], encoding["offset_mapping"]
    unknown = [
        text[start:end]
        for token, (start, end) in zip(ids, spans, strict=True)
        if token == tokenizer.unk_token_id
    ]
    if not ids:
        return ["The query has no word, so the answers are arbitrary."]
    if not unknown:
        return []
    names = ", ".join(dict.fromkeys(unknown))
    if len(unknown) == len(ids):
        return [f"The model knows no word of the query ({names}), so the answers are arbitrary."]
    return [f"The model does not know these words of the query: {names}."]
