"""Tiny runs that processes can share; `torchrun ... tests/process_worker.py OUT` runs them all.

Nothing in them is drawn apart by the processes: no dropout, no batch normalisation. Some run under
FSDP too: with `OUT/fsdp` for their checkpoints, or going on from one in `OUT/one`.
"""

import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import datasets
import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, set_seed

from new_methods import Believing
from noisy_xmodal import (
    DmcmProcessor,
    LabelDataset,
    LabelTrainingArguments,
    MatchingConfig,
    MatchingModel,
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RcarModel,
    RcarProcessor,
    RcarTrainingArguments,
    RegionFeatureProcessor,
    RobustTrainer,
    RobustTrainingArguments,
    build_label_model,
    inject_noise,
    train_word_tokenizer,
)
from noisy_xmodal.methods import Dmcm, Ncr, Rcar
from noisy_xmodal.modules import text_states
from noisy_xmodal.modules.gathering import gather_batch, own_in_batch
from noisy_xmodal.training import Method
from noisy_xmodal.training.run import leave_processes
from tiny_backbones import backbone_config, image_processor, picture_dataset
from tiny_rcar import rcar_config
from toy_labels import toy_labels
from toy_pairs import REGION_SIZE, toy_pairs

#: Pairs of a batch over all processes, and rows of the data: nothing divides evenly.
BATCH, N_ROWS = 12, 53
STATE = ("loss", "clean_probability", "is_clean", "target")


def options(out: Path, n_processes: int) -> dict[str, Any]:
    return {
        "output_dir": str(out),
        "num_train_epochs": 3,
        "warmup_epochs": 1,
        "learning_rate": 5e-3,
        "per_device_train_batch_size": BATCH // n_processes,
        "gather_negatives": True,
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "load_best_model_at_end": False,
        "plot_divisions": False,
        "report_to": "none",
        "dataloader_pin_memory": False,
        "seed": 3,
        **({"ddp_backend": "gloo"} if n_processes > 1 else {}),
    }


def matching(method: Method, model: type, **given: Any) -> RobustTrainer:
    rows = inject_noise(toy_pairs(N_ROWS, seed=0), "cmp_40", seed=0)
    words = train_word_tokenizer(caption for row in rows["captions"] for caption in row)
    sizes = {"region_size": REGION_SIZE, "hidden_size": 16, "word_size": 16}
    config = model.config_class(
        **sizes,
        vocab_size=len(words),
        similarity="cosine" if model is NcrModel else "scan_t2i",
        word_encoder="bigru",  # texts of the same words would tie, and rounding break the tie
        dropout=0.0,
        **({"objective": "infonce"} if model is NcrModel else {}),
    )
    return RobustTrainer(
        model(config),
        RobustTrainingArguments(**given),
        method,
        rows,
        eval_dataset=toy_pairs(17, seed=1),
        processing_class=NcrProcessor(RegionFeatureProcessor(REGION_SIZE), words),
    )


def ncr(**given: Any) -> RobustTrainer:
    return matching(Ncr(), NcrModel, **given)


def believing(**given: Any) -> RobustTrainer:
    """A method that is not part of the library."""
    return matching(Believing(), MatchingModel, **given)


def rcar(**given: Any) -> RobustTrainer:
    rows = inject_noise(toy_pairs(N_ROWS, seed=0), "cmp_40", seed=0)
    words = train_word_tokenizer((c for row in rows["captions"] for c in row), mask=True)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = rcar_config(
        {"vocab_size": len(words)} | still,
        region_size=REGION_SIZE,
        hidden_dropout=0.0,
        attention_dropout=0.0,
    )
    return RobustTrainer(
        RcarModel(config),
        RcarTrainingArguments(**given, mlm_epochs=2, track_losses=False),
        Rcar(),
        rows,
        eval_dataset=toy_pairs(17, seed=1),
        processing_class=RcarProcessor(RegionFeatureProcessor(REGION_SIZE), words),
    )


def towers(**given: Any) -> RobustTrainer:
    """NCR over two CLIPs, averaged."""
    train, validation = (
        datasets.concatenate_datasets(
            [
                toy_pairs(n_rows, seed=seed).remove_columns("regions"),
                picture_dataset(n_rows, seed=seed).select_columns("image"),
            ],
            axis=1,
        )
        for seed, n_rows in enumerate((N_ROWS, 17))
    )
    rows = inject_noise(train, "cmp_40", seed=0)
    words = train_word_tokenizer((c for row in rows["captions"] for c in row), max_length=12)
    return RobustTrainer(
        NcrModel(NcrConfig(backbone_config=backbone_config("clip"), objective="infonce")),
        RobustTrainingArguments(**given, ema_decay=0.9),
        Ncr(),
        rows,
        eval_dataset=validation,
        processing_class=NcrProcessor(image_processor("clip"), words),
    )


def dmcm(**given: Any) -> RobustTrainer:
    rows = toy_labels(N_ROWS, noise="sym_40")
    return RobustTrainer(
        build_label_model("dmcm", LabelDataset(rows), hidden_sizes=[16], embedding_size=8),
        LabelTrainingArguments(**given),
        Dmcm(),
        rows,
        eval_dataset=toy_labels(19),
        processing_class=DmcmProcessor(),
    )


METHODS = {"ncr": ncr, "rcar": rcar, "dmcm": dmcm, "believing": believing, "towers": towers}
#: Runs under FSDP: each saves checkpoints, or goes on from one process's second epoch.
SHARDED = {"ncr": False, "rcar": False, "towers": True}
SECOND = "checkpoint-18"
SAVING = {"save_strategy": "epoch", "save_total_limit": None}


class ShardSizes(TrainerCallback):
    """Records the share of the weights that a process has between two steps, and gradients'."""

    def __init__(self) -> None:
        self.shares: set[float] = set()

    def on_pre_optimizer_step(self, *_: Any, optimizer: Any, **__: Any) -> None:
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        for tensors in (weights, [p.grad for p in weights if p.grad is not None]):
            own = sum(
                t.to_local().numel() if isinstance(t, DTensor) else t.numel() for t in tensors
            )
            self.shares.add(own / sum(t.numel() for t in tensors))


@mock.patch.object(text_states, "_BLOCK_SIZE", 4)  # text encoders read a batch in several blocks
def train(
    method: str, out: Path, n_processes: int, resume: Path | None = None, **further: Any
) -> dict[str, Any]:
    """Train; what every process knows in the end, ready for JSON."""
    set_seed(3)
    trainer = METHODS[method](**options(out, n_processes) | further)
    assert trainer.args.world_size == n_processes
    sizes = ShardSizes()
    trainer.add_callback(sizes)
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    history = trainer.state.log_history
    state = trainer.pair_state
    return {
        "losses": [row["loss"] for row in history if "loss" in row],
        "metrics": trainer.evaluate(),
        "state": {name: state[name].tolist() for name in STATE if name in state},
        "weights": sum(part.double().abs().sum().item() for part in trainer.model.parameters()),
        "largest_share": max(sizes.shares),
    }


def train_sharded(method: str, out: Path, world: int) -> dict[str, Any]:
    """Train under FSDP; saved after each epoch, or from a checkpoint of one process."""
    if SHARDED[method]:
        second = out / "one" / method / SECOND
        return train(method, out / "fsdp" / method, world, resume=second, fsdp=True)
    return train(method, out / "fsdp" / method, world, fsdp=True, **SAVING)


def gathered_as_by_one(rank: int, world: int) -> None:
    """Rows of any number and kind, in order; gradients as of one process with all rows."""
    for n_rows in (5, 6, 2 * world + 1):
        whole = torch.randn(n_rows, 4, 3, generator=torch.Generator().manual_seed(n_rows))
        own = whole[rank::world, : 4 - rank % 2].clone().requires_grad_()
        cut = whole.clone()
        for p in range(world):
            cut[p::world, 4 - p % 2 :] = 0
        found = gather_batch(own)
        assert torch.equal(found.detach(), cut), (n_rows, found.shape)
        assert torch.equal(gather_batch(own.detach() > 0), cut > 0)
        assert torch.equal(gather_batch(torch.arange(n_rows)[rank::world]), torch.arange(n_rows))
        assert own_in_batch(n_rows, own.device).nonzero().flatten().tolist() == [
            *range(rank, n_rows, world)
        ]
        (found**3).sum().backward()
        expected = world * 3 * own.detach() ** 2  # averaged over the processes: 3 x^2
        torch.testing.assert_close(own.grad, expected)


def scored_once(rank: int, world: int) -> None:
    """Each process compares its own images alone with the texts of all; scores are whole."""
    torch.manual_seed(0)
    n_pairs = 2 * world + 1
    config = MatchingConfig(region_size=3, hidden_size=4, vocab_size=9, similarity="scan_t2i")
    model = MatchingModel(config).eval()
    inputs = {
        "input_ids": torch.randint(1, 9, (n_pairs, 5)),
        "regions": torch.randn(n_pairs, 2, 3),
    }
    shapes = []
    model.head.register_forward_hook(lambda *given: shapes.append(tuple(given[-1].shape)))
    own = {name: values[rank::world] for name, values in inputs.items()}
    with torch.no_grad():
        found, expected = model(**own, gather=True), model(**inputs)
    assert shapes == [(len(own["regions"]), n_pairs), (n_pairs, n_pairs)], shapes
    torch.testing.assert_close(found.scores, expected.scores)
    torch.testing.assert_close(found.image_means, expected.image_means)


def left_threads() -> list[str]:
    """Names of the threads of a process group that has been left."""
    leave_processes()
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return [name for name in threads if "gloo" in name]


def equal_in_all(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What was trained, once it is sure that all processes hold the same divisions."""
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, json.dumps({name: run["state"] for name, run in found.items()}))
    assert len(set(every)) == 1, "the processes hold different divisions"
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    gathered_as_by_one(rank, world)
    scored_once(rank, world)
    folder = Path(sys.argv[1])
    found = equal_in_all({method: train(method, folder / method, world) for method in METHODS})
    assert np.isfinite(found["ncr"]["losses"]).all()
    assert not left_threads()
    store = dist.FileStore(str(folder / "store"), world)  # torchrun's knows the group that is gone
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    sharded = {f"{method} fsdp": train_sharded(method, folder, world) for method in SHARDED}
    found |= equal_in_all(sharded)
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found | {"world": world}))
    leave_processes()  # torch's own caches of shards keep its threads until the process ends
