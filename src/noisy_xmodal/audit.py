"""Find the wrong pairs of a dataset: `audit(AuditOptions("photos/"))`.

The pairs are judged by a pretrained model, or by small models that are trained on the data and
judge only pairs that they were not trained on (`auditing/cross_fit.py`). The losses are compared
with those of random pairs, which are certainly wrong (`noise/random_pairs.py`).
"""

import platform
import shutil
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from .auditing.audit_pairs import prepare_pairs
from .auditing.cleaning import CleaningRefusedError, cleaning_problem, write_clean_dataset
from .auditing.contents import AuditContents
from .auditing.cross_fit import cross_fit, how_cross_fitted
from .auditing.duplicates import repeated_captions, similar_images
from .auditing.features import audit_features, vision_model_name
from .auditing.image_scan import ImageScan
from .auditing.judge import check_judge, describe_judge, judge_by_model, load_judge
from .auditing.judgement import Judgement
from .auditing.limitations import limitations
from .auditing.loading import AuditRows, load_rows
from .auditing.options import (
    THRESHOLD,
    AuditInterrupted,
    AuditOptions,
    check_outputs,
    work_folder,
)
from .auditing.report import write_report
from .auditing.report_examples import doubtful_pairs, duplicate_groups
from .auditing.suggestions import AuditContext, suggest
from .auditing.table import AuditTable
from .data import PairDataset, append_boxes
from .data.columns import IMAGE, IMAGE_ID, column_values
from .entry.devices import device_of
from .entry.outputs import only_one
from .files import write_json
from .metrics.noise_detection import ranking_metrics
from .modules.text_limits import count_truncated
from .training.interruption import TrainingInterrupted

#: Maximum number of different bits in the hashes of similar images. Of 500 photographs saved again
#: at JPEG quality 50, or brightened, 99 and 97 % are found; with 2 bits it is 94 and 89 %.
ALIKE_BITS = 4
#: Minimum number of pairs with suggestions; all pairs judged wrong have them.
_N_SUGGESTIONS = 1000
_FEW_PAIRS = 500


def audit(options: AuditOptions) -> dict[str, Any]:
    """Judge every pair of a dataset, and write a table, a report and a summary.

    An interrupted audit is resumed by a call with the same options.

    Args:
        options: Options of the audit.

    Returns:
        The summary, as in the JSON file.

    Raises:
        DatasetError: If the dataset cannot be read, or does not fit the model.
        ValueError: If an option is invalid.
        AuditInterrupted: After a signal during training; the work so far is kept.
        CleaningRefusedError: If the clean dataset was not written; all other files are.
    """
    started = time.perf_counter()
    check_outputs(options)
    device = device_of(options.device)
    with only_one(options.output, options.clean):
        return _audit(options, device, started)


def _audit(options: AuditOptions, device: str, started: float) -> dict[str, Any]:
    judge = None
    if options.model_name_or_path is not None:
        judge = load_judge(options.model_name_or_path, device)
    else:
        vision_model_name(options.vision_model_name_or_path)  # fails early if not installed
    rows = load_rows(
        options.dataset_name,
        options.dataset_config_name,
        options.split,
        columns=(options.image_column, options.caption_column, options.id_column),
        noise=options.inject_noise,
        noise_seed=options.noise_seed,
        progress=options.progress,
    )
    if rows.visual != IMAGE and options.vision_model_name_or_path is not None:
        raise ValueError(
            f"--vision_model_name_or_path has no effect for {options.dataset_name}, which has "
            "region features and no images: leave it out"
        )
    work = work_folder(options, rows)
    work.mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    if judge is not None:
        context = _judge(judge, options, rows, device, work)
    else:
        context = _cross_fit(options, rows, device, work, notes)
    truncation = count_truncated(context.processor, rows.captions)
    if truncation.n_cut:
        notes.append(truncation.message())
    table = _table(options, rows, context)
    summary, refusal = _finish(options, rows, table, context.judgement, notes, started)
    if not options.keep_work:
        shutil.rmtree(work, ignore_errors=True)
        if work.parent.is_dir() and not any(work.parent.iterdir()):
            work.parent.rmdir()
    if refusal is not None:
        raise CleaningRefusedError(
            f"{refusal} All other files are written, see {summary['report']}.", summary
        )
    return summary


def _judge(
    judge: tuple[Any, Any], options: AuditOptions, rows: AuditRows, device: str, work: Path
) -> AuditContext:
    """Judge all pairs by one model."""
    model, processor = judge
    has_boxes = getattr(model.config, "box_size", 0)
    pairs = PairDataset(append_boxes(rows.dataset, rows.split) if has_boxes else rows.dataset)
    check_judge(processor, pairs, str(options.model_name_or_path))
    seed, progress = options.recipe.seed, options.progress
    judgement = judge_by_model(model, processor, pairs, work, seed, progress=progress)
    return AuditContext(judgement, model, processor, pairs.images, pairs.row_of_pair, device, work)


def _cross_fit(
    options: AuditOptions, rows: AuditRows, device: str, work: Path, notes: list[str]
) -> AuditContext:
    """Judge pairs by small models that were not trained on them; appends warnings to `notes`."""
    features = _features(options, rows, device, notes)
    pairs = prepare_pairs(
        rows.dataset, features, _groups(rows.scan), device, options.recipe.max_seq_length
    )
    if len(pairs) < _FEW_PAIRS:
        notes.append(
            f"{len(pairs):,} pairs are few for training: trust the order more than the share, or "
            "name a pretrained model such as a CLIP with --model_name_or_path."
        )
    try:
        judgement = cross_fit(pairs, options.recipe, work, progress=options.progress)
    except TrainingInterrupted as stop:
        raise AuditInterrupted(stop.number) from None
    images, row_of_pair = pairs.images, pairs.row_of_pair
    return AuditContext(judgement, None, pairs.processor, images, row_of_pair, device, work)


def _features(
    options: AuditOptions, rows: AuditRows, device: str, notes: list[str]
) -> np.ndarray | None:
    if rows.visual != IMAGE:
        return None
    name, note = vision_model_name(options.vision_model_name_or_path)
    notes += note
    if name is None:
        return None
    folder = options.cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_audit"
    return audit_features(
        name, PairDataset(rows.dataset).images, rows.scan, folder, device, options.progress
    )


def _groups(scan: ImageScan) -> np.ndarray:
    """A group number for each image, the same for images that look alike, (n_images,)."""
    group = np.unique(scan.digests, return_inverse=True)[1]
    for alike in similar_images(scan.hashes, ALIKE_BITS) if len(scan.hashes) else ():
        if len(alike) > len(group) / 20:
            continue  # similar in style, such as icons; they must not all be in one fold
        group[np.isin(group, group[alike])] = group[alike[0]]
    return group


def _table(options: AuditOptions, rows: AuditRows, context: AuditContext) -> AuditTable:
    judgement = context.judgement
    order = np.lexsort((-judgement.losses, -judgement.tail, judgement.clean_probability))
    wrong = np.flatnonzero(judgement.clean_probability < THRESHOLD)
    suggestion_pairs = np.union1d(wrong, order[:_N_SUGGESTIONS])
    return AuditTable(
        column_values(rows.dataset, IMAGE_ID),
        rows.captions,
        context.row_of_pair,
        judgement.clean_probability,
        judgement.losses,
        order,
        *suggest(context, rows.captions, suggestion_pairs, options.progress),
        PairDataset(rows.dataset).is_noisy,
    )


def _error_kind(sets: float) -> str:
    """A phrase about whether single captions or all captions of an image are wrong."""
    if sets == 0:
        return "single captions"
    if sets == 1:
        return "whole sets: images with all captions of another image"
    return f"{1 - sets:.0%} single captions, {sets:.0%} of images with all captions of another"


def _finish(
    options: AuditOptions,
    rows: AuditRows,
    table: AuditTable,
    judgement: Judgement,
    notes: list[str],
    started: float,
) -> tuple[dict[str, Any], str | None]:
    """Write all files; returns the summary and why the clean dataset was not written, if so."""
    share = judgement.share
    notes += limitations(share, options.model_name_or_path is None)
    truth = table.is_noisy
    has_oracle = truth is not None and truth.any()
    oracle = ranking_metrics(judgement.tail, np.asarray(truth)) if has_oracle else {}
    alike = similar_images(rows.scan.hashes, ALIKE_BITS) if len(rows.scan.hashes) else []
    repeated = repeated_captions(rows.captions, table.row_of_pair)
    model = options.model_name_or_path
    judge, how = describe_judge(model) if model else how_cross_fitted(options.recipe)
    name = " ".join(
        part for part in (options.dataset_name, options.dataset_config_name, rows.split) if part
    )
    if options.inject_noise:
        name += f", with {options.inject_noise} injected"
    refusal = cleaning_problem(options, judgement)
    notes += [refusal] if refusal else []
    table.write(options.output)
    report, summary_file = (options.output.with_suffix(suffix) for suffix in (".html", ".json"))
    facts = {} if judgement.sets is None else {"wrong captions": _error_kind(judgement.sets)}
    facts |= {
        "command": options.command or "noisy_xmodal.audit",
        "seconds": f"{time.perf_counter() - started:.0f}",
        "versions": ", ".join(f"{p} {version(p)}" for p in ("noisy-xmodal", "torch")),
        "machine": platform.machine(),
    }
    write_report(
        report,
        AuditContents(
            name,
            judge,
            how,
            len(rows.dataset),
            judgement.losses,
            judgement.random_losses,
            judgement.clean_probability,
            share.share,
            (share.low, share.high),
            share.confidence,
            doubtful_pairs(table, rows.dataset, options.shown),
            duplicate_groups(rows, alike, repeated),
            rows.left_out,
            notes,
            oracle,
            facts,
        ),
    )
    cleaned = None
    if options.clean is not None and refusal is None:
        cleaned = write_clean_dataset(
            rows.dataset,
            judgement.clean_probability,
            options.clean,
            name,
            rows.split,
            options.clean_threshold,
            options.clean_weights,
        ) | {"folder": str(options.clean)}
    summary = {
        "dataset": options.dataset_name,
        "dataset_config": options.dataset_config_name,
        "split": rows.split,
        "injected_noise": options.inject_noise,
        "judge": judge,
        "n_images": len(rows.dataset),
        "n_pairs": len(table.captions),
        "wrong_share": share.share,
        "wrong_interval": [share.low, share.high],
        "confidence": share.confidence,
        "separation": share.separation,
        "judge_can_tell": share.can_tell,
        "is_upper_bound": not share.can_tell,
        "share_of_exchanged_sets": judgement.sets,
        "judged_wrong": int((judgement.clean_probability < THRESHOLD).sum()),
        "oracle": oracle,
        "left_out": list(rows.left_out),
        "warnings": notes,
        "similar_images": len(alike),
        "repeated_captions": len(repeated),
        "cleaned": cleaned,
        "recipe": None if options.model_name_or_path else asdict(options.recipe),
        "table": str(options.output),
        "report": str(report),
        "summary": str(summary_file),
        "seconds": round(time.perf_counter() - started, 1),
        "command": options.command,
    }
    write_json(summary_file, summary)
    return summary, refusal


__all__ = ["AuditInterrupted", "AuditOptions", "audit"]
