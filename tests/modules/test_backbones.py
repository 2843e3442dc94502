"""Pretrained weights that do not fit are refused."""

import pytest
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from noisy_xmodal.modules.backbones import load_backbone
from noisy_xmodal.modules.text_encoders import TransformerTextEncoder

SIZES = {"vocab_size": 9, "hidden_size": 4, "num_attention_heads": 1, "intermediate_size": 4}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (RobertaModel(RobertaConfig(**SIZES, num_hidden_layers=1)), "model_type 'roberta'.*'bert'"),
        (BertModel(BertConfig(**SIZES, num_hidden_layers=2)), "num_hidden_layers 2.*1"),
    ],
)
def test_another_type_or_depth_is_refused(tmp_path, other, message):
    config = BertConfig(**SIZES, num_hidden_layers=1)
    other.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_backbone(TransformerTextEncoder(config, 4), tmp_path, config)


def test_no_name_leaves_the_weights_alone():
    config = BertConfig(**SIZES, num_hidden_layers=1)
    encoder = TransformerTextEncoder(config, 4)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    load_backbone(encoder, None, config)
    assert all((value == before[name]).all() for name, value in encoder.state_dict().items())
