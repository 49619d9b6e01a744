"""Checks a membership by the models' accuracies: it may be in the wrong order, or belong to other models.

It only warns: a bank that does not overfit looks like one with a wrong membership.
"""

# M models, V victims, N samples

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pruneaudit.evaluation.doubts import Z, error_of_gap
from pruneaudit.evaluation.learned import not_learned, not_learned_words
from pruneaudit.evaluation.measure import accuracies
from pruneaudit.signals.signals import Signals

MOST = 0.5
"""If more than this share of the models is clearly better on members, the others are reported."""
NUM_NAMED = 5


@dataclass(frozen=True)
class ModelAccuracy:
    """One model on its eligible members and on its other eligible samples."""

    name: str
    members: float
    """In [0, 1]."""
    others: float
    """In [0, 1]."""
    is_gap_clear: bool
    """Whether members are classified better by more than `Z` standard errors."""


def model_accuracies(signals: Signals) -> tuple[ModelAccuracy, ...]:
    """The accuracies of every victim, without canaries."""
    found = []
    for row in signals.victims:
        right, wanted, member = signals.is_correct[row], signals.ordinary[row], signals.member[row]
        train, test = float(right[wanted & member].mean()), float(right[wanted & ~member].mean())
        clear = train - test > Z * error_of_gap(right, wanted, member)
        found.append(ModelAccuracy(str(signals.model_names[row]), train, test, clear))
    return tuple(found)


def tell_implausible(signals: Signals, warn: Callable[[str], None]) -> None:
    """Warns of networks that did not learn, and of memberships that do not look like the models' training sets.

    Args:
        signals: the collected signals.
        warn: called with each warning.
    """
    _tell_equal_rows(signals, warn)
    if not len(signals.victims):
        warn(
            "no model was trained on any of these samples, so these models can only serve as references for others "
            "(--references)"
        )
        return
    failed = not_learned(signals, accuracies(signals))
    if failed:
        warn(not_learned_words("the models" if len(signals.victims) > 1 else "the model", failed))
        return
    rows = signals.victims
    right, wanted, member = signals.is_correct[rows], signals.ordinary[rows], signals.member[rows]
    train, test = (right[wanted & side].mean() for side in (member, ~member))
    if train - test <= Z * error_of_gap(right, wanted, member):
        warn(
            f"members are not clearly classified better than non-members ({train:.1%} and {test:.1%}): the models"
            " do not overfit, or rows and columns of the membership are not in the order of weights and samples"
        )
        return
    _tell_odd_models(model_accuracies(signals), warn)


def _tell_odd_models(models: Sequence[ModelAccuracy], warn: Callable[[str], None]) -> None:
    """Names models that do not classify their members better although most do: their rows may belong to others."""
    odd = [model for model in models if not model.is_gap_clear]
    if odd and len(odd) < (1 - MOST) * len(models):
        named = [f"{model.name} ({model.members:.1%} and {model.others:.1%})" for model in odd]
        warn(
            f"{_listed(named)}: not clearly better on members than on others, unlike {len(models) - len(odd)} of "
            f"{len(models)} models; check that these rows of the membership belong to these files"
        )


def _tell_equal_rows(signals: Signals, warn: Callable[[str], None]) -> None:
    """Names models with the same training set; with independent coins that does not happen."""
    groups: dict[bytes, list[str]] = defaultdict(list)
    for name, row in zip(signals.model_names, signals.member, strict=True):
        groups[np.packbits(row).tobytes()].append(str(name))
    alike = [" = ".join(names) for names in groups.values() if len(names) > 1]
    if alike:
        warn(
            f"equal rows of the membership: {_listed(alike)}; models with the same training set count as independent"
            " here, so intervals are too narrow: check the rows"
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NUM_NAMED
    return ", ".join([*names[:NUM_NAMED], *([f"and {more} more"] if more > 0 else [])])
