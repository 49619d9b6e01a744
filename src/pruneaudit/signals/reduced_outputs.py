"""Reduces models' answers to the outputs that an attacker sees: rounded, the top classes, or only a label.

Every function here is pure. It is applied to victims and references alike before any attack, so every attack gets the
values that an attacker would compute from the reduced outputs:

    logits              as stored
    probabilities       the softmax in float32, in which the log-odds end at 16.6 (1 - p is at least 6e-8)
    round:d             rounded to d decimals and not renormalised; phi of p kept within [.5 10^-d, 1 - .5 10^-d]
    top:k               the k highest with their classes; each of the others gets its share of what they leave, and at
                        most the lowest of the k
    label               whether the highest class is the label, one bit
    label:queries       that bit for every stored query

Answers that are stored as probabilities stay unchanged under `logits` and `probabilities`, and no output is finer than
they are.
"""

# M models, N samples, C classes, Q queries

from __future__ import annotations

from dataclasses import fields

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.signals.derived import log_softmax, probability
from pruneaudit.signals.probabilities import limits, logit
from pruneaudit.signals.signals import Signals
from pruneaudit.study.outputs import Outputs

LAST_FLOAT32 = np.array([np.finfo(np.float32).smallest_normal, np.finfo(np.float32).eps])
"""Resolution of a float32 softmax next to 0 and 1; half of the second, 6e-8, is the distance of 1 to the next number
below it."""
CERTAIN = 64.0
"""Phi of a correct label; that of a wrong one is -64. In float64 the probabilities are then 1 and 1.6e-28. Sums of
these over references are exact, so equal sums tie in any order. LiRA and RMIA rank the same for any large value."""
_LABEL_RESOLUTION = np.full(2, 2.0**-20)
"""Keeps the scores of one label finite; any value ranks the same."""


def stored_form(signals: Signals) -> str:
    """The name of the outputs that the signals hold: `logits`, `probabilities` or `label`."""
    if signals.predicted is not None:
        return "label"
    return "logits" if signals.probabilities is None else "probabilities"


def lacking(signals: Signals, outputs: Outputs) -> str:
    """Why the signals do not determine these outputs, as the end of an error message; empty if they do."""
    name = outputs.name
    if outputs.kind == "label:queries" and (signals.correct is None or signals.correct.shape[2] < 2):
        return (
            f"got '{name}', but only one query of each sample is stored, expected several; give `correct` (models,"
            " samples, queries) or, in a study, audit.queries = 8; or use label"
        )
    if signals.predicted is not None and outputs.kind not in ("label", "label:queries"):
        return f"got '{name}', but only predicted classes are stored; use label, or give logits or probabilities"
    return ""


def reduced(signals: Signals, outputs: Outputs) -> Signals:
    """The signals that an attacker has who sees only these outputs.

    Args:
        signals: what is stored; it is not changed.
        outputs: what the attacker sees.

    Returns:
        Signals of the same models and samples. `top:k` and `label` keep the plain query only.

    Raises:
        UserError: the signals do not determine these outputs.

    Example:
        >>> p = np.array([[[0.93, 0.07], [0.61, 0.39]]])  # one model, two samples, two classes
        >>> signals = Signals(probabilities=p, labels=np.array([0, 1]), member=np.array([[True, False]]))
        >>> reduced(signals, Outputs("round", 1)).probabilities.round(2).tolist()
        [[[0.9, 0.1], [0.6, 0.4]]]
    """
    if lack := lacking(signals, outputs):
        raise UserError(f"outputs: {lack}")
    if outputs.kind == "logits" or outputs.name == stored_form(signals) == "probabilities":
        return signals
    if outputs.kind in ("label", "label:queries"):
        return _with(signals, **_labels(signals, outputs))
    resolution = LAST_FLOAT32 if signals.resolution is None else signals.resolution
    if outputs.kind == "round":
        resolution = np.maximum(resolution, 10.0**-outputs.number)
    shown = [_shown(signals, row, outputs, resolution) for row in range(signals.num_models)]
    probabilities, confidence = np.stack(shown), None
    if signals.confidence is not None and outputs.kind != "top":
        of_queries = _rounded(probability(signals.confidence).astype(np.float32), outputs)
        confidence = logit(of_queries, resolution).astype(np.float32)
    return _with(signals, probabilities=probabilities, resolution=resolution, confidence=confidence)


def _with(signals: Signals, **answers: np.ndarray | None) -> Signals:
    """Signals of the same models and samples with other answers. No checks: coarse answers of two models may agree."""
    other = object.__new__(Signals)
    kept = {each.name: getattr(signals, each.name) for each in fields(Signals)}
    dropped = dict.fromkeys(("logits", "probabilities", "predicted", "confidence", "correct", "sensitivity"))
    dropped |= {"forgotten": None}  # a copy needs the weights, and an attacker who has them hides nothing from herself
    # A mask is no output: an attack on it is the same whatever is shown of the outputs.
    dropped |= {"structure": None, "start_saliency": None}
    for name, value in {**kept, **dropped, "holdout": signals.untouched_holdout, **answers}.items():
        object.__setattr__(other, name, value)
    return other


def _shown(signals: Signals, row: int, outputs: Outputs, resolution: np.ndarray) -> np.ndarray:
    """The probabilities (N, C) that an attacker sees of one model's plain query."""
    if signals.probabilities is not None:
        p = answers = signals.probabilities[row]
    else:
        answers = signals.logits_of(row)
        p = np.exp(log_softmax(answers)).astype(np.float32)
    if outputs.kind == "top":
        return _top(p, answers, outputs.number, 1 - limits(resolution)[1])
    return _rounded(p, outputs)


def _rounded(p: np.ndarray, outputs: Outputs) -> np.ndarray:
    """Probabilities of any shape, rounded if the outputs are."""
    if outputs.kind != "round":
        return p
    return np.asarray(np.round(p.astype(np.float64), outputs.number).astype(p.dtype))


def _top(p: np.ndarray, answers: np.ndarray, num_top: int, least_rest: float) -> np.ndarray:
    """Probabilities (N, C) as far as the highest `num_top` of them tell.

    Args:
        p: (N, C) probabilities.
        answers: (N, C), which order the classes; logits distinguish more than their softmax.
        num_top: k.
        least_rest: the least that the top classes together are away from 1.
    """
    num_classes = p.shape[1]
    if num_top >= num_classes:
        return p
    top = (
        answers.argmax(axis=1)[:, None] if num_top == 1 else np.argsort(-answers, axis=1, kind="stable")[:, :num_top]
    )  # (N, k), the highest first
    highest = np.take_along_axis(p, top, axis=1).astype(np.float64)
    left = np.maximum(1 - highest.sum(axis=1), least_rest)
    shown = np.repeat(np.minimum(highest[:, -1], left / (num_classes - num_top))[:, None], num_classes, axis=1)
    np.put_along_axis(shown, top, highest, axis=1)
    return shown.astype(p.dtype)


def _labels(signals: Signals, outputs: Outputs) -> dict[str, np.ndarray | None]:
    """The answers of models that give labels only: one-hot probabilities, and phi of two values."""
    correct = signals.correct if outputs.kind == "label:queries" else signals.is_correct[..., None]
    assert correct is not None  # `lacking` refuses signals without
    wrong = (signals.labels + 1) % signals.num_classes  # any other class: only the bit counts
    answered = np.where(correct[..., 0], signals.labels, wrong)
    return {
        "probabilities": np.eye(signals.num_classes, dtype=np.float32)[answered],
        "resolution": _LABEL_RESOLUTION,
        "confidence": np.where(correct, CERTAIN, -CERTAIN).astype(np.float32),  # (M, N, Q)
        "correct": correct,
    }
