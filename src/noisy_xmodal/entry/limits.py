"""Tables with the limits of the options of commands and scripts.

A command fails in its first run if one of its options is missing here.
"""

from .options import Limits

_ALWAYS = Limits()
_COUNT = Limits(least=1)
#: Seeds that numpy, torch and Python accept.
_SEED = Limits(least=0, most=2**32 - 1)
_MODEL = "model_name_or_path"  # with a trained judge nothing is trained
_COLUMNS = ("image_column", "caption_column", "id_column")

AUDIT = {
    "dataset_name": _ALWAYS,
    "dataset_config_name": _ALWAYS,
    "split": _ALWAYS,
    **dict.fromkeys(_COLUMNS, _ALWAYS),
    "inject_noise": _ALWAYS,
    "noise_seed": Limits(needs=("inject_noise",), least=0, most=2**32 - 1),
    "model_name_or_path": _ALWAYS,
    "vision_model_name_or_path": Limits(excludes=(_MODEL,)),
    "output": _ALWAYS,
    "clean": _ALWAYS,
    "clean_weights": Limits(needs=("clean",)),
    "force_clean": Limits(needs=("clean",), excludes=("clean_weights",)),
    "clean_threshold": Limits(needs=("clean",), excludes=("clean_weights",), least=0, most=1),
    "folds": Limits(excludes=(_MODEL,), least=2),
    "rounds": Limits(excludes=(_MODEL,), least=1),
    "epochs": Limits(excludes=(_MODEL,), least=1),
    "max_seq_length": Limits(excludes=(_MODEL,), least=3),
    "seed": _SEED,
    "shown": _COUNT,
    "device": _ALWAYS,
    "keep_work": _ALWAYS,
    "disable_tqdm": _ALWAYS,
    "json": _ALWAYS,
}

SEARCH = {
    "model_name_or_path": _ALWAYS,
    "dataset_name": _ALWAYS,
    "query": _ALWAYS,
    "dataset_config_name": _ALWAYS,
    "split": _ALWAYS,
    **dict.fromkeys(_COLUMNS, _ALWAYS),
    "top_k": _COUNT,
    "direction": Limits(one_of=("auto", "text_to_image", "image_to_text")),
    "reranker": _ALWAYS,
    "shortlist": Limits(needs=("reranker",), least=1),
    "output": _ALWAYS,
    "device": _ALWAYS,
    "json": _ALWAYS,
}

_OF_A_DATASET = Limits(needs=("dataset_name",))
EVALUATE = {
    "model_name_or_path": _ALWAYS,
    "dataset_name": _ALWAYS,
    "dataset_config_name": _ALWAYS,
    "split": _ALWAYS,
    **dict.fromkeys(_COLUMNS, _OF_A_DATASET),
    "text_column": _OF_A_DATASET,
    "label_column": _OF_A_DATASET,
    "image_label_column": _OF_A_DATASET,
    "text_label_column": _OF_A_DATASET,
    "results_file": _ALWAYS,
    "precision_recall_file": _ALWAYS,
    "block_size": _COUNT,
    "shortlist_model_name_or_path": _ALWAYS,
    "shortlist_size": Limits(needs=("shortlist_model_name_or_path",), least=1),
    "fold_size": Limits(excludes=("shortlist_model_name_or_path",), least=1),
    "device": _ALWAYS,
}

COMPARE = {"runs": _ALWAYS, "output": _ALWAYS}

DRAW = {
    "output_dir": _ALWAYS,
    "n_pictures": Limits(least=8),
    "wrong_share": Limits(least=0, most=1),
    "seed": _SEED,
}

#: All options of the scripts in dataset_scripts/; each script has some of them.
WRITE = {
    "out": _ALWAYS,
    "configs": _ALWAYS,
    "seed": _SEED,
    "overwrite": _ALWAYS,
    "push_to_hub": _ALWAYS,
    "private": Limits(needs=("push_to_hub",)),
    "compact": Limits(excludes=("push_to_hub",)),
    "noise_index": _ALWAYS,
    "objects_from": _ALWAYS,
    "on_bad_image": Limits(one_of=("error", "skip")),
    "data_dir": _ALWAYS,
    "source": _ALWAYS,
    "source_config": _ALWAYS,
    **dict.fromkeys(_COLUMNS, _ALWAYS),
}
