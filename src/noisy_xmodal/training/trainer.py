"""The one training loop: transformers' Trainer, composed with a method and a task.

A method answers the trainer's questions (see `method`); divisions and refurbished targets are made
by callbacks as an epoch begins and kept in the `PairState`. A task says what a sample is: a pair
with a caption, or a pair with classes (see `task`).
"""

import copy
import inspect
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback

from ..arguments.audit import THRESHOLD
from ..data.audit_table import clean_probabilities
from ..modules.text_limits import TruncationCount
from ..noise import Division
from .arguments import RobustTrainingArguments
from .averaging import AveragingTrainer
from .callbacks import (
    DivisionCallback,
    EpochCallback,
    RefurbishmentCallback,
    ReportCallback,
    StageCallback,
)
from .encoders import check_encoder_arguments, encoder_rates, parameter_groups, rate_option
from .epochs import epoch_of
from .identity import RunIdentity, config_differences, identity_of_run, option_differences
from .loss_pass import pass_over_pairs
from .memory import keep_freed_memory
from .method import Method
from .pair_state import PairState
from .reports import report_divisions
from .samplers import PeerBatchSampler
from .schedules import create_schedule
from .sharding import whole


class RobustTrainer(AveragingTrainer):
    """Trains a model on pairs that cannot be trusted.

    Args:
        model: What to train.
        args: Arguments; `args.robust = False` is plain training. The trainer has a copy.
        method: How it learns, such as `Ncr()`; an instance for each trainer.
        train_dataset: Rows by the column contract, or the dataset of pairs that is made of them.
        processing_class: The model's processor.
        eval_dataset: The same for validation, or several by name.
        evaluator: What computes the validation metrics, see `EvaluatingTrainer`; the task's by
            default, retrieval for captions and mean average precision for classes.
        callbacks: Further callbacks.
        optimizers: An optimizer and a schedule of one's own, see `transformers.Trainer`.
        audit: Clean probabilities of the training pairs, (n_pairs,), 0 to 1; by default those of
            the table `args.audit_table`, or None.

    Raises:
        DatasetError: If a dataset breaks the column contract, or does not suit the model.
        ValueError: If the arguments contradict each other or the data.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: RobustTrainingArguments,
        method: Method,
        train_dataset: Any,
        *,
        processing_class: Any,
        eval_dataset: Any = None,
        evaluator: Any = None,
        callbacks: Sequence[TrainerCallback] = (),
        optimizers: tuple[Any, Any] = (None, None),
        audit: np.ndarray | None = None,
    ) -> None:
        args = copy.copy(args)  # a method may fill in what it leaves open
        self._attach(model, args, method, processing_class)
        self.method = method
        self.task = method.task(model, args, method, processing_class)
        pairs = self.task.training_samples(train_dataset)
        self.pair_state = PairState(len(pairs), len(method.row_names))
        if audit is None and args.audit_table is not None:
            audit = clean_probabilities(Path(args.audit_table), pairs, "--audit_table")
        self.audit = audit
        if self.audit is not None:
            if self.audit.shape != (len(pairs),):
                raise ValueError(
                    f"`audit` has the shape {self.audit.shape}: give a clean probability for each "
                    f"of {len(pairs)} pairs."
                )
            division = Division(self.audit, self.audit >= THRESHOLD, THRESHOLD)
            self.pair_state.keep_division([division] * len(method.row_names))
        self._tracked: dict[str, list[Tensor]] = {}
        self._encoder_rates: dict[str, float] = {}
        self.first_weights: dict[str, Tensor] = {}
        if len(method.stages()) > 1:
            weights = model.state_dict().items()
            self.first_weights = {name: part.detach().cpu().clone() for name, part in weights}
        super().__init__(
            args,
            evaluator or self.task.evaluator(),
            self._as_parts(eval_dataset),
            model=model,
            train_dataset=pairs,
            data_collator=self.task.collator,
            optimizers=optimizers,
            **self.task.trainer_options,
        )
        if self.is_deepspeed_enabled:
            raise ValueError(
                f"{type(self).__name__} runs on one process, under DDP or under FSDP2, not under "
                "DeepSpeed. Choose FSDP or multi-GPU with `accelerate config`."
            )
        self.loss_is_scaled_for_ga = False
        self.batch_sampler = PeerBatchSampler(
            len(pairs),
            args.per_device_train_batch_size * self.args.world_size,
            method.n_networks,
            seed=self.sampling_seed,
            clean_mask=method.batch_mask,
            partners=self.pair_state.partners,
            process=self.args.process_index,
            n_processes=self.args.world_size,
            drop_last=args.dataloader_drop_last,
        )
        self.batch_sampler.check_smallest(self.task.least_batch, args.gather_negatives)
        if args.disable_tqdm:
            self.remove_callback(PrinterCallback)
            self.add_callback(ReportCallback())
        own = [EpochCallback, DivisionCallback, RefurbishmentCallback, StageCallback]
        for callback in [*(kind(self) for kind in own), *method.callbacks(), *callbacks]:
            self.add_callback(callback)
        method.check_data(self.batch_sampler.smallest // self.args.world_size)
        self.task.fit(pairs)

    def _attach(self, model: Any, args: Any, method: Method, processor: Any) -> None:
        """Attach the method, after a check of what needs no data.

        Raises:
            ValueError: If the arguments are of another kind, or the model does not suit the method.
        """
        if not isinstance(method, Method):
            raise ValueError(f"`method` is {method!r}: pass a method, such as Ncr().")
        if hasattr(method, "engine"):
            raise ValueError("`method` belongs to another trainer: make an instance for each.")
        kind = method.arguments_class
        if not isinstance(args, kind):
            raise ValueError(
                f"`args` is a {type(args).__name__}: give a {kind.__name__}(output_dir=..., ...), "
                "which also has the arguments of this library."
            )
        if len(getattr(model, "peers", (model,))) != method.n_networks:
            raise ValueError(
                f"{method.title} trains {method.n_networks} network(s), and a "
                f"{type(model).__name__} has another number of `peers`."
            )
        method.attach(self, model, args, processor)
        check_encoder_arguments(model, args)
        if args.gradient_checkpointing and args.ddp_find_unused_parameters is None:
            args.ddp_find_unused_parameters = True  # such as those of a pooler that nothing reads

    @property
    def cut_texts(self) -> TruncationCount | None:
        """How many training texts are longer than what is read of them; None without texts."""
        return self.task.cut_texts

    def saved_processor(self) -> Any:
        """The processor, whether it has a tokenizer or not."""
        return self.task.processor

    def as_samples(self, dataset: Any, split: str) -> Any:
        """Make samples of what a person passes as a split."""
        return self.task.as_samples(dataset, split)

    def _as_parts(self, eval_dataset: Any) -> Any:
        """Samples of the validation split, or of several by name; None for none."""
        if eval_dataset is None:
            return None
        if isinstance(eval_dataset, dict):
            return {name: self.as_samples(rows, name) for name, rows in eval_dataset.items()}
        return self.as_samples(eval_dataset, "validation")

    @property
    def sampling_seed(self) -> int:
        """Seed of the batches and of the chunks of the loss pass."""
        return self.args.seed if self.args.data_seed is None else self.args.data_seed

    def train(self, resume_from_checkpoint: str | bool | None = None) -> Any:
        """Train, from the beginning or from a checkpoint.

        Args:
            resume_from_checkpoint: See `CheckpointTrainer.train`; by default what the arguments
                say.
        """
        if self.args.keep_freed_memory and self.args.device.type == "cpu":
            keep_freed_memory()
        if resume_from_checkpoint is None:
            option = self.args.resume_from_checkpoint
            resume_from_checkpoint = {"True": True, "False": None}.get(option, option)
        _ = self.identity  # before a file changes
        return super().train(resume_from_checkpoint)

    def _init_training_state(
        self, max_steps: int, steps: int, epochs: int, folder: str | None, trial: Any
    ) -> Any:
        self.args.check_epochs(max_steps / steps)
        return super()._init_training_state(max_steps, steps, epochs, folder, trial)

    # What a method may ask for (see `method.Engine`)

    @property
    def epoch(self) -> int:
        """The epoch, from 0."""
        return epoch_of(self.state)

    @property
    def n_epochs(self) -> float:
        """Epochs in all."""
        return self.state.num_train_epochs or self.args.num_train_epochs

    @property
    def step(self) -> int:
        """Steps of the optimizer so far."""
        return self.state.global_step

    def networks(self) -> tuple[nn.Module, ...]:
        """The networks that train side by side, without wrappers."""
        model = self.accelerator.unwrap_model(self.model)
        return getattr(model, "peers", (model,))

    def forward(self, **inputs: Any) -> Any:
        """A forward pass of the model whose gradients are synchronised."""
        return self.model_wrapped(**inputs)

    @property
    def forward_options(self) -> dict[str, Any]:
        """Options of the forward pass of a training step.

        Options of the method that the model does not have are left out.
        """
        gather = {"gather": True} if self.args.gather_negatives else {}
        model = self.accelerator.unwrap_model(self.model)
        parameters = inspect.signature(model.forward).parameters
        options = self.method.model_options().items()
        return gather | {name: value for name, value in options if name in parameters}

    @torch.no_grad()
    def judge(self, network: int, batch: Any) -> Any:
        """Output of a network for a batch in eval mode, without gradients."""
        model = self.networks()[network]
        model.eval()
        with self.averaged(), self.accelerator.autocast():
            output = model(**batch.inputs, **self.forward_options)
        model.train()
        return output

    @torch.no_grad()
    def outputs(self, batch_size: int, network: int = 0) -> Iterator[Any]:
        """Output of a network for all training pairs in order, in eval mode."""
        model = self.networks()[network]
        was_training = model.training
        model.eval()
        n_pairs = len(self.train_dataset)
        for start in range(0, n_pairs, batch_size):
            rows = range(n_pairs)[start : start + batch_size]
            inputs = self._prepare_inputs(self.data_collator(self.train_dataset.__getitems__(rows)))
            with self.averaged(), self.accelerator.autocast():
                output = model(**self.task.make_batch(inputs).inputs)
            yield output
        model.train(was_training)

    def draws(self, pair_id: Tensor) -> torch.Generator | None:
        """A generator that draws the same for a batch on every process, where they share batches.

        Args:
            pair_id: Pairs of the whole batch, (n_pairs,).

        Returns:
            The generator, or None for torch's own.
        """
        if not self.args.gather_negatives:
            return None
        # A pair is in one batch of an epoch.
        key = (self.args.seed, self.epoch, int(pair_id[0]))
        seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(seed) >> 1)

    def track(self, name: str, losses: Tensor) -> None:
        """Add the mean of a part of the loss, since the last time, to the log."""
        self._tracked.setdefault(name, []).append(losses.detach().mean())

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, with the means of the parts of the loss beside the loss, and rates of encoders."""
        if "loss" in logs:
            logs |= self._encoder_rates
            parts = self._tracked.items()
            logs |= {name: float(torch.stack(means).mean()) for name, means in parts}
            self._tracked.clear()
        super().log(logs, *args, **kwargs)

    def restart(self) -> None:
        """Give the model its first weights, and the optimizer its first state.

        The pair state stays. The schedule knows the stages.
        """
        self.load_weights(self.first_weights)
        optimizer: Any = getattr(self.optimizer, "optimizer", self.optimizer)
        optimizer.state.clear()
        if self.averages is not None:
            self.start_average()

    # The pass over the pairs and the division

    def loss_pass(self) -> dict[str, np.ndarray]:
        """Pass over the pairs in eval mode: what the method keeps of each, (n_rows, n_pairs)."""
        with self.averaged():
            return pass_over_pairs(self)

    def over_processes(self, rows: np.ndarray) -> np.ndarray:
        """The sum over all processes, where each has its own pairs and zeros for the others'."""
        if self.args.world_size == 1:
            return rows
        values = torch.from_numpy(rows).to(self.args.device)
        return self.accelerator.reduce(values, "sum").cpu().numpy()

    def report_division(
        self,
        losses: np.ndarray,
        divisions: Sequence[Division],
        epoch: int,
        plot: bool,
        pairs: np.ndarray | None = None,
    ) -> None:
        """Write and log the divisions of an epoch, of all pairs or of a mask (n_pairs,) of them."""
        self.pair_state.divided_at.append(epoch)
        if not self.args.should_save:
            return
        oracle = self.oracle()
        means = report_divisions(
            Path(self.args.output_dir) / "divisions",
            epoch,
            {self.method.row_kind: self.method.row_names},
            losses,
            divisions,
            oracle if oracle is None or pairs is None else oracle[:, pairs],
            self.args.warmup_epochs,
            plot and self.args.plot_divisions,
        )
        self.log(means)

    def oracle(self) -> np.ndarray | None:
        """Which pairs are truly wrong, bool (n_rows, n_pairs), or None; for reports alone."""
        is_noisy = self.train_dataset.is_noisy
        return None if is_noisy is None else np.broadcast_to(is_noisy, self.pair_state.shape)

    # The training step

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean (or sum) of the losses of each network's pairs, summed over the networks.

        Where the epoch has no division, the clean probabilities of an audit weight the losses. A
        pair of weight 0 is still a negative of the others.
        """
        outputs, batches = self._run_networks(model, dict(inputs))
        is_warm_up = self.epoch < self.args.warmup_epochs
        ask = self.method.warm_up_loss if is_warm_up else self.method.loss
        losses = [ask(*asked) for asked in zip(outputs, batches, strict=True)]  # (n_pairs,) each
        if self.audit is not None and not self.method.divides_at(self.epoch):
            losses = [
                own * torch.as_tensor(self.audit[batch.pair_id.cpu().numpy()]).to(own)
                for own, batch in zip(losses, batches, strict=True)
            ]
        reduce = torch.sum if self.args.sum_losses else torch.mean
        loss = torch.stack([reduce(own) for own in losses]).sum()
        return (loss, outputs) if return_outputs else loss

    def _run_networks(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[list, list]:
        """One forward pass through the wrapper: an output and a batch for each network."""
        peer = inputs.pop("peer", None)
        gather = self.args.gather_negatives
        if self.method.n_networks == 1 or peer is None:
            batch = self.task.make_batch(inputs, gather=gather)
            batch, further = self.method.prepare(batch, is_training=True)
            return [model(**batch.inputs, **further, **self.forward_options)], [batch]
        parts = [
            {name: values[peer == k] for name, values in inputs.items()}
            for k in range(self.method.n_networks)
        ]
        batches = [self.task.make_batch(part, k, gather) for k, part in enumerate(parts)]
        model_inputs = {name: inputs[name] for name in batches[0].inputs}
        return list(model(**model_inputs, peer=peer, **self.forward_options).peers), batches

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create the optimizer; pretrained encoders may have learning rates of their own."""
        if self.optimizer is None and rate_option(self.args) is not None:
            model = self.model if model is None else model
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            groups = parameter_groups(model, self.args, self.get_decay_parameter_names(model))
            self.optimizer_cls_and_kwargs = (kind, options | {"params": groups})
        return super().create_optimizer(model)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        """Create the schedule, which begins anew with each stage of the method."""
        if self.lr_scheduler is None:
            self.lr_scheduler: Any = create_schedule(
                self.args,
                optimizer or self.optimizer,
                num_training_steps,
                math.ceil(len(self.batch_sampler) / self.args.gradient_accumulation_steps),
                self.method.stages(),
            )
            self._created_lr_scheduler = True  # so that another training creates its own
        return self.lr_scheduler

    def _get_learning_rate(self) -> float:
        """The learning rate of a step, asked for before the schedule moves on."""
        self._encoder_rates = encoder_rates(self.optimizer.param_groups)
        return super()._get_learning_rate()

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Clip each network by itself, as if it had an optimizer of its own."""
        most = self.args.max_grad_norm
        if self._shards is not None:
            networks = getattr(self._shards, "peers", (self._shards,))
            clip = self.accelerator.clip_grad_norm_
            norms = [whole(clip(network.parameters(), most)) for network in networks]
            return torch.stack(norms).max()
        self.accelerator.unscale_gradients()  # once a step: a scaler refuses a second time
        norms = [
            nn.utils.clip_grad_norm_(network.parameters(), most) for network in self.networks()
        ]
        return torch.stack(norms).max()

    # Loading batches

    def get_train_dataloader(self) -> DataLoader:
        """Batches dealt to the networks; their content follows the division, their number never.

        The sampler deals them to the processes too, so accelerate has nothing to shard.
        """
        return DataLoader(
            self.task.by_peer(self.train_dataset),
            batch_sampler=self.batch_sampler,
            **self.loader_options(),
        )

    def loader_options(self) -> dict[str, Any]:
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
        with self.args.main_process_first(desc="digests"):
            return identity_of_run(self)

    def differences(self, folder: Path) -> list[str]:
        """Data, words, options and config of another run."""
        options = self.args.to_sanitized_dict()
        return [
            *self.identity.differences(folder),
            *option_differences(folder, {name: options[name] for name in self.args.course_options}),
            *config_differences(folder, self.model.config),
        ]

    def save_state(self, folder: Path) -> None:
        """Add the pair state and the identity of the run to a checkpoint."""
        super().save_state(folder)
        if self.args.should_save:
            self.pair_state.save(folder)
            self.identity.save(folder)

    def load_state(self, folder: Path) -> None:
        """Restore the pair state."""
        super().load_state(folder)
        self.pair_state.load(folder)
