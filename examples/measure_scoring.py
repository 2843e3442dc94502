"""Pairs per second that RCAR scores, compared with a loop that encodes every pair again.

    python examples/measure_scoring.py --model_name_or_path runs/rcar --output scoring.json

The loop runs all encoders and layers on every pair, padded to the longest caption of the split, in
batches (or one by one: --loop_batch_size 1). `RcarModel.score` encodes each image and each caption
once, scores captions of similar length together and computes only [CLS] in the last layer. Both are
timed in eval mode, without the conversion of pictures and captions to tensors.
"""

from dataclasses import dataclass, field

from noisy_xmodal.entry.command_line import answer_early


@dataclass
class MeasureArguments:
    """The model and the sizes."""

    model_name_or_path: str = field(metadata={"help": "Hub id or folder of a trained RCAR."})
    dataset_name: str | None = field(
        default=None, metadata={"help": "Hub id or folder of a dataset; OpenMoji by default."}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Its config."})
    split: str = field(default="test", metadata={"help": "Its split."})
    n_images: int = field(default=64, metadata={"help": "Number of images."})
    n_texts: int = field(default=320, metadata={"help": "Number of captions."})
    block_size: int = field(default=64, metadata={"help": "Images and captions in a block."})
    loop_batch_size: int = field(default=64, metadata={"help": "Pairs in a batch of the loop."})
    loop_pairs: int = field(default=4096, metadata={"help": "Random pairs to time the loop on."})
    repetitions: int = field(default=5, metadata={"help": "Timings; the median is reported."})
    threads: int = field(default=2, metadata={"help": "Threads of torch on a CPU."})
    output: str = field(default="scoring.json", metadata={"help": "JSON file for the results."})


if __name__ == "__main__":
    answer_early(MeasureArguments)  # the imports below take seconds

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import AutoModel, AutoProcessor, HfArgumentParser

from noisy_xmodal import RcarModel
from noisy_xmodal.data import PairDataset, append_boxes, load_pairs
from noisy_xmodal.data.readers import load_openmoji
from noisy_xmodal.entry.errors import load_part
from noisy_xmodal.evaluation.scoring import length_order
from noisy_xmodal.files import write_json
from noisy_xmodal.training.run import run_script

Inputs = dict[str, torch.Tensor]


def seconds_of(action: Callable[[], object], repetitions: int) -> float:
    """Median time of an action, after one call to warm up."""
    times = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def loop(
    model: RcarModel, images: Inputs, texts: Inputs, pairs: torch.Tensor, size: int
) -> np.ndarray:
    """Score pairs by full passes, as probabilities, (n_pairs,)."""
    found = []
    for block in pairs.split(size):
        image = model.encode_image(**{name: value[block[:, 0]] for name, value in images.items()})
        text = model.encode_text(**{name: value[block[:, 1]] for name, value in texts.items()})
        start = model.class_token.expand(len(block), 1, -1)
        mask = torch.cat([torch.ones_like(text.mask[:, :1]), image.mask, text.mask], dim=1)
        states = model.encoder(torch.cat([start, image.tokens, text.tokens], dim=1), mask)
        found.append(model.matching_head(states[:, 0]).softmax(dim=-1)[:, 1])
    return torch.cat(found).float().cpu().numpy()


def score(model: RcarModel, images: list[Inputs], texts: list[Inputs]) -> np.ndarray:
    """Score all pairs like the evaluation, as probabilities, (n_images, n_texts)."""
    encoded = [model.encode_text(**block) for block in texts]
    rows = []
    for block in images:
        image = model.encode_image(**block)
        rows.append(torch.cat([model.score(image, text) for text in encoded], dim=1))
    return model.match_probability(torch.cat(rows)).cpu().numpy()


def blocks_of(processor: object, name: str, items: list, size: int, device: object) -> list[Inputs]:
    """Model inputs of images or captions in blocks."""
    return [
        dict(processor(**{name: items[start : start + size]}).to(device))
        for start in range(0, len(items), size)
    ]


def operations(model: RcarModel, n_pairs: int, n_regions: int, n_words: float) -> float:
    """Floating-point operations of the products and the attention of `RcarModel.score`.

    The encoders, and the first layer's queries, keys and values, are shared and left out.
    """
    config = model.config
    size, inner = config.hidden_size, config.intermediate_size
    length = 1 + n_regions + n_words
    total = 0.0
    for layer in range(config.num_hidden_layers):
        is_last = layer == config.num_hidden_layers - 1
        queries = 1 if is_last else length
        projected = 0 if layer == 0 else (queries + 2 * length) * size * size
        total += projected + 2 * queries * length * size  # attention: weights, then their mean
        total += queries * (size * size + 2 * size * inner)
    return 2 * total * n_pairs


def product_rate(model: RcarModel, dtype: torch.dtype, repetitions: int) -> float:
    """Floating-point operations per second of the first product of the feed-forward network."""
    size, inner, device = model.config.hidden_size, model.config.intermediate_size, model.device
    rows = 65536 if device.type == "cuda" else 4096
    x = torch.randn(rows, size, device=device, dtype=dtype)
    weight = torch.randn(inner, size, device=device, dtype=dtype)
    return 2 * rows * size * inner / seconds_of(lambda: x @ weight.T, 4 * repetitions)


@torch.inference_mode()
def main(argv: list[str] | None = None) -> dict:
    """Measure, print and write."""
    (args,) = HfArgumentParser(MeasureArguments).parse_args_into_dataclasses(argv)
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_part(AutoModel, args.model_name_or_path).to(device).eval()
    if not isinstance(model, RcarModel):
        raise ValueError(f"--model_name_or_path is a {type(model).__name__}: give a trained RCAR")
    processor = load_part(AutoProcessor, args.model_name_or_path)
    dataset = (
        load_openmoji(args.dataset_config_name or "clean")
        if args.dataset_name is None
        else load_pairs(args.dataset_name, args.dataset_config_name)
    )
    rows = dataset[args.split]
    pairs = PairDataset(append_boxes(rows, args.split) if model.config.box_size else rows)
    images, texts = pairs.images[: args.n_images], pairs.captions()[: args.n_texts]
    texts = [texts[place] for place in length_order(texts)]
    image_blocks = blocks_of(processor, "images", images, args.block_size, device)
    text_blocks = blocks_of(processor, "text", texts, args.block_size, device)
    all_images = blocks_of(processor, "images", images, len(images), device)[0]
    all_texts = blocks_of(processor, "text", texts, len(texts), device)[0]
    n_pairs = len(images) * len(texts)
    some = np.random.default_rng(0).choice(n_pairs, min(args.loop_pairs, n_pairs), replace=False)
    chosen = torch.from_numpy(np.stack(np.divmod(some, len(texts)), axis=1)).to(device)

    expected = loop(model, all_images, all_texts, chosen, args.loop_batch_size)
    loop_seconds = seconds_of(
        lambda: loop(model, all_images, all_texts, chosen, args.loop_batch_size), args.repetitions
    )
    words = float(np.mean([len(ids) for ids in processor.tokenizer(texts)["input_ids"]]))
    regions = model.encode_image(**image_blocks[0]).tokens.shape[1]
    found: dict = {
        "model": {
            name: getattr(model.config, name) for name in ("hidden_size", "num_hidden_layers")
        },
        "device": str(torch.cuda.get_device_name()) if device == "cuda" else device,
        "threads": torch.get_num_threads(),
        "n_images": len(images),
        "n_texts": len(texts),
        "image_tokens": regions,
        "text_tokens_mean": words,
        "text_tokens_longest": all_texts["input_ids"].shape[1],
        "loop_batch_size": args.loop_batch_size,
        "loop_pairs_per_s": len(chosen) / loop_seconds,
    }
    for dtype in ("float32", "bfloat16"):
        model.config.score_dtype = dtype
        scores = score(model, image_blocks, text_blocks)
        seconds = seconds_of(lambda: score(model, image_blocks, text_blocks), args.repetitions)
        rate = product_rate(model, getattr(torch, dtype), args.repetitions)
        work = operations(model, n_pairs, regions, words)
        found[dtype] = {
            "pairs_per_s": n_pairs / seconds,
            "times_the_loop": n_pairs / seconds / found["loop_pairs_per_s"],
            "largest_difference": float(np.abs(scores[tuple(chosen.cpu().T)] - expected).max()),
            "gflop_per_s": work / seconds / 1e9,
            "product_gflop_per_s": rate / 1e9,
            "share_of_product_rate": work / seconds / rate,
        }
    write_json(args.output, found)
    for name, value in found.items():
        print(f"{name:20} {value}")
    return found


if __name__ == "__main__":
    run_script(main, MeasureArguments)
