"""What a query costs: the parameters of a model and the seconds of a query, with the machine.

Source: Guo and Ding, FITEE 2023, Table 4, compares methods by both. What does not depend on the
query is computed in advance, as in a search: the encodings of the gallery, and the outputs of
frozen encoders that a dataset has in place of its pictures.
"""

import platform
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ..data import LabelDataset, PairDataset
from .scoring import encode, eval_mode

#: Items of the gallery, and queries in each direction within the seconds.
_MAX_GALLERY, _MAX_QUERIES, _SECONDS = 1000, 5, 2.0


def query_cost(
    model: Any, processor: Any, pairs: PairDataset | LabelDataset, block_size: int = 64
) -> dict[str, Any]:
    """Count the parameters of a model and time single queries in both directions.

    Args:
        model: A model of this library; its mode is restored afterwards.
        processor: Its processor.
        pairs: The split whose first 1,000 images and first 1,000 texts are the gallery.
        block_size: Items of the gallery that are encoded and compared at once; bounds memory.

    Returns:
        `parameters`; `seconds_per_image_query` and `seconds_per_text_query`, the median over five
        queries, or over as many as two seconds suffice for; `gallery_images`, `gallery_texts`; and
        `machine`, see `machine_facts`.
    """
    sides: dict[Any, Any] = dict(zip(("image", "text"), _items(pairs), strict=True))
    found: dict[str, Any] = {"parameters": sum(part.numel() for part in model.parameters())}
    with eval_mode(model):
        blocks = {
            side: [
                encode(model, processor, side, items[start : start + block_size])
                for start in range(0, len(items), block_size)
            ]
            for side, items in sides.items()
        }
        for side, other in (("image", "text"), ("text", "image")):
            seconds = _seconds(model, processor, side, sides[side], blocks[other])
            found[f"seconds_per_{side}_query"] = seconds
    found |= {f"gallery_{side}s": len(items) for side, items in sides.items()}
    return found | {"machine": machine_facts(model.device)}


def machine_facts(device: torch.device | str) -> dict[str, Any]:
    """The processor, the number of threads and the device, with the name of a GPU."""
    device = torch.device(device)
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return {
        "processor": _processor_name(),
        "threads": torch.get_num_threads(),
        "device": f"{device}{name}",
    }


def _processor_name() -> str:
    """The model of the processor where Linux names it, else its architecture."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()}, {names[0]}" if names else platform.machine()


def _items(pairs: PairDataset | LabelDataset) -> tuple[Any, Any]:
    """The first images and texts of a split, as `encode` takes them."""
    if isinstance(pairs, PairDataset):
        return pairs.images[:_MAX_GALLERY], pairs.captions()[:_MAX_GALLERY]
    if pairs.has_features:
        sides = pairs.image_features, pairs.text_features
        return list(sides[0][:_MAX_GALLERY]), list(sides[1][:_MAX_GALLERY])
    rows = slice(_MAX_GALLERY)
    return pairs.pictures(rows), pairs.texts(rows)


def _seconds(model: Any, processor: Any, side: Any, queries: Any, gallery: list[Any]) -> float:
    """The median time in which a query is encoded and compared with the gallery."""
    encoder = getattr(model, "frozen_text_encoder", None)
    stored = encoder.stored if side == "text" and encoder is not None else None
    times: list[float] = []
    with nullcontext() if stored is None else stored.set_aside():
        for query in range(min(_MAX_QUERIES, len(queries))):
            if sum(times) > _SECONDS:
                break
            started = _now(model.device)
            own = encode(model, processor, side, queries[query : query + 1])
            for other in gallery:
                image, text = (own, other) if side == "image" else (other, own)
                _ = image @ text.T if model.is_two_tower else model.score(image, text)
            times.append(_now(model.device) - started)
    return median(times)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
