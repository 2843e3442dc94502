"""Which pairs stand in which mini-batch: one stream of batches for each peer."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

from .pair_dataset import PairDataset


class PeerBatchSampler(Sampler[list[tuple[int, int]]]):
    """Batches in which every peer visits every pair exactly once an epoch, unless `drop_last`.

    Each peer has its own order, drawn from the seed, the epoch and the peer alone, so an epoch that
    is resumed is the same epoch. With a division, every mini-batch of a peer holds clean and noisy
    pairs in the proportion of the division (NCR, Algorithm 1, line 9). Their number never changes.

    Args:
        n_pairs: Number of pairs.
        batch_size: Pairs of one peer in a batch, over all processes; the batch as a whole has
            `n_peers` times as many.
        n_peers: Number of networks that train side by side.
        seed: Seed of the orders.
        clean_mask: Function of a peer that gives its division, bool (n_pairs,), or None while there
            is none. It is asked at the beginning of each epoch.
        process: Index of this process.
        n_processes: Number of processes, which share every batch.
        drop_last: Whether all batches have `batch_size` pairs. The pairs that are left over, others
            in every epoch, are not visited then. Else batches differ in size by one at most.

    Raises:
        ValueError: If there are fewer pairs than a batch.
    """

    def __init__(
        self,
        n_pairs: int,
        batch_size: int,
        n_peers: int = 1,
        seed: int = 0,
        clean_mask: Callable[[int], np.ndarray | None] | None = None,
        process: int = 0,
        n_processes: int = 1,
        drop_last: bool = False,
    ) -> None:
        if n_pairs < batch_size:
            raise ValueError(
                f"the training split has {n_pairs} pairs, fewer than a batch of {batch_size}; "
                "lower `per_device_train_batch_size` or add data."
            )
        self.n_pairs = n_pairs
        self.batch_size = batch_size
        self.n_peers = n_peers
        self.seed = seed
        self.epoch = 0
        self.drop_last = drop_last
        self._clean_mask = clean_mask or (lambda peer: None)
        self._process = process
        self._n_processes = n_processes

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return (self.n_pairs if self.drop_last else self.n_pairs + self.batch_size - 1) // (
            self.batch_size
        )

    @property
    def smallest(self) -> int:
        """Pairs of one peer in the smallest batch, over all processes."""
        return self.batch_size if self.drop_last else self.n_pairs // len(self)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        streams = [self._batches_of(peer) for peer in range(self.n_peers)]
        for batches in zip(*streams, strict=True):
            rounds = max(len(batch) for batch in batches)
            yield [
                (int(batch[position]), peer)
                for position in range(self._process, rounds, self._n_processes)
                for peer, batch in enumerate(batches)
                if position < len(batch)
            ]

    def _batches_of(self, peer: int) -> list[np.ndarray]:
        """One epoch of one peer: arrays of pair ids."""
        order = np.random.default_rng((self.seed, self.epoch, peer)).permutation(self.n_pairs)
        if self.drop_last:
            order = order[: len(self) * self.batch_size]
        mask = self._clean_mask(peer)
        if mask is None:
            return np.array_split(order, len(self))
        clean = np.array_split(order[mask[order]], len(self))
        noisy = np.array_split(order[~mask[order]], len(self))
        # Larger pieces come first in both lists; one of them reversed keeps the batches even.
        return [np.concatenate(parts) for parts in zip(clean, noisy[::-1], strict=True)]


class ChunkSampler(Sampler[list[int]]):
    """The fixed chunks of the loss pass: the same pairs meet in every epoch and run.

    A pair's loss depends on the negatives beside it. Chunks that are drawn once, from the seed
    alone, and that differ in size by one at most make losses comparable between pairs and epochs,
    and equal on any number of processes.

    Args:
        n_pairs: Number of pairs.
        chunk_size: Pairs in a chunk, at most.
        seed: Seed of the draw.
        process: Index of this process.
        n_processes: Number of processes; each takes every n-th chunk.
    """

    def __init__(
        self, n_pairs: int, chunk_size: int, seed: int = 0, process: int = 0, n_processes: int = 1
    ) -> None:
        order = np.random.default_rng((seed, 7)).permutation(n_pairs)
        chunks = np.array_split(order, -(-n_pairs // chunk_size))
        self.chunks = [chunk.tolist() for chunk in chunks[process::n_processes]]

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.chunks)


class PeerPairs(Dataset):
    """A pair dataset that is asked for (pair id, peer) and says in each item whose it is.

    Args:
        pairs: The pairs.
    """

    def __init__(self, pairs: PairDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, dealt: tuple[int, int]) -> dict[str, Any]:
        return self.__getitems__([dealt])[0]

    def __getitems__(self, dealt: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        items = self.pairs.__getitems__([pair_id for pair_id, _ in dealt])
        return [item | {"peer": peer} for item, (_, peer) in zip(items, dealt, strict=True)]
