"""Models on the Hub and back, in fresh processes with an empty cache, by the real clients."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from loopback_hub import LoopbackHub
from noisy_xmodal import (
    DmcmConfig,
    DmcmModel,
    DmcmProcessor,
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RcarModel,
    RcarProcessor,
    RegionFeatureProcessor,
    train_word_tokenizer,
)
from noisy_xmodal.evaluation import score_matrix
from tiny_rcar import rcar_config

WORDS = ["a red cat", "one dog"]

#: Loads a model and scores what lies in the folder: the processes below begin with it.
LOADING = """
import io, json, os
import numpy as np, torch
from transformers import AutoConfig, AutoModel, AutoProcessor, pipeline
world = Path(sys.argv[1])
given = np.load(world / "inputs.npz")
expected = np.load(world / "expected.npz")
WORDS = ["a red cat", "one dog"]

def load(name, **options):
    config, model, processor = (
        auto.from_pretrained(name, **options) for auto in (AutoConfig, AutoModel, AutoProcessor)
    )
    assert type(model).__module__.startswith("noisy_xmodal."), type(model)
    assert type(processor).__module__.startswith("noisy_xmodal."), type(processor)
    assert type(config) is type(model.config)
    return model, processor

def assert_scores(kind, model, processor):
    with torch.no_grad():
        if kind == "dmcm":
            found = model(**processor(image_features=given["image"], text_features=given["text"]))
            scores = found.logits_per_image
        else:
            image = model.encode_image(**processor(images=list(given["regions"])))
            scores = model.score(image, model.encode_text(**processor(text=WORDS)))
    # Weights that are mapped from a file may be summed in another order.
    np.testing.assert_allclose(scores.numpy(), expected[kind], rtol=0, atol=1e-6)
"""

WITH_IMPORT = """
import noisy_xmodal
for kind in ("ncr", "rcar", "dmcm"):
    assert_scores(kind, *load(f"org/{kind}"))
    for revision in ("main", "v1"):
        assert_scores(kind, *load(f"org/{kind}", revision=revision))
assert not [name for name in sys.modules if name.startswith("transformers_modules")]
for kind in ("ncr", "rcar", "dmcm"):
    assert_scores(kind, *load(f"org/{kind}", trust_remote_code=True))

match = pipeline("image-text-match", model="org/rcar")
(found,) = match([{"image": given["regions"][0], "text": WORDS[0]}])
probability = 1 / (1 + np.exp(-expected["rcar"][0, 0]))  # scores are log-odds
assert abs(found["score"] - probability) < 1e-6
retrieval = pipeline("image-text-retrieval", model="org/ncr").index(images=list(given["regions"]))
assert retrieval(WORDS[1], top_k=1)[0]["index"] == expected["ncr"][:, 1].argmax()

refused = raises(ValueError, AutoModel.from_pretrained, "org/pickled")
assert "pytorch_model.bin alone" in str(refused)
refused = raises(ValueError, AutoModel.from_pretrained, "org/climbing")
assert "'..' path segment" in str(refused), refused
raises(OSError, AutoModel.from_pretrained, "org/ncr", revision="v2")
raises(OSError, AutoModel.from_pretrained, "org/none")
raises(OSError, AutoModel.from_pretrained, "org/closed", token=False)
load("org/closed")
os.environ["HF_HUB_OFFLINE"] = "1"
assert_scores("ncr", *load("org/ncr", local_files_only=True))
"""

WITHOUT_IMPORT = """
sys.stdin = io.StringIO("")  # nobody is there to ask
for auto in (AutoConfig, AutoModel, AutoProcessor):
    assert "trust_remote_code=True" in str(raises(ValueError, auto.from_pretrained, "org/ncr"))
assert "noisy_xmodal" not in sys.modules
for kind in ("ncr", "rcar", "dmcm"):
    model, processor = load(f"org/{kind}", trust_remote_code=True)
    assert_scores(kind, model, processor)
    model.push_to_hub(f"org/{kind}-again")
    processor.push_to_hub(f"org/{kind}-again")
    assert_scores(kind, *load(f"org/{kind}-again", trust_remote_code=True))
"""

ABSENT = """
sys.modules["noisy_xmodal"] = None  # as if it were not installed
for auto in (AutoConfig, AutoModel, AutoProcessor):
    error = raises(ImportError, auto.from_pretrained, "org/ncr", trust_remote_code=True)
    assert "Run `pip install noisy-xmodal`" in str(error), error
"""


def executing(marker: Path) -> bytes:
    """A pickle that makes a file when it is read."""
    return b"cbuiltins\nopen\n(V" + str(marker).encode() + b"\nVw\ntR."


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A Hub with the three models, and some repositories that are not to be trusted."""
    world = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    regions = random.normal(size=(3, 5, 4)).astype(np.float32)
    image, text = (random.normal(size=(3, n)).astype(np.float32) for n in (6, 5))
    np.savez(world / "inputs.npz", regions=regions, image=image, text=text)
    words = {mask: train_word_tokenizer(WORDS, mask=mask) for mask in (False, True)}
    torch.manual_seed(0)
    sizes = {"region_size": 4, "word_size": 6, "hidden_size": 8, "similarity": "cosine"}
    vectors = {"image_size": 6, "text_size": 5, "hidden_sizes": [7], "embedding_size": 8}
    made = {
        "ncr": (
            NcrModel(NcrConfig(**sizes, vocab_size=len(words[False]))),
            NcrProcessor(RegionFeatureProcessor(4), words[False]),
        ),
        "rcar": (RcarModel(rcar_config()), RcarProcessor(RegionFeatureProcessor(4), words[True])),
        "dmcm": (DmcmModel(DmcmConfig(**vectors)), DmcmProcessor()),
    }
    expected = {}
    with LoopbackHub() as hub:
        hub.world = world
        for kind, (model, processor) in made.items():
            model.eval().save_pretrained(world / kind)
            processor.save_pretrained(world / kind)
            with torch.no_grad():
                if kind == "dmcm":
                    inputs = processor(image_features=image, text_features=text)
                    scores = model(**inputs).logits_per_image.numpy()
                else:
                    scores = score_matrix(model, processor, list(regions), WORDS)
            expected[kind] = scores
            repo = hub.put(f"org/{kind}", files_of(world / kind))
            repo.names["v1"] = repo.at("main").sha
        np.savez(world / "expected.npz", **expected)
        safe = files_of(world / "ncr")
        hub.put("org/closed", safe, private=True)
        del safe["model.safetensors"]
        hub.put("org/pickled", safe | {"pytorch_model.bin": executing(world / "executed")})
        index = {
            "metadata": {},
            "weight_map": {"peer_a.logit_scale": "../../../secret.safetensors"},
        }
        climbing = {"model.safetensors.index.json": json.dumps(index).encode()}
        hub.put("org/climbing", safe | climbing)
        save_file({"peer_a.logit_scale": np.ones(())}, world / "secret.safetensors")
        yield hub
        assert not hub.problems


def test_with_the_import_no_trust_is_needed_and_bad_repositories_are_refused(hub, tmp_path):
    hub.run(tmp_path / "home", LOADING + WITH_IMPORT, hub.world)
    assert not (hub.world / "executed").exists()


def test_without_the_import_trust_gives_the_same_classes_and_saving_keeps_the_shim(hub, tmp_path):
    hub.run(tmp_path / "home", LOADING + WITHOUT_IMPORT, hub.world)
    for kind in ("ncr", "rcar", "dmcm"):
        found, first = hub.files(f"org/{kind}-again"), hub.files(f"org/{kind}")
        for name in ("noisy_xmodal_shim.py", "processor_config.json"):
            assert found[name] == first[name], name
        maps = (json.loads(files["config.json"])["auto_map"] for files in (found, first))
        assert len({json.dumps(names) for names in maps}) == 1
        assert {name for name in found if name.endswith(".py")} == {"noisy_xmodal_shim.py"}


def test_without_the_package_the_error_says_what_to_install(hub, tmp_path):
    hub.run(tmp_path / "home", LOADING + ABSENT, hub.world)
