"""The pass over all training pairs that a division is made from."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .samplers import ChunkSampler


@torch.no_grad()
def pass_over_pairs(trainer: Any) -> dict[str, np.ndarray]:
    """Pass over fixed chunks of the pairs in eval mode, dealt to the processes.

    Args:
        trainer: A `RobustTrainer`; its model is in training mode afterwards.

    Returns:
        What the method keeps of each pair, by name, (n_rows, n_pairs) each.
    """
    args, shape = trainer.args, trainer.pair_state.shape
    sampler = ChunkSampler(
        len(trainer.train_dataset),
        args.per_device_train_batch_size * (args.world_size if args.gather_negatives else 1),
        seed=trainer.sampling_seed,
        process=args.process_index,
        n_processes=args.world_size,
    )
    loader = DataLoader(
        trainer.train_dataset,
        batch_sampler=sampler,
        generator=torch.Generator(),  # else iterating draws from the global one
        **trainer.loader_options() | {"persistent_workers": False},  # one pass, one loader
    )
    values: dict[str, np.ndarray] = {}
    trainer.model.eval()
    for raw in tqdm(loader, desc="loss pass", leave=False, disable=args.disable_tqdm):
        ids = raw["pair_id"].numpy()
        for name, part in _pass_chunk(trainer, trainer._prepare_inputs(raw)).items():
            rows = values.setdefault(name, np.zeros(shape))
            if sampler.counts:
                rows[:, ids] = part.cpu().double().numpy()  # not every device has float64
    trainer.model.train()
    return {name: trainer.over_processes(rows) for name, rows in values.items()}


def _pass_chunk(trainer: Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the method keeps of a chunk, by all networks, (n_rows, n_pairs) each."""
    batch, further = trainer.method.prepare(trainer.task.make_batch(inputs), is_training=False)
    parts = []
    for network in trainer.networks():
        with trainer.accelerator.autocast():
            output = network(**batch.inputs, **further)
        parts.append(trainer.method.loss_pass(output, batch))
    return {name: torch.cat([torch.atleast_2d(part[name]) for part in parts]) for name in parts[0]}
