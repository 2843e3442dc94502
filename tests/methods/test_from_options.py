"""Models by the options of the training scripts."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import BertConfig, BertModel

from example_scripts import options_of
from noisy_xmodal import train_word_tokenizer
from noisy_xmodal.methods.from_options import (
    build_matching_model,
    build_pair_processor,
    check_encoders,
)
from tiny_rcar import TEXT_SIZES
from toy_pairs import toy_pairs


def test_last_layers_of_a_frozen_text_encoder_are_pretrained_and_each_peer_has_its_own(tmp_path):
    rows = toy_pairs(4)
    words = train_word_tokenizer([caption for row in rows["captions"] for caption in row])
    words.save_pretrained(tmp_path)
    bert = BertModel(BertConfig(**TEXT_SIZES | {"vocab_size": len(words), "num_hidden_layers": 3}))
    bert.save_pretrained(tmp_path)

    def options(n_layers: int) -> tuple:
        argv = ["--dataset_name", "pairs", "--output_dir", "unused", "--hidden_size", "8"]
        argv += ["--text_model_name_or_path", str(tmp_path), "--text_layers", str(n_layers)]
        return options_of("train_ncr", argv)

    data, args, _, choice = options(2)
    check_encoders(args)
    model = build_matching_model(build_pair_processor(rows, choice, data, args), choice, args)
    for peer in model.peers:
        encoder = peer.text_encoder
        assert encoder.backbone.config.num_hidden_layers == 1
        for own, theirs in zip(encoder.top.layers, bert.encoder.layer[1:], strict=True):
            assert torch.equal(own.feed_forward[2].weight, theirs.output.dense.weight)
    assert model.peer_a.text_encoder.backbone is model.peer_b.text_encoder.backbone
    assert model.peer_a.text_encoder.top is not model.peer_b.text_encoder.top
    with pytest.raises(StrictDataclassError, match="is 4 and the text encoder has 3 layers"):
        check_encoders(options(4)[1])
