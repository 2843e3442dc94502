"""One trainer for every method: transformers' Trainer with three hooks.

A method says what a sample's loss is (`per_sample_loss`), what it should aim at
(`training_targets`) and how much it counts (`sample_weights`). Divisions and refurbished targets
are made by callbacks at the beginning of an epoch and kept in the `PairState`. What a sample is,
pairs with captions or pairs with classes, stands in `MatchingTrainer` and `LabelTrainer`.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback, TrainerControl
from transformers.utils import logging

from ..data.identity import Digests, text_digests
from ..data.samplers import ChunkSampler, DealtPairs, PeerBatchSampler
from ..evaluation import shared_evaluation
from ..modules.processor_facts import processor_facts, words_by_id
from ..noise import Division, divide
from .arguments import RobustTrainingArguments
from .callbacks import (
    DivisionCallback,
    EpochCallback,
    LossPassCallback,
    RefurbishmentCallback,
    ReportCallback,
)
from .checkpoint import SafeCheckpointTrainer
from .identity import RunIdentity, config_differences, option_differences
from .memory import keep_freed_memory
from .pair_state import PairState
from .reports import report_divisions

logger = logging.get_logger(__name__)


class RobustTrainer(SafeCheckpointTrainer):
    """Trains a model on samples that cannot be trusted; the base of all trainers here.

    Args:
        model: What to train.
        args: Arguments; `args.robust = False` is plain training.
        train_dataset: Samples with `is_noisy`, the oracle for reports, or None.
        evaluator: What computes the validation metrics.
        eval_dataset: Samples for validation.
        callbacks: Further callbacks.
        kwargs: Passed on to `transformers.Trainer`.

    Raises:
        ValueError: If the arguments contradict each other or the data.
    """

    #: Networks that train side by side, each on an order of its own.
    n_peers: ClassVar[int] = 1
    #: What the rows of the pair state are, and the name of each.
    row_kind: ClassVar[str] = "peer"
    row_names: ClassVar[tuple[str, ...]] = ("a",)
    #: Posterior from which `divide` here counts a pair as clean.
    clean_threshold: float = 0.5

    def __init__(
        self,
        model: PreTrainedModel,
        args: RobustTrainingArguments,
        train_dataset: Any,
        *,
        evaluator: Callable[..., dict[str, float]],
        eval_dataset: Any = None,
        callbacks: Sequence[TrainerCallback] = (),
        **kwargs: Any,
    ) -> None:
        self.pair_state = PairState(len(train_dataset), len(self.row_names))
        self.evaluator = evaluator
        super().__init__(
            model=model, args=args, train_dataset=train_dataset, eval_dataset=eval_dataset, **kwargs
        )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                f"{type(self).__name__} runs on one process or under DDP, not FSDP or DeepSpeed. "
                "Choose another distributed type with `accelerate config`."
            )
        self.loss_is_scaled_for_ga = False
        self.batch_sampler = PeerBatchSampler(
            len(train_dataset),
            args.per_device_train_batch_size * self.args.world_size,
            self.n_peers,
            seed=args.seed,
            clean_mask=self.batch_mask,
            process=self.args.process_index,
            n_processes=self.args.world_size,
        )
        if args.disable_tqdm:
            self.remove_callback(PrinterCallback)
            self.add_callback(ReportCallback())
        self.add_callback(EpochCallback(self))
        self.add_callback(LossPassCallback(self))
        if args.robust:
            self.add_callback(DivisionCallback(self))
            self.add_callback(RefurbishmentCallback(self))
        for callback in callbacks:
            self.add_callback(callback)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; arguments as for `transformers.Trainer.train`."""
        if self.args.keep_freed_memory and self.args.device.type == "cpu":
            keep_freed_memory()
        _ = self.identity  # before a file changes
        return super().train(*args, **kwargs)

    def _init_training_state(
        self, max_steps: int, steps: int, epochs: int, folder: str | None, trial: Any
    ) -> Any:
        self.args.check_epochs(max_steps / steps)
        return super()._init_training_state(max_steps, steps, epochs, folder, trial)

    # What a kind of sample says

    def as_samples(self, dataset: Any, split: str) -> Any:
        """Make samples of what a person passes as a split."""
        return dataset

    def deal(self, samples: Any) -> Any:
        """Make a dataset that is asked for (pair id, peer), as the batch sampler gives them."""
        return DealtPairs(samples)

    def run_networks(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[list, list]:
        """One forward pass through the wrapper: an output and a batch for each network."""
        raise NotImplementedError

    def assess_batch(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the loss pass keeps of a chunk, each (n_rows, n_pairs); "loss" feeds the mixture."""
        raise NotImplementedError

    # What a method says

    def per_sample_loss(self, output: Any, batch: Any, targets: Any) -> Tensor:
        """One loss a pair, (n_pairs,)."""
        raise NotImplementedError

    def training_targets(self, output: Any, batch: Any) -> Any:
        """What each pair aims at."""
        raise NotImplementedError

    def sample_weights(self, batch: Any) -> Tensor | None:
        """How much each pair counts, (n_pairs,), or None for equal weights."""
        return None

    def refurbish(self) -> np.ndarray | None:
        """New targets (n_rows, n_pairs) from the pair state, or None, as an epoch begins."""
        return None

    # The division

    def assesses_at(self, epoch: int) -> bool:
        """Whether this epoch begins with a pass over the pairs."""
        return self.args.robust and self.divides_at(epoch)

    def divides_at(self, epoch: int) -> bool:
        """Whether this epoch begins with a division, by the losses of the last pass."""
        return epoch >= self.args.warmup_epochs

    def divide(self, losses: np.ndarray) -> list[Division]:
        """A division for each row of the losses (n_rows, n_pairs)."""
        return [divide(row, threshold=self.clean_threshold, seed=self.args.seed) for row in losses]

    def keep_division(self, divisions: Sequence[Division]) -> None:
        """Put the divisions into the pair state."""
        self.pair_state["clean_probability"] = np.stack([d.clean_probability for d in divisions])
        self.pair_state["is_clean"] = np.stack([d.is_clean.astype(np.uint8) for d in divisions])

    def report_division(
        self, epoch: int, losses: np.ndarray, divisions: Sequence[Division], plot: bool = True
    ) -> None:
        """Write and log what is known of the divisions of an epoch."""
        self.pair_state.divided_at.append(epoch)
        if not self.args.should_save:
            return
        means = report_divisions(
            Path(self.args.output_dir) / "divisions",
            epoch,
            {self.row_kind: self.row_names},
            losses,
            divisions,
            self.oracle(),
            self.args.warmup_epochs,
            plot and self.args.plot_divisions,
        )
        self.log(means)

    def batch_mask(self, peer: int) -> np.ndarray | None:
        """The division that every mini-batch of a network reflects, bool (n_pairs,), or None."""
        return None

    def oracle(self) -> np.ndarray | None:
        """Which pairs are wrong in truth, bool (n_rows, n_pairs), or None; for reports alone."""
        is_noisy = self.train_dataset.is_noisy
        return None if is_noisy is None else np.broadcast_to(is_noisy, self.pair_state.shape)

    @property
    def in_warm_up(self) -> bool:
        """Whether the current epoch is one of the warm-up."""
        return int((self.state.epoch or 0) + 1e-6) < self.args.warmup_epochs

    @torch.no_grad()
    def assess_pairs(self) -> dict[str, np.ndarray]:
        """Pass over the fixed chunks in eval mode: what `assess_batch` keeps, (n_rows, n_pairs)."""
        sampler = ChunkSampler(
            len(self.train_dataset),
            self.args.per_device_train_batch_size
            * (self.args.world_size if self.args.gather_negatives else 1),
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
            pair_id = inputs["pair_id"]
            for name, values in self.assess_batch(inputs).items():
                if name not in kept:
                    kept[name] = torch.zeros(
                        self.pair_state.shape, dtype=torch.float64, device=values.device
                    )
                kept[name][:, pair_id] = values.double()
        self.model.train()
        # Every pair was assessed by one process and is zero on the others.
        return {
            name: self.accelerator.reduce(values, "sum").cpu().numpy()
            for name, values in kept.items()
        }

    @property
    def forward_options(self) -> dict[str, Any]:
        """What the forward pass of a training step is told beside its inputs."""
        return {"gather": True} if self.args.gather_negatives else {}

    def shared_draws(self, pair_id: Tensor) -> torch.Generator | None:
        """A generator that draws the same for a batch on every process, where they share batches.

        Args:
            pair_id: Pairs of the whole batch, (n_pairs,).

        Returns:
            The generator, or None for torch's own.
        """
        if not self.args.gather_negatives:
            return None
        # A pair is in one batch of an epoch.
        key = (self.args.seed, int((self.state.epoch or 0) + 1e-6), int(pair_id[0]))
        seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(seed) >> 1)

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

    def _network_loss(self, output: Any, batch: Any) -> Tensor:
        if self.in_warm_up:
            return self.per_sample_loss(output, batch, None).mean()
        losses = self.per_sample_loss(output, batch, self.training_targets(output, batch))
        weights = self.sample_weights(batch)
        return losses.mean() if weights is None else (weights * losses).mean()

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
            self.deal(self.train_dataset),
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
        dataset = self.as_samples(dataset, metric_key_prefix)
        model = self.accelerator.unwrap_model(self.model)
        with shared_evaluation(model):
            found = self.evaluator(model, dataset)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def best_epoch(self) -> float | None:
        """Epochs that the best checkpoint had seen, None where none was chosen and loaded."""
        step = self.state.best_global_step if self.args.load_best_model_at_end else None
        epochs = [row["epoch"] for row in self.state.log_history if row["step"] == step]
        return epochs[-1] if step else None

    # Checkpoints

    @cached_property
    def identity(self) -> RunIdentity:
        """What the run is made of, for its checkpoints; read once, as training begins."""
        splits = {"training": self.train_dataset}
        if self.args.load_best_model_at_end and self.eval_dataset is not None:
            splits["validation"] = self.eval_dataset
        with self.args.main_process_first(desc="digests"):
            items = {
                f"{split} {name}": digests
                for split, samples in splits.items()
                for name, digests in self.identity_of(samples).items()
            }
        processor = self.saved_processor()
        items["word id: word"] = text_digests(words_by_id(processor))
        facts = {"number of processes": str(self.args.world_size)}
        return RunIdentity(items, facts | processor_facts(processor))

    def identity_of(self, samples: Any) -> dict[str, Digests]:
        """Digests of the samples of a split, by "unit: property"."""
        return dict(samples.identity())

    def differences(self, folder: Path) -> list[str]:
        """Data, words, options and config of another run."""
        found = self.identity.differences(folder)
        if found is None:
            logger.warning(
                f"{folder.name} was written before checkpoints said what they were trained on: see "
                "for yourself that the data and the processor are the same."
            )
        options = self.args.to_sanitized_dict()
        return [
            *(found or []),
            *option_differences(folder, {name: options[name] for name in self.args.course_options}),
            *config_differences(folder, self.model.config),
        ]

    def save_state(self, folder: Path) -> None:
        """Add what is known of the pairs to a checkpoint."""
        self.pair_state.save(folder)
        self.identity.save(folder)

    def load_state(self, folder: Path) -> None:
        """Restore what is known of the pairs."""
        self.pair_state.load(folder)
