"""One trainer for every pair method: transformers' Trainer with three hooks.

A method says what a pair's loss is (`per_sample_loss`), what it should aim at (`training_targets`)
and how much it counts (`sample_weights`). Divisions and refurbished targets are made by callbacks
at the beginning of an epoch and kept in the `PairState`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    ProcessorMixin,
    TrainerCallback,
    TrainerControl,
)

from ..data import PairCollator, PairDataset, validate_pairs
from ..data.columns import IMAGE
from ..data.samplers import ChunkSampler, DealtPairs, PeerBatchSampler
from ..evaluation import RetrievalEvaluator
from .arguments import RobustTrainingArguments
from .callbacks import DivisionCallback, EpochCallback, RefurbishmentCallback, ReportCallback
from .checkpoint import SafeCheckpointTrainer
from .objectives import Objective, ScoredBatch
from .pair_state import PairState


@dataclass(frozen=True)
class PairBatch:
    """The pairs of one network in a mini-batch.

    Attributes:
        peer: The network, 0 or 1.
        pair_id: (n_pairs,).
        negatives: True where image i is a legitimate negative of text j, (n_pairs, n_pairs). The
            other captions of an image are not negatives of it.
        inputs: What the model reads.
    """

    peer: int
    pair_id: Tensor
    negatives: Tensor
    inputs: dict[str, Tensor]


class RobustTrainer(SafeCheckpointTrainer):
    """Trains a matching model on pairs that cannot be trusted.

    Args:
        model: A `MatchingModel`, or any model with its protocol.
        args: Arguments; `args.robust = False` is plain training.
        objective: The losses of the recipe.
        train_dataset: Rows by the column contract, or a `PairDataset`.
        processing_class: The model's processor.
        eval_dataset: The same for validation.
        evaluator: What computes the validation metrics; retrieval by default.
        callbacks: Further callbacks.
        kwargs: Passed on to `transformers.Trainer`.

    Raises:
        DatasetError: If a dataset breaks the column contract.
        ValueError: If the arguments contradict each other or the data.
    """

    n_peers = 1
    #: Posterior from which a pair counts as clean.
    clean_threshold: float = 0.5

    def __init__(
        self,
        model: PreTrainedModel,
        args: RobustTrainingArguments,
        objective: Objective,
        train_dataset: datasets.Dataset | PairDataset,
        *,
        processing_class: ProcessorMixin,
        eval_dataset: datasets.Dataset | PairDataset | None = None,
        evaluator: RetrievalEvaluator | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        **kwargs: Any,
    ) -> None:
        self.objective = objective
        pairs = self._as_pairs(train_dataset, "train", args.per_device_train_batch_size)
        if pairs.visual == IMAGE:
            pairs = PairDataset(
                pairs.dataset, processing_class.image_processor, args.image_cache_mb * 2**20
            )
        validation = eval_dataset and self._as_pairs(eval_dataset, "validation", 1)
        self.pair_state = PairState(len(pairs), self.n_peers)
        self.evaluator = evaluator or RetrievalEvaluator(
            processing_class, block_size=args.score_block_size
        )
        super().__init__(
            model=model,
            args=args,
            train_dataset=pairs,
            eval_dataset=validation,
            processing_class=processing_class,
            data_collator=PairCollator(processing_class),
            **kwargs,
        )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                f"{type(self).__name__} runs on one process or under DDP, not FSDP or DeepSpeed. "
                "Choose another distributed type with `accelerate config`."
            )
        self.loss_is_scaled_for_ga = False
        self.batch_sampler = PeerBatchSampler(
            len(pairs),
            args.per_device_train_batch_size * self.args.world_size,
            self.n_peers,
            seed=args.seed,
            clean_mask=self.clean_mask,
            process=self.args.process_index,
            n_processes=self.args.world_size,
        )
        if args.disable_tqdm:
            self.remove_callback(PrinterCallback)
            self.add_callback(ReportCallback())
        self.add_callback(EpochCallback(self))
        if args.robust:
            self.add_callback(DivisionCallback(self))
            self.add_callback(RefurbishmentCallback(self))
        for callback in callbacks:
            self.add_callback(callback)

    @staticmethod
    def _as_pairs(dataset: datasets.Dataset | PairDataset, split: str, minimum: int) -> PairDataset:
        rows = dataset.dataset if isinstance(dataset, PairDataset) else dataset
        validate_pairs(rows, split=split, minimum_pairs=minimum)
        return dataset if isinstance(dataset, PairDataset) else PairDataset(rows)

    # What a method says

    def per_sample_loss(
        self, output: ScoredBatch, batch: PairBatch, targets: Tensor | None
    ) -> Tensor:
        """One loss a pair, (n_pairs,); `targets` is None during the warm-up."""
        if targets is None:
            return self.objective.warm_up(output, batch.negatives)
        return self.objective.robust(output, targets, batch.negatives)

    def training_targets(self, output: ScoredBatch, batch: PairBatch) -> Tensor:
        """What each pair aims at after the warm-up, (n_pairs,)."""
        return torch.ones(len(batch.pair_id), device=batch.pair_id.device)

    def sample_weights(self, batch: PairBatch) -> Tensor | None:
        """How much each pair counts after the warm-up, (n_pairs,), or None for equal weights.

        By default the division alone decides: noisy pairs serve as negatives and nothing else.
        """
        mask = self.clean_mask(batch.peer)
        if mask is None:
            return None
        clean = torch.as_tensor(mask[batch.pair_id.cpu().numpy()], dtype=torch.float32)
        return clean.to(batch.pair_id.device)

    def assess(self, output: ScoredBatch, negatives: Tensor) -> dict[str, Tensor]:
        """What the loss pass keeps of a chunk, each (n_pairs,); "loss" feeds the mixture."""
        return {"loss": self.objective.warm_up(output, negatives)}

    def refurbish(self) -> np.ndarray | None:
        """New targets (n_peers, n_pairs) from the pair state, or None, as an epoch begins."""
        return None

    def judge_of(self, peer: int) -> int:
        """The network whose division trains this one."""
        return peer

    # The division

    def clean_mask(self, peer: int) -> np.ndarray | None:
        """The division that trains a network, bool (n_pairs,), or None before there is one."""
        if "is_clean" not in self.pair_state:
            return None
        return self.pair_state["is_clean"][self.judge_of(peer)].astype(bool)

    @property
    def in_warm_up(self) -> bool:
        """Whether the current epoch is one of the warm-up."""
        return int((self.state.epoch or 0) + 1e-6) < self.args.warmup_epochs

    @torch.no_grad()
    def assess_pairs(self) -> dict[str, np.ndarray]:
        """Pass over the fixed chunks in eval mode: what `assess` keeps, (n_peers, n_pairs) each."""
        networks = self.networks()
        sampler = ChunkSampler(
            len(self.train_dataset),
            self.args.per_device_train_batch_size,
            seed=self.args.seed,
            process=self.args.process_index,
            n_processes=self.args.world_size,
        )
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            generator=torch.Generator(),  # else iterating draws from the global one
        )
        kept: dict[str, Tensor] = {}
        self.model.eval()
        for raw in tqdm(loader, desc="loss pass", leave=False, disable=self.args.disable_tqdm):
            inputs = self._prepare_inputs(raw)
            pair_id, image_row = inputs.pop("pair_id"), inputs.pop("image_row")
            negatives = image_row[:, None] != image_row[None, :]
            for peer, network in enumerate(networks):
                with self.accelerator.autocast():
                    output = network(**inputs)
                for name, values in self.assess(output, negatives).items():
                    if name not in kept:
                        kept[name] = torch.zeros(
                            self.pair_state.shape, dtype=torch.float64, device=values.device
                        )
                    kept[name][peer, pair_id] = values.double()
        self.model.train()
        # Every pair was assessed by one process and is zero on the others.
        return {
            name: self.accelerator.reduce(values, "sum").cpu().numpy()
            for name, values in kept.items()
        }

    def networks(self) -> tuple[nn.Module, ...]:
        """The networks that train side by side, without wrappers."""
        return (self.accelerator.unwrap_model(self.model),)

    # The training step

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean loss of each network's pairs, summed over the networks."""
        outputs, batches = self.run_networks(model, dict(inputs))
        losses = [
            self._network_loss(output, batch)
            for output, batch in zip(outputs, batches, strict=True)
        ]
        loss = torch.stack(losses).sum()
        return (loss, outputs) if return_outputs else loss

    def run_networks(
        self, model: nn.Module, inputs: dict[str, Tensor]
    ) -> tuple[list[ScoredBatch], list[PairBatch]]:
        """One forward pass through the wrapper: an output and a batch for each network."""
        inputs.pop("peer", None)
        batch = self.make_batch(0, inputs)
        return [model(**batch.inputs)], [batch]

    @staticmethod
    def make_batch(peer: int, inputs: dict[str, Tensor]) -> PairBatch:
        """Separate what the trainer needs of a network's pairs from what its model reads."""
        inputs = dict(inputs)
        pair_id, image_row = inputs.pop("pair_id"), inputs.pop("image_row")
        return PairBatch(peer, pair_id, image_row[:, None] != image_row[None, :], inputs)

    def _network_loss(self, output: ScoredBatch, batch: PairBatch) -> Tensor:
        if self.in_warm_up:
            return self.per_sample_loss(output, batch, None).mean()
        losses = self.per_sample_loss(output, batch, self.training_targets(output, batch))
        weights = self.sample_weights(batch)
        return losses.mean() if weights is None else (weights * losses).mean()

    def look_up(self, name: str, batch: PairBatch) -> Tensor:
        """A network's entries of the pair state for a batch, (n_pairs,)."""
        values = self.pair_state[name][batch.peer, batch.pair_id.cpu().numpy()]
        return torch.as_tensor(values, dtype=torch.float32, device=batch.pair_id.device)

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Clip each network by itself, as if it had an optimiser of its own."""
        norms = [
            self.accelerator.clip_grad_norm_(network.parameters(), self.args.max_grad_norm)
            for network in self.networks()
        ]
        return torch.stack([torch.as_tensor(norm) for norm in norms]).max()

    # What transformers' Trainer is told

    def get_train_dataloader(self) -> DataLoader:
        """Batches dealt to the networks; their content follows the division, their number never.

        The sampler deals them to the processes too, so accelerate has nothing to shard.
        """
        return DataLoader(
            DealtPairs(self.train_dataset),
            batch_sampler=self.batch_sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
        )

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Metrics of the evaluator, logged; without an argument on the validation split."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if dataset is None:
            raise ValueError("no dataset to evaluate on: pass `eval_dataset`.")
        if not isinstance(dataset, PairDataset):
            dataset = self._as_pairs(dataset, metric_key_prefix, 1)
        found = self.evaluator(self.accelerator.unwrap_model(self.model), dataset)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def best_epoch(self) -> float | None:
        """Epochs that the best checkpoint had seen, None without a choice."""
        step = self.state.best_global_step
        epochs = [row["epoch"] for row in self.state.log_history if row["step"] == step]
        return epochs[-1] if step else None

    # Checkpoints

    def save_state(self, folder: Path) -> None:
        """Add what is known of the pairs to a checkpoint."""
        self.pair_state.save(folder)

    def load_state(self, folder: Path) -> None:
        """Restore what is known of the pairs."""
        self.pair_state.load(folder)
