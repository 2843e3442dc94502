"""Which pairs stand in which batch: every pair once a peer and epoch, whatever the division."""

from collections import Counter

import numpy as np
import pytest
from torch.utils.data import DataLoader

from noisy_xmodal.data import PairDataset
from noisy_xmodal.training.samplers import ChunkSampler, PeerBatchSampler, PeerPairs

N, BATCH = 53, 8

DIVISIONS = {
    "none": None,
    "all clean": np.ones(N, dtype=bool),
    "all noisy": np.zeros(N, dtype=bool),
    "one noisy": np.arange(N) != 17,
    "one clean": np.arange(N) == 17,
    "few noisy": np.arange(N) >= 5,
    "third noisy": np.arange(N) % 3 != 0,
    "half noisy": np.arange(N) % 2 != 0,
}
every_division = pytest.mark.parametrize("division", DIVISIONS.values(), ids=DIVISIONS.keys())


def sampler(division=None, n_pairs=N, batch_size=BATCH, n_peers=2, seed=0) -> PeerBatchSampler:
    return PeerBatchSampler(n_pairs, batch_size, n_peers, seed, lambda peer: division)


def of_peer(batches: list[list[tuple[int, int]]], peer: int) -> list[list[int]]:
    return [[pair for pair, owner in batch if owner == peer] for batch in batches]


@every_division
@pytest.mark.parametrize("n_peers", [1, 2, 3])
def test_every_peer_visits_every_pair_once(division, n_peers):
    batches = list(sampler(division, n_peers=n_peers))
    for peer in range(n_peers):
        visited = sorted(pair for batch in of_peer(batches, peer) for pair in batch)
        assert visited == list(range(N))
    assert {owner for batch in batches for _, owner in batch} == set(range(n_peers))


@every_division
@pytest.mark.parametrize("n_pairs", [8, 9, 16, 47, 48, 53])
def test_the_number_of_batches_never_changes(division, n_pairs):
    mask = None if division is None else division[:n_pairs]
    it = sampler(mask, n_pairs=n_pairs)
    batches = list(it)
    assert len(batches) == len(it) == -(-n_pairs // BATCH)
    for peer in range(2):
        sizes = [len(batch) for batch in of_peer(batches, peer)]
        assert max(sizes) <= BATCH
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("name", [name for name, mask in DIVISIONS.items() if mask is not None])
def test_every_batch_has_the_proportion_of_the_division(name):
    division = DIVISIONS[name]
    batches = list(sampler(division))
    for peer in range(2):
        counts = [sum(division[pair] for pair in batch) for batch in of_peer(batches, peer)]
        share = division.sum() / len(batches)
        assert all(np.floor(share) <= count <= np.ceil(share) for count in counts)
        noisy = [len(b) - c for b, c in zip(of_peer(batches, peer), counts, strict=True)]
        share = (~division).sum() / len(batches)
        assert all(np.floor(share) <= count <= np.ceil(share) for count in noisy)


@every_division
def test_peers_and_epochs_have_their_own_orders(division):
    it = sampler(division)
    orders = []
    for epoch in range(3):
        it.set_epoch(epoch)
        batches = list(it)
        orders += [tuple(map(tuple, of_peer(batches, peer))) for peer in range(2)]
    assert len(set(orders)) == 6


def test_companions_change_between_epochs():
    """Not just the order of the batches: other pairs meet."""
    it = sampler(DIVISIONS["third noisy"])
    first = {frozenset(batch) for batch in of_peer(list(it), 0)}
    it.set_epoch(1)
    assert not first & {frozenset(batch) for batch in of_peer(list(it), 0)}


@every_division
def test_seed_and_epoch_decide_everything(division):
    one, other = sampler(division), sampler(division)
    first = list(one)
    one.set_epoch(4)
    other.set_epoch(4)
    assert list(one) == list(other) != first
    one.set_epoch(0)
    assert list(one) == first
    assert list(sampler(division, seed=1)) != first


def test_the_division_of_one_peer_does_not_touch_the_other():
    plain = PeerBatchSampler(N, BATCH, 2)
    divided = PeerBatchSampler(
        N, BATCH, 2, clean_mask=lambda peer: DIVISIONS["half noisy"] if peer == 1 else None
    )
    assert of_peer(list(divided), 0) == of_peer(list(plain), 0)
    assert of_peer(list(divided), 1) != of_peer(list(plain), 1)


def test_each_peer_is_batched_by_its_own_division():
    masks = [DIVISIONS["few noisy"], DIVISIONS["half noisy"]]
    batches = list(PeerBatchSampler(N, BATCH, 2, clean_mask=lambda peer: masks[peer]))
    for peer, mask in enumerate(masks):
        counts = [sum(mask[pair] for pair in batch) for batch in of_peer(batches, peer)]
        assert max(counts) - min(counts) <= 1


def test_the_division_is_asked_anew_for_every_epoch():
    asked = []

    def clean_mask(peer):
        asked.append(peer)
        return None if len(asked) <= 2 else DIVISIONS["half noisy"]

    it = PeerBatchSampler(N, BATCH, 2, clean_mask=clean_mask)
    assert asked == []
    before = list(it)
    assert sorted(asked) == [0, 1]
    assert list(it) != before
    assert sorted(asked) == [0, 0, 1, 1]


@every_division
def test_peers_are_dealt_alternately(division):
    for batch in sampler(division):
        peers = [peer for _, peer in batch]
        counts = Counter(peers)
        shared = 2 * min(counts.values())
        assert peers[:shared] == [0, 1] * (shared // 2)
        assert len(set(peers[shared:])) <= 1  # what one peer has more


def test_three_peers_are_dealt_in_turn():
    peers = [peer for _, peer in next(iter(sampler(n_peers=3)))]
    assert peers == [0, 1, 2] * (len(peers) // 3)


@every_division
@pytest.mark.parametrize("n_processes", [2, 3])
def test_processes_share_every_batch(division, n_processes):
    """Together they hold the batch of one process, and each holds as many pairs of each kind."""
    whole = list(sampler(division))
    parts = [
        list(
            PeerBatchSampler(
                N, BATCH, 2, 0, lambda peer: division, process=process, n_processes=n_processes
            )
        )
        for process in range(n_processes)
    ]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert sorted(entry for share in shares for entry in share) == sorted(batch)
        for peer in range(2):
            own = [[pair for pair, owner in share if owner == peer] for share in shares]
            sizes = [len(pairs) for pairs in own]
            assert min(sizes) > 0
            assert max(sizes) - min(sizes) <= 1
            if division is not None:
                clean = [sum(division[pair] for pair in pairs) for pairs in own]
                assert max(clean) - min(clean) <= 1


def test_entries_are_plain_integers():
    pair, peer = next(iter(sampler(DIVISIONS["half noisy"])))[0]
    assert type(pair) is int
    assert type(peer) is int


@every_division
def test_partners_are_named_for_every_epoch_and_move_no_pair(division):
    rng, given = np.random.default_rng(0), {}

    def partners(peer: int) -> np.ndarray | None:
        given[peer] = rng.permutation(N) if peer else None  # the first one has its own captions
        return given[peer]

    it = PeerBatchSampler(N, BATCH, 2, 0, lambda peer: division, partners)
    expected, last = sampler(division), None
    for epoch in range(2):
        for one in (it, expected):
            one.set_epoch(epoch)
        batches = list(it)
        assert [[entry[:2] for entry in batch] for batch in batches] == list(expected)
        for pair, peer, *partner in (entry for batch in batches for entry in batch):
            assert partner == ([given[1][pair]] if peer else [])
            assert all(type(value) is int for value in partner)
        assert last is None or (last != given[1]).any()
        last = given[1]


@pytest.mark.parametrize("n_pairs", [0, 1, BATCH - 1])
def test_fewer_pairs_than_a_batch_are_refused(n_pairs):
    with pytest.raises(
        ValueError, match=rf"has {n_pairs} pairs, fewer than a batch of 8; .*train_batch_size"
    ):
        sampler(n_pairs=n_pairs)
    assert len(sampler(n_pairs=BATCH)) == 1


@pytest.mark.parametrize(("n_pairs", "size"), [(53, 8), (48, 8), (5, 8), (1, 1), (9, 8), (17, 4)])
def test_chunks_are_an_even_partition(n_pairs, size):
    it = ChunkSampler(n_pairs, size)
    chunks = list(it)
    assert len(chunks) == len(it) == -(-n_pairs // size)
    assert sorted(pair for chunk in chunks for pair in chunk) == list(range(n_pairs))
    sizes = [len(chunk) for chunk in chunks]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


def test_chunks_are_drawn_once_from_the_seed_alone():
    it = ChunkSampler(N, BATCH, seed=3)
    chunks = list(it)
    assert list(it) == chunks
    assert list(ChunkSampler(N, BATCH, seed=3)) == chunks
    assert list(ChunkSampler(N, BATCH, seed=4)) != chunks
    assert [pair for chunk in chunks for pair in chunk] != list(range(N)), (
        "neighbours share an image: they must be shuffled"
    )


@pytest.mark.parametrize("n_processes", [1, 2, 3, 10])
def test_processes_share_the_same_chunks(n_processes):
    whole = list(ChunkSampler(N, BATCH, seed=1))
    parts = [
        ChunkSampler(N, BATCH, seed=1, process=process, n_processes=n_processes)
        for process in range(n_processes)
    ]
    dealt = [chunk for part in parts if part.counts for chunk in part]
    assert len(dealt) == len(whole)
    assert sorted(dealt) == sorted(whole)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(list(part) == whole[:1] for part in parts if not part.counts)


def test_dealt_pairs_say_whose_they_are(tiny_regions_dataset):
    pairs = PairDataset(tiny_regions_dataset(5, 2))
    dealt = PeerPairs(pairs)
    assert len(dealt) == 10
    asked = [(7, 1), (0, 0), (7, 0)]
    for (pair_id, peer), item in zip(asked, dealt.__getitems__(asked), strict=True):
        plain = pairs[pair_id]
        assert item.keys() == plain.keys() | {"peer"}
        assert (item["pair_id"], item["peer"], item["caption"]) == (
            pair_id,
            peer,
            plain["caption"],
        )
        assert (item["regions"] == plain["regions"]).all()
    assert dealt[(3, 1)]["pair_id"] == 3
    assert dealt[(3, 1)]["peer"] == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_reads_what_the_sampler_deals(tiny_regions_dataset, workers):
    dealt = PeerPairs(PairDataset(tiny_regions_dataset(8, 2)))
    it = PeerBatchSampler(16, 5, 2)
    loader = DataLoader(dealt, batch_sampler=it, collate_fn=list, num_workers=workers)
    found = [[(item["pair_id"], item["peer"]) for item in batch] for batch in loader]
    assert found == list(it)
