"""Find the wrong pairs of a dataset: `audit(AuditOptions("photos/"))`.

The pairs are judged by a model that is named, or by small models that are trained on the data
itself, each of which judges what it has not learnt from (`auditing/cross_fit.py`). What losses mean
is told by pairs that are wrong for certain (`noise/random_pairs.py`).
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

from .auditing.ability import what_is_not_known
from .auditing.audited import audited_pairs
from .auditing.by_model import check_judge, how_by_model, judge_by_model, load_judge
from .auditing.cleaning import CleaningRefusedError, why_not_cleaned, write_cleaned
from .auditing.contents import AuditContents
from .auditing.cross_fit import cross_fit, how_cross_fitted
from .auditing.duplicates import alike_pictures, repeated_captions
from .auditing.features import audit_features, vision_model_name
from .auditing.judgement import Judgement
from .auditing.loading import LoadedRows, load_rows
from .auditing.options import (
    THRESHOLD,
    AuditInterrupted,
    AuditOptions,
    check_outputs,
    work_folder,
)
from .auditing.pictures import SeenImages
from .auditing.report import write_report
from .auditing.shown import doubtful_pairs, found_duplicates
from .auditing.suggestions import Judged, suggest
from .auditing.table import AuditTable
from .data import PairDataset, append_boxes
from .data.columns import IMAGE, IMAGE_ID, column_values
from .entry.devices import device_of
from .entry.outputs import only_one
from .metrics.noise_detection import ranking_metrics
from .modules.text_limits import count_truncated
from .training.files import write_json
from .training.interruption import TrainingInterrupted

#: Bits in which difference hashes of pictures that look alike may differ. Of 500 photographs saved
#: anew at JPEG quality 50, or brightened, 99 and 97 % are found so; 2 bits find 94 and 89 %.
ALIKE_BITS = 4
#: Pairs for which suggestions are looked for, beside those judged wrong.
_SUGGESTED = 1000
_FEW_PAIRS = 500


def audit(options: AuditOptions) -> dict[str, Any]:
    """Judge every pair of a dataset, and write a table, a report and a summary.

    An audit that was stopped goes on where it was when the same one is asked for.

    Args:
        options: What to audit.

    Returns:
        The summary, as in the JSON file.

    Raises:
        DatasetError: The dataset cannot be read, or does not fit the model.
        ValueError: An option does not fit.
        AuditInterrupted: After a signal in a training; the work so far is kept.
        CleaningRefusedError: The clean dataset was asked for and not written; all else is.
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
        vision_model_name(options.vision_model_name_or_path)  # refuses what is not installed
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
            f"--vision_model_name_or_path does nothing for {options.dataset_name}, which has "
            "region features and no pictures: leave it out"
        )
    work = work_folder(options, rows)
    work.mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    if judge is not None:
        judged = _judge_by(judge, options, rows, device, work)
    else:
        judged = _cross_fit(options, rows, device, work, notes)
    cut = count_truncated(judged.processor, rows.captions)
    if cut.n_cut:
        notes.append(cut.message())
    table = _table(options, rows, judged)
    summary, refusal = _finish(options, rows, table, judged.judgement, notes, started)
    if not options.keep_work:
        shutil.rmtree(work, ignore_errors=True)
        if work.parent.is_dir() and not any(work.parent.iterdir()):
            work.parent.rmdir()
    if refusal is not None:
        raise CleaningRefusedError(
            f"{refusal} Everything else is written, see {summary['report']}.", summary
        )
    return summary


def _judge_by(
    judge: tuple[Any, Any], options: AuditOptions, rows: LoadedRows, device: str, work: Path
) -> Judged:
    """One model judges all pairs."""
    model, processor = judge
    has_boxes = getattr(model.config, "box_size", 0)
    pairs = PairDataset(append_boxes(rows.dataset, rows.split) if has_boxes else rows.dataset)
    check_judge(processor, pairs, str(options.model_name_or_path))
    seed, progress = options.recipe.seed, options.progress
    judgement = judge_by_model(model, processor, pairs, work, seed, progress=progress)
    return Judged(judgement, model, processor, pairs.images, pairs.row_of_pair, device, work)


def _cross_fit(
    options: AuditOptions, rows: LoadedRows, device: str, work: Path, notes: list[str]
) -> Judged:
    """Small models judge what they have not seen; `notes` gets what the reader must know."""
    features = _features(options, rows, device, notes)
    pairs = audited_pairs(
        rows.dataset, features, _groups(rows.seen), device, options.recipe.max_seq_length
    )
    if len(pairs) < _FEW_PAIRS:
        notes.append(
            f"{len(pairs):,} pairs are few to learn from: trust the order more than the share, or "
            "name a pretrained model such as a CLIP with --model_name_or_path."
        )
    try:
        judgement = cross_fit(pairs, options.recipe, work, progress=options.progress)
    except TrainingInterrupted as stop:
        raise AuditInterrupted(stop.number) from None
    return Judged(judgement, None, pairs.processor, pairs.images, pairs.row_of_pair, device, work)


def _features(
    options: AuditOptions, rows: LoadedRows, device: str, notes: list[str]
) -> np.ndarray | None:
    if rows.visual != IMAGE:
        return None
    name, note = vision_model_name(options.vision_model_name_or_path)
    notes += note
    if name is None:
        return None
    folder = options.cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "noisy_xmodal_audit"
    return audit_features(
        name, PairDataset(rows.dataset).images, rows.seen, folder, device, options.progress
    )


def _groups(seen: SeenImages) -> np.ndarray:
    """A number for each image; those that look alike have the same, (n_images,)."""
    group = np.unique(seen.digests, return_inverse=True)[1]
    for alike in alike_pictures(seen.hashes, ALIKE_BITS) if len(seen.hashes) else ():
        if len(alike) > len(group) / 20:
            continue  # drawn alike, as icons are; they must not all come to one fold
        group[np.isin(group, group[alike])] = group[alike[0]]
    return group


def _table(options: AuditOptions, rows: LoadedRows, judged: Judged) -> AuditTable:
    judgement = judged.judgement
    order = np.lexsort((-judgement.losses, -judgement.tail, judgement.clean_probability))
    wrong = np.flatnonzero(judgement.clean_probability < THRESHOLD)
    wanted = np.union1d(wrong, order[:_SUGGESTED])
    return AuditTable(
        column_values(rows.dataset, IMAGE_ID),
        rows.captions,
        judged.row_of_pair,
        judgement.clean_probability,
        judgement.losses,
        order,
        *suggest(judged, rows.captions, wanted, options.progress),
        PairDataset(rows.dataset).is_noisy,
    )


def _kind(sets: float) -> str:
    """In words, how captions came to be wrong."""
    if sets in (0.0, 1.0):
        return "single ones" if sets == 0 else "whole sets: images with another image's captions"
    return f"{1 - sets:.0%} single ones, {sets:.0%} of images with all captions of another"


def _finish(
    options: AuditOptions,
    rows: LoadedRows,
    table: AuditTable,
    judgement: Judgement,
    notes: list[str],
    started: float,
) -> tuple[dict[str, Any], str | None]:
    """Write the table, the report, the summary and the clean dataset, or say why not the last."""
    share = judgement.share
    notes += what_is_not_known(share, options.model_name_or_path is None)
    truth = table.is_noisy
    known = truth is not None and truth.any()
    oracle = ranking_metrics(judgement.tail, np.asarray(truth)) if known else {}
    alike = alike_pictures(rows.seen.hashes, ALIKE_BITS) if len(rows.seen.hashes) else []
    repeated = repeated_captions(rows.captions, table.row_of_pair)
    name_of_judge = options.model_name_or_path
    judge, how = how_by_model(name_of_judge) if name_of_judge else how_cross_fitted(options.recipe)
    name = " ".join(
        part for part in (options.dataset_name, options.dataset_config_name, rows.split) if part
    )
    if options.inject_noise:
        name += f", with {options.inject_noise} put into it"
    refusal = why_not_cleaned(options, judgement)
    notes += [refusal] if refusal else []
    table.write(options.output)
    report, summary_file = (options.output.with_suffix(end) for end in (".html", ".json"))
    facts = {} if judgement.sets is None else {"wrong captions": _kind(judgement.sets)}
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
            found_duplicates(rows, alike, repeated),
            rows.left_out,
            notes,
            oracle,
            facts,
        ),
    )
    cleaned = None
    if options.clean is not None and refusal is None:
        cleaned = write_cleaned(
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
        "alike_pictures": len(alike),
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
