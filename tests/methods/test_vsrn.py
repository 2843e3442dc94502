"""VSRN's loss by hand, the captioner in the saved model, and models without one."""

from pathlib import Path

import pytest
import torch
from transformers import set_seed

from noisy_xmodal import (
    MatchingConfig,
    MatchingModel,
    MatchingProcessor,
    PeersConfig,
    PeersModel,
    RegionFeatureProcessor,
    RobustTrainer,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.losses import hardest_triplet_loss, mean_triplet_loss
from noisy_xmodal.methods.vsrn import Vsrn
from toy_pairs import REGION_SIZE, toy_pairs


def fields(captioner_size: int = 8) -> dict:
    return {
        "region_size": REGION_SIZE,
        "word_size": 8,
        "hidden_size": 8,
        "similarity": "vsrn",
        "normalize_tokens": False,
        "word_encoder": "gru",
        "captioner_size": captioner_size,
    }


def make_trainer(out: Path, captioner_size: int = 8) -> RobustTrainer:
    set_seed(0)
    train = toy_pairs(8)
    words = train_word_tokenizer(caption for row in train["captions"] for caption in row)
    config = MatchingConfig(
        vocab_size=len(words), **fields(captioner_size), method_options={"caption_weight": 0.5}
    )
    options = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "report_to": "none"}
    options |= {"save_strategy": "no", "eval_strategy": "no", "load_best_model_at_end": False}
    args = RobustTrainingArguments(str(out), warmup_epochs=1, use_cpu=True, **options)
    processor = MatchingProcessor(RegionFeatureProcessor(REGION_SIZE), words)
    return RobustTrainer(MatchingModel(config), args, Vsrn(), train, processing_class=processor)


def test_the_loss_is_the_triplet_and_the_weighted_captions(tmp_path):
    trainer = make_trainer(tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.eval()
    inputs = {k: v for k, v in batch.items() if k not in ("pair_id", "image_row", "peer")}
    output = trainer.model(**inputs, captions=True)
    rows = batch["image_row"]
    own = trainer.train_dataset.shared_texts.match(rows[:, None].numpy(), batch["pair_id"].numpy())
    for epoch, triplet in ((0, mean_triplet_loss), (1, hardest_triplet_loss)):
        trainer.state.epoch = epoch
        losses = triplet(output.scores, 0.2, ~torch.from_numpy(own)) + 0.5 * output.caption_loss
        torch.testing.assert_close(trainer.compute_loss(trainer.model, batch), losses.mean())


def test_training_reaches_the_captioner_and_saves_it(tmp_path):
    trainer = make_trainer(tmp_path)
    before = trainer.model.captioner.output.weight.detach().clone()
    trainer.train()
    trained = trainer.model.captioner.output.weight
    assert not torch.equal(trained, before)
    assert any("caption_loss" in line for line in trainer.state.log_history)
    trainer.save_model()
    assert torch.equal(MatchingModel.from_pretrained(tmp_path).captioner.output.weight, trained)


def test_a_model_without_a_captioner_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"VSRN trains a captioner.*set `captioner_size`"):
        make_trainer(tmp_path, captioner_size=0)
    model = MatchingModel(MatchingConfig(vocab_size=9, **fields(0)))
    inputs = {"input_ids": torch.ones(2, 3, dtype=torch.long), "regions": torch.ones(2, 1, 12)}
    with pytest.raises(ValueError, match="no captioner: set `captioner_size`"):
        model(**inputs, captions=True)


def test_peers_have_the_losses_of_their_captioners():
    torch.manual_seed(0)
    model = PeersModel(PeersConfig(vocab_size=9, **fields())).eval()
    inputs = {"input_ids": torch.randint(3, 9, (4, 3)), "regions": torch.randn(4, 2, REGION_SIZE)}
    peer = torch.tensor([0, 1, 1, 0])
    outputs = model(**inputs, peer=peer, captions=True).peers
    for k, network in enumerate(model.peers):
        own = {name: values[peer == k] for name, values in inputs.items()}
        expected = network(**own, captions=True).caption_loss
        torch.testing.assert_close(outputs[k].caption_loss, expected)
