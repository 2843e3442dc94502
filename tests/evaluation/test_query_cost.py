"""What a query costs: counted parameters, timed queries, and what is not computed anew."""

import sys

import pytest

from label_trainers import make_label_trainer
from noisy_xmodal import CommonSpaceProcessor, MatchingModel, NcrConfig, NcrModel
from noisy_xmodal.data import LabelDataset, PairDataset
from noisy_xmodal.evaluation import machine_facts, query_cost, store_text_outputs
from noisy_xmodal.modules.stored_outputs import token_digests
from toy_labels import toy_labels

MODULE = sys.modules[query_cost.__module__]


@pytest.mark.parametrize("similarity", ["cosine", "sgr"])
def test_every_query_meets_the_whole_gallery(
    similarity, tiny_regions_dataset, tiny_config, tiny_processor, monkeypatch
):
    pairs = PairDataset(tiny_regions_dataset(7, 2))
    model = MatchingModel(tiny_config(similarity=similarity)).train()
    ticks = iter([0.0, 0.4, 1.0, 1.1, 2.0, 2.2, 3.0, 5.0, 6.0, 6.3, 7.0, 7.7, 8.0, 10.0])
    monkeypatch.setattr(MODULE, "_now", lambda device: next(ticks))
    encoded = {"image": [], "text": []}
    for side in encoded:
        name = f"get_{side}_features" if similarity == "cosine" else f"encode_{side}"
        monkeypatch.setattr(model, name, counted(getattr(model, name), encoded[side]))
    found = query_cost(model, tiny_processor, pairs, block_size=4)
    # Image queries take .4, .1, .2 and 2 s, which are enough; text queries .3, .7 and 2 s.
    assert found["seconds_per_image_query"] == pytest.approx(0.3)
    assert found["seconds_per_text_query"] == pytest.approx(0.7)
    assert encoded == {"image": [4, 3, 1, 1, 1, 1], "text": [4, 4, 4, 2, 1, 1, 1]}
    assert found["parameters"] == sum(part.numel() for part in model.parameters())
    assert (found["gallery_images"], found["gallery_texts"]) == (7, 14)
    assert found["machine"] == machine_facts("cpu")
    assert model.training


def counted(encode, counts):
    def encode_and_count(**inputs):
        counts.append(len(next(iter(inputs.values()))))
        return encode(**inputs)

    return encode_and_count


def test_a_text_query_is_encoded_though_its_outputs_are_stored(
    tiny_regions_dataset, tiny_config, tiny_processor, monkeypatch, tmp_path
):
    pairs = PairDataset(tiny_regions_dataset(3, 2))
    model = NcrModel(tiny_config(NcrConfig, texts="frozen"))
    store_text_outputs(model, tiny_processor, pairs.captions(), tmp_path)
    stored = model.frozen_text_encoder.stored
    reads, read = [], stored.read
    monkeypatch.setattr(stored, "read", lambda digests: reads.append(read(digests)) or reads[-1])
    query_cost(model, tiny_processor, pairs)
    are_stored = [rows[0] is not None for rows in reads]
    assert are_stored[0]
    assert not any(are_stored[-5:])
    assert read(token_digests(**tiny_processor(text=pairs.captions()[:1])))[0] is not None


def test_a_model_of_classes_is_timed_too(tmp_path):
    trainer = make_label_trainer("dmcm", tmp_path)
    found = query_cost(trainer.model, CommonSpaceProcessor(), LabelDataset(toy_labels(9)))
    assert found["gallery_texts"] == 9
    assert found["seconds_per_image_query"] > 0
