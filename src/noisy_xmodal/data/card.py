"""The dataset card: YAML that `load_dataset` reads, and Markdown from a file in `cards/`.

A file of `cards/` starts with YAML: `title`, `summary`, `homepage`, `terms`, `citation`, the Hub's
`license` and `language`. Its body is a Jinja template with these placeholders:

| placeholder | content                                                                  |
|-------------|--------------------------------------------------------------------------|
| `splits`    | a line per split: sizes and notes                                        |
| `tables`    | how to load the dataset, the sizes of the splits, and the noise protocol |
| `citation`  | the citation                                                             |

and those of `NoisyPairsBuilder.card_values`.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..noise import NOISE_TYPES
from .columns import CAPTIONS, ORACLE_COLUMNS, TRUE_LABEL, DatasetError
from .protocol import NATURAL

CARDS = Path(__file__).parent / "cards"

_TAGS = ("image-text-retrieval", "noisy-correspondence")
_SOURCES = {"annotations": "annotations of the dataset", "captions": "the nouns of the captions"}


@cache
def read_card(name: str | Path) -> DatasetCard:
    """Reads a card file.

    Args:
        name: The name of a file in `cards/`, or the path of another card file.

    Raises:
        DatasetError: There is no such file.
    """
    path = CARDS / name
    if not path.is_file():
        raise DatasetError(f"There is no card file {path}: write it, or set CARD to another path.")
    return DatasetCard.load(path)


def render_card(
    name: str | Path,
    values: Mapping[str, Any],
    infos: Mapping[str, datasets.DatasetInfo],
    files: Mapping[str, list[dict[str, str]]],
    protocols: Mapping[str, Mapping[str, Any]],
) -> DatasetCard:
    """Renders the card of a Parquet folder.

    Args:
        name: The name of a file in `cards/`, or the path of another card file.
        values: The values of the placeholders, except `tables` and `citation`.
        infos: The info of each config, the default first; its description holds the noise protocol.
        files: The `data_files` of each config.
        protocols: The noise protocol of each config; empty for one without a train split.

    Returns:
        The card; save it as README.md.
    """
    facts, default = read_card(name).data, next(iter(infos))
    data = DatasetCardData(
        pretty_name=facts["title"],
        license=facts.get("license"),
        language=facts.get("language"),
        tags=list(_TAGS),
        task_categories=["image-to-text", "text-to-image"],
    )
    DatasetInfosDict(infos).to_dataset_card_data(data)
    _add_descriptions(data, infos)
    data["configs"] = [
        {"config_name": k, **({"default": True} if k == default else {}), "data_files": paths}
        for k, paths in files.items()
    ]
    tables = [_usage(default, infos[default].features), _split_table(infos[default])]
    tables.append(_protocol_table(protocols))
    environment = Environment(
        loader=FileSystemLoader(CARDS), undefined=StrictUndefined, trim_blocks=True
    )
    body = environment.from_string(read_card(name).text).render(
        **facts.to_dict(), **values, tables="\n\n".join(filter(None, tables))
    )
    return DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body.strip()}\n")


def _add_descriptions(data: DatasetCardData, infos: Mapping[str, datasets.DatasetInfo]) -> None:
    """Adds the descriptions, which `datasets` reads from the YAML but does not write there."""
    entries = data["dataset_info"]
    for entry in entries if isinstance(entries, list) else [entries]:
        name = entry.get("config_name", next(iter(infos)))
        entry["description"] = infos[name].description


def _usage(config: str, features: Mapping[str, Any]) -> str:
    lines = []
    if CAPTIONS in features:
        lines.append("A row is an image with its list of captions.")
    if TRUE_LABEL in features:
        lines.append(
            "`image_label` and `text_label` are the classes that image and text are given."
        )
    oracles = [f"`{name}`" for name in ORACLE_COLUMNS if name in features]
    if oracles:
        lines.append(
            f"{' and '.join(oracles)} is the oracle: for metrics and evaluation, "
            "never for training."
        )
    lines.append(
        "The noise protocol below is also the last line of `pairs[split].info.description`, and "
        "`noise_protocol.json`."
    )
    return (
        "## Use\n\n```python\nfrom datasets import load_dataset\n\n"
        f'pairs = load_dataset(PATH, "{config}")  # PATH: this folder, or this repository\n```\n\n'
        + " ".join(lines)
    )


def _split_table(info: datasets.DatasetInfo) -> str:
    lines = [f"| {name} | {split.num_examples:,} |" for name, split in info.splits.items()]
    return "\n".join(["## Splits", "", "| split | rows |", "|---|---|", *lines])


def _protocol_table(protocols: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [_protocol_line(name, p) for name, p in protocols.items() if p]
    if not lines:
        return ""
    return "\n".join(
        [
            "## Noise protocol",
            "",
            _explain(protocols),
            "",
            "| config | type | level | asked | really wrong | of | seed | index file | version |",
            "|---|---|---|---|---|---|---|---|---|",
            *lines,
        ]
    )


def _explain(protocols: Mapping[str, Mapping[str, Any]]) -> str:
    """Explains the noise types in the table."""
    kinds = {str(protocol["type"]) for protocol in protocols.values() if protocol}
    sentences = [
        "Only the train split is corrupted; evaluation splits are the same clean files in every "
        "config."
    ]
    if NATURAL in kinds:
        sentences = [
            "The pairs are as they were collected: some are wrong, in all splits, and nobody knows "
            "which. So there is no column `is_noisy`."
        ]
    for noise_type in (noise_type for kind, noise_type in NOISE_TYPES.items() if kind in kinds):
        title = noise_type.title
        sentences += noise_type.sentences or (f"{title[0].upper()}{title[1:]}.",)
        if "objects" in noise_type.needs:
            sets = sorted({str(p["objects"]) for p in protocols.values() if "objects" in p})
            names = ", ".join(_SOURCES.get(name, name) for name in sets)
            sentences.append(f"The sets come from: {names}.")
    return " ".join(dict.fromkeys(sentences))


def _protocol_line(name: str, protocol: Mapping[str, Any]) -> str:
    ratio, share, n_wrong = (protocol[key] for key in ("ratio", "share_wrong", "n_wrong"))
    unit = "labels" if "n_labels" in protocol else "pairs"
    n_all = f"{protocol[f'n_{unit}']:,} {unit}"
    n_same = protocol.get("n_same_text")
    n_all += f", {n_same:,} of them with a text of the new image" if n_same else ""
    cells = [
        f"`{name}`",
        protocol["type"],
        protocol["level"],
        "-" if ratio is None else f"{ratio:.1%}",
        "unknown" if share is None else f"{share:.2%}",
        f"unknown, of {n_all}" if n_wrong is None else f"{n_wrong:,} of {n_all}",
        "-" if protocol["seed"] is None else str(protocol["seed"]),
        protocol.get("noise_index", "-"),
        protocol["version"],
    ]
    return f"| {' | '.join(cells)} |"
