"""Train RCAR, or the same cross-encoder without parts of it, on noisy image-text pairs.

    python examples/train_rcar.py --output_dir runs/rcar
    python examples/train_rcar.py --robust False --mlm_epochs 0 --output_dir runs/itm
    python examples/train_rcar.py --dataset_config_name part_40 --objects_from tags \
        --output_dir runs/rcar-part
    python examples/train_rcar.py --dataset_name photos/captions.csv --output_dir runs/mine
    accelerate launch examples/train_rcar.py --dataset_name DIR --dataset_config_name cmp_40 \
        --recipe paper --text_model_name_or_path bert-base-uncased \
        --shortlist_model_name_or_path runs/ncr-f30k --output_dir runs/rcar-f30k

Without a dataset it trains on OpenMoji pictures and their names, which need no download. Scoring
all pairs of a split by joint passes is expensive: a two-tower model given by
--shortlist_model_name_or_path makes shortlists that RCAR puts in order.
"""

import sys

from noisy_xmodal.arguments.pairs import PairArguments
from noisy_xmodal.arguments.single_stream import RECIPES, ScoringArguments, SingleStreamArguments
from noisy_xmodal.arguments.training import RcarOptions
from noisy_xmodal.entry.command_line import answer_early

OPTIONS = (PairArguments, SingleStreamArguments, ScoringArguments)

if __name__ == "__main__":  # before the imports that take seconds
    answer_early(*OPTIONS, training=RcarOptions, recipes=RECIPES)

from noisy_xmodal import RcarConfig, RcarTrainingArguments, RobustTrainer
from noisy_xmodal.data import PairDataset, append_boxes, drop_noisy_pairs
from noisy_xmodal.evaluation.reranking import retrieval_evaluator
from noisy_xmodal.hub.pictures import draw_pairs
from noisy_xmodal.hub.run import begin_run, pair_results, publish_run, save_run
from noisy_xmodal.methods.building import methods_for
from noisy_xmodal.methods.from_options import (
    build_pair_processor,
    build_single_stream_model,
    check_encoders,
)
from noisy_xmodal.methods.pair_options import settle_stream_options
from noisy_xmodal.methods.similar_pairs import SimilarPairs
from noisy_xmodal.training import train_and_evaluate
from noisy_xmodal.training.curve import record_course
from noisy_xmodal.training.failures import explain_failures
from noisy_xmodal.training.run import command_line, print_retrieval_table, run_script
from noisy_xmodal.training.script import read_options
from noisy_xmodal.training.splits import load_training_pairs

KINDS = (*OPTIONS, RcarTrainingArguments)


def main(argv: list[str] | None = None) -> dict:
    """Train, evaluate the last and the best checkpoint, write everything to the output folder."""
    argv = sys.argv[1:] if argv is None else argv
    methods = methods_for(RcarConfig)
    data, model_args, scoring, training, choice = read_options(argv, KINDS, RECIPES, methods)
    settle_stream_options(data, model_args, scoring, training, choice)
    begin_run(training)
    check_encoders(model_args)

    dataset = load_training_pairs(data)
    if model_args.box_geometry != "none":
        for split, rows in dataset.items():
            dataset[split] = append_boxes(rows, split, model_args.box_column)
    method = choice.method()
    drops = data.drop_noisy_pairs or method.drops_noisy_pairs
    train = drop_noisy_pairs(dataset["train"]) if drops else dataset["train"]
    n_images = len(dataset["validation"])
    n_kept = min(scoring.validation_images or n_images, n_images)
    dataset["validation"] = dataset["validation"].select(range(n_kept))
    processor = build_pair_processor(train, choice, data, model_args)
    model = build_single_stream_model(processor, choice, model_args)
    evaluator = retrieval_evaluator(
        processor,
        scoring.shortlist_model_name_or_path,
        scoring.shortlist_size,
        training.score_block_size,
        scoring.shortlist_weight,
    )
    if model_args.negatives == "similar":
        retriever = evaluator.retriever, evaluator.retriever_processor
        method.similar = SimilarPairs.by_model(*retriever, PairDataset(train))
    trainer = RobustTrainer(
        model,
        training,
        method,
        train,
        eval_dataset=dataset["validation"],
        processing_class=processor,
        evaluator=evaluator,
    )

    names = [name for name in ("validation", "test") if name in dataset]
    splits = {name: trainer.as_samples(dataset[name], name) for name in names}
    if data.record_course:
        record_course(trainer, dataset)
    run = train_and_evaluate(trainer, splits, command_line("examples/train_rcar.py", argv))
    if not training.should_save:
        return {}
    results = run | pair_results(trainer, choice, data, dataset, drops)
    results |= {
        "task": "joint pairs",
        "mlm_epochs": training.mlm_epochs,
        "best_chosen_by": f"{n_kept} of {n_images} validation images",
        "arguments": vars(model_args) | vars(scoring) | {"seed": training.seed},
    }
    with explain_failures(training.output_dir):
        save_run(trainer, results)
        print_retrieval_table(results)
        draw_pairs(trainer, dataset[names[-1]])
        publish_run(trainer, results)
    return results


if __name__ == "__main__":
    run_script(main, *KINDS)
