"""What only a GPU can show, in under eight minutes: tests, memory and rates, as JSON and Markdown.

    make gpu
    python tests/on_gpu.py --output_dir runs/gpu
    python tests/on_gpu.py --output_dir runs/gpu --parts products ncr    # some of it

Every part runs in a process of its own, with a limit on its time: one that fails leaves the others
their numbers. Networks have the papers' sizes and random weights, data are made up. Without CUDA
what needs it is skipped, all sizes are tiny, and one process measures: this shows that the script
runs, and no rates.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from transformers import BertConfig, CLIPConfig, CLIPImageProcessorPil

from noisy_xmodal import (
    MatchingConfig,
    MatchingModel,
    MatchingProcessor,
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RcarConfig,
    RcarModel,
    RcarProcessor,
    RcarTrainingArguments,
    RegionFeatureProcessor,
    RobustTrainer,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.data.regions import region_feature
from noisy_xmodal.evaluation import RetrievalEvaluator, machine_facts, score_matrix
from noisy_xmodal.files import write_json
from noisy_xmodal.methods import Clip, Ncr, Rcar
from tiny_backbones import backbone_config

#: Seconds that a part may take; together less than eight minutes.
LIMITS = {"tests": 110, "products": 30, "ncr": 150, "rcar": 60, "clip": 60, "scoring": 60}

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
Numbers = dict[str, float | int | str | None]


def sized(large: int, tiny: int) -> int:
    """A size for a GPU, or for a machine without one."""
    return large if ON_GPU else tiny


def words() -> list[str]:
    """Words of the captions."""
    return [f"w{number}" for number in range(sized(5000, 20))]


def rows(n_images: int, kind: str, n_regions: int = 36, size: int = 2048) -> datasets.Dataset:
    """Images with regions or pictures, and five captions each of 8 to 16 words."""
    rng, known = np.random.default_rng(0), words()
    captions = [
        [" ".join(rng.choice(known, rng.integers(8, 17))) for _ in range(sized(5, 2))]
        for _ in range(n_images)
    ]
    columns: dict[str, Any] = {"image_id": [str(n) for n in range(n_images)], "captions": captions}
    features = {
        "image_id": datasets.Value("string"),
        "captions": datasets.List(datasets.Value("string")),
    }
    if kind == "regions":
        columns["regions"] = list(rng.random((n_images, n_regions, size), dtype=np.float32))
        features["regions"] = region_feature(size)
    else:
        blocks = rng.integers(0, 255, (n_images, 32, 32, 3), dtype=np.uint8)
        columns["image"] = [Image.fromarray(block).resize((size, size)) for block in blocks]
        features["image"] = datasets.Image()
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def seconds_of(work: Callable[[], Any]) -> float:
    """Seconds of a call, until the device has done its work."""
    synchronize = torch.cuda.synchronize if ON_GPU else lambda: None
    synchronize()
    started = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - started


def training(name: str, make: Callable[[str], RobustTrainer]) -> dict[str, Numbers]:
    """Pairs a second and memory of training, in float32 and in bfloat16.

    Args:
        name: Name of the network and of its method.
        make: A trainer, by its number format.
    """
    found = {}
    for number_format in ("float32", "bfloat16"):
        if ON_GPU:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        torch.manual_seed(0)
        trainer = make(number_format)
        seconds = seconds_of(trainer.train)
        args, steps = trainer.args, trainer.state.global_step
        pairs = steps * args.per_device_train_batch_size * trainer.method.n_networks
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
        assert np.isfinite(losses).all(), losses
        found[f"{name}, {number_format}"] = {
            "steps": steps,
            "batch": args.per_device_train_batch_size,
            "pairs a second": round(pairs / seconds, 1),
            "GiB": round(torch.cuda.max_memory_allocated() / 2**30, 2) if ON_GPU else None,
            "loss, first and last": f"{losses[0]:.3f}, {losses[-1]:.3f}",
        }
        del trainer
    return found


def options(folder: Path, number_format: str, steps: int) -> dict[str, Any]:
    """Training arguments of a measurement."""
    return {
        "output_dir": str(folder / number_format),
        "max_steps": steps,
        "bf16": number_format == "bfloat16",
        "use_cpu": not ON_GPU,
        "disable_tqdm": True,
        "eval_strategy": "no",
        "save_strategy": "no",
        "load_best_model_at_end": False,
        "plot_divisions": False,
        "logging_strategy": "steps",
        "logging_steps": max(1, steps // 10),
        "report_to": "none",
        "dataloader_num_workers": sized(4, 0),
    }


def products(folder: Path) -> dict[str, Numbers]:
    """The rate of one large matrix product, which other rates are compared with."""
    size, found = sized(8192, 256), {}
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    for name, kind in kinds.items():
        a = torch.randn(size, size, device=DEVICE).to(kind)
        a @ a
        seconds = min(seconds_of(lambda a=a: a @ a) for _ in range(5))
        found[f"product of {size} x {size}, {name}"] = {
            "Tflop a second": float(f"{2 * size**3 / seconds / 1e12:.3g}")
        }
    return found


def ncr_fields(n_words: int) -> dict[str, Any]:
    """The network of NCR's paper: SGR over 36 regions of 2,048 numbers."""
    return {
        "vocab_size": n_words,
        "word_size": sized(300, 8),
        "region_size": sized(2048, 12),
        "hidden_size": sized(1024, 8),
        "similarity": "sgr",
        "similarity_options": {"num_regions": 36, "similarity_size": sized(256, 4)},
    }


def ncr(folder: Path) -> dict[str, Numbers]:
    """NCR with SGR at the size of the paper: warm-up, a loss pass with a division, robust steps."""
    data = rows(sized(256, 8), "regions", size=sized(2048, 12))
    tokenizer = train_word_tokenizer([text for row in data["captions"] for text in row])
    batch = sized(128, 4)
    epoch = len(data) * len(data["captions"][0]) // batch  # steps
    fields = ncr_fields(len(tokenizer))

    def make(number_format: str) -> RobustTrainer:
        return RobustTrainer(
            NcrModel(NcrConfig(**fields)),
            RobustTrainingArguments(
                **options(folder, number_format, sized(20, 3) * epoch),
                per_device_train_batch_size=batch,
                warmup_epochs=2,
            ),
            Ncr(),
            data,
            processing_class=NcrProcessor(RegionFeatureProcessor(sized(2048, 12)), tokenizer),
        )

    return training("NCR with SGR, two networks", make)


def rcar_config(tokenizer: Any) -> RcarConfig:
    """The network of RCAR's paper: BERT base and eight layers of 768."""
    small = {} if ON_GPU else {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = BertConfig(
        vocab_size=len(tokenizer), **small, **{} if ON_GPU else {"intermediate_size": 8}
    )
    return RcarConfig(text_config=text, region_size=sized(2048, 12), **small)


def rcar(folder: Path) -> dict[str, Numbers]:
    """RCAR at the size of the paper: masked words, a loss pass, a division, refurbished labels."""
    data = rows(sized(128, 8), "regions", size=sized(2048, 12))
    tokenizer = train_word_tokenizer([t for row in data["captions"] for t in row], mask=True)
    batch = sized(64, 4)
    epoch = len(data) * len(data["captions"][0]) // batch

    def make(number_format: str) -> RobustTrainer:
        return RobustTrainer(
            RcarModel(rcar_config(tokenizer)),
            RcarTrainingArguments(
                **options(folder, number_format, sized(5, 2) * epoch),
                per_device_train_batch_size=batch,
                warmup_epochs=1,
                mlm_epochs=1,
                track_losses=False,
            ),
            Rcar(),
            data,
            processing_class=RcarProcessor(RegionFeatureProcessor(sized(2048, 12)), tokenizer),
        )

    return training("RCAR", make)


def clip(folder: Path) -> dict[str, Numbers]:
    """Fine-tuning a two-tower model of the size of CLIP ViT-B/32."""
    side = sized(224, 32)
    data = rows(sized(256, 8), "pictures", size=side)
    tokenizer = train_word_tokenizer([t for row in data["captions"] for t in row], max_length=12)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )

    def make(number_format: str) -> RobustTrainer:
        return RobustTrainer(
            MatchingModel(
                MatchingConfig(backbone_config=CLIPConfig() if ON_GPU else backbone_config("clip"))
            ),
            RobustTrainingArguments(
                **options(folder, number_format, sized(60, 3)),
                per_device_train_batch_size=sized(128, 4),
                learning_rate=1e-5,
                warmup_epochs=0,
            ),
            Clip(),
            data,
            processing_class=MatchingProcessor(images, tokenizer),
        )

    return training("CLIP ViT-B/32", make)


def scoring(folder: Path) -> dict[str, Numbers]:
    """Pairs a second of scores and ranks, and pictures a second through an encoder of audits."""
    found: dict[str, Numbers] = {}
    data = rows(sized(200, 8), "regions", size=sized(2048, 12))
    texts = [text for row in data["captions"] for text in row]
    images = [np.asarray(row, dtype=np.float32) for row in data["regions"]]
    regions = RegionFeatureProcessor(sized(2048, 12))
    tokenizer = train_word_tokenizer(texts, mask=True)
    networks = {
        "scores of SGR": (
            MatchingModel(MatchingConfig(**ncr_fields(len(tokenizer)))),
            NcrProcessor(regions, tokenizer),
        ),
        "scores of RCAR": (RcarModel(rcar_config(tokenizer)), RcarProcessor(regions, tokenizer)),
    }
    for name, (model, processor) in networks.items():
        model.to(DEVICE).eval()
        score_matrix(model, processor, images[:4], texts[:8])
        seconds = seconds_of(
            lambda model=model, processor=processor: score_matrix(model, processor, images, texts)
        )
        found[name] = {"pairs a second": round(len(images) * len(texts) / seconds)}
    towers = MatchingModel(MatchingConfig(**ncr_fields(len(tokenizer)) | COSINE)).to(DEVICE)
    many = rows(sized(5000, 20), "regions", n_regions=1, size=sized(2048, 12))
    evaluator = RetrievalEvaluator(NcrProcessor(regions, tokenizer), block_size=512)
    n_pairs = len(many) * sum(len(row) for row in many["captions"])
    seconds = seconds_of(lambda: evaluator(towers, many))
    found["scores and ranks of two towers"] = {"pairs a second": round(n_pairs / seconds)}
    vision = CLIPConfig() if ON_GPU else backbone_config("clip")
    model = MatchingModel(MatchingConfig(backbone_config=vision)).to(DEVICE).eval()
    side = vision.vision_config.image_size
    pixels = torch.randn(sized(256, 4), 3, side, side, device=DEVICE)
    with torch.inference_mode(), torch.autocast(DEVICE, torch.bfloat16, enabled=ON_GPU):
        model.get_image_features(pixel_values=pixels)
        seconds = seconds_of(lambda: model.get_image_features(pixel_values=pixels))
    found["vectors of pictures by CLIP ViT-B/32, as audits compute them"] = {
        "pictures a second": round(len(pixels) / seconds, 1)
    }
    return found


COSINE = {"similarity": "cosine", "similarity_options": {}}
PARTS: dict[str, Callable[[Path], dict[str, Numbers]]] = {
    "products": products,
    "ncr": ncr,
    "rcar": rcar,
    "clip": clip,
    "scoring": scoring,
}


def run_tests(folder: Path) -> dict[str, Numbers]:
    """The tests marked `gpu`."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    here = Path(__file__).parent
    done = _run([*command, str(here / "training" / "test_on_gpu.py")], LIMITS["tests"], here.parent)
    (folder / "tests.txt").write_text(done.stdout + done.stderr)
    lines = done.stdout.strip().splitlines() or [f"exit status {done.returncode}"]
    return {"tests marked gpu": {"result": lines[-1], "status": done.returncode}}


def run_part(name: str, folder: Path) -> dict[str, Numbers]:
    """A part in a process of its own."""
    if name == "tests":
        return run_tests(folder)
    if not ON_GPU:
        return PARTS[name](folder)
    command = [sys.executable, __file__, "--output_dir", str(folder), "--run", name]
    done = _run(command, LIMITS[name], None)
    path = folder / f"{name}.json"
    if done.returncode or not path.is_file():
        (folder / f"{name}.txt").write_text(done.stdout + done.stderr)
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {name: {"failed": last[:200], "status": done.returncode}}
    return json.loads(path.read_text())


def _run(
    command: list[str], limit: float, folder: Path | None
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace")
        return subprocess.CompletedProcess(command, 124, output, f"longer than {limit} seconds")


def table(found: dict[str, Numbers]) -> str:
    """A Markdown table with a row for each measurement."""
    lines = ["| what | measured |", "|---|---|"]
    for name, numbers in found.items():
        cells = [f"{unit} {value}" for unit, value in numbers.items() if value is not None]
        lines.append(f"| {name} | {'; '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run the parts, print the table; 0 if none failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--run", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    datasets.disable_progress_bars()
    if args.run:
        write_json(args.output_dir / f"{args.run}.json", PARTS[args.run](args.output_dir))
        return 0
    found: dict[str, Numbers] = {}
    started = time.perf_counter()
    for name in args.parts:
        (args.output_dir / f"{name}.json").unlink(missing_ok=True)
        found |= run_part(name, args.output_dir)
    facts = machine_facts(torch.device(DEVICE))
    report = {"machine": facts, "seconds": round(time.perf_counter() - started, 1)}
    write_json(args.output_dir / "gpu.json", report | {"measured": found})
    text = table(found)
    (args.output_dir / "gpu.md").write_text(text)
    print(f"{'' if ON_GPU else 'No GPU: sizes are tiny. '}{report}\n\n{text}")
    return int(any(numbers.get("status") for numbers in found.values()))


if __name__ == "__main__":
    sys.exit(main())
