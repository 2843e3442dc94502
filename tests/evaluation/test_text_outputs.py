"""Outputs of frozen text encoders: computed once, for training, evaluation and other runs."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig

from noisy_xmodal import (
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RegionFeatureProcessor,
    RobustTrainer,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.evaluation import score_matrix, store_text_outputs, text_outputs
from noisy_xmodal.methods.ncr import Ncr
from toy_pairs import REGION_SIZE, toy_pairs

DATA = toy_pairs(16)
TEXTS = [caption for row in DATA["captions"] for caption in row]
WORDS = {"words_beside": True, "word_encoder": "words", "word_size": 6, "dropout": 0.1}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The folder of the outputs."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache" / "noisy_xmodal_vectors"


def parts(folder: Path) -> list[Path]:
    """The files of outputs."""
    return [path for path in folder.rglob("*.npy") if not path.name.endswith(".texts.npy")]


@pytest.fixture(scope="module")
def processor() -> NcrProcessor:
    return NcrProcessor(RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(TEXTS))


def make_model(processor: NcrProcessor, seed: int = 0, **fields: Any) -> NcrModel:
    torch.manual_seed(seed)
    n_words = len(processor.tokenizer)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    text = BertConfig(vocab_size=n_words, num_hidden_layers=1, **sizes)
    if fields.get("words_beside"):
        fields["vocab_size"] = n_words
    fields = {"similarity": "cosine", "objective": "infonce", "hidden_size": 8} | fields
    config = NcrConfig(text_config=text, text_training="frozen", region_size=REGION_SIZE, **fields)
    return NcrModel(config).eval()


def count_texts(model: NcrModel) -> list[int]:
    """Fills up with the number of texts that the frozen model reads at a time."""
    read: list[int] = []
    model.peer_a.text_encoder.backbone.register_forward_hook(
        lambda module, args, kwargs, output: read.append(len(kwargs["input_ids"])),
        with_kwargs=True,
    )
    return read


@pytest.mark.parametrize("fields", [{}, WORDS], ids=["tokens", "sentences"])
def test_each_text_is_computed_once_for_both_peers_and_the_next_run(processor, cache, fields):
    expected = scores_one_by_one(make_model(processor, **fields), processor)
    model = make_model(processor, **fields)
    read = count_texts(model)
    store_text_outputs(model, processor, [*TEXTS, TEXTS[0]])
    n_distinct = len({tuple(ids) for ids in processor(text=TEXTS)["input_ids"].tolist()})
    assert sum(read) == n_distinct
    (file,) = parts(cache)
    scores = score_matrix(model, processor, DATA["regions"], TEXTS, 8)
    assert sum(read) == n_distinct
    np.testing.assert_allclose(scores, expected, atol=2e-3)

    model.save_pretrained(cache / "model")
    again = NcrModel.from_pretrained(cache / "model")
    read = count_texts(again)
    reverse = score_matrix(again, processor, DATA["regions"], TEXTS[::-1], 8)
    np.testing.assert_allclose(reverse[:, ::-1], scores, atol=1e-6)
    assert read == []
    assert parts(cache) == [file]


def scores_one_by_one(model: NcrModel, processor: NcrProcessor) -> np.ndarray:
    """Scores of all pairs without a store, (n_images, n_texts)."""
    scores = np.zeros((len(DATA), len(TEXTS)))
    for column, text in enumerate(TEXTS):
        inputs = processor(images=DATA["regions"], text=[text])
        with torch.no_grad():
            scores[:, column] = model(**inputs).scores[:, 0]
    return scores


def test_only_texts_that_no_file_has_are_computed(processor, cache):
    model = make_model(processor, **WORDS)
    read = count_texts(model)
    distinct = sorted({" ".join(text.split()) for text in TEXTS})
    for texts, n_new in ((distinct[:9], 9), (distinct[3:7], 0), (distinct[5:12], 3)):
        before = sum(read)
        store_text_outputs(model, processor, texts)
        assert sum(read) - before == n_new
    assert len(parts(cache)) == 2
    again = make_model(processor, **WORDS)
    again.peer_a.text_encoder.backbone.config.dtype = torch.float32  # as of a loaded model
    read = count_texts(again)
    store_text_outputs(again, processor, distinct[:12])
    assert read == []
    inputs = processor(text=distinct[:12])
    expected, tokens = model.encode_text(**inputs)[0].tokens, again.encode_text(**inputs)[0].tokens
    assert torch.equal(tokens, expected)


def test_other_weights_and_outputs_have_other_files(processor, cache):
    for model in (
        make_model(processor),
        make_model(processor, seed=1),
        make_model(processor, **WORDS),
    ):
        store_text_outputs(model, processor, TEXTS)
    assert len(parts(cache)) == 3
    words = NcrModel(NcrConfig(region_size=REGION_SIZE, hidden_size=8, word_size=4))
    store_text_outputs(words, processor, TEXTS)
    assert len(parts(cache)) == 3


@pytest.mark.parametrize("fields", [{}, WORDS], ids=["tokens", "sentences"])
def test_an_interrupted_computation_goes_on_to_the_same_file(
    processor, cache, tmp_path, monkeypatch, fields
):
    monkeypatch.setattr(text_outputs, "_ROWS", {"sentences": 4, "tokens": 30})
    monkeypatch.setattr("noisy_xmodal.evaluation.cache._SAVE_INTERVAL", -1)
    whole = make_model(processor, **fields)
    store_text_outputs(whole, processor, TEXTS, tmp_path / "whole")
    model = make_model(processor, **fields)

    def stop(*_: Any) -> None:
        if len(read) > 1:
            raise KeyboardInterrupt

    handle = model.peer_a.text_encoder.backbone.register_forward_hook(stop)
    read = count_texts(model)
    with pytest.raises(KeyboardInterrupt):
        store_text_outputs(model, processor, TEXTS)
    handle.remove()
    n_read = sum(read)
    store_text_outputs(model, processor, TEXTS)
    assert 0 < n_read < len(TEXTS)
    (file,) = parts(cache)
    (expected,) = parts(tmp_path / "whole")
    assert expected.name == file.name
    assert np.array_equal(np.load(file), np.load(expected))


def make_trainer(out: Path, processor: NcrProcessor, **options: Any) -> RobustTrainer:
    model = make_model(processor, similarity_options={"projection": True}, **WORDS)
    args = RobustTrainingArguments(
        str(out),
        per_device_train_batch_size=8,
        score_block_size=8,
        num_train_epochs=3,
        warmup_epochs=1,
        learning_rate=1e-2,
        use_cpu=True,
        disable_tqdm=True,
        plot_divisions=False,
        report_to="none",
        **options,
    )
    return RobustTrainer(
        model, args, Ncr(), DATA, processing_class=processor, eval_dataset=toy_pairs(6, seed=1)
    )


def test_training_reads_what_is_stored_and_resumes_to_the_same_end(processor, tmp_path):
    trainer = make_trainer(tmp_path / "whole", processor)
    read = count_texts(trainer.model)
    frozen = {n: p.clone() for n, p in trainer.model.named_parameters() if not p.requires_grad}
    assert frozen
    trainer.train()
    assert sum(read) <= len(TEXTS) + 12
    groups = trainer.optimizer.param_groups
    assert not {id(p) for group in groups for p in group["params"]} & {
        id(p) for p in trainer.model.parameters() if not p.requires_grad
    }
    weights = dict(trainer.model.named_parameters())
    assert all(torch.equal(weights[name], value) for name, value in frozen.items())

    checkpoint = min((tmp_path / "whole").glob("checkpoint-*"))
    resumed = make_trainer(tmp_path / "resumed", processor)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name]), name

    trainer.save_model(str(tmp_path / "saved"))
    loaded = AutoModel.from_pretrained(tmp_path / "saved")
    a, b = (peer.text_encoder for peer in loaded.peers)
    assert a.backbone is b.backbone
    assert a.stored is b.stored
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name]), name
