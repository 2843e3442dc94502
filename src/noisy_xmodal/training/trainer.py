"""One trainer for every method: transformers' Trainer with three hooks.

A method says what a sample's loss is (`per_sample_loss`), what it should aim at
(`training_targets`) and how much it counts (`sample_weights`). Divisions and refurbished targets
are made by callbacks at the beginning of an epoch and kept in the `PairState`. What a sample is,
pairs with captions or pairs with classes, stands in `MatchingTrainer` and `LabelTrainer`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback
from transformers.utils import logging

from ..data.digests import Digests, text_digests
from ..data.samplers import ChunkSampler, PeerBatchSampler, PeerPairs
from ..modules.processor_facts import processor_facts, words_by_id
from ..modules.text_limits import TruncationCount
from ..noise import Division, divide
from .arguments import RobustTrainingArguments
from .callbacks import (
    DivisionCallback,
    EpochCallback,
    LossPassCallback,
    RefurbishmentCallback,
    ReportCallback,
)
from .evaluating_trainer import EvaluatingTrainer, by_part
from .identity import RunIdentity, config_differences, option_differences
from .memory import keep_freed_memory
from .optimization import check_optimizer
from .pair_state import PairState
from .reports import report_divisions
from .supported_arguments import refuse_trainer_call

logger = logging.get_logger(__name__)


class RobustTrainer(EvaluatingTrainer):
    """Trains a model on samples that cannot be trusted; the base of all trainers here.

    Args:
        model: What to train.
        args: Arguments; `args.robust = False` is plain training.
        train_dataset: Samples with `is_noisy`, the oracle for reports, or None.
        evaluator: What computes the validation metrics, see `EvaluatingTrainer`.
        eval_dataset: Samples for validation, or several by name.
        data_collator: What makes a batch of samples; chosen by the class for a kind of sample.
        callbacks: Further callbacks.
        kwargs: Passed on to `transformers.Trainer`; what has no effect here is refused.

    Raises:
        ValueError: If the arguments contradict each other or the data.
    """

    #: What the trainer's arguments are.
    arguments_class: ClassVar[type[RobustTrainingArguments]] = RobustTrainingArguments
    #: Pairs that a process has of a batch at least.
    least_batch: ClassVar[int] = 2
    #: Networks that train side by side, each on an order of its own.
    n_peers: ClassVar[int] = 1
    #: What the rows of the pair state are, and the name of each.
    row_kind: ClassVar[str] = "peer"
    row_names: ClassVar[tuple[str, ...]] = ("a",)
    #: Posterior from which `divide` here counts a pair as clean.
    clean_threshold: float = 0.5
    #: How many training texts are longer than what is read of them; None where there are no texts.
    cut_texts: TruncationCount | None = None

    def __init__(
        self,
        model: PreTrainedModel,
        args: RobustTrainingArguments,
        train_dataset: Any,
        *,
        evaluator: Callable[..., dict[str, float]],
        eval_dataset: Any = None,
        data_collator: Any = None,
        callbacks: Sequence[TrainerCallback] | None = None,
        **kwargs: Any,
    ) -> None:
        self.check_call(args, kwargs)
        self.pair_state = PairState(len(train_dataset), len(self.row_names))
        super().__init__(
            args,
            evaluator,
            eval_dataset,
            model=model,
            train_dataset=train_dataset,
            data_collator=data_collator,
            **kwargs,
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
            seed=self.sampling_seed,
            clean_mask=self.batch_mask,
            process=self.args.process_index,
            n_processes=self.args.world_size,
            drop_last=args.dataloader_drop_last,
        )
        self._check_batches()
        check_optimizer(self)
        if args.disable_tqdm:
            self.remove_callback(PrinterCallback)
            self.add_callback(ReportCallback())
        self.add_callback(EpochCallback(self))
        self.add_callback(LossPassCallback(self))
        if args.robust:
            self.add_callback(DivisionCallback(self))
            self.add_callback(RefurbishmentCallback(self))
        for callback in callbacks or ():
            self.add_callback(callback)

    @classmethod
    def check_call(cls, args: Any, passed: Mapping[str, Any]) -> None:
        """Refuse arguments of another kind, and parameters of `Trainer` that have no effect.

        A subclass that reads its arguments before it calls this `__init__` calls it first.

        Args:
            args: The trainer's arguments.
            passed: Parameters for `transformers.Trainer`, by name.

        Raises:
            ValueError: If there is one.
        """
        refuse_trainer_call(args, cls.arguments_class, passed)

    def _check_batches(self) -> None:
        """Refuse batches, the smaller ones included, that leave a process too few pairs."""
        n_processes, smallest = self.args.world_size, self.batch_sampler.smallest
        own = smallest // n_processes
        met = smallest if self.args.gather_negatives else own
        if own < 1 or met < self.least_batch:
            raise ValueError(
                f"{len(self.train_dataset)} pairs in batches of {self.batch_sampler.batch_size} on "
                f"{n_processes} process(es) leave a process {own} pair(s) of the smallest batch, "
                f"and it needs {self.least_batch if own else 1}: raise "
                "`per_device_train_batch_size`, or set `dataloader_drop_last`."
            )

    @property
    def sampling_seed(self) -> int:
        """Seed of the batches and of the chunks of the loss pass."""
        return self.args.seed if self.args.data_seed is None else self.args.data_seed

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """Train, from the beginning or from a checkpoint.

        Args:
            resume_from_checkpoint: See `SafeCheckpointTrainer.train`; by default what the arguments
                say.
            kwargs: None; those of transformers are for its hyperparameter search.

        Raises:
            ValueError: If there are others.
        """
        for name, value in kwargs.items():
            if value is not None:
                raise ValueError(f"`{name}` of train() has no effect here: leave it out.")
        if self.args.keep_freed_memory and self.args.device.type == "cpu":
            keep_freed_memory()
        if resume_from_checkpoint is None:
            asked = self.args.resume_from_checkpoint
            resume_from_checkpoint = {"True": True, "False": None}.get(asked, asked)
        _ = self.identity  # before a file changes
        return super().train(resume_from_checkpoint)

    def _init_training_state(
        self, max_steps: int, steps: int, epochs: int, folder: str | None, trial: Any
    ) -> Any:
        self.args.check_epochs(max_steps / steps)
        return super()._init_training_state(max_steps, steps, epochs, folder, trial)

    # What a kind of sample says

    def deal(self, samples: Any) -> Any:
        """Make a dataset that is asked for (pair id, peer), as the batch sampler gives them."""
        return PeerPairs(samples)

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
            seed=self.sampling_seed,
            process=self.args.process_index,
            n_processes=self.args.world_size,
        )
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=sampler,
            generator=torch.Generator(),  # else iterating draws from the global one
            **self._loader_options() | {"persistent_workers": False},  # one pass, one loader
        )
        kept: dict[str, np.ndarray] = {}
        self.model.eval()
        for raw in tqdm(loader, desc="loss pass", leave=False, disable=self.args.disable_tqdm):
            ids = raw["pair_id"].numpy()
            for name, values in self.assess_batch(self._prepare_inputs(raw)).items():
                rows = kept.setdefault(name, np.zeros(self.pair_state.shape))
                rows[:, ids] = values.cpu().double().numpy()  # not every device has float64
        self.model.train()
        return {name: self.over_processes(rows) for name, rows in kept.items()}

    def over_processes(self, rows: np.ndarray) -> np.ndarray:
        """The sum over all processes, where each has its own pairs and zeros for the others'."""
        if self.args.world_size == 1:
            return rows
        values = torch.from_numpy(rows).to(self.args.device)
        return self.accelerator.reduce(values, "sum").cpu().numpy()

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
        self.accelerator.unscale_gradients()  # once a step: a scaler refuses a second time
        norms = [
            nn.utils.clip_grad_norm_(network.parameters(), self.args.max_grad_norm)
            for network in self.networks()
        ]
        return torch.stack(norms).max()

    # What transformers' Trainer is told

    def get_train_dataloader(self) -> DataLoader:
        """Batches dealt to the networks; their content follows the division, their number never.

        The sampler deals them to the processes too, so accelerate has nothing to shard.
        """
        return DataLoader(
            self.deal(self.train_dataset),
            batch_sampler=self.batch_sampler,
            **self._loader_options(),
        )

    def _loader_options(self) -> dict[str, Any]:
        args, workers = self.args, {}
        if args.dataloader_num_workers > 0:
            workers = {
                "persistent_workers": args.dataloader_persistent_workers,
                "prefetch_factor": args.dataloader_prefetch_factor,
                "multiprocessing_context": args.dataloader_multiprocessing_context,
                "in_order": args.dataloader_in_order,
            }
        return workers | {
            "collate_fn": self.data_collator,
            "num_workers": args.dataloader_num_workers,
            "pin_memory": args.dataloader_pin_memory and torch.cuda.is_available(),
        }

    # Checkpoints

    @cached_property
    def identity(self) -> RunIdentity:
        """What the run is made of, for its checkpoints; read once, as training begins."""
        splits = {"training": self.train_dataset}
        if self.args.load_best_model_at_end and self.eval_dataset is not None:
            parts = by_part(self.eval_dataset)
            splits |= {f"validation {name}".rstrip(): part for name, part in parts.items()}
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
