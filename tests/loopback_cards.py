"""The Hub's rules for the metadata on top of a README, as far as `loopback_hub` knows them.

Messages are worded as the Hub words them. Fields that are not named here may hold anything.
"""

import re
from typing import Any

import yaml

LICENSES = (
    *("apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m"),
    *("bsd", "bsd-2-clause", "bsd-3-clause", "cc", "cc0-1.0", "cc-by-3.0", "cc-by-4.0"),
    *("cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0"),
    *("gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "odc-by", "odbl", "unlicense"),
    *("unknown", "other"),
)
LISTS, STRINGS_OR_LISTS = ("tags",), ("datasets", "language", "metrics", "base_model")
LANGUAGE = "[a-z]{2,3}|code|multilingual"
NO_METADATA = "empty or missing yaml metadata in repo card"


def metadata(card: str) -> Any:
    """The YAML between the first line of dashes and the next; None without them."""
    block = re.match(r"\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", card, re.DOTALL)
    return None if block is None else yaml.safe_load(block[1])


def complaints(card: str) -> list[str]:
    """What the Hub would refuse about a README, one message for each fault."""
    try:
        data = metadata(card)
    except yaml.YAMLError as error:
        return [f"Invalid YAML: {error}"]
    if data is None:
        return []
    if not isinstance(data, dict):
        return ['"value" must be of type object']
    found = []
    for key in (*LISTS, *STRINGS_OR_LISTS):
        if key in data and not (key in STRINGS_OR_LISTS and isinstance(data[key], str)):
            found += _texts(key, data[key])
    licenses, languages = _several(data.get("license", [])), _several(data.get("language", []))
    if not all(name in LICENSES for name in licenses):
        found.append(f'"license" must be one of [{", ".join(LICENSES)}, array]')
    for name in languages:
        if isinstance(name, str) and not re.fullmatch(LANGUAGE, name):
            found.append(
                f'"language" with value "{name}" is not valid. It must be an ISO 639-1, 639-2 or '
                '639-3 code (two/three letters), or a special value like "code", "multilingual"'
            )
    return found + (_index(data["model-index"]) if "model-index" in data else [])


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _texts(where: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        return [f'"{where}" must be an array']
    wrong = (k for k, item in enumerate(value) if not isinstance(item, str))
    return [f'"{where}[{k}]" must be a string' for k in wrong]


def _index(models: Any) -> list[str]:
    """Faults of a model-index: each result names its task, its dataset, and its metrics."""
    found = [] if isinstance(models, list) else ['"model-index" must be an array']
    for i, model in enumerate(() if found else models):
        here = f"model-index[{i}]"
        results, faults = _list(model, here, "results")
        found += faults
        for j, result in enumerate(results):
            spot = f"{here}.results[{j}]"
            for keys in (("task", "type"), ("dataset", "type"), ("dataset", "name")):
                found += _text(result, spot, *keys)
            metrics, faults = _list(result, spot, "metrics")
            found += faults
            for k, metric in enumerate(metrics):
                found += _text(metric, f"{spot}.metrics[{k}]", "type")
                if isinstance(metric, dict) and metric.get("value") is None:
                    found.append(f'"{spot}.metrics[{k}].value" is required')
    return list(dict.fromkeys(found))


def _list(node: Any, where: str, key: str) -> tuple[list[Any], list[str]]:
    if not isinstance(node, dict):
        return [], [f'"{where}" must be of type object']
    if node.get(key) is None:
        return [], [f'"{where}.{key}" is required']
    if not isinstance(node[key], list):
        return [], [f'"{where}.{key}" must be an array']
    return node[key], []


def _text(node: Any, where: str, *keys: str) -> list[str]:
    """The fault on the way to a string that must be there, if there is one."""
    for key in keys:
        if not isinstance(node, dict):
            return [f'"{where}" must be of type object']
        where, node = f"{where}.{key}", node.get(key)
        if node is None:
            return [f'"{where}" is required']
    return [] if isinstance(node, str) else [f'"{where}" must be a string']
