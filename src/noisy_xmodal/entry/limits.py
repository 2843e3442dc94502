"""Tables with the limits of the options of commands and scripts; others have none."""

from .options import Limits

_COUNT = Limits(least=1)
#: Seeds that numpy, torch and Python accept.
_SEED = Limits(least=0, most=2**32 - 1)
_MODEL = "model_name_or_path"  # with a trained judge nothing is trained

AUDIT = {
    "noise_seed": Limits(needs=("inject_noise",), least=0, most=2**32 - 1),
    **dict.fromkeys(
        ("vision_model_name_or_path", "text_model_name_or_path"),
        Limits(excludes=(_MODEL, "encoder_name_or_path")),
    ),
    "encoder_name_or_path": Limits(excludes=(_MODEL,)),
    "clean_weights": Limits(needs=("clean",)),
    "clean_precision": Limits(
        needs=("clean",), excludes=("clean_weights", "clean_threshold"), least=0, most=1
    ),
    "drop": Limits(needs=("clean",), excludes=("clean_weights",)),
    "force_clean": Limits(needs=("clean",)),
    "clean_threshold": Limits(needs=("clean",), excludes=("clean_weights",), least=0, most=1),
    "folds": Limits(excludes=(_MODEL,), least=2),
    "rounds": Limits(excludes=(_MODEL,), least=1),
    "epochs": Limits(excludes=(_MODEL,), least=1),
    "batch_size": Limits(excludes=(_MODEL,), least=2),
    "learning_rate": Limits(excludes=(_MODEL,), least=0),
    "max_seq_length": Limits(excludes=(_MODEL,), least=3),
    "seed": _SEED,
    "shown": _COUNT,
    "sample": Limits(excludes=(_MODEL,), least=100),
}

REVIEW = {
    "order": Limits(one_of=("worst first", "most telling first", "random")),
    "among": _COUNT,
    "port": Limits(least=0, most=65535),
}

SEARCH = {
    "top_k": _COUNT,
    "direction": Limits(one_of=("auto", "text_to_image", "image_to_text")),
    "shortlist": Limits(needs=("reranker",), least=1),
}

EVALUATE = {
    **dict.fromkeys(
        (
            *("image_column", "caption_column", "id_column", "text_column", "label_column"),
            *("image_label_column", "text_label_column"),
        ),
        Limits(needs=("dataset_name",)),
    ),
    "block_size": _COUNT,
    "shortlist_size": Limits(needs=("shortlist_model_name_or_path",), least=1),
    "shortlist_weight": Limits(needs=("shortlist_model_name_or_path",), least=0),
    "fold_size": Limits(least=1),
}

DRAW = {
    "n_pictures": Limits(least=8),
    "wrong_share": Limits(least=0, most=1),
    "seed": _SEED,
}

MRL_VECTORS = {"text_size": _COUNT, "text_epochs": _COUNT, "seed": _SEED}

#: Options of the scripts in dataset_scripts/.
WRITE = {
    "seed": _SEED,
    "private": Limits(needs=("push_to_hub",)),
    "on_bad_image": Limits(one_of=("error", "skip")),
}
