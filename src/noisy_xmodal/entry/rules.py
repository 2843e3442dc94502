"""The table of the options of commands and scripts: what each needs, and what silences it.

An option of a command that is missing here is an error in its first run.
"""

from .options import Rule

_ALWAYS = Rule()
_COUNT = Rule(least=1)
#: What numpy, torch and Python all take.
_SEED = Rule(least=0, most=2**32 - 1)
_TRAINS = "model_name_or_path"  # a model that judges is trained no more
_COLUMNS = ("image_column", "caption_column", "id_column")

AUDIT = {
    "dataset_name": _ALWAYS,
    "dataset_config_name": _ALWAYS,
    "split": _ALWAYS,
    **dict.fromkeys(_COLUMNS, _ALWAYS),
    "inject_noise": _ALWAYS,
    "noise_seed": Rule(needs=("inject_noise",), least=0, most=2**32 - 1),
    "model_name_or_path": _ALWAYS,
    "vision_model_name_or_path": Rule(excludes=(_TRAINS,)),
    "output": _ALWAYS,
    "clean": _ALWAYS,
    "clean_weights": Rule(needs=("clean",)),
    "force_clean": Rule(needs=("clean",), excludes=("clean_weights",)),
    "clean_threshold": Rule(needs=("clean",), excludes=("clean_weights",), least=0, most=1),
    "folds": Rule(excludes=(_TRAINS,), least=2),
    "rounds": Rule(excludes=(_TRAINS,), least=1),
    "epochs": Rule(excludes=(_TRAINS,), least=1),
    "max_seq_length": Rule(excludes=(_TRAINS,), least=3),
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
    "direction": Rule(one_of=("auto", "text_to_image", "image_to_text")),
    "reranker": _ALWAYS,
    "shortlist": Rule(needs=("reranker",), least=1),
    "index": Rule(one_of=("auto", "exact", "ivf", "hnsw")),
    "output": _ALWAYS,
    "device": _ALWAYS,
    "json": _ALWAYS,
}

_OF_A_DATASET = Rule(needs=("dataset_name",))
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
    "shortlist_size": Rule(needs=("shortlist_model_name_or_path",), least=1),
    "fold_size": Rule(excludes=("shortlist_model_name_or_path",), least=1),
    "device": _ALWAYS,
}

COMPARE = {"runs": _ALWAYS, "output": _ALWAYS}

DRAW = {
    "output_dir": _ALWAYS,
    "n_pictures": Rule(least=8),
    "wrong_share": Rule(least=0, most=1),
    "seed": _SEED,
}

#: Of all scripts in dataset_scripts/; each has some of them.
WRITE = {
    "out": _ALWAYS,
    "configs": _ALWAYS,
    "seed": _SEED,
    "overwrite": _ALWAYS,
    "push_to_hub": _ALWAYS,
    "private": Rule(needs=("push_to_hub",)),
    "compact": Rule(excludes=("push_to_hub",)),
    "noise_index": _ALWAYS,
    "objects_from": _ALWAYS,
    "on_bad_image": Rule(one_of=("error", "skip")),
    "data_dir": _ALWAYS,
    "source": _ALWAYS,
    "source_config": _ALWAYS,
    **dict.fromkeys(_COLUMNS, _ALWAYS),
}
