"""Configs answer damaged config.json files with their own errors: no crash, no hang, no memory.

For long: FUZZ_EXAMPLES=20000 OMP_NUM_THREADS=1 pytest tests/models/test_config_fuzz.py
"""

import json
import math
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import AutoConfig, BertConfig, PreTrainedConfig

from fuzzing import answers, changed, fuzz, nested
from noisy_xmodal import DmcmConfig, NcrConfig, RcarConfig
from tiny_backbones import backbone_config

DOCUMENTED = (ValueError, OSError, StrictDataclassError)
KINDS: dict[str, PreTrainedConfig] = {
    "ncr": NcrConfig(similarity_options={"lambda_softmax": 9.0}),
    "rcar": RcarConfig(),
    "dmcm": DmcmConfig(noise_rate=0.4, class_loss_options={"rho": 0.7}),
    "dmcm of pictures": DmcmConfig(backbone_config=backbone_config("clip")),
}
SAVED = {name: json.loads(config.to_json_string()) for name, config in KINDS.items()}
NEW_KEYS = ("num_labels", "id2label", "torch_dtype", "vision_config", "layer_types", "rope_scaling")


#: Fields of config.json, and what is said of them, each found by mutation.
REFUSED = [
    ({"num_labels": 2**31}, "`num_labels` is 2,147,483,648: more than 65,536"),
    ({"num_labels": "2"}, "`num_labels` must be a int, found '2'"),
    ({"text_config": {"model_type": "bert", "num_labels": 10**9}}, "`text_config.num_labels`"),
    ({"text_config": {"model_type": "gemma2", "num_hidden_layers": 10**9}}, "num_hidden_layers`"),
    ({"text_config": {"model_type": []}}, "text_config"),
    ({"text_config": {"model_type": "bert", "id2label": [1]}}, "text_config"),
    ({"id2label": ["cat"]}, "`id2label` must be a dict"),
    ({"dtype": [30]}, "`dtype` must be a str"),
    ({"torch_dtype": "load"}, "`torch_dtype` is 'load', not a dtype of torch"),
    ({"layer_types": True}, "layer_types"),
    ({"rope_scaling": ["x"]}, "`rope_scaling` must be a dict"),
    ({"similarity_options": {"a": nested(900)}}, "`similarity_options.a` is nested more than 20"),
    ({"margin": math.nan}, "`margin` must be a finite number, found nan"),
    ({"curve": math.inf}, "`curve` must be a finite number, found inf"),
    ({"match_scale": math.nan}, "`match_scale` must be a finite"),
    ({"similarity_options": {"lambda_softmax": math.inf}}, "`similarity_options.lambda_softmax`"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_strange_fields_are_refused_by_name(fields: dict[str, Any], message: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DOCUMENTED) as refused:
        NcrConfig.from_dict(SAVED["ncr"] | fields)
    assert message in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


@pytest.mark.parametrize("name", ["layer_norm_eps", "initializer_range"])
def test_what_must_not_be_negative(name: str) -> None:
    with pytest.raises(StrictDataclassError, match=f"`{name}` must not be negative, found -1"):
        RcarConfig(**{name: -1})


def test_what_other_models_say_of_themselves_is_kept() -> None:
    """Class numbers are no sizes, and infinity in a config of transformers is its own business."""
    names = {number: f"block {number}" for number in range(3000)}
    text = BertConfig(
        id2label=names, label2id={name: n for n, name in names.items()}, other=math.inf
    )
    config = NcrConfig(text_config=text, num_labels=1000, dtype="float32")
    assert config.text_config.label2id["block 2999"] == 2999
    assert config.text_config.other == math.inf
    assert (config.num_labels, config.dtype) == (1000, torch.float32)


@pytest.mark.parametrize("name", list(KINDS))
@fuzz(20)
@given(st.data())
def test_changed_fields(name: str, tmp_path: Path, data: Any) -> None:
    found = data.draw(changed(SAVED[name], NEW_KEYS))
    assume(isinstance(found, dict))
    assume(isinstance(found.get("model_type", ""), str))  # AutoConfig needs one, before our classes
    path = tmp_path / "config.json"
    path.write_text(json.dumps(found))
    fields = {"model type", "rope", str(tmp_path), *_keys(SAVED[name]), *_keys(found)}
    with answers(*fields, errors=DOCUMENTED):
        config = AutoConfig.from_pretrained(tmp_path)
        again = type(config).from_dict(json.loads(config.to_json_string()))
        assert again.to_json_string() == config.to_json_string()


def _keys(value: dict[str, Any]) -> Iterator[str]:
    for key, inner in value.items():
        yield key or "``"
        yield from _keys(inner) if isinstance(inner, dict) else ()
