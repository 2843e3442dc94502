"""Batches of pairs with captions: which pairs are negatives of each other, and whose captions."""

from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from noisy_xmodal import NcrProcessor, RegionFeatureProcessor, train_word_tokenizer
from noisy_xmodal.data import DatasetError, PairDataset
from noisy_xmodal.training import PairTask, RobustTrainingArguments
from noisy_xmodal.training.samplers import PeerBatchSampler
from toy_pairs import REGION_SIZE, toy_pairs


def make_task(out: Any, dataset: Any = None, **options: Any) -> tuple[PairTask, PairDataset]:
    """The task of the made-up world, for a model without a limit of texts."""
    dataset = toy_pairs() if dataset is None else dataset
    words = train_word_tokenizer([caption for row in toy_pairs()["captions"] for caption in row])
    args = RobustTrainingArguments(
        str(out), **{"per_device_train_batch_size": 32, "use_cpu": True} | options
    )
    processor = NcrProcessor(RegionFeatureProcessor(REGION_SIZE), words)
    task = PairTask(object(), args, None, processor)
    return task, task.training_samples(dataset)


def given_texts(pairs: PairDataset) -> list[set[str]]:
    """The texts of each image."""
    captions, rows = pairs.captions(), pairs.row_of_pair
    n_images = rows.max() + 1
    return [{c for c, r in zip(captions, rows, strict=True) if r == i} for i in range(n_images)]


def test_equal_texts_of_other_images_are_no_negatives(tmp_path):
    task, pairs = make_task(tmp_path, toy_pairs(n_concepts=4))
    captions, rows, given = pairs.captions(), pairs.row_of_pair, given_texts(pairs)
    n_masked = 0
    for indices in PeerBatchSampler(len(pairs), 32):
        ids = [pair_id for pair_id, _ in indices]
        made = task.make_batch(task.collator(pairs.__getitems__(ids)))
        assert made.pair_id.tolist() == ids
        expected = [[captions[j] not in given[rows[i]] for j in ids] for i in ids]
        assert made.negatives.tolist() == expected
        n_masked += int((rows[ids][:, None] != rows[ids]).sum()) - int(made.negatives.sum())
    assert n_masked > 0


def test_the_caption_of_a_partner_counts_in_place_of_the_own(tmp_path):
    task, pairs = make_task(tmp_path, toy_pairs(n_concepts=4))
    captions, rows, given = pairs.captions(), pairs.row_of_pair, given_texts(pairs)
    partner = np.random.default_rng(0).permutation(len(pairs))
    ids = list(range(0, len(pairs), 4))
    items = task.by_peer(pairs).__getitems__([(i, 1, partner[i]) for i in ids])
    assert [item["caption"] for item in items] == [captions[partner[i]] for i in ids]
    inputs = task.collator(items)
    assert inputs.pop("peer").tolist() == [1] * len(ids)
    made = task.make_batch(inputs, 1)
    assert made.peer == 1
    assert made.pair_id.tolist() == ids
    expected = [
        [
            rows[i] != rows[j]
            and captions[partner[j]] not in given[rows[i]]
            and captions[partner[j]] != captions[partner[i]]
            for j in ids
        ]
        for i in ids
    ]
    trained_alike = [
        (i, j)
        for i in ids
        for j in ids
        if i != j and captions[partner[i]] == captions[partner[j]] and rows[i] != rows[j]
    ]
    assert trained_alike, "or else they are not tested"
    assert made.negatives.tolist() == expected
    assert "partner" not in made.inputs
    plain = task.collator([pairs[int(partner[i])] for i in ids])
    assert torch.equal(made.inputs["input_ids"], plain["input_ids"])


def test_what_the_model_reads_holds_neither_ids_nor_the_oracle(tmp_path):
    task, pairs = make_task(tmp_path)
    made = task.make_batch(task.collator([pairs[0], pairs[5]]))
    assert set(made.inputs) == {"input_ids", "attention_mask", "regions", "region_mask"}


def test_one_image_alone_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="'train' has one image: a wrong pair needs another"):
        make_task(tmp_path, toy_pairs(1, captions_per_image=9), per_device_train_batch_size=4)


def test_fewer_pairs_than_a_batch_are_refused_for_training_alone(tmp_path):
    task, _ = make_task(tmp_path)
    with pytest.raises(DatasetError, match="12 pairs"):
        make_task(tmp_path, toy_pairs(6))
    assert len(task.as_samples(toy_pairs(6), "validation")) == 12


def test_memory_for_pictures_is_shared_by_workers_that_persist(tmp_path):
    columns = {"image_id": ["a", "b"], "captions": [["one"], ["two"]]}
    pictures = [Image.new("RGB", (4, 4), (90 * i, 0, 0)) for i in range(2)]
    rows = datasets.Dataset.from_dict(columns | {"image": pictures})
    options = {"image_cache_mb": 64, "dataloader_num_workers": 4}
    options["per_device_train_batch_size"] = 2
    with pytest.raises(ValueError, match="each epoch has new workers"):
        make_task(tmp_path, rows, **options)
    _, pairs = make_task(tmp_path, rows, dataloader_persistent_workers=True, **options)
    assert pairs._cache_left == 16 * 2**20


def test_memory_for_pictures_is_refused_where_none_is_decoded(tmp_path):
    message = "`image_cache_mb` is 0 and does nothing here, because the images are region features"
    with pytest.raises(ValueError, match=message):
        make_task(tmp_path, image_cache_mb=0)
    make_task(tmp_path, image_cache_mb=1024)  # the default
