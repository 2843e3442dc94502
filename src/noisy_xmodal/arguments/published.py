"""The recipes that papers and their published code train by, as data.

`--recipe paper` of a training script takes the first dataset of the method, and `--recipe
paper-coco` the one that it names. A recipe is a dict of options of that script; an option that it
leaves out has its default. `python -m noisy_xmodal.arguments.published` prints the tables of
`examples/README.md`.

Sources: VSE++ (github.com/fartashf/vsepp), SCAN (github.com/kuanghuei/SCAN), SAF and SGR
(github.com/Paranioar/SGRAF), IMRAM (github.com/HuiChen24/IMRAM), VSRN
(github.com/KunpengLi1994/VSRN), TERAN (github.com/mesnico/TERAN), NCR
(github.com/XLearning-SCU/2021-NeurIPS-NCR), RCL (github.com/penghu-cs/RCL), DECL and CRCL
(github.com/QinYang79), GSC (github.com/MediaBrain-SJTU/GSC), CREAM
(github.com/XLearning-SCU/2024-TIP-CREAM), BiCro (github.com/xu5zhao/BiCro), L2RM
(github.com/hhc1997/L2RM) and SPS (github.com/C-TeaRanger/SPS) by the commands of their repositories
and the defaults of their code; RCAR, DMCM and the fine-tuned CLIP of NCR's Table 3 by the text of
the papers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Options = dict[str, Any]

#: Titles of the datasets, by the name in a recipe.
DATASETS = {
    "flickr30k": "Flickr30K",
    "coco": "MS-COCO",
    "cc152k": "CC152K",
    "wikipedia": "Wikipedia",
    "pascal": "Pascal Sentence",
    "xmedianet": "XMediaNet",
}


def _schedule(epochs: int, decay: int, warmup: int = 0, rate: float = 2e-4) -> Options:
    """Epochs after the warm-up, and the one of them from which the rate is a tenth."""
    return {
        "num_train_epochs": float(warmup + epochs),
        "warmup_epochs": warmup,
        "learning_rate": rate,
        "lr_scheduler_type": "constant",
        "lr_decay_epoch": warmup + decay,
    }


def _each(network: Options, schedules: Mapping[str, Options]) -> dict[str, Options]:
    return {dataset: network | schedule for dataset, schedule in schedules.items()}


_PAIRS: Options = {
    "per_device_train_batch_size": 128,
    "sum_losses": True,
    "word_encoder": "bigru",
    "word_size": 300,
    "hidden_size": 1024,
    "min_word_frequency": 4,
}
_SGR = _PAIRS | {"similarity": "sgr", "similarity_options": '{"num_regions": 36}'}
_SAF = _SGR | {"similarity": "saf"}
_SCAN = _PAIRS | {"similarity": "scan_t2i", "dropout": 0.0}
_SCAN_I2T = _SCAN | {"similarity": "scan_i2t"}
_AVG = {"similarity_options": '{"aggregation": "mean"}'}
_VSE = _PAIRS | {
    "similarity": "cosine",
    "similarity_options": '{"text_pooling": "last"}',
    "normalize_tokens": False,
    "dropout": 0.0,
    "word_encoder": "gru",
    "vision_training": "frozen",
}
_IMRAM = _PAIRS | {"similarity": "imram", "dropout": 0.0}
_VSRN = _PAIRS | {
    "similarity": "vsrn",
    "normalize_tokens": False,
    "dropout": 0.0,
    "word_encoder": "gru",
    "hidden_size": 2048,
    "captioner_size": 512,
}
_TERAN: Options = {
    "sum_losses": True,
    "similarity": "teran",
    "similarity_options": '{"skip_last": 2}',
    "normalize_tokens": False,
    "dropout": 0.0,
    "region_layers": 4,
    "box_geometry": "5d",
    "text_training": "full",
    "hidden_size": 1024,
}
_VSE_SUM = _VSE | {"method_options": '{"objective": "sum_triplet"}'}

_OF_SGR = {"flickr30k": _schedule(40, 30), "coco": _schedule(20, 10)}
_OF_SAF = {"flickr30k": _schedule(30, 20), "coco": _schedule(20, 10)}
_OF_VSE = {"flickr30k": _schedule(30, 15), "coco": _schedule(30, 15)}
_OF_SCAN = {"flickr30k": _schedule(30, 15), "coco": _schedule(20, 10, rate=5e-4)}
_OF_NCR = {
    "flickr30k": _schedule(40, 30, warmup=5),
    "coco": _schedule(20, 10, warmup=10),
    "cc152k": _schedule(40, 30, warmup=10),
}

# Methods after NCR, whose losses are means.
_LATER = _SGR | {"sum_losses": False, "method_options": "{}"}
_OF_RCL = {"flickr30k": _schedule(30, 15), "coco": _schedule(20, 10, rate=5e-4)}
_OF_DECL = {
    "flickr30k": _schedule(40, 20, warmup=5),
    "coco": _schedule(20, 10, warmup=5, rate=5e-4),
    "cc152k": _schedule(40, 20, warmup=5),
}
_OF_CRCL = {
    "num_train_epochs": 3 * 7 + 32.0,
    "warmup_epochs": 2,
    "learning_rate": 5e-4,
    "lr_scheduler_type": "constant",
    "lr_decay_epoch": 15,
    "weight_decay": 0.01,
}
_OF_CREAM = {"flickr30k": _schedule(40, 10, warmup=5), "coco": _schedule(20, 10, warmup=5)}
_OF_L2RM = {
    "flickr30k": _schedule(35, 15, warmup=5),
    "coco": _schedule(20, 10, warmup=10) | {"method_options": '{"entropy": 0.07}'},
    "cc152k": _schedule(40, 20, warmup=10) | {"method_options": '{"entropy": 0.07}'},
}

_CLIP: Options = {
    "backbone_name_or_path": "clip-vit-b32",
    "per_device_train_batch_size": 128,
    "num_train_epochs": 32.0,
    "warmup_epochs": 0,
    "learning_rate": 1e-5,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 100,
}

_RCAR: Options = {
    "per_device_train_batch_size": 64,
    "num_train_epochs": 30.0,
    "mlm_epochs": 10,
    "warmup_epochs": 7,
    "learning_rate": 3e-5,
    "lr_scheduler_type": "cosine",
    "hidden_size": 768,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "negatives_per_positive": 1,
}


def _labels(epochs: int, batch: int) -> Options:
    return {
        "num_train_epochs": float(epochs),
        "per_device_train_batch_size": batch,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "cosine",
        "feature_scaling": "none",
    }


def _dmcm(epochs: int, batch: int, warmup: int, beta: float) -> Options:
    own = {"warmup_epochs": warmup, "beta": beta, "noise_rate": "known"}
    return _labels(epochs, batch) | own


_OF_DMCM = {
    "wikipedia": _dmcm(100, 100, 3, 0.85),
    "pascal": _dmcm(150, 100, 5, 0.7),
    "xmedianet": _dmcm(250, 200, 3, 0.3),
}

_DCCA: Options = {
    "num_train_epochs": 100.0,
    "per_device_train_batch_size": 800,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
}

#: Recipes by the name of a method and of a dataset; the first dataset is that of `paper`.
PUBLISHED: dict[str, dict[str, Options]] = {
    "ncr": _each(_SGR | {"objective": "triplet"}, _OF_NCR),
    "plain": _each(_SGR, _OF_SGR),
    "vse": _each(_VSE_SUM, _OF_VSE),
    "vse++": _each(_VSE, _OF_VSE),
    "clip": {"coco": _CLIP, "flickr30k": _CLIP},
    "scan": _each(_SCAN, _OF_SCAN),
    "scan-t2i-avg": _each(_SCAN | _AVG, _OF_SCAN),
    "scan-i2t-lse": {
        "flickr30k": _SCAN_I2T | _OF_SCAN["flickr30k"],
        "coco": _SCAN_I2T | _OF_SCAN["coco"] | {"similarity_options": '{"lambda_lse": 20}'},
    },
    "scan-i2t-avg": _each(_SCAN_I2T | _AVG, _OF_SCAN),
    "saf": _each(_SAF, _OF_SAF),
    "imram": {
        "flickr30k": _IMRAM
        | _OF_SCAN["flickr30k"]
        | {"similarity_options": '{"directions": "image", "steps": 1}'},
        "coco": _IMRAM
        | _OF_SCAN["coco"]
        | {"similarity_options": '{"directions": "text", "lambda_softmax": 11}'},
    },
    "vsrn": {
        "flickr30k": _VSRN | _schedule(30, 10) | {"similarity_options": '{"batch_norm": true}'},
        "coco": _VSRN | _schedule(30, 15),
    },
    "teran": {
        "flickr30k": _TERAN | _schedule(30, 20, rate=1e-5) | {"per_device_train_batch_size": 30},
        "coco": _TERAN | _schedule(30, 20, rate=1e-5) | {"per_device_train_batch_size": 40},
    },
    "sgr": _each(_SGR, _OF_SGR),
    "sgr*": _each(_SGR, _OF_NCR),
    "sgr-c": _each(_SGR, {name: _OF_NCR[name] for name in ("flickr30k", "coco")}),
    "rcl": _each(_LATER, _OF_RCL),
    "decl": _each(_LATER, _OF_DECL),
    "crcl": _each(_LATER, {"flickr30k": _OF_CRCL}),
    "gsc": _each(_LATER, {"flickr30k": _schedule(59, 14, warmup=1)}),
    "cream": _each(_LATER, _OF_CREAM),
    "bicro": _each(_LATER | {"sum_losses": True}, {"flickr30k": _schedule(40, 30, warmup=10)}),
    "l2rm": _each(_LATER | {"sum_losses": True}, _OF_L2RM),
    "sps": _each(_LATER, {"flickr30k": _schedule(40, 10, warmup=5)}),
    "rcar": {"flickr30k": _RCAR, "coco": _RCAR},
    "dmcm": _OF_DMCM,
    "mrl": {"wikipedia": _labels(100, 100)},
    "mrl_warmup": {"wikipedia": _labels(100, 100) | {"warmup_epochs": 3}},
    "lcn": {"wikipedia": _labels(100, 100)},
    "ce": {"wikipedia": _labels(100, 100)},
    "sdml": {"wikipedia": _labels(200, 100)},
    "dscmr": {"wikipedia": _labels(500, 100)},
    "dcca": {"wikipedia": _DCCA},
    "dccae": {"wikipedia": _DCCA},
}

_ONE_DECAY = "The rate falls once. The code lowers it again after as many epochs."

#: What still differs from the published code, and why, by method or script.
DEPARTURES: dict[str, tuple[str, ...]] = {
    "train_ncr.py": (
        "The other captions of an image, and repeated captions, are no negatives of it: they are "
        "right. The published losses push them away.",
        "Words are split by the tokenizer of this library, not by NLTK, and the vocabulary is that "
        "of the training captions, not of training and validation: nothing else is read of the "
        "validation split.",
        "With pictures, or another number of regions than 36, a layer norm takes the place of the "
        "batch norm over region positions, which needs the same number in every image.",
        "All validation images choose the checkpoint. NCR's code takes the first 1,000 captions, "
        "which are those of 200 images.",
    ),
    "ncr": (
        "An epoch visits every pair once. The code stops with the last clean pair, so that an "
        "epoch is shorter the more pairs count as noisy; the paper does not say.",
        "Noisy pairs train from the first epoch after the warm-up, in the batch of the clean ones, "
        "as in Algorithm 1. The code trains them in the second half of the epochs, in steps of "
        "their own.",
        "Targets are rectified once an epoch, so that they are logged and saved. "
        "`--rectification batch` does it for every mini-batch, as the paper and the code.",
        "Targets are one for each pair, and both directions of the loss use the margin of the "
        "anchor's pair, as in Eq. 4 and 6. The code makes a matrix of targets, and takes the "
        "margin of the negative's pair in one direction.",
        "Eq. 5 averages the negatives before it clamps, as printed; the code clamps first. Where "
        "no pair beats its negatives the code divides 0 by 0; here nothing is predicted to match.",
        "Losses are computed over fixed chunks of pairs, so that they do not depend on a draw. The "
        "code draws the chunks anew.",
        "A pair is clean from a posterior of .5 on, as printed. The code asks for more than .5, "
        "and calls 1 % of the pairs noisy if none is.",
        "The joint space has 1,024 dimensions, as in the code; the paper says 2,048.",
    ),
    "vse": (
        "The vectors of images have unit length, too; the published code leaves their length.",
    ),
    "vse++": (
        "An image is the mean of its regions, or of the grid of a pretrained vision model, which "
        "is frozen: for a ResNet that is the pooled output. The published code also has runs that "
        "train the vision model and crop pictures at random.",
    ),
    "imram": (
        "The recipes are the two scripts of the code: Image-IMRAM with one step for Flickr30K, "
        "Text-IMRAM with three for COCO. `--similarity_options '{}'` is the Full-IMRAM of the "
        "paper, three steps in both directions.",
    ),
    "vsrn": (
        "The captioner writes up to the end token. The code's loss also has the padding after it.",
        "The published figures are those of two models whose scores are averaged.",
    ),
    "teran": (
        "The text encoder is a BERT only where `--text_model_name_or_path` names one; it is read "
        "whole, where the code takes the first 6 of BERT-base's 12 layers.",
        "The learning rate has no linear warm-up; the code warms up for 1,000 steps on Flickr30K.",
        "Data without a column of boxes train without boxes, and pictures without the layers over "
        "regions.",
    ),
    "clip": (
        "The epochs are those of NCR's Table 3, which gives neither a batch nor a rate; these are "
        "ours, small enough to keep what CLIP knows.",
    ),
    "sgr*": ("The epochs on all negatives are those of NCR's warm-up; the paper gives no number.",),
    "decl": ("`methods/decl.py` lists the differences.",),
    "crcl": (
        "The rate falls once, 15 epochs after the last restart; the code lowers it again at 30.",
        "`methods/crcl.py` lists the other differences.",
    ),
    "gsc": (_ONE_DECAY, "`methods/gsc.py` lists the other differences."),
    "cream": (_ONE_DECAY, "`methods/cream.py` lists the other differences."),
    "bicro": ("`methods/bicro.py` lists the differences.",),
    "l2rm": (_ONE_DECAY, "`methods/l2rm.py` lists the other differences."),
    "sps": (_ONE_DECAY, "`methods/sps.py` lists the other differences."),
    "rcar": (
        "There is no published code: `methods/rcar.py` lists what the paper leaves open.",
        "The text encoder is a BERT only where `--text_model_name_or_path` names one, because "
        "nothing is downloaded without being named.",
    ),
    "dmcm": (
        "The warm-up has the paper's 3 and 5 epochs; the code trains 2 and 4.",
        "One beta mixture of all pairs divides each epoch, as the text says; "
        "`--mixture_scope batch` divides each mini-batch, as the code.",
        "Texts are judged by the mixture of the texts; the code takes that of the images.",
        "The per-sample loss is the sum of both parts; in the code one part is a mean over the "
        "batch.",
        "The checkpoint is the best one on validation; the code takes the best one on test, which "
        "`curve.json` has too.",
    ),
    "lcn": ("LCN is as the authors of DMCM implemented it; its own code is not public.",),
    "ce": ("The schedule is that of MRL; no paper has this row.",),
    "sdml": ("The rate is 1e-4 for both sides; the code trains the second one at 2e-4.",),
    "dscmr": ("Pairs are shuffled; the code reads them in order.",),
    "dcca": ("The schedule is ours: DMCM's paper gives none.",),
}

_COLUMNS = {
    "num_train_epochs": "epochs",
    "warmup_epochs": "warm-up",
    "per_device_train_batch_size": "batch",
    "learning_rate": "learning rate",
    "lr_decay_epoch": "x .1 after",
}


class NoRecipeError(ValueError):
    """A method has no published recipe, or none for a dataset."""


def published_recipes(method: str) -> dict[str, Options]:
    """The published recipes of a method, by the name that `--recipe` takes.

    Args:
        method: A key of `PUBLISHED`; others have none.
    """
    named = {f"paper-{dataset}": options for dataset, options in PUBLISHED.get(method, {}).items()}
    return {"paper": next(iter(named.values())), **named} if named else {}


def recipe_options(small: Mapping[str, Any], method: str, recipe: str) -> Options:
    """The options that a recipe sets for a method.

    Args:
        small: The recipe `small`, which is for all methods of a script.
        method: Name of the method.
        recipe: Name of the recipe.

    Raises:
        NoRecipeError: If the method has no such recipe.
    """
    recipes = {"small": small, **published_recipes(method)}
    if recipe not in recipes:
        raise NoRecipeError(
            f"--recipe {recipe}: --method {method} has {', '.join(recipes)}. Take one of them and "
            "set further options."
        )
    return dict(recipes[recipe])


def markdown() -> str:
    """The tables of the recipes and of the departures, for `examples/README.md`."""
    schedules, others = [], []
    for method, recipes in PUBLISHED.items():
        is_alike = len({_further(options) for options in recipes.values()}) == 1
        for dataset, options in recipes.items():
            values = [_text(options.get(name, 0)) for name in _COLUMNS]
            row = (f"`paper-{dataset}`", *values, options["lr_scheduler_type"])
            schedules.append((f"`{method}`", *row))
            label = f"`{method}`" if is_alike else f"`{method}` {DATASETS[dataset]}"
            others.append((label, _further(options)))
    differences = [(f"`{name}`", text) for name, texts in DEPARTURES.items() for text in texts]
    return "\n\n".join(
        [
            _table(("`--method`", "`--recipe`", *_COLUMNS.values(), "schedule"), schedules),
            _table(("`--method`", "further options"), others),
            "What still differs from the published code, and why:",
            _table(("`--method`", "difference"), differences),
        ]
    )


def _further(options: Options) -> str:
    """The options that have no column of their own."""
    names = [name for name in options if name not in (*_COLUMNS, "lr_scheduler_type")]
    return ", ".join(f"`{name}` {_text(options[name])}" for name in names)


def _text(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else f"`{value}`"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table; rows that differ by their first cell alone are one."""
    labels: dict[tuple[str, ...], list[str]] = {}
    for label, *row in rows:
        labels.setdefault(tuple(row), []).append(label)
    merged = [(", ".join(dict.fromkeys(names)), *row) for row, names in labels.items()]
    cells = [head, ("---",) * len(head), *merged]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


if __name__ == "__main__":
    print(markdown())
