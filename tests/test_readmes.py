"""The README files: links lead somewhere, files exist, commands parse, and Python blocks run."""

import ast
import importlib
import math
import re
import runpy
import shlex
import sys
from argparse import ArgumentParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate.commands.launch
import datasets
import numpy as np
import pytest
import torch
import torch.distributed.run
import typer
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, AutoProcessor, ResNetConfig, ViTImageProcessorPil

import noisy_xmodal
from noisy_xmodal import (
    MatchingProcessor,
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RcarModel,
    RcarProcessor,
    inject_noise,
    noise_protocol,
    train_word_tokenizer,
)
from noisy_xmodal.cli import app
from noisy_xmodal.modules.encoded import Encoded
from noisy_xmodal.noise import NOISE_TYPES
from tiny_backbones import CAPTIONS, WIDTHS, backbone_config, image_processor, word_tokenizer
from tiny_rcar import rcar_config
from toy_labels import toy_labels
from toy_pairs import toy_pairs

ROOT = Path(__file__).parents[1]
READMES = [
    ROOT / folder / "README.md"
    for folder in (".", "examples", "dataset_scripts", "model_cards", "tests")
]
#: A file that is named, but only saved models have.
WRITTEN = "noisy_xmodal_shim.py"
#: Options of these scripts that are not their own are those of the script that a table's rows run.
RUNNERS = ("paper.py", "study_pairs.py")
TRAINED = {"ncr": "train_ncr.py", "rcar": "train_rcar.py", "dmcm": "train_dmcm.py"}

each_readme = pytest.mark.parametrize(
    "readme", READMES, ids=lambda path: str(path.relative_to(ROOT))
)


class ParsedError(BaseException):
    """Ends a script as soon as its command line is parsed; has the words that are left."""


def outside_code(text: str) -> str:
    """The prose of a README, without fenced and indented blocks."""
    return re.sub(r"^(```.*?^```|    .*?)$", "", text, flags=re.M | re.S)


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S)


def block_with(readme: Path, words: str) -> str:
    (block,) = [block for block in python_blocks(readme.read_text()) if words in block]
    return block


def anchors(readme: Path) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"(?s)```.*?```", "", readme.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> list[str]:
    """The command lines of the README files that run something of this repository."""
    found = []
    for readme in READMES:
        text = readme.read_text()
        lines = re.findall(r"^    (\S(?:.*\\\n)*.*)$", re.sub(r"(?s)```.*?```", "", text), re.M)
        lines += re.findall(r"`((?:python|noisy-xmodal) [^`]+ --[^`]+)`", outside_code(text))
        found += [re.sub(r"\s*\\\n\s*", " ", line) for line in lines]
    runs = ("python ", "accelerate launch ", "torchrun ", "noisy-xmodal ")
    return [line for line in found if line.startswith(runs)]


@each_readme
def test_links_lead_somewhere(readme):
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_code(readme.read_text())):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (readme.parent / path).resolve() if path else readme
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@each_readme
def test_files_that_are_named_exist(readme):
    folders = ("src", "examples", "dataset_scripts", "model_cards", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    ends = [*(path.as_posix() for path in files), f"/{WRITTEN}"]
    for name in re.findall(r"`([\w/.-]+\.(?:py|md|txt))(?::[^`]*)?`", readme.read_text()):
        assert (ROOT / name).exists() or any(end.endswith(f"/{name}") for end in ends), name


@each_readme
def test_python_blocks_import_what_exists(readme):
    for block in python_blocks(readme.read_text()):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("noisy_xmodal"):
                module = importlib.import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name), f"{node.module}.{name.name}"


def parse_script(monkeypatch: pytest.MonkeyPatch, script: Path, words: list[str]) -> None:
    """Parse a command line by the script itself, and do nothing else."""
    parse_known_args = ArgumentParser.parse_known_args

    def parse_and_stop(parser, args=None, namespace=None):
        namespace, rest = parse_known_args(parser, args, namespace)
        if not rest or script.name in RUNNERS:
            raise ParsedError(rest)
        return namespace, rest

    with monkeypatch.context() as patch:
        patch.setattr(ArgumentParser, "parse_known_args", parse_and_stop)
        patch.setattr(sys, "argv", [str(script), *words])
        patch.setattr(sys, "path", [str(script.parent), *sys.path])
        with pytest.raises(ParsedError) as ended:
            runpy.run_path(str(script), run_name="__main__")
    if script.name in RUNNERS and ended.value.args[0]:
        table = words[0] if script.name == "paper.py" else "ncr"
        trained = script.with_name(TRAINED[table.split("-")[0]])
        parse_script(monkeypatch, trained, [*ended.value.args[0], "--output_dir", "out"])


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_commands_parse(line, monkeypatch):
    program, *words = shlex.split(line, comments=True)
    if program == "accelerate" and "noisy_xmodal" in words:
        parsed = accelerate.commands.launch.launch_command_parser().parse_args(words[1:])
        assert parsed.module
        program, words = "noisy-xmodal", parsed.training_script_args
    if program == "noisy-xmodal":
        group = typer.main.get_command(app)
        if words[0] in group.commands:
            group.commands[words[0]].make_context(words[0], words[1:])
        else:
            assert words == ["--help"]
        return
    if program == "accelerate":
        parsed = accelerate.commands.launch.launch_command_parser().parse_args(words[1:])
        script, words = parsed.training_script, parsed.training_script_args
    elif program == "torchrun":
        parsed = torch.distributed.run.get_args_parser().parse_args(words)
        script, words = parsed.training_script, parsed.training_script_args
    else:
        script, *words = words
    parse_script(monkeypatch, ROOT / script, words)


def test_caption_method_of_the_readme():
    """Against loops over pairs and negatives."""
    scope: dict = {}
    exec(block_with(READMES[0], "(Method)"), scope)
    method = scope["Gce"]()
    method.constants = method.read_constants(SimpleNamespace(method_options={"q": 0.5}))
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    negatives = ~torch.eye(4, dtype=bool)
    negatives[0, 2] = False
    expected = []
    for i in range(4):
        losses = 0.0
        for side, mask in ((logits, negatives), (logits.T, negatives.T)):
            others = sum(math.exp(side[i, j]) for j in range(4) if mask[i, j])
            match = math.exp(side[i, i]) / (math.exp(side[i, i]) + others)
            losses += (1 - math.sqrt(match)) / 0.5
        expected.append(losses)
    batch = SimpleNamespace(negatives=negatives)
    losses = method.loss(SimpleNamespace(logits_per_image=logits), batch)
    torch.testing.assert_close(losses, torch.tensor(expected))


def test_similarity_head_of_the_readme():
    """Against loops over pairs, words and regions, with padding on both sides."""
    scope: dict = {}
    exec(block_with(READMES[1], "(SimilarityHead)"), scope)
    generator = torch.Generator().manual_seed(0)
    image = [torch.randn(length, 5, generator=generator) for length in (4, 2, 3)]
    text = [torch.randn(length, 5, generator=generator) for length in (1, 3)]
    expected = [
        [sum(max(float(region @ word) for region in i) for word in t) / len(t) for t in text]
        for i in image
    ]
    encoded = [
        Encoded(
            pad_sequence(side, batch_first=True, padding_value=9.0),
            pad_sequence([torch.ones(len(tokens)) for tokens in side], batch_first=True).bool(),
        )
        for side in (image, text)
    ]
    scores = scope["BestRegion"](hidden_size=5)(*encoded)
    torch.testing.assert_close(scores, torch.tensor(expected))


def test_noise_type_of_the_readme(monkeypatch):
    scope: dict = {}
    exec(block_with(ROOT / "dataset_scripts/README.md", "(CaptionNoise)"), scope)
    monkeypatch.setitem(NOISE_TYPES, "rotation", scope["Rotation"])
    clean = toy_pairs(50)
    noisy = inject_noise(clean, "rotate_40", seed=0)
    assert list(map(len, noisy["captions"])) == list(map(len, clean["captions"]))
    protocol = noise_protocol(noisy)
    assert protocol["type"] == "rotation"
    n_pairs = sum(map(len, clean["captions"]))
    assert 0.3 * n_pairs < protocol["n_wrong"] <= round(0.4 * n_pairs)


def pictures(n_rows: int, seed: int) -> datasets.Dataset:
    """Pictures of one colour each, with the name of the colour."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 3, n_rows)
    return datasets.Dataset.from_dict(
        {
            "image": [Image.new("RGB", (32, 32), ["red", "green", "blue"][c]) for c in colours],
            "captions": [[f"number {k} in colour {c}"] for k, c in enumerate(colours)],
            "image_id": [str(k) for k in range(n_rows)],
        },
        features=datasets.Features(
            {
                "image": datasets.Image(),
                "captions": datasets.List(datasets.Value("string")),
                "image_id": datasets.Value("string"),
            }
        ),
    )


def networks() -> dict[str, Any]:
    """Tiny untrained models of pixels with their processors, and what they read."""
    rows = pictures(40, 0)
    captions = [text for texts in rows["captions"] for text in texts]
    words = train_word_tokenizer(captions, mask=True)
    images = ViTImageProcessorPil(size={"height": 32, "width": 32})
    vision = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")
    ncr = NcrConfig(
        vision_config=vision, vocab_size=len(words), hidden_size=8, word_size=8, similarity="cosine"
    )
    rcar = rcar_config({"vocab_size": len(words)}, vision_config=vision)
    return {
        "ncr": NcrModel(ncr).eval(),
        "ncr_processor": NcrProcessor(images, words),
        "rcar": RcarModel(rcar).eval(),
        "processor": RcarProcessor(images, words),
        "pictures": list(rows["image"]),
        "captions": captions,
    }


def test_block_of_reranking_runs():
    scope = networks()
    exec(block_with(READMES[1], "rerank"), scope)
    assert scope["scores"].shape == (40, 40)
    assert (np.isnan(scope["scores"]) != scope["chosen"]).all()


def test_block_of_sentence_transformers_runs(monkeypatch, tmp_path):
    pytest.importorskip("sentence_transformers")
    monkeypatch.chdir(tmp_path)
    scope = networks()
    scope |= {"model": scope["ncr"], "processor": scope["ncr_processor"]}
    exec(block_with(READMES[3], "export_sentence_transformers"), scope)
    encoded = scope["both"].encode(scope["pictures"])
    expected = scope["model"].get_image_features(**scope["processor"](images=scope["pictures"]))
    np.testing.assert_allclose(encoded, expected.detach(), atol=1e-5)


def test_block_of_a_plain_clip_runs(monkeypatch, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    monkeypatch.chdir(tmp_path)
    model = NcrModel(NcrConfig(backbone_config=backbone_config("clip"))).eval()
    processor = MatchingProcessor(image_processor("clip"), word_tokenizer())
    scope = {"model": model, "processor": processor}
    scope["SentenceTransformer"] = sentence_transformers.SentenceTransformer
    exec(block_with(READMES[3], "export_transformers("), scope)
    weights = model.peer_b.backbone.state_dict()
    assert all(torch.equal(w, weights[name]) for name, w in scope["clip"].state_dict().items())
    assert scope["both"].encode(CAPTIONS[:2]).shape == (2, WIDTHS["clip"])


def test_block_of_evaluate_runs():
    pytest.importorskip("evaluate")
    scope: dict = {}
    exec(block_with(READMES[3], "module_folder"), scope)
    result = scope["recall"].compute(predictions=scope["scores"], references=[0, 1, 1])
    assert (result["i2t_r1"], result["t2i_r1"]) == (100, pytest.approx(200 / 3))


def test_twenty_lines_of_python_run(monkeypatch, tmp_path, capsys):
    splits = datasets.DatasetDict(
        train=inject_noise(pictures(130, 0), "cmp_40"),
        validation=pictures(20, 1),
        test=pictures(20, 2),
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(noisy_xmodal, "load_openmoji", lambda config: splits, raising=False)
    scope: dict = {}
    exec(block_with(READMES[0], "load_openmoji"), scope)
    assert "test_rsum" in capsys.readouterr().out
    model, trained = AutoModel.from_pretrained("runs/mine"), scope["trainer"].model
    assert all(map(torch.equal, model.state_dict().values(), trained.state_dict().values()))
    assert isinstance(AutoProcessor.from_pretrained("runs/mine"), NcrProcessor)


def test_block_of_label_methods_runs(monkeypatch, tmp_path, capsys):
    splits = datasets.DatasetDict(
        train=toy_labels(120, "sym_40"), validation=toy_labels(40, seed=1), test=toy_labels(40)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(noisy_xmodal, "load_openmoji_labels", lambda config: splits, raising=False)
    block, epochs = block_with(READMES[1], "load_openmoji_labels"), "num_train_epochs=20"
    assert epochs in block
    exec(block.replace(epochs, "num_train_epochs=3"), {})
    assert "test_map" in capsys.readouterr().out
