"""Samplers of pairs: mini-batches for peer networks, and fixed chunks for the loss pass."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

from ..data import PairDataset
from ..data.columns import CAPTION, PARTNER, PEER


class PeerBatchSampler(Sampler[list[tuple[int, ...]]]):
    """Batches in which every peer visits every pair exactly once per epoch, unless `drop_last`.

    Each peer has its own order. It depends only on the seed, the epoch and the peer, so a resumed
    epoch has the same batches. With a division, every mini-batch of a peer has clean and noisy
    pairs in the proportion of the division (NCR, Algorithm 1, line 9). The number of batches is
    constant.

    Args:
        n_pairs: Number of pairs.
        batch_size: Pairs of one peer per batch, over all processes; the whole batch has `n_peers`
            times as many.
        n_peers: Number of networks that train together.
        seed: Seed of the orders.
        clean_mask: Function from a peer to its division, bool (n_pairs,), or None before there is
            one. It is called at the start of each epoch.
        partners: Function from a peer to the pair whose caption each pair is trained with, int
            (n_pairs,), or None for the pairs' own captions. It is called at the same time.
        process: Index of this process.
        n_processes: Number of processes that share each batch.
        drop_last: Whether all batches have `batch_size` pairs. The remaining pairs, different ones
            in each epoch, are then skipped. Otherwise batch sizes differ by at most one.

    Raises:
        ValueError: There are fewer pairs than one batch needs.
    """

    def __init__(
        self,
        n_pairs: int,
        batch_size: int,
        n_peers: int = 1,
        seed: int = 0,
        clean_mask: Callable[[int], np.ndarray | None] | None = None,
        partners: Callable[[int], np.ndarray | None] | None = None,
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
        self._partners = partners or (lambda peer: None)
        self._process = process
        self._n_processes = n_processes

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return (self.n_pairs if self.drop_last else self.n_pairs + self.batch_size - 1) // (
            self.batch_size
        )

    @property
    def smallest(self) -> int:
        """Pairs of one peer in the smallest batch, summed over processes."""
        return self.batch_size if self.drop_last else self.n_pairs // len(self)

    def check_smallest(self, least: int, shared: bool) -> None:
        """Refuse batches, the smaller ones included, that leave a process too few pairs.

        Args:
            least: Pairs of a batch that a pair must meet, itself included.
            shared: Whether it meets those of all processes.

        Raises:
            ValueError: If there are fewer.
        """
        own = self.smallest // self._n_processes
        if own < 1 or (self.smallest if shared else own) < least:
            raise ValueError(
                f"{self.n_pairs} pairs in batches of {self.batch_size} on {self._n_processes} "
                f"process(es) leave a process {own} pair(s) of the smallest batch, and it needs "
                f"{least if own else 1}: raise `per_device_train_batch_size`, or set "
                "`dataloader_drop_last`."
            )

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        streams = [self._batches_of(peer) for peer in range(self.n_peers)]
        none = np.empty(0, dtype=np.int64)
        partners = [
            none if partner is None else partner
            for partner in (self._partners(peer) for peer in range(self.n_peers))
        ]
        for batches in zip(*streams, strict=True):
            rounds = max(len(batch) for batch in batches)
            yield [
                (pair_id, peer, *partners[peer][pair_id : pair_id + 1].tolist())
                for position in range(self._process, rounds, self._n_processes)
                for peer, batch in enumerate(batches)
                for pair_id in batch[position : position + 1].tolist()
            ]

    def _batches_of(self, peer: int) -> list[np.ndarray]:
        """The pair ids of each batch of one peer, for one epoch."""
        order = np.random.default_rng((self.seed, self.epoch, peer)).permutation(self.n_pairs)
        if self.drop_last:
            order = order[: len(self) * self.batch_size]
        mask = self._clean_mask(peer)
        if mask is None:
            return np.array_split(order, len(self))
        clean = np.array_split(order[mask[order]], len(self))
        noisy = np.array_split(order[~mask[order]], len(self))
        # `array_split` puts larger parts first; reversing one list balances the batch sizes.
        return [np.concatenate(parts) for parts in zip(clean, noisy[::-1], strict=True)]


class ChunkSampler(Sampler[list[int]]):
    """Fixed chunks for the loss pass: the same pairs share a chunk in every epoch and run.

    A pair's loss depends on the negatives in its chunk. Chunks depend on the seed alone and differ
    in size by at most one, so losses are comparable between pairs and epochs, and equal for any
    number of processes.

    Args:
        n_pairs: Number of pairs.
        chunk_size: Maximum number of pairs in a chunk.
        seed: Seed of the order.
        process: Index of this process.
        n_processes: Number of processes; each takes every n-th chunk.

    Attributes:
        counts: Whether the chunks count. Where there are fewer chunks than processes, those left
            over pass over the first chunk too, so that all processes have the same names.
    """

    def __init__(
        self, n_pairs: int, chunk_size: int, seed: int = 0, process: int = 0, n_processes: int = 1
    ) -> None:
        order = np.random.default_rng((seed, 7)).permutation(n_pairs)
        chunks = np.array_split(order, -(-n_pairs // chunk_size))
        own = chunks[process::n_processes]
        self.counts = len(own) > 0
        self.chunks = [chunk.tolist() for chunk in own or chunks[:1]]

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.chunks)


class PeerPairs(Dataset):
    """A pair dataset that is indexed as `PeerBatchSampler` does, by (pair id, peer, partner).

    An item names its peer. With a partner, its caption is that of the partner.

    Args:
        pairs: The pairs.
    """

    def __init__(self, pairs: PairDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: tuple[int, ...]) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[tuple[int, ...]]) -> list[dict[str, Any]]:
        items = self.pairs.__getitems__([pair_id for pair_id, *_ in indices])
        for item, (_, peer, *partner) in zip(items, indices, strict=True):
            item[PEER] = peer
            if partner:
                item[PARTNER], item[CAPTION] = partner[0], self.pairs.caption(partner[0])
        return items
