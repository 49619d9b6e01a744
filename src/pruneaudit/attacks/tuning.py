"""Tunes the constant of an offline attack on references, never on the victim.

RMIA's a (arXiv 2312.03262) and BASE's c (arXiv 2505.24089) weight the mean over OUT references. The best value differs
between releases, and a common value hurts most on releases that leak little. So it is tuned: references play victims,
and the value with the highest AUC wins. Every reference outside the victim's fold is attacked with the others; the
victim and the other models of its fold are not used. The AUC is computed within each pseudo-victim, on the plain
query, and averaged. Privacy Meter's `tune_offline_a` does the same with a single pseudo-victim, the model trained on
the samples that the target was not trained on. With two references each is attacked with the other. On the demo's bank
that gains .008 of AUC over the fixed a on pruned networks, and costs .001 on dense ones (docs/attacks.md).

`forgetting` tunes its a in the same way, but the reference of each pseudo-victim is its own copy: one is enough.
"""

# V victims, K references, P pseudo-victims, N samples

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.folds import settings
from pruneaudit.attacks.moments import means
from pruneaudit.signals.derived import log_probability, probability
from pruneaudit.signals.signals import Signals

GRID = tuple(tenth / 10 for tenth in range(11))
MIN_REFERENCES = 2
"""With fewer references outside a victim's fold, the constant keeps the paper's value."""
MAX_PSEUDO_VICTIMS = 16
MAX_SAMPLES = 2000
"""Enough to compare the values: all are tried on the same samples, so their AUCs move together."""

Formula = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
"""Scores (P, N) from ln p_y under the attacked models (P, N), the mean of p_y over their OUT references (P, N), and the
constant."""
Expected = Callable[[Signals, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""The mean of p_y over OUT references (P, N), NaN where there is none: from the signals, the rows of all references
(K,), which of these are pseudo-victims (P,), and the samples (N,)."""


def mean_of_others(signals: Signals, rows: np.ndarray, pseudo: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """The mean over the other references of the group that were not trained on the sample."""
    phi, member = (array[np.ix_(rows, samples)] for array in (signals.phi[..., 0], signals.member))  # (K, N)
    groups = signals.groups[rows]
    peers = (groups[:, None] == groups) & ~np.eye(len(rows), dtype=bool)
    return means(probability(phi), ~member, peers[pseudo])


@dataclass(frozen=True)
class Tunable:
    """A constant that can be tuned."""

    name: str
    """Its name in the paper."""
    published: float
    """The paper's value, for victims with too few references outside their fold."""
    formula: Formula
    """The score to tune."""
    expected: Expected = mean_of_others
    min_references: int = MIN_REFERENCES


@dataclass(frozen=True, eq=False)
class Constant:
    """The constant of an attack for each victim."""

    values: np.ndarray
    """(V, 1) float64."""
    variant: str
    """Value and origin in words: the median over victims, with the range if they differ."""
    is_tuned: bool = False


def constant(
    tunable: Tunable, given: float | None, attack_input: AttackInput, rng: np.random.Generator, can_tune: bool = True
) -> Constant:
    """The constant as given, or tuned on references.

    Args:
        tunable: the constant.
        given: the value set by hand; None: tune it.
        attack_input: victims and references.
        rng: deals the folds.
        can_tune: whether the references have what tuning needs.
    """
    name, published = tunable.name, tunable.published
    values = np.full((len(attack_input.victims), 1), np.nan if given is None else given)
    if given is not None:
        return Constant(values, f"{name} {given:g}")
    seed = int(rng.integers(2**62))
    for victims, references in settings(attack_input, seed) if can_tune else ():
        if len(references) >= tunable.min_references:
            values[victims] = _best(attack_input.reference, references, tunable, np.random.default_rng(seed))
    tuned = values[~np.isnan(values)]
    values[np.isnan(values)] = published
    if not len(tuned):
        return Constant(values, f"{name} {published:g} not tuned")
    spread = f" [{tuned.min():g}-{tuned.max():g}]" if tuned.min() < tuned.max() else ""
    few = (
        f" ({name} {published:g} not tuned for {len(values) - len(tuned)} victims)" if len(tuned) < len(values) else ""
    )
    return Constant(values, f"{name} tuned {np.median(tuned):g}{spread}{few}", is_tuned=True)


def _best(signals: Signals, rows: np.ndarray, tunable: Tunable, rng: np.random.Generator) -> float:
    """The value of the grid with the highest mean AUC over references `rows`; NaN where none can be attacked.

    Args:
        signals: signals of all references.
        rows: (K,) int, the references to use, in the order of their ids.
        tunable: the constant to tune.
        rng: draws models and samples, if there are more than needed.
    """
    samples = np.argsort(signals.sample_ids)  # the order for draws
    samples = _some(samples[signals.ordinary[np.ix_(rows, samples)].any(axis=0)], MAX_SAMPLES, rng)
    pseudo = _some(np.arange(len(rows)), MAX_PSEUDO_VICTIMS, rng)
    out = tunable.expected(signals, rows, pseudo, samples)  # (P, N)
    chosen = np.ix_(rows[pseudo], samples)
    valid = signals.ordinary[chosen] & ~np.isnan(out)
    log_p, member = log_probability(signals.phi[..., 0][chosen]), signals.member[chosen]
    both = [p for p in range(len(pseudo)) if 0 < member[p, valid[p]].sum() < valid[p].sum()]
    if not both:
        return float("nan")

    def mean_auc(value: float) -> float:
        scores = tunable.formula(log_p, out, value)
        return float(np.mean([_auc(scores[p, valid[p]], member[p, valid[p]]) for p in both]))

    return max(GRID, key=mean_auc)


def _some(rows: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    """Returns at most `limit` of the rows."""
    return rows if len(rows) <= limit else rng.choice(rows, limit, replace=False)


def _auc(scores: np.ndarray, member: np.ndarray) -> float:
    """AUC of one model's scores (n,), ties counted half."""
    members, others = np.sort(scores[member]), np.sort(scores[~member])
    beaten = sum(np.searchsorted(others, members, side=side).sum() for side in ("left", "right")) / 2
    return float(beaten / (len(members) * len(others)))
