"""Train DMCM, or a system that it compares with, on pairs whose class labels are partly wrong.

    python examples/train_dmcm.py --output_dir runs/dmcm
    python examples/train_dmcm.py --method mrl --output_dir runs/mrl
    python examples/train_dmcm.py --backbone_name_or_path imagenet+minilm --output_dir runs/vectors
    python examples/train_dmcm.py --dataset_name wikipedia --dataset_config_name sym_60 \
        --recipe paper --output_dir runs/dmcm-wikipedia
    python examples/train_dmcm.py --dataset_name photos.parquet --label_column kind \
        --backbone_name_or_path openai/clip-vit-base-patch32 --output_dir runs/photos

Without a dataset it trains on OpenMoji's nine categories, which need no download.
"""

import sys

from noisy_xmodal.arguments.labels import RECIPES, LabelDataArguments, LabelMethodArguments
from noisy_xmodal.arguments.training import LabelOptions
from noisy_xmodal.entry.command_line import answer_early

OPTIONS = (LabelDataArguments, LabelMethodArguments)

if __name__ == "__main__":  # before the imports that take seconds
    answer_early(*OPTIONS, training=LabelOptions, recipes=RECIPES, defaults={"warmup_epochs": 2})

from noisy_xmodal import LABEL_METHODS, LabelDataset, LabelTrainingArguments, RobustTrainer
from noisy_xmodal.hub.run import begin_run, label_results, publish_run, save_run
from noisy_xmodal.methods.building import build_label_model
from noisy_xmodal.methods.label_options import (
    build_label_processor,
    label_fields,
    load_label_backbone,
    settle_label_options,
)
from noisy_xmodal.training import CurveCallback, train_and_evaluate
from noisy_xmodal.training.failures import explain_failures
from noisy_xmodal.training.run import command_line, print_label_table, run_script
from noisy_xmodal.training.script import read_options
from noisy_xmodal.training.splits import load_training_labels

KINDS = (*OPTIONS, LabelTrainingArguments)


def main(argv: list[str] | None = None) -> dict:
    """Train, evaluate the last and the best checkpoint, write everything to the output folder."""
    argv = sys.argv[1:] if argv is None else argv
    data, method_args, training, choice = read_options(argv, KINDS, RECIPES, LABEL_METHODS)
    settle_label_options(method_args, training, choice)
    begin_run(training)

    backbone = load_label_backbone(method_args)
    processor = build_label_processor(choice, method_args)
    dataset = load_training_labels(data, reads_raw=backbone is not None)
    pairs = LabelDataset(dataset["train"])
    if "per_device_train_batch_size" in choice.method.recipe:
        training.per_device_train_batch_size = min(training.per_device_train_batch_size, len(pairs))
    fields = label_fields(choice, method_args, dataset["train"], backbone)
    model = build_label_model(choice.name, pairs, **fields)
    if backbone is not None:
        model.load_backbone(backbone)
    trainer = RobustTrainer(
        model,
        training,
        choice.method(),
        dataset["train"],
        eval_dataset=dataset["validation"],
        processing_class=processor,
    )

    names = [name for name in ("validation", "test") if name in dataset]
    splits = {name: trainer.as_samples(dataset[name], name) for name in names}
    watched = {"test": splits["test"]} if "test" in splits else {}
    trainer.add_callback(CurveCallback(trainer, watched))
    run = train_and_evaluate(trainer, splits, command_line("examples/train_dmcm.py", argv))
    if not training.should_save:
        return {}
    results = run | label_results(trainer, choice, data, dataset)
    results["arguments"] = vars(method_args) | {"seed": training.seed}
    with explain_failures(training.output_dir):
        save_run(trainer, results)
        print_label_table(results)
        publish_run(trainer, results)
    return results


if __name__ == "__main__":
    run_script(main, *KINDS)
