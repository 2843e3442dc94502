"""Models and their cards, pushed to the Hub of `loopback_hub` and loaded by the real clients."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from loopback_cards import LICENSES, complaints
from loopback_clients import run
from loopback_hub import LoopbackHub

CODE = """
import torch
from transformers import PreTrainedConfig, PreTrainedModel

class CodedConfig(PreTrainedConfig):
    model_type = "coded"

class Coded(PreTrainedModel):
    config_class = CodedConfig

    def __init__(self, config):
        super().__init__(config)
        self.linear = torch.nn.Linear(2, 2)
        self.post_init()
        self.doubled = 2 * config.number
"""
MAP = {"AutoConfig": "coded.CodedConfig", "AutoModel": "coded.Coded"}

TRANSFORMERS_CLIENT = """
import torch
from transformers import AutoConfig, AutoModel, AutoProcessor, AutoTokenizer
from transformers import BertConfig, BertModel, BertTokenizer

torch.set_num_threads(1)
source = Path(sys.argv[1])
config = BertConfig(
    vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
    intermediate_size=8, max_position_embeddings=8,
)
model = BertModel(config)
model.push_to_hub("org/bert")
BertTokenizer(str(source / "vocab.txt")).push_to_hub("org/bert")
with torch.no_grad():
    model.pooler.dense.bias.fill_(7)
model.push_to_hub("org/bert", revision="seven", commit_message="Seven")
for trust in (False, True):
    assert AutoConfig.from_pretrained("org/bert", trust_remote_code=trust).hidden_size == 8
    for revision, bias in (("main", 0), ("seven", 7)):
        loaded = AutoModel.from_pretrained("org/bert", revision=revision, trust_remote_code=trust)
        assert torch.equal(loaded.pooler.dense.bias, torch.full((8,), float(bias)))
        assert torch.equal(loaded.pooler.dense.weight, model.pooler.dense.weight)
    tokenizer = AutoTokenizer.from_pretrained("org/bert", trust_remote_code=trust)
    assert tokenizer("a")["input_ids"] == [2, 5, 3]
assert AutoProcessor.from_pretrained("org/bert")("a")["input_ids"] == [2, 5, 3]
assert AutoModel.from_pretrained("org/coded", trust_remote_code=True).doubled == 6
assert raises(ValueError, AutoModel.from_pretrained, "org/coded", trust_remote_code=False)
for name, arguments in (
    ("org/none", {}), ("org/closed", {"token": False}), ("org/bert", {"revision": "none"})
):
    for auto in (AutoConfig, AutoModel, AutoTokenizer, AutoProcessor):
        assert "is not a valid" in str(raises(OSError, auto.from_pretrained, name, **arguments))

card = ModelCard.load("org/bert")
card.data.license = "mit"
card.validate()
card.push_to_hub("org/bert")
info = HfApi().model_info("org/bert", files_metadata=True)
assert (info.card_data.license, info.library_name) == ("mit", "transformers")
(weights,) = (file for file in info.siblings if file.rfilename == "model.safetensors")
assert weights.lfs.size == weights.size > 4 * model.num_parameters()
count = HfApi().get_safetensors_metadata("org/bert").parameter_count
assert count == {"F32": model.num_parameters()}
"""

CARD_CLIENT = """
card = ModelCard("---\\nlicense: mit\\n---\\n# A card\\n")
card.validate()
card.push_to_hub("org/tiny")
assert HfApi().model_info("org/tiny").card_data.license == "mit"

card.data.license = "mine"
for ask, *arguments in ((card.validate,), (card.push_to_hub, "org/tiny")):
    error = raises(ValueError, ask, *arguments)
    assert str(error).startswith('- Error: "license" must be one of [apache-2.0, mit')
upload = {"repo_id": "org/tiny", "path_in_repo": "README.md"}
error = raises(ValueError, HfApi().upload_file, path_or_fileobj=str(card).encode(), **upload)
assert str(error).startswith('Invalid metadata in README.md.\\n- "license" must be one of [')
error = raises(ValueError, HfApi().upload_file, path_or_fileobj=b"---\\n- 1\\n---\\n", **upload)
assert '- "value" must be of type object' in str(error)

HfApi._validate_yaml = lambda *arguments, **options: None  # a client that does not ask before
error = raises(errors.BadRequestError, HfApi().upload_file,
               path_or_fileobj=str(card).encode(), **upload)
assert '"license" must be one of [' in str(error)
"""


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub
        assert not hub.problems


def test_models_are_pushed_and_loaded_by_transformers(hub: LoopbackHub, tmp_path: Path) -> None:
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a")
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    weights = save(
        {"linear.weight": np.ones((2, 2), "f"), "linear.bias": np.ones(2, "f")}, {"format": "pt"}
    )
    config = {"model_type": "coded", "number": 3, "auto_map": MAP}
    coded = {"coded.py": CODE.encode(), "config.json": json.dumps(config).encode()}
    hub.put("org/coded", coded | {"model.safetensors": weights})
    hub.put(
        "org/closed", {"config.json": json.dumps({"model_type": "bert"}).encode()}, private=True
    )
    run(hub, tmp_path / "home", TRANSFORMERS_CLIENT, tmp_path)
    assert hub.repositories["model", "org/bert"].at("seven").title == "Seven"
    assert b"license: mit" in hub.files("org/bert")["README.md"]


def test_cards_are_checked_when_they_are_validated_or_pushed(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    hub.put("org/tiny", {})
    run(hub, tmp_path / "home", CARD_CLIENT)
    assert hub.files("org/tiny")["README.md"] == b"---\nlicense: mit\n---\n# A card\n"


RESULT = {
    "task": {"type": "retrieval"},
    "dataset": {"type": "org/data", "name": "Data"},
    "metrics": [{"type": "recall", "value": 0}],
}


def index(**changes: object) -> object:
    return [{"name": "m", "results": [RESULT, RESULT | changes]}]


HERE = "model-index[0].results[1]"


@pytest.mark.parametrize(
    ("data", "faults"),
    [
        ({"license": "apache-2.0", "tags": ["a"], "language": "en", "datasets": "a/b"}, []),
        ({"license": ["mit", "other"], "language": ["en", "code"], "datasets": ["a"]}, []),
        ({"model-index": index(), "pipeline_tag": "any", "widget": [{"text": 1}]}, []),
        ({"license": "Apache 2.0"}, [f'"license" must be one of [{", ".join(LICENSES)}, array]']),
        ({"tags": "a"}, ['"tags" must be an array']),
        ({"tags": ["a", 1, None]}, ['"tags[1]" must be a string', '"tags[2]" must be a string']),
        ({"datasets": None}, ['"datasets" must be an array']),
        ({"datasets": [{"a": 1}], "language": 3}, [
            '"datasets[0]" must be a string', '"language" must be an array'
        ]),
        ([1, 2], ['"value" must be of type object']),
        ({"model-index": {}}, ['"model-index" must be an array']),
        ({"model-index": [{"name": "m"}]}, ['"model-index[0].results" is required']),
        ({"model-index": index(task=None)}, [f'"{HERE}.task" is required']),
        ({"model-index": index(task={"name": "a"})}, [f'"{HERE}.task.type" is required']),
        ({"model-index": index(task="a")}, [f'"{HERE}.task" must be of type object']),
        ({"model-index": index(dataset={"type": "a"})}, [f'"{HERE}.dataset.name" is required']),
        ({"model-index": index(dataset={"type": 1, "name": "a"})}, [
            f'"{HERE}.dataset.type" must be a string'
        ]),
        ({"model-index": index(dataset=None)}, [f'"{HERE}.dataset" is required']),
        ({"model-index": index(metrics={})}, [f'"{HERE}.metrics" must be an array']),
        ({"model-index": index(metrics=[{}])}, [
            f'"{HERE}.metrics[0].type" is required', f'"{HERE}.metrics[0].value" is required'
        ]),
    ],
)  # fmt: skip
def test_faults_of_metadata(data: object, faults: list[str]) -> None:
    card = f"---\n{json.dumps(data)}\n---\n# Title\n"
    assert complaints(card) == faults
    assert complaints(card.replace("\n", "\r\n")) == faults


def test_what_is_no_metadata_and_what_is_no_yaml() -> None:
    for card in ("", "# Title\n", "Text\n---\n- 1\n---\n", "---\nlicense: none\n"):
        assert complaints(card) == []
    (fault,) = complaints("---\na: [1\n---\n")
    assert fault.startswith("Invalid YAML: ")
    (fault,) = complaints("---\nlanguage: English\n---\n")
    assert fault.startswith('"language" with value "English" is not valid.')
