"""Tests whether the attacks work on this machine, by playing each on data with a known answer.

    nothing to find   predictions that do not depend on membership: the AUC must not differ from 0.5
    planted           members' confidence is raised: the AUC must be above 0.5, and that of the negated scores below

An attack that uses its victims' membership, or does not leave a victim out of its own references, fails the
first test. One with a reversed sign, or that finds nothing, fails the second. The first test can also use a run's
stored signals: every victim's membership row is redrawn at random, while references keep theirs. The simulated banks
come in two releases, for attacks on pairs of releases; stored signals are of one release, so those attacks are not
tested on them.

The p-values are those of `metrics.two_way` (t with its degrees of freedom, over samples and models), corrected after
Holm (1979) over all tests of one kind: if there is nothing to find, the probability of any false alarm
is at most `FAMILY_ERROR`. Working attacks find the planted members easily (none failed in 200 seeds).
"""

# M models, N samples, C classes, V victims

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.groups import ALL
from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.metrics import Estimate, PerVictim, auc, auc_influence, two_way
from pruneaudit.metrics.multiple import holm
from pruneaudit.signals.signals import Signals
from pruneaudit.study.parts import MIN_HOLDOUT, SUFFICIENT_HOLDOUT

FAMILY_ERROR = 0.001
NUM_MODELS, NUM_AUDITED, NUM_CLASSES, NUM_BITS = 8, 140, 5, 200
NUM_HOLDOUT_DRAWN_FIRST = 50
"""Number of holdout samples drawn with the audited ones: these stay the same if more nulls are needed later."""
GAIN = 3.0
"""Increase of phi by training on a sample in the planted bank, in standard deviations of a model's noise."""
_SMALLEST_P_VALUE = 1e-12

MADE_UP = "made-up banks"
FALSE_ALARM, REVERSED, BLIND, STOPPED = "false alarm", "sign reversed", "finds nothing", "stopped"


@dataclasses.dataclass(frozen=True)
class Played:
    """One attack on one bank."""

    auc: Estimate
    """Mean over victims with its 95% interval; NaN where the attack scored nothing or stopped."""
    auc_of_negated: float
    """The AUC of the scores times -1, without an interval."""
    p_value: float
    """Two-sided, for the hypothesis of an AUC of 0.5."""
    error: str = ""
    """The error that stopped it; empty if none did."""
    problem: str = ""
    """The problem with the outcome, in two words; empty if there is none."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The verdict on one attack."""

    attack: str
    null: Played
    planted: Played | None
    """None if only the stored signals of a run were attacked, or if the attack does not suit the planted bank."""
    problem: str
    """The problem, in two words; empty if the attack works."""

    @property
    def reason(self) -> str:
        """The problem in a clause; empty if there is none."""
        figure = f"AUC {self.null.auc.value:.3f}"
        if self.problem == FALSE_ALARM:
            return f"{figure} on data without a leak"
        if self.planted is not None and self.problem in (REVERSED, BLIND):
            return f"AUC {self.planted.auc.value:.3f} on data with a planted leak"
        return next((part.error for part in (self.null, self.planted) if part and part.error), "")


@dataclasses.dataclass(frozen=True)
class Trial:
    """All attacks on one kind of predictions."""

    name: str
    num_models: int
    num_samples: int
    verdicts: tuple[Verdict, ...]
    not_tested: dict[str, str]
    """By attack, the required inputs that these predictions lack."""

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The attacks that do not work."""
        return tuple(verdict for verdict in self.verdicts if verdict.problem)


@dataclasses.dataclass(frozen=True)
class SanityCheck:
    """The outcome of the whole self-test."""

    seed: int
    trials: tuple[Trial, ...]

    @property
    def passed(self) -> bool:
        """Whether every attack that could be tested works."""
        return not any(trial.failed for trial in self.trials)

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON data; NaN and infinity become None."""
        trials = [_finite(dataclasses.asdict(trial)) | {"failed": len(trial.failed)} for trial in self.trials]
        return {"passed": self.passed, "seed": self.seed, "family_error": FAMILY_ERROR, "trials": trials}


def check_attacks(
    attacks: Sequence[str] = (ALL,),
    seed: int = 0,
    stored: Signals | None = None,
    name: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> SanityCheck:
    """Plays attacks on made-up banks, and on a run's stored signals.

    Args:
        attacks: names such as "lira:mode=offline"; default: every registered attack with its default options.
        seed: seed of the made-up banks, the redrawn membership and the attacks' own draws.
        stored: signals of a run; default: only made-up banks.
        name: name of the stored signals.
        say: called with a progress message before each step.

    Raises:
        UserError: an attack is unknown.
    """
    return play(ready(attacks), seed, None if stored is None else redrawn_input(stored, seed), name, say)


def play(
    attacks: Mapping[str, Attack],
    seed: int,
    redrawn: AttackInput | None = None,
    name: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> SanityCheck:
    """Like `check_attacks`, for instances of attacks.

    Args:
        attacks: the attacks by label.
        seed: seed of the made-up banks and the attacks' own draws.
        redrawn: an attack setting with nothing to find (see `redrawn_setting`); default: only made-up banks.
        name: name of that attack setting.
        say: called with a progress message before each step.
    """
    null, planted = (_own_input(made_up_releases(seed, gain)) for gain in (0.0, GAIN))
    with one_blas_thread():
        trials = [_tried(MADE_UP, attacks, null, planted, seed, say)]
        if redrawn is not None:
            trials.append(_tried(name, attacks, redrawn, None, seed, say))
    return SanityCheck(seed, tuple(trials))


def made_up_bank(seed: int, gain: float = 0.0) -> Signals:
    """Signals of a made-up bank: phi = easiness of the sample + gain if trained on it + noise.

    Args:
        seed: seed of all draws.
        gain: increase of phi by training on a sample; with 0 there is nothing to find.
    """
    return made_up_releases(seed, gain)[-1]


def made_up_releases(seed: int, gain: float = 0.0) -> tuple[Signals, Signals]:
    """Two releases of one made-up bank: the same samples with the same easiness, and independent noise.

    Args:
        seed: seed of all draws.
        gain: increase of phi by training on a sample in the second release, the attacked one; in the first it
            is twice as much, as if pruning had removed half of what was memorised.
    """
    kind, first = seeds.PLANTED if gain else seeds.NULL, NUM_HOLDOUT_DRAWN_FIRST
    parts = [
        _MadeUp(
            numpy_generator(seed, seeds.SELFTEST_BANK, kind, *later),
            numpy_generator(seed, seeds.SELFTEST_SENSITIVITY, kind, *later),
            numpy_generator(seed, seeds.SELFTEST_INPUTS, kind, *later),
            num_holdout,
            num_audited,
        )
        for num_holdout, num_audited, later in (
            (first, NUM_AUDITED, ()),
            (MIN_HOLDOUT - first, 0, (seeds.HOLDOUT,)),
            (SUFFICIENT_HOLDOUT - MIN_HOLDOUT, 0, (seeds.HOLDOUT, seeds.HOLDOUT_HALVES)),
        )
    ]
    labels, member, eligible = (
        np.concatenate([getattr(part, key) for part in parts], axis=-1) for key in ("labels", "member", "eligible")
    )

    features = np.concatenate([part.features for part in parts])
    # As if every network had started from weights of its own: masks that say nothing of members.
    rng = numpy_generator(seed, seeds.SELFTEST_STRUCTURE, kind)
    structure = rng.random((NUM_MODELS, NUM_BITS)) < 0.5
    start_saliency = rng.normal(size=member.shape)

    def release(release_gain: float) -> Signals:
        drawn = [part.answers(release_gain) for part in parts]
        logits, sensitivity, forgotten = (np.concatenate(arrays, axis=1) for arrays in zip(*drawn, strict=True))
        told = {"sensitivity": sensitivity, "forgotten": forgotten, "features": features, "structure": structure}
        told |= {"start_saliency": start_saliency}
        return Signals(logits, labels, member, eligible=eligible, **told)

    attacked = release(gain)
    return release(2 * gain), attacked


class _MadeUp:
    """Some of the samples of a made-up bank, the holdout first, and its models' answers."""

    def __init__(
        self,
        rng: np.random.Generator,
        shaking: np.random.Generator,
        telling: np.random.Generator,
        num_holdout: int,
        num_audited: int,
    ) -> None:
        shape = NUM_MODELS, num_holdout + num_audited
        self._rng, self._shaking, self._telling, self._row = rng, shaking, telling, np.arange(shape[1])
        self.labels = rng.integers(NUM_CLASSES, size=shape[1])
        self.eligible = np.broadcast_to(self._row >= num_holdout, shape)
        self.member = (rng.random(shape) < 0.5) & self.eligible
        self._easiness = rng.normal(0.5, 1.5, shape[1])
        self.features = (self._easiness + telling.normal(size=shape[1]))[:, None]  # (N, 1)

    def answers(self, gain: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The answers of a release in which members' phi is higher by `gain`.

        Returns:
            Logits and sensitivities, (M, N, C) each, and phi under copies that have forgotten the members, (M, N).
        """
        phi = self._easiness + gain * self.member + self._rng.normal(size=self.member.shape)  # (M, N)
        logits = self._rng.normal(size=(*self.member.shape, NUM_CLASSES))
        logits[:, self._row, self.labels] = -np.inf
        logits -= np.log(np.exp(logits).sum(axis=2, keepdims=True))  # the others' logsumexp is 0: phi is the label's
        logits[:, self._row, self.labels] = phi
        # Noise moves a probability p in proportion to p (1 - p): members' certain answers hardly move.
        posteriors = np.exp(logits - np.logaddexp(phi, 0)[..., None])  # (M, N, C)
        sensitivity = posteriors * (1 - posteriors) * self._shaking.exponential(size=posteriors.shape)
        return logits, sensitivity, self._easiness + self._telling.normal(size=phi.shape)


def redrawn_input(signals: Signals, seed: int) -> AttackInput:
    """Stored signals with the victims' membership redrawn; the same models keep theirs as references.

    Args:
        signals: the signals of one release.
        seed: seed of the coins, one for each sample that is scored for the victim.
    """
    return redrawn_setting(_own_input([signals]), seed)


def redrawn_setting(attack_input: AttackInput, seed: int) -> AttackInput:
    """An attack setting with the victims' membership redrawn in every release; its references do not change.

    Args:
        attack_input: the attack setting.
        seed: seed of the coins, as for `redrawn_input`.

    Raises:
        UserError: with few samples, the coins left a victim without members or without non-members.
    """
    member, scored = attack_input.attacked.member.copy(), attack_input.attacked.scored
    for row in attack_input.victims:
        coins = (
            numpy_generator(seed, seeds.SELFTEST_MEMBERSHIP, int(row)).random(attack_input.attacked.num_samples) < 0.5
        )
        member[row] = np.where(scored[row], coins, member[row])
    releases = tuple(dataclasses.replace(release, member=member) for release in attack_input.releases)
    return AttackInput(releases, attack_input.references, attack_input.victims, attack_input.allowed)


def p_value(areas: PerVictim) -> float:
    """Two-sided p-value of a mean AUC of 0.5: the alpha whose `two_way` interval just reaches 0.5; at least 1e-12."""
    shifted = areas.values - 0.5

    def excludes(alpha: float) -> bool:
        found = two_way(shifted, areas.influence, bounds=(-np.inf, np.inf), alpha=alpha)
        return found.low > 0 or found.high < 0

    low, high = np.log(_SMALLEST_P_VALUE), 0.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if excludes(float(np.exp(middle))) else (middle, high)
    return float(np.exp(high))


def _own_input(releases: Sequence[Signals]) -> AttackInput:
    return AttackInput.of(releases, releases)


def _tried(
    name: str,
    attacks: Mapping[str, Attack],
    null: AttackInput,
    planted: AttackInput | None,
    seed: int,
    say: Callable[[str], None],
) -> Trial:
    """Plays all attacks that the attack inputs allow, and judges them together."""
    lacking = {label: attack.lacks(null) for label, attack in attacks.items()}
    able = [label for label, lack in lacking.items() if not lack]
    on_null: list[Played] = []
    on_planted: list[Played] = []
    with_planted = [label for label in able if planted is not None and attacks[label].finds_alike]
    for label in able:
        say(f"{name}: {label}")
        on_null.append(_played(attacks[label], null, numpy_generator(seed, seeds.SELFTEST, label, seeds.NULL)))
        if planted is not None and label in with_planted:
            on_planted.append(
                _played(attacks[label], planted, numpy_generator(seed, seeds.SELFTEST, label, seeds.PLANTED))
            )
    _judge(on_null, on_planted)
    verdicts = []
    for index, label in enumerate(able):
        parts = on_null[index], on_planted[with_planted.index(label)] if label in with_planted else None
        problem = next((part.problem for part in parts if part and part.problem), "")
        verdicts.append(Verdict(label, *parts, problem))
    bank = null.attacked
    not_tested = {label: lack for label, lack in lacking.items() if lack}
    return Trial(name, bank.num_models, bank.num_samples, tuple(verdicts), not_tested)


def _played(attack: Attack, attack_input: AttackInput, rng: np.random.Generator) -> Played:
    """Plays one attack in one attack setting; an error is an outcome, and the other attacks are still played."""
    try:
        scores = attack.score(attack_input, rng).victims
        member = attack_input.attacked.member[attack_input.victims]
        counted = np.where(attack_input.attacked.ordinary[attack_input.victims], scores, np.nan)
        areas = auc_influence(counted, member)
        negated = auc(-counted, member)
    except Exception as error:
        nothing = Estimate(np.nan, np.nan, np.nan, np.nan, "")
        return Played(nothing, np.nan, np.nan, f"{type(error).__name__}: {error}")
    if np.isnan(areas.values).any():
        return Played(two_way(*areas), np.nan, np.nan, "a victim has no scored member or no scored non-member")
    scored = ~np.isnan(counted)
    fewest = int(min((scored & member).sum(axis=1).min(), (scored & ~member).sum(axis=1).min()))
    return Played(two_way(*areas, num_trials=fewest), float(negated.mean()), p_value(areas))


def _judge(on_null: list[Played], on_planted: list[Played]) -> None:
    """Sets the problem of each outcome, in place."""
    for index, alarm in enumerate(holm([played.p_value for played in on_null], FAMILY_ERROR)):
        problem = STOPPED if on_null[index].error else FALSE_ALARM if alarm else ""
        on_null[index] = dataclasses.replace(on_null[index], problem=problem)
    above = np.array([p.p_value / 2 if p.auc.value > 0.5 else 1 - p.p_value / 2 for p in on_planted])  # one-sided
    found, reversed_ = holm(above, FAMILY_ERROR), holm(1 - above, FAMILY_ERROR)
    for index, played in enumerate(on_planted):
        missed = not (found[index] and played.auc_of_negated < 0.5)
        problem = STOPPED if played.error else "" if not missed else REVERSED if reversed_[index] else BLIND
        on_planted[index] = dataclasses.replace(played, problem=problem)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
