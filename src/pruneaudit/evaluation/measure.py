"""Measures one attack in one attack setting: every metric, with influence values or replicates for its intervals."""

# V victims, N samples, L levels, B replicates

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import Scores
from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.core.set_aside import let_go, set_aside
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.crossfit import learn
from pruneaudit.metrics import Measurement, PerVictim, Scored, all_metrics, rate_influence
from pruneaudit.metrics.arrays import SMALLEST_FOR_THREADS, for_each
from pruneaudit.metrics.measurement import Replicated
from pruneaudit.metrics.ranking import Sides, every_ranking
from pruneaudit.metrics.sample_weights import SampleWeights
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE
from pruneaudit.study.audit import MATCHED, UNDEFENDED

NUM_RESAMPLES = 200
_TOKENS = {MATCHED: seeds.MATCHED, UNDEFENDED: seeds.NO_DEFENSE, DENSE: seeds.DENSE}
"""Tokens for random draws: a word may change, its token never does."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of one attack in one attack setting."""

    scores: np.ndarray
    """(V, N) float64, NaN where not eligible or not scored; canaries included."""
    ordinary: np.ndarray
    """(V, N) bool: the samples that metrics count: eligible, scored, not a canary."""
    member: np.ndarray
    """(V, N) bool."""
    num_unscored: np.ndarray
    """(V,) eligible samples that the attack could not score."""
    variant: str
    num_trainings: int
    """See `Attack.num_trainings`."""
    by_column: Mapping[str, Measurement]
    """Every measured figure (see `metrics.METRICS`), by its column in findings. Common weights pair replicates over
    attack settings."""
    learned_tpr: np.ndarray
    """(V, L) fraction of members accused at the thresholds that references teach for these rates; NaN without any."""
    learned_fpr: np.ndarray
    """(V, L) fraction of non-members accused there: the realised false-positive rate."""
    num_teaching: np.ndarray
    """(V,) int: number of scored non-members over all teaching references."""
    ranked: tuple[Sides, ...] | None = None
    """The ranking of every victim, while it is needed."""

    def ranking(self) -> tuple[Sides, ...]:
        """The ranking of every victim."""
        return every_ranking(self.counted_scores, self.member) if self.ranked is None else self.ranked

    def set_aside(self) -> Measured:
        """The same measurements in less memory: without the ranking, and with many scores in a temporary file."""
        return replace(self, ranked=None, scores=set_aside(self.scores))

    def let_go(self) -> None:
        """Gives back the memory of scores and influence values in temporary files, until they are used again."""
        let_go(self.scores)
        for found in self.by_column.values():
            for array in found:
                let_go(array)

    @cached_property
    def num_members(self) -> np.ndarray:
        """(V,) number of scored members."""
        return np.count_nonzero(self.ordinary & self.member, axis=1)

    @cached_property
    def num_nonmembers(self) -> np.ndarray:
        """(V,) number of scored non-members."""
        return np.count_nonzero(self.ordinary & ~self.member, axis=1)

    @property
    def counted_scores(self) -> np.ndarray:
        """(V, N) scores, NaN for samples that metrics do not count."""
        return _counted(self.scores, self.ordinary)


def _counted(scores: np.ndarray, ordinary: np.ndarray) -> np.ndarray:
    """Scores (V, N), NaN for samples that are not ordinary; the same array if these have no score anyway."""
    return scores if np.isnan(scores[~ordinary]).all() else np.where(ordinary, scores, np.nan)


def _limits(best: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Thresholds (V, N) of samples from those of classes (V, C); a view of one column if all classes have the same."""
    first = best[:, :1]
    if best.shape[1] and np.array_equal(best, np.broadcast_to(first, best.shape), equal_nan=True):
        return np.broadcast_to(first, (len(best), len(labels)))
    return best[:, labels]


def _set_aside(found: Measurement) -> Measurement:
    """The same figures; big arrays in temporary files, of which nothing is in memory at first."""
    values, spread = map(set_aside, found)
    return Replicated(values, spread) if isinstance(found, Replicated) else PerVictim(values, spread)


def play(attack: Attack, label: str, setting: AttackSetting, seed: int) -> Scores:
    """An attack's scores in a setting. They depend only on the setting, the attack, its label and the study's seed."""
    return attack.score(setting.attack_input, _draws(label, setting, seed))


def _draws(label: str, setting: AttackSetting, seed: int) -> np.random.Generator:
    release, references = setting.drawn_as or (setting.release, setting.references)
    return numpy_generator(
        seed, seeds.ATTACK, label, _TOKENS.get(release, release), _TOKENS.get(references, references)
    )


def measure(
    attack: Attack,
    label: str,
    setting: AttackSetting,
    levels: Sequence[float],
    seed: int,
    scored: Scores | None = None,
    weights: SampleWeights | None = None,
) -> Measured:
    """Plays one attack in one attack setting and measures how well it does.

    Args:
        attack: the attack; the attack setting must have what it needs.
        label: the attack's name in findings; its random draws come from it.
        setting: the attacked release and the references.
        levels: (L,) false-positive rates.
        seed: the study's seed.
        scored: the scores of an attack that learns (with `held_out`); None: play it.
        weights: the weights of replicates, from `sample_weights` of the same seed; None: draw them.
    """
    attack_input, rng = setting.attack_input, _draws(label, setting, seed)
    if scored is None:
        scored = attack.score(attack_input, rng)
    member, wanted = (
        attack_input.attacked.member[attack_input.victims],
        attack_input.attacked.ordinary[attack_input.victims],
    )
    scores, variant = scored.victims, scored.variant
    ordinary = wanted & ~np.isnan(scores)
    with ThreadPoolExecutor(1) as aside:
        # Learning starts in another thread; the random draws of both sides are independent.
        learned = aside.submit(learn, attack, attack_input, scored, levels, seed, rng)
        del scored
        if scores.size >= SMALLEST_FOR_THREADS:  # both sides have threads of their own, and need much memory
            wait([learned])
        counted = _counted(scores, ordinary)
        counted_scores = scored_for(counted, member, levels, seed, weights)
        by_column = _measured(counted_scores, needs_threshold=False)
        taught = learned.result()
    limits = _limits(taught.best, attack_input.attacked.labels)
    learned_tpr, learned_fpr = _accused(counted, member, taught.barriers)
    by_column |= _measured(replace(counted_scores, thresholds=limits), needs_threshold=True)
    return Measured(
        scores=scores,
        ordinary=ordinary,
        member=member,
        num_unscored=(wanted & ~ordinary).sum(axis=1),
        variant=variant,
        num_trainings=attack.num_trainings(attack_input),
        by_column=by_column,
        learned_tpr=learned_tpr,
        learned_fpr=learned_fpr,
        num_teaching=taught.num_nonmembers,
        ranked=counted_scores.ranked,
    )


def sample_weights(seed: int) -> SampleWeights:
    """The weights of replicates: every attack setting and attack uses the same, which pairs the replicates."""
    return SampleWeights(lambda: numpy_generator(seed, seeds.BOOTSTRAP), NUM_RESAMPLES)


def scored_for(
    counted: np.ndarray, member: np.ndarray, levels: Sequence[float], seed: int, weights: SampleWeights | None = None
) -> Scored:
    """Scores (V, N), NaN for samples that are not counted, as input of metrics, without thresholds.

    Every attack setting and attack uses the same seed: equal weights pair the replicates.
    """
    return Scored(
        counted, member, levels, lambda: numpy_generator(seed, seeds.BOOTSTRAP), NUM_RESAMPLES, weights=weights
    )


def _measured(scored: Scored, needs_threshold: bool) -> dict[str, Measurement]:
    """The figures that need a threshold, or those that do not, by column."""
    metrics = [metric for metric in all_metrics() if metric.needs_threshold == needs_threshold and not metric.restates]
    return {
        quantity.column: _set_aside(found)
        for metric in metrics
        for quantity, found in zip(metric.quantities(scored.levels), metric.measure(scored), strict=True)
    }


def _accused(counted: np.ndarray, member: np.ndarray, barriers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractions (V, L) of members and of non-members that exceed barriers (V, L).

    Args:
        counted: (V, N) scores, NaN for samples that are not counted.
        member: (V, N) bool.
        barriers: (V, L); NaN gives NaN.
    """
    rates = np.full((2, *barriers.shape), np.nan)

    def look(victim: int) -> None:
        scored, limits = counted[victim], barriers[victim]
        for side, among in enumerate((member[victim], ~member[victim])):
            own = scored[among]
            num_among = np.count_nonzero(~np.isnan(own))
            if num_among:
                above = [np.count_nonzero(own > limit) / num_among for limit in limits]
                rates[side, victim] = np.where(np.isnan(limits), np.nan, above)

    for_each(look, len(counted), counted.size)
    return rates[0], rates[1]


@dataclass(frozen=True, eq=False)
class Accuracies:
    """The victims' accuracies in one release."""

    train: PerVictim
    test: PerVictim
    """On eligible non-members."""


def accuracies(signals: Signals) -> Accuracies:
    """Training and test accuracy of every victim, without canaries."""
    rows = signals.victims
    rates = rate_influence(signals.is_correct[rows], signals.ordinary[rows], signals.member[rows])
    return Accuracies(rates.tpr, rates.fpr)
