"""Methods for pairs with captions: alone on made-up scores, and as part of a tiny trainer."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import set_seed

from noisy_xmodal import RegionFeatureProcessor, RobustTrainer, RobustTrainingArguments
from noisy_xmodal.methods import CAPTION_METHODS
from noisy_xmodal.methods.building import PARTS, build_pair_model, network_config
from noisy_xmodal.modules import train_word_tokenizer
from noisy_xmodal.noise import CompleteMismatch
from noisy_xmodal.training import PairBatch
from toy_pairs import REGION_SIZE, toy_pairs


def method_alone(name: str, **constants: Any) -> Any:
    """A method with constants, without a trainer."""
    method = CAPTION_METHODS[name]()
    method.constants = method.read_constants(SimpleNamespace(method_options=constants))
    return method


def scores_and_batch(n_pairs: int = 7, peer: int = 0, low: float = -1) -> tuple[Any, PairBatch]:
    """Scores in float64 with a gradient, unit vectors, and their batch; pairs 1 and 2 are siblings.

    Args:
        n_pairs: Pairs of the batch.
        peer: The network of the batch.
        low: Least score; the largest one is 1.
    """
    random = torch.Generator().manual_seed(3)
    uniform = torch.rand(n_pairs, n_pairs, generator=random, dtype=torch.float64)
    scores = (low + (1 - low) * uniform).requires_grad_()
    image, text = (
        torch.nn.functional.normalize(
            torch.randn(n_pairs, 5, generator=random, dtype=torch.float64), dim=1
        )
        for _ in range(2)
    )
    negatives = ~torch.eye(n_pairs, dtype=torch.bool)
    negatives[1, 2] = negatives[2, 1] = False
    output = SimpleNamespace(
        scores=scores, logits_per_image=4 * scores, image_embeds=image, text_embeds=text
    )
    return output, PairBatch(peer, torch.arange(n_pairs), negatives, {})


def softmax_of(scores: Tensor, batch: PairBatch, temperature: float) -> tuple[list, list]:
    """P and Q of the papers by loops: rows are images in the first one, texts in the second one.

    An entry that is neither a pair nor a negative is 0.
    """
    n = len(scores)
    both = []
    for side, mask in ((scores, batch.negatives), (scores.T, batch.negatives.T)):
        rows = []
        for i in range(n):
            counts = [i == j or bool(mask[i, j]) for j in range(n)]
            powers = [
                torch.exp(side[i, j] / temperature) if counts[j] else torch.tensor(0.0)
                for j in range(n)
            ]
            rows.append([power / sum(powers) for power in powers])
        both.append(rows)
    return both[0], both[1]


def make_caption_trainer(
    name: str, out: Path, constants: dict[str, Any] | None = None, **options: Any
) -> RobustTrainer:
    """A tiny network, or two, on the made-up world with 40 % wrong captions."""
    set_seed(0)
    train = toy_pairs(36, noise=CompleteMismatch(0.4, "caption"))
    words = [caption for row in train["captions"] for caption in row]
    kind = CAPTION_METHODS[name]
    processor = PARTS[network_config(kind)][1](
        RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(words)
    )
    model = build_pair_model(
        name,
        region_size=REGION_SIZE,
        vocab_size=len(processor.tokenizer),
        word_encoder="words",
        word_size=12,
        hidden_size=12,
        **({"similarity": "cosine"} | options.pop("network", {})),
        **({"method_options": constants} if constants else {}),
    )
    warm_up = {} if "warmup_epochs" in kind.argument_rules else {"warmup_epochs": 1}
    arguments = {
        "num_train_epochs": 4,
        "per_device_train_batch_size": 24,
        "learning_rate": 1e-2,
        "disable_tqdm": True,
        "use_cpu": True,
        "save_total_limit": None,
        "load_best_model_at_end": False,
        "eval_strategy": "no",
        "plot_divisions": False,
        **({"warmup_epochs": 0} | warm_up),
    }
    return RobustTrainer(
        model,
        RobustTrainingArguments(output_dir=str(out), **arguments | options),
        kind(),
        train,
        processing_class=processor,
    )
