"""Train NCR, or another method over matching networks, on noisy image-text pairs.

    python examples/train_ncr.py --output_dir runs/ncr
    python examples/train_ncr.py --robust False --output_dir runs/plain
    python examples/train_ncr.py --method vse++ --output_dir runs/vse
    python examples/train_ncr.py --dataset_name photos/captions.csv --output_dir runs/mine
    accelerate launch examples/train_ncr.py --dataset_name DIR --dataset_config_name cmp_40 \
        --recipe paper --output_dir runs/ncr-f30k

Without a dataset it trains on OpenMoji pictures and their names, which need no download.
"""

import sys

from noisy_xmodal.arguments.matching import RECIPES, MatchingArguments
from noisy_xmodal.arguments.pairs import PairArguments
from noisy_xmodal.arguments.training import RobustOptions
from noisy_xmodal.entry.command_line import answer_early

OPTIONS = (PairArguments, MatchingArguments)

if __name__ == "__main__":  # before the imports that take seconds
    answer_early(*OPTIONS, training=RobustOptions, recipes=RECIPES)

from noisy_xmodal import MatchingConfig, RobustTrainer, RobustTrainingArguments
from noisy_xmodal.data import drop_noisy_pairs
from noisy_xmodal.evaluation.pair_features import has_pair_features
from noisy_xmodal.hub.pictures import draw_features
from noisy_xmodal.hub.run import begin_run, pair_results, publish_run, save_run
from noisy_xmodal.methods.building import methods_for
from noisy_xmodal.methods.from_options import (
    build_matching_model,
    build_pair_processor,
    check_encoders,
)
from noisy_xmodal.methods.pair_options import (
    append_read_boxes,
    fit_region_norm,
    settle_matching_options,
)
from noisy_xmodal.training import train_and_evaluate
from noisy_xmodal.training.curve import record_course
from noisy_xmodal.training.failures import explain_failures
from noisy_xmodal.training.run import command_line, print_retrieval_table, run_script
from noisy_xmodal.training.script import read_options
from noisy_xmodal.training.splits import load_training_pairs

KINDS = (*OPTIONS, RobustTrainingArguments)


def main(argv: list[str] | None = None) -> dict:
    """Train, evaluate the last and the best checkpoint, write everything to the output folder."""
    argv = sys.argv[1:] if argv is None else argv
    methods = methods_for(MatchingConfig)
    data, model_args, training, choice = read_options(argv, KINDS, RECIPES, methods)
    settle_matching_options(data, model_args, training, choice)
    begin_run(training)
    check_encoders(model_args)

    dataset = load_training_pairs(data)
    append_read_boxes(dataset, model_args, choice)
    method = choice.method()
    drops = data.drop_noisy_pairs or method.drops_noisy_pairs
    train = drop_noisy_pairs(dataset["train"]) if drops else dataset["train"]
    fit_region_norm(train, model_args, choice)
    processor = build_pair_processor(train, choice, data, model_args)
    model = build_matching_model(processor, choice, model_args)
    if model_args.draw_features and not has_pair_features(model):
        raise ValueError(
            f"--draw_features: --method {choice.name} with --similarity {model_args.similarity} "
            "has no vector for each pair. Train one network with cosine or scan, or leave it out."
        )
    trainer = RobustTrainer(
        model,
        training,
        method,
        train,
        eval_dataset=dataset["validation"],
        processing_class=processor,
    )

    names = [name for name in ("validation", "test") if name in dataset]
    splits = {name: trainer.as_samples(dataset[name], name) for name in names}
    if data.record_course:
        record_course(trainer, dataset)
    run = train_and_evaluate(trainer, splits, command_line("examples/train_ncr.py", argv))
    if not training.should_save:
        return {}
    results = run | pair_results(trainer, choice, data, dataset, drops)
    results["arguments"] = vars(model_args) | {"seed": training.seed}
    if method.n_networks > 1:
        results["best_single_networks"] = {
            split: [trainer.evaluator(peer, rows) for peer in trainer.model.peers]
            for split, rows in splits.items()
        }
    with explain_failures(training.output_dir):
        save_run(trainer, results)
        print_retrieval_table(results)
        if model_args.draw_features:
            draw_features(trainer)
        publish_run(trainer, results)
    return results


if __name__ == "__main__":
    run_script(main, *KINDS)
