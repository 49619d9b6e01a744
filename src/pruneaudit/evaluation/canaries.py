"""Canaries: the worst case, and lower bounds on epsilon.

A canary is a mislabelled sample; an independent coin decides whether it is in a victim's training set. Findings on
canaries are kept apart from ordinary findings. They give three bounds; every choice is fixed before any score is seen:

- one run (Steinke et al. 2023, arXiv 2305.08846): for each victim, the highest k scores are guessed "in" and the
  lowest k "out", with k from the study's `canary_guesses`, which share the error. Alternatively, half of the canaries
  choose k, and the other half gives the bound (`epsilon_thresholds`). `every victim` is the highest of the victims'
  bounds, each at 1/V of the error: it is valid for the training procedure that they share.
- one run, Gaussian (Mahloujifar et al. 2024, arXiv 2410.22235): the same guesses, under the assumption that the
  mechanism has a Gaussian trade-off curve. It is higher, but not a bound if the assumption is wrong. For releases that
  were trained with DP-SGD, a third bound uses the accountant's own curve instead.
- many runs (Nasr et al. 2021, arXiv 2101.04535): half of the victims teach the threshold. Each victim of the other half
  is one run with one canary, the i-th victim with the i-th canary, so that runs share nothing. Only attacks that use a
  single model qualify: references would make the runs dependent.

Scores of ordinary samples are never used: pooled over audit data they give no valid bound (arXiv 2605.25819).
"""

# V victims, m canaries

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.columns import LATER_CANARY_COLUMNS, MEAN
from pruneaudit.evaluation.findings import Row
from pruneaudit.metrics import (
    auc_influence,
    best_threshold,
    guess_canaries,
    many_run_epsilon,
    one_run_by_halves,
    one_run_epsilon,
    one_run_gaussian_epsilon,
    one_run_over_grid,
    two_way,
)
from pruneaudit.metrics.epsilon import OneRunBound

EVERY = "every victim"
ALPHA = 0.05
"""Error probability of each bound, one-sided."""
MIN_RUNS = 4
"""Fewest victims for a many-run bound."""
AUC, ONE_RUN, MANY_RUNS = "auc", "epsilon, one run", "epsilon, many runs"
GAUSSIAN, DP_SGD = "epsilon, one run, Gaussian", "epsilon, one run, DP-SGD curve"
"""Values of the column `figure`."""
HYPOTHESES = {
    ONE_RUN: "any training",
    GAUSSIAN: "a training with a Gaussian trade-off curve",
    DP_SGD: "DP-SGD with the recorded sampling rate and steps, and unknown noise",
    MANY_RUNS: "any training, at a threshold learned on other victims",
}
"""The trainings that each bound is valid for, by figure."""
SPLIT, BONFERRONI = "split", "bonferroni"
"""How the number of guesses is chosen."""


@dataclass(frozen=True)
class Bounds:
    """Settings of the bounds, declared in advance."""

    guesses: tuple[float, ...] = (0.5, 0.25, 0.1)
    """Fractions of the canaries guessed "in", and as many "out", each in (0, 0.5]."""
    delta: float = 1e-5
    """The delta of (epsilon, delta)-DP."""
    thresholds: str = BONFERRONI
    """`bonferroni`: as many guesses "in" as "out", the error divided among the fractions. `split`: half of the canaries
    choose among all pairs of fractions, and the other half gives the bound."""
    curves: Mapping[str, OneRunBound] = field(default_factory=dict)
    """The bound with the accountant's curve, by release that was trained with DP-SGD."""

    def __post_init__(self) -> None:
        if self.thresholds not in (BONFERRONI, SPLIT):
            raise UserError(f"epsilon_thresholds: got '{self.thresholds}', expected {BONFERRONI} or {SPLIT}")

    def one_run(self, release: str) -> dict[str, OneRunBound]:
        """The bounds from a single training, by figure; only the general one exists at delta = 0."""
        if self.delta == 0:
            return {ONE_RUN: one_run_epsilon}
        own = {DP_SGD: self.curves[release]} if release in self.curves else {}
        return {ONE_RUN: one_run_epsilon, GAUSSIAN: one_run_gaussian_epsilon, **own}

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """The fractions guessed "in" and "out" among which half of the canaries choose."""
        shares = (0.0, *self.guesses)
        return [(top, bottom) for top in shares for bottom in shares if 0 < top + bottom <= 1]


DEFAULT_BOUNDS = Bounds()


@dataclass(frozen=True, eq=False)
class CanaryScores:
    """All canaries under one attack; a canary without a score for a victim is left out only for that victim.

    Whether it has a score depends on the references' coins, which are independent of the victim's. Leaving it out for
    all victims would reveal the coins of victims that are references of each other.
    """

    release: str
    """The attacked release; or several together (`family_canaries.py`)."""
    references: str
    attack: str
    victims: tuple[str, ...]
    """Their V names."""
    scores: np.ndarray
    """(V, m) float64, NaN where not scored."""
    included: np.ndarray
    """(V, m) bool."""
    seed: int
    """Seed of the draw of the canaries that choose the number of guesses."""

    @classmethod
    def of(cls, setting: AttackSetting, attack: str, scores: np.ndarray, seed: int) -> CanaryScores:
        """The canaries among the scores of an attack.

        Args:
            setting: the attack setting.
            attack: the label of the attack.
            scores: (V, N) float64, NaN where not scored.
            seed: the study's.
        """
        given = setting.attack_input
        chosen, member = given.attacked.canaries, given.attacked.member[given.victims]  # (N,), (V, N)
        names = tuple(map(str, given.attacked.model_names[given.victims]))
        which = setting.release, setting.references, attack
        return cls(*which, names, scores[:, chosen], member[:, chosen], seed)


def canary_findings(found: CanaryScores, attack: Attack, bounds: Bounds) -> Iterator[Row]:
    """The rows of one attack in one attack setting: its AUC on canaries, and the bounds.

    Args:
        found: the canaries under the attack.
        attack: the attack.
        bounds: number of guesses and delta.
    """
    num_victims, num_canaries = found.scores.shape
    if not num_canaries or (~np.isnan(found.scores)).sum(axis=1).min() < 2:
        return
    which = {"release": found.release, "references": found.references, "attack": found.attack}
    for row in (*_auc(found), *_one_run(found, bounds), *_many_runs(found, attack, bounds)):
        yield {**which, "num_canaries": num_canaries, "num_victims": num_victims, "delta": np.nan, **row, **_texts(row)}


def _texts(row: Row) -> Row:
    """How the guesses of a bound were chosen, and what it holds for; empty for an AUC."""
    return {column: row.get(column, "") for column in LATER_CANARY_COLUMNS}


def _auc(found: CanaryScores) -> Iterator[Row]:
    """The mean AUC over the victims with included and excluded canaries."""
    values, influence = auc_influence(found.scores, found.included)
    known = ~(np.isnan(values) | np.isnan(influence).any(axis=1))
    if known.any():
        estimate = two_way(values[known], influence[known])
        figures = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
        yield {"victim": MEAN, "figure": AUC, **figures, "num_victims": int(known.sum()), **_NO_GUESSES}


_NO_GUESSES = {"guesses": float("nan"), "correct": float("nan")}


def _one_run(found: CanaryScores, bounds: Bounds) -> Iterator[Row]:
    """For each kind of bound, one for each victim, and one for all of them."""
    num_victims = len(found.scores)
    for figure, bound in bounds.one_run(found.release).items():
        shared = []
        for name, scores, included in zip(found.victims, found.scores, found.included, strict=True):
            scored = ~np.isnan(scores)
            chooses = _choosing(len(scores), found.seed, name)[scored] if bounds.thresholds == SPLIT else None
            given = scores[scored], included[scored], chooses
            own, of_all = (_best_bound(*given, bounds, alpha, bound) for alpha in (ALPHA, ALPHA / num_victims))
            num_canaries = int(scored.sum() if chooses is None else (~chooses).sum())
            counts = {"num_victims": 1, "num_canaries": num_canaries, "thresholds": bounds.thresholds}
            yield _bound(name, figure, own, bounds.delta) | counts
            shared.append(of_all)
        best = _bound(EVERY, figure, max(shared, key=lambda best: best[0]), bounds.delta)
        yield best | {"thresholds": bounds.thresholds}


def _choosing(num_canaries: int, seed: int, victim: str) -> np.ndarray:
    """(m,) bool: the half of the canaries that chooses the numbers of guesses for one victim."""
    order = numpy_generator(seed, seeds.CANARY_HALVES, victim).permutation(num_canaries)
    return order < num_canaries // 2


def _best_bound(
    scores: np.ndarray,
    included: np.ndarray,
    chooses: np.ndarray | None,
    bounds: Bounds,
    alpha: float,
    bound: OneRunBound,
) -> tuple[float, int, int]:
    """Epsilon, guesses and right guesses for the canaries (m,) of one victim."""
    if chooses is not None:
        if chooses.all() or not chooses.any():
            return 0.0, 0, 0
        return one_run_by_halves(scores, included, bounds.pairs, chooses, bounds.delta, alpha, bound)
    counts = sorted({max(1, int(fraction * len(scores))) for fraction in bounds.guesses})
    grid = [(count, count) for count in counts]
    epsilon, best = one_run_over_grid(scores, included, grid, bounds.delta, alpha, bound)
    return epsilon, *guess_canaries(scores, included, *best)


def _many_runs(found: CanaryScores, attack: Attack, bounds: Bounds) -> Iterator[Row]:
    """One bound from half of the victims, at the threshold learned on the other half."""
    num_victims, num_canaries = found.scores.shape
    if attack.needs or num_victims < MIN_RUNS or np.isnan(found.scores).any():
        return
    teach, test = np.arange(0, num_victims, 2), np.arange(1, num_victims, 2)
    truth = found.included[teach].ravel()
    runs = found.included[test, np.arange(len(test)) % num_canaries]  # (V / 2,)
    if truth.all() or not truth.any() or runs.all() or not runs.any():
        return
    threshold = best_threshold(found.scores[teach].ravel(), truth)
    accused = found.scores[test, np.arange(len(test)) % num_canaries] >= threshold
    hits, alarms = int((accused & runs).sum()), int((accused & ~runs).sum())
    epsilon = many_run_epsilon(hits, int(runs.sum()), alarms, int((~runs).sum()), bounds.delta, ALPHA)
    yield _bound(EVERY, MANY_RUNS, (epsilon, len(test), int((accused == runs).sum())), bounds.delta)


def _bound(victim: str, figure: str, found: tuple[float, int, int], delta: float) -> Row:
    epsilon, guesses, correct = found
    return {
        "victim": victim,
        "figure": figure,
        "value": epsilon,
        "low": epsilon,
        "high": float("nan"),
        "delta": delta,
        "guesses": guesses,
        "correct": correct,
        "hypothesis": HYPOTHESES[figure],
    }
