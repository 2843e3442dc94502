"""How long an epoch of a label method takes, beside what its matrix products alone would take.

    python examples/measure_epoch.py --output epoch.json

Vectors and labels are random: the time does not depend on them. The floor is the measured time of
every product of the towers (forward, and both gradients) at the sizes of the run, and of Adam's
pass over the weights, the shortest of several; what the median epoch takes beyond it is overhead.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import datasets
import numpy as np
import torch
from transformers import HfArgumentParser, TrainerCallback
from transformers.utils import logging

from noisy_xmodal import (
    LABEL_METHODS,
    CommonSpaceProcessor,
    LabelledPairs,
    LabelTrainingArguments,
    build_label_model,
)
from noisy_xmodal.training.files import write_json


@dataclass
class MeasureArguments:
    """What to measure."""

    methods: list[str] = field(
        default_factory=lambda: ["mrl", "dmcm"], metadata={"help": "Methods of train_dmcm.py."}
    )
    n_pairs: int = field(default=2173, metadata={"help": "Training pairs."})
    image_size: int = field(default=128, metadata={"help": "Numbers of an image's vector."})
    text_size: int = field(default=100, metadata={"help": "Numbers of a text's vector."})
    n_classes: int = field(default=10, metadata={"help": "Classes."})
    hidden_size: int = field(default=4096, metadata={"help": "Both hidden layers of a tower."})
    batch_size: int = field(default=100, metadata={"help": "Pairs in a mini-batch."})
    noise_rate: float = field(default=0.6, metadata={"help": "Share that DMCM mixes."})
    epochs: int = field(default=3, metadata={"help": "Epochs that are timed, after the warm-up."})
    threads: int = field(default=2, metadata={"help": "Threads of torch."})
    output: str = field(default="epoch.json", metadata={"help": "JSON file of the figures."})


class EpochTimes(TrainerCallback):
    """The moments at which epochs end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch_end(self, *_: object, **__: object) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


def least_seconds(action: Callable[[], object], repetitions: int = 9) -> float:
    """Shortest time of an action, after one call to warm up."""
    action()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def product_seconds(rows: int, layers: list[tuple[int, int]], gradients: bool) -> float:
    """Time of the products of one tower for one batch: forward, and both gradients."""
    total = 0.0
    for position, (inputs, outputs) in enumerate(layers):
        x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs)
        total += least_seconds(lambda x=x, weight=weight: x @ weight.T)
        if gradients:
            gradient = torch.randn(rows, outputs)
            total += least_seconds(lambda x=x, gradient=gradient: gradient.T @ x)
            if position:  # nobody asks for the gradient of the features
                total += least_seconds(lambda w=weight, gradient=gradient: gradient @ w)
    return total


def adam_seconds(model: torch.nn.Module) -> float:
    """Time of one step of fused Adam over all weights."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, fused=True)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    return least_seconds(optimizer.step)


def products(rows: int, layers: list[tuple[int, int]], gradients: bool) -> float:
    """Floating-point operations of `product_seconds`."""
    passes = [(3 if position else 2) if gradients else 1 for position in range(len(layers))]
    return sum(2 * rows * a * b * n for (a, b), n in zip(layers, passes, strict=True))


def floor_of(args: MeasureArguments, method: str, model: torch.nn.Module) -> dict[str, float]:
    """What the arithmetic of an epoch needs at least."""
    steps = -(-args.n_pairs // args.batch_size)
    rows = round(args.n_pairs / steps)
    mixed = round(args.noise_rate * rows) if method == "dmcm" else 0
    seconds, operations = 0.0, 0.0
    for size in (args.image_size, args.text_size):
        layers = [(size, args.hidden_size), (args.hidden_size,) * 2, (args.hidden_size, 512)]
        for count, gradients in ((rows, True), (mixed, True), (rows * bool(mixed), False)):
            if count:  # the last one is the loss pass before the division
                seconds += steps * product_seconds(count, layers, gradients)
                operations += steps * products(count, layers, gradients)
    return {
        "products_s": seconds,
        "gflop": operations / 1e9,
        "gflop_per_s": operations / 1e9 / seconds,
        "adam_s": steps * adam_seconds(model),
    }


def random_pairs(args: MeasureArguments) -> LabelledPairs:
    """Rows of random vectors and labels."""
    rng = np.random.default_rng(0)
    kind = datasets.ClassLabel(num_classes=args.n_classes)
    labels = rng.integers(0, args.n_classes, args.n_pairs)
    rows = datasets.Dataset.from_dict(
        {
            "image_features": rng.standard_normal((args.n_pairs, args.image_size), np.float32),
            "text_features": rng.standard_normal((args.n_pairs, args.text_size), np.float32),
            "image_label": labels,
            "text_label": labels,
        }
    )
    for name in ("image_label", "text_label"):
        rows = rows.cast_column(name, kind)
    return LabelledPairs(rows)


def measure(args: MeasureArguments, method: str, pairs: LabelledPairs) -> dict:
    """Train some epochs without evaluation or checkpoints and time them."""
    fields: dict = {"hidden_sizes": [args.hidden_size] * 2}
    if method == "dmcm":
        fields |= {"selection": "rate", "noise_rate": args.noise_rate}
    model = build_label_model(method, pairs, **fields)
    clock = EpochTimes()
    with tempfile.TemporaryDirectory() as folder:
        training = LabelTrainingArguments(
            output_dir=folder,
            num_train_epochs=args.epochs + 2,
            warmup_epochs=1,
            per_device_train_batch_size=args.batch_size,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
            plot_divisions=False,
            disable_tqdm=True,
            use_cpu=True,
        )
        kind = LABEL_METHODS[method]
        trainer = kind(model, training, pairs, processing_class=CommonSpaceProcessor())
        trainer.add_callback(clock)
        trainer.train()
    floor = floor_of(args, method, model)
    epoch = statistics.median(np.diff(clock.ends[1:]).tolist())
    least = floor["products_s"] + floor["adam_s"]
    return {"method": method, "epoch_s": epoch, **floor, "ratio_to_floor": epoch / least}


def main() -> None:
    """Measure, print and write."""
    (args,) = HfArgumentParser(MeasureArguments).parse_args_into_dataclasses()
    logging.set_verbosity_error()
    torch.set_num_threads(args.threads)
    pairs = random_pairs(args)
    rows = [measure(args, method, pairs) for method in args.methods]
    write_json(args.output, {"arguments": vars(args), "rows": rows})
    for row in rows:
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else str(v) for k, v in row.items()))


if __name__ == "__main__":
    main()
