"""Learning rates of pretrained encoders by layer, and activations that are computed again."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, Trainer, set_seed

from label_trainers import make_label_trainer
from noisy_xmodal import (
    NcrConfig,
    NcrModel,
    NcrProcessor,
    RcarModel,
    RcarTrainingArguments,
    RegionFeatureProcessor,
    RobustTrainer,
    RobustTrainingArguments,
    train_word_tokenizer,
)
from noisy_xmodal.methods import Ncr
from noisy_xmodal.training.encoders import parameter_groups
from tiny_rcar import TEXT_SIZES, rcar_config
from toy_pairs import REGION_SIZE, toy_pairs

BARE = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
BARE |= {"use_cpu": True, "disable_tqdm": True, "plot_divisions": False, "report_to": "none"}


def make_trainer(
    out: Any,
    text: bool = True,
    text_training: str = "full",
    text_layers: int = 0,
    **options: Any,
) -> RobustTrainer:
    """NCR over two tiny BERTs of three layers, or over words; one step an epoch."""
    set_seed(0)
    words = [caption for row in toy_pairs()["captions"] for caption in row]
    processor = NcrProcessor(RegionFeatureProcessor(REGION_SIZE), train_word_tokenizer(words))
    size = len(processor.tokenizer)
    sizes = {"vocab_size": size, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    bert = BertConfig(**TEXT_SIZES | {"num_hidden_layers": 3} | sizes)
    texts: dict[str, Any] = {"text_config": bert, "text_training": text_training}
    texts["text_layers"] = text_layers
    config = NcrConfig(
        region_size=REGION_SIZE,
        hidden_size=8,
        objective="infonce",
        similarity="cosine",
        **texts if text else {"vocab_size": size, "word_size": 8},
    )
    arguments = BARE | {"num_train_epochs": 2, "warmup_epochs": 1, "per_device_train_batch_size": 8}
    return RobustTrainer(
        NcrModel(config),
        RobustTrainingArguments(output_dir=str(out), **arguments | options),
        Ncr(),
        toy_pairs(8, captions_per_image=1),
        processing_class=processor,
    )


def by_parameter(trainer: RobustTrainer) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter in the optimizer."""
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in trainer.create_optimizer().param_groups
        for parameter in group["params"]
    }


def test_every_parameter_has_the_rate_of_its_layer_and_keeps_its_weight_decay(tmp_path):
    rates = {"learning_rate": 1e-2, "encoder_learning_rate": 1e-3, "layer_decay": 0.5}
    trainer = make_trainer(tmp_path, weight_decay=0.1, **rates)
    decayed = set(trainer.get_decay_parameter_names(trainer.model))
    found = by_parameter(trainer)
    assert set(found) == {name for name, _ in trainer.model.named_parameters()}
    for name, (rate, weight_decay) in found.items():
        expected = 1e-2
        if ".text_encoder.backbone." in name:
            expected = 1e-3
            for layer in range(3):
                if f".encoder.layer.{layer}." in name:
                    expected = 1e-3 * 0.5 ** (2 - layer)
            if ".embeddings." in name:
                expected = 1e-3 * 0.5**3
        assert rate == pytest.approx(expected), name
        assert weight_decay == (0.1 if name in decayed else 0.0), name
    assert len({weight_decay for _, weight_decay in found.values()}) == 2
    assert trainer.optimizer.param_groups[0]["lr"] == 1e-2, "what the Trainer logs"


def test_decay_alone_begins_at_the_learning_rate_and_frozen_weights_have_no_group(tmp_path):
    trainer = make_trainer(tmp_path, learning_rate=1e-2, layer_decay=0.5)
    trainer.model.peer_a.text_encoder.backbone.embeddings.requires_grad_(False)
    found = by_parameter(trainer)
    backbone = "peer_{}.text_encoder.backbone.{}.weight"
    assert found[backbone.format("a", "encoder.layer.2.output.dense")][0] == 1e-2
    assert found[backbone.format("b", "embeddings.LayerNorm")][0] == 1e-2 / 8
    assert backbone.format("a", "embeddings.LayerNorm") not in found


def test_with_the_defaults_the_optimizer_is_that_of_transformers(tmp_path):
    trainer, same = (make_trainer(tmp_path, weight_decay=0.1) for _ in range(2))
    ours, theirs = trainer.create_optimizer(), Trainer.create_optimizer(same)
    assert repr(ours) == repr(theirs)
    for mine, other in zip(ours.param_groups, theirs.param_groups, strict=True):
        assert [p.shape for p in mine["params"]] == [p.shape for p in other["params"]]
        assert mine.keys() == other.keys()


def test_rates_follow_the_schedule_and_are_logged_and_a_resumed_run_has_them(tmp_path):
    options = {"encoder_learning_rate": 1e-3, "layer_decay": 0.5, "lr_scheduler_type": "linear"}
    options |= {"logging_strategy": "steps", "logging_steps": 1, "save_strategy": "epoch"}
    trainer = make_trainer(tmp_path / "whole", learning_rate=1e-2, **options)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "encoder_learning_rate" in row]
    names = ("learning_rate", "encoder_learning_rate", "lowest_learning_rate")
    logged = np.array([[row[name] for name in names] for row in rows])  # (n_steps, 3)
    assert len(logged) == 2
    assert np.allclose(logged[:, :1] * [1, 0.1, 0.1 / 8], logged)
    assert (logged[0] > logged[-1]).all()

    resumed = make_trainer(tmp_path / "whole", learning_rate=1e-2, **options)
    resumed.train(str(tmp_path / "whole/checkpoint-1"))
    weights = resumed.model.state_dict()
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, weights[name]), name

    other = make_trainer(tmp_path / "whole", learning_rate=1e-2, **options | {"layer_decay": 0.9})
    with pytest.raises(ValueError, match=r"`layer_decay` is 0\.9 and was 0\.5"):
        other.train(True)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (False, {"encoder_learning_rate": 1e-5}, "`encoder_learning_rate` is 1e-05: .* none is"),
        (False, {"layer_decay": 0.8}, r"`layer_decay` is 0\.8: .* none is trained"),
        (True, {"layer_decay": 1.5}, r"`layer_decay` is 1\.5: give a number in \(0, 1\]"),
        (True, {"encoder_learning_rate": -1.0}, r"`encoder_learning_rate` is -1\.0: give"),
        (True, {"layer_decay": 0.8, "optim": "lomo"}, "the optimizer lomo has one rate"),
        (False, {"gradient_checkpointing": True}, "`gradient_checkpointing` is True: .* none is"),
        (
            True,
            {
                "gradient_checkpointing": True,
                "gradient_checkpointing_kwargs": {"use_reentrant": True},
            },
            "has `use_reentrant` True: .* no gradients",
        ),
    ],
)
def test_options_of_encoders_without_effect_are_refused(text, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_trainer(tmp_path, text, **options)


def test_a_model_of_classes_with_vectors_has_no_encoder(tmp_path):
    with pytest.raises(ValueError, match="it is for the pretrained encoders of a model"):
        make_label_trainer("ce", tmp_path, encoder_learning_rate=1e-5)


def test_recomputed_activations_give_the_same_training(tmp_path):
    options = {"max_steps": 1, "warmup_epochs": 0, "robust": False, "learning_rate": 1e-2}
    trained = []
    for checkpointing in (False, True):
        trainer = make_trainer(tmp_path, gradient_checkpointing=checkpointing, **options)
        assert trainer.args.ddp_find_unused_parameters is (checkpointing or None)
        counts = count_passes(trainer.model)
        trainer.train()
        trained.append(trainer.model.state_dict())
        assert counts == [1 + checkpointing] * len(counts), "a layer runs again in the backward"
    for name, weight in trained[0].items():
        assert torch.equal(weight, trained[1][name]), name


def count_passes(model: torch.nn.Module) -> list[int]:
    """Numbers that count the forward passes of each BERT layer's attention, in training."""
    layers = [part for name, part in model.named_modules() if name.endswith("attention.self")]
    counts = [0] * len(layers)

    def hook(number: int) -> Any:
        def add(*_: Any) -> None:
            counts[number] += 1

        return add

    for number, layer in enumerate(layers):
        layer.register_forward_hook(hook(number))
    return counts


def test_a_stream_from_text_has_the_rate_of_encoders(tmp_path):
    config = rcar_config(
        {"num_hidden_layers": 3}, stream_start="text", hidden_size=12, intermediate_size=8
    )
    args = RcarTrainingArguments(str(tmp_path), encoder_learning_rate=1e-5, use_cpu=True)
    model = RcarModel(config)
    groups = parameter_groups(model, args, [])
    rates = {id(part): group["lr"] for group in groups for part in group["params"]}
    by_name = {name: rates[id(part)] for name, part in model.named_parameters()}
    slow = {name for name, rate in by_name.items() if rate == 1e-5}
    assert slow == {name for name in by_name if name.startswith(("encoder.", "text_encoder."))}


def test_recomputed_activations_of_rcar_give_the_same_gradients():
    torch.manual_seed(0)
    config = rcar_config({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    config.hidden_dropout = config.attention_dropout = 0.0
    model = RcarModel(config).train()
    inputs = {"input_ids": torch.randint(4, 16, (3, 5)), "regions": torch.randn(3, 2, 4)}
    gradients = []
    for enable in (False, True):
        if enable:
            model.activation_checkpointing_enable()
        model.zero_grad()
        model(**inputs).logits_per_image.square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 10
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_resumed_training_of_adapters_ends_as_a_whole_one_with_plain_weights(tmp_path):
    options = {"text_training": "lora", "save_strategy": "epoch", "learning_rate": 1e-2}
    whole = make_trainer(tmp_path / "run", **options)
    start = {name: weight.clone() for name, weight in whole.model.state_dict().items()}
    whole.train()
    resumed = make_trainer(tmp_path / "run", **options)
    resumed.train(str(tmp_path / "run/checkpoint-1"))
    last = type(whole.model).from_pretrained(whole.last_checkpoint())
    others = [model.state_dict() for model in (resumed.model, last)]
    for name, weight in whole.model.state_dict().items():
        assert all(torch.equal(weight, other[name]) for other in others), name
        is_fixed = ".backbone." in name and ".lora_" not in name
        assert torch.equal(weight, start[name]) or not is_fixed, name
        assert not torch.equal(weight, start[name]) or ".lora_B" not in name, name

    whole.save_model(str(tmp_path / "saved"))
    saved = NcrModel.from_pretrained(tmp_path / "saved")
    assert saved.config.text_training == "full"
    assert not any(".lora_" in name for name in saved.state_dict())
    inputs = {"input_ids": torch.arange(10).view(2, 5)}
    with torch.no_grad():
        outputs = [model.eval().get_text_features(**inputs) for model in (whole.model, saved)]
    assert torch.allclose(*outputs, atol=1e-5)


def test_adapters_have_the_rates_of_their_layers(tmp_path):
    rates = {"learning_rate": 1e-2, "encoder_learning_rate": 1e-3, "layer_decay": 0.5}
    found = by_parameter(make_trainer(tmp_path, text_training="lora", **rates))
    query = "peer_b.text_encoder.backbone.encoder.layer.{}.attention.self.query.lora_A.default"
    layers = [found[f"{query.format(layer)}.weight"][0] for layer in range(3)]
    assert layers == [0.25e-3, 0.5e-3, 1e-3]


def test_last_layers_have_their_rates_and_a_resumed_training_ends_as_a_whole_one(tmp_path):
    options = {"text_training": "frozen", "text_layers": 2, "save_strategy": "epoch"}
    rates = {"learning_rate": 1e-2, "encoder_learning_rate": 1e-3, "layer_decay": 0.5}
    whole = make_trainer(tmp_path / "run", **options, **rates)
    found = by_parameter(whole)
    output = "peer_{}.text_encoder.top.layers.{}.attention_output.weight"
    for peer in "ab":
        assert found[output.format(peer, 1)][0] == pytest.approx(1e-3)
        assert found[output.format(peer, 0)][0] == pytest.approx(0.5e-3)
    assert not any(".backbone." in name for name in found)
    start = {name: weight.clone() for name, weight in whole.model.state_dict().items()}
    whole.train()
    resumed = make_trainer(tmp_path / "run", **options, **rates)
    resumed.train(str(tmp_path / "run/checkpoint-1"))
    whole.save_model(str(tmp_path / "saved"))
    saved = NcrModel.from_pretrained(tmp_path / "saved")
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
        assert torch.equal(weight, saved.state_dict()[name]), name
        assert torch.equal(weight, start[name]) == (".backbone." in name), name
    peer_a, peer_b = saved.peers
    assert peer_a.text_encoder.backbone is peer_b.text_encoder.backbone
    tops = [peer.text_encoder.top.layers[1].attention_output.weight for peer in saved.peers]
    assert not torch.equal(*tops)
