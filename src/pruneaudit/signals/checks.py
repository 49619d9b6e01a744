"""Checks that the arrays of `Signals` fit each other. Every check raises `UserError` with a remedy."""

# M models, N samples, C classes, Q queries

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.signals.copies import first_copy

if TYPE_CHECKING:
    from pruneaudit.signals.signals import Signals

UNASKED, ASKED = 0.99, 0.5
"""Members and others were queried differently if one side has at least the first share of samples with a single query,
and the other side at most the second."""


def check_shapes(signals: Signals, form: str) -> None:
    """Checks that all arrays have the models, samples and classes of the answers, whose key is `form`."""
    answers = getattr(signals, form)
    num_models, num_samples = answers.shape[:2]
    num_classes = answers.shape[2] if answers.ndim == 3 else None
    expected: dict[str, tuple[int | None, ...]] = {
        "labels": (num_samples,),
        "member": (num_models, num_samples),
        "eligible": (num_models, num_samples),
        "is_victim": (num_models,),
        "group": (num_models,),
        "confidence": (num_models, num_samples, None),
        "correct": (num_models, num_samples, None),
        "sensitivity": (num_models, num_samples, num_classes),
        "features": (num_samples, None),
        "forgotten": (num_models, num_samples),
        "start_saliency": (num_models, num_samples),
        "structure": (num_models, None),
        "canary": (num_samples,),
        "copy": (num_samples,),
        "holdout": (num_samples,),
        "unknown": (num_samples,),
        "ids": (num_samples,),
        "model_ids": (num_models,),
    }
    for name, shape in expected.items():
        value = getattr(signals, name)
        if value is None:
            continue
        fits = value.ndim == len(shape) and all(e in (None, g) for g, e in zip(value.shape, shape, strict=True))
        if not fits or 0 in value.shape:
            open_axis = {"sensitivity": "classes", "features": "features", "structure": "bits"}.get(name, "queries")
            words = ", ".join(open_axis if size is None else str(size) for size in shape)
            raise UserError(f"{name}: got shape {value.shape}, expected ({words}) to fit {form} {answers.shape}")


def check_labels(labels: np.ndarray, num_classes: int | None, form: str) -> None:
    """Checks that labels are class numbers, below `num_classes` if the answers determine it."""
    if labels.dtype.kind not in "iu":
        raise UserError(f"labels: got {labels.dtype}, expected integers; use labels.astype(int)")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or (num_classes is not None and highest >= num_classes):
        expected = f"0..{num_classes - 1} ({form} have {num_classes} classes)" if num_classes else "0 or more"
        raise UserError(f"labels: got {lowest}..{highest}, expected {expected}; number the classes from 0")


def check_names(signals: Signals) -> None:
    """Checks that groups are numbers, and that ids name samples and models uniquely."""
    if signals.group is not None and signals.group.dtype.kind not in "iu":
        raise UserError(
            f"group: got {signals.group.dtype}, expected one integer per model; number the groups 0, 1, ..."
        )
    for name, axis in (("ids", "sample"), ("model_ids", "model")):
        values = getattr(signals, name)
        if values is not None and (values.dtype.kind not in "iuU" or len(np.unique(values)) != len(values)):
            raise UserError(f"{name}: expected one different integer or text per {axis}; number them 0, 1, 2, ...")


def check_queries(signals: Signals) -> None:
    """Checks that the keys for several queries agree, and that sensitivities are not negative."""
    if signals.sensitivity is not None and signals.sensitivity.min() < 0:
        raise UserError("sensitivity: got negative values, expected mean absolute changes (0 or more)")
    if signals.confidence is None or signals.correct is None:
        return
    if signals.correct.shape != signals.confidence.shape:
        raise UserError(
            f"correct: got shape {signals.correct.shape}, but confidence {signals.confidence.shape},"
            " expected equal shapes; give both for the same queries"
        )


def check_asked_alike(signals: Signals) -> None:
    """Checks that members and others got the same queries, as far as the answers show it.

    If the further queries of one side only repeat its plain one, that side was never asked them, and attacks would find
    who was asked. Other asymmetries, such as members that are cropped in the plain query, need placebo rows
    (`evaluation/placebo.py`).
    """
    if signals.confidence is None or signals.num_queries == 1:
        return
    repeated = (signals.confidence[..., 1:] == signals.confidence[..., :1]).all(axis=2)  # (M, N)
    for row in signals.victims:
        wanted, member = signals.ordinary[row], signals.member[row]
        shares = {
            "members": float(repeated[row][wanted & member].mean()),
            "others": float(repeated[row][wanted & ~member].mean()),
        }
        fewer, more = sorted(shares, key=lambda side: shares[side])
        if shares[more] >= UNASKED and shares[fewer] <= ASKED:
            raise UserError(
                f"confidence: of model {signals.model_names[row]} the further queries repeat query 0 for"
                f" {shares[more]:.0%} of the {more}, and for {shares[fewer]:.0%} of the {fewer}, expected the same"
                " queries for both; query members and others in the same way, or leave confidence and correct out"
            )


def check_victims(signals: Signals) -> None:
    """Checks that each victim has scored members and non-members."""
    for row in signals.victims:
        scored = signals.member[row][signals.ordinary[row]]
        if not scored.any() or scored.all():
            lacking = "member" if not scored.any() else "non-member"
            raise UserError(
                f"victim {signals.model_names[row]}: no {lacking} among its eligible samples; an audit needs both,"
                " so add samples or mark the model is_victim = False"
            )


def check_holdout(signals: Signals) -> None:
    """Refuses a holdout with samples that any model was trained on, or that are scored."""
    if signals.holdout is None:
        return
    for wrong, is_what in ((signals.member, "in the training set of"), (signals.scored, "eligible for")):
        if (wrong & signals.holdout).any():
            row, sample = np.argwhere(wrong & signals.holdout)[0]
            raise UserError(
                f"holdout: sample {signals.sample_ids[sample]} is {is_what} model {signals.model_names[row]}, expected"
                " samples that no model was trained on or is audited on; take it out of holdout, or set its"
                " eligible to False"
            )


def check_copies(signals: Signals, form: str) -> None:
    """Refuses one model under two ids."""
    if not any(getattr(signals, form).strides):
        return  # a single broadcast value: a placeholder for answers to come
    pairs = np.triu(np.ones((signals.num_models, signals.num_models), dtype=bool), k=1)
    if pair := first_copy(signals, signals, pairs):
        first, second = (signals.model_names[row] for row in pair)
        raise UserError(
            f"{form}: models {first} and {second} give exactly the same answers, expected different models (a copy"
            f" would be a reference for its own original); leave model {second} out"
        )
