"""Simulated studies in which it is known what every candidate leaks.

`Estimates` draws the estimates themselves: normal errors of each model, in part common to all candidates.
`Matrices` draws scores of every model and sample, so that the errors of `two_way`, the errors that samples have in
common, and references that are victims themselves are put to the test.

The limit of leakage is fixed, and truths lie around it, in units of s, the standard error of an estimate from the whole
bank. The better a candidate, the smaller it is. By default small ones leak more (a correlation of 0.88), which is the
hard case: the smallest that seems to keep the limit is the most likely to break it.
"""

# m candidates, V victims, N samples, B replicates

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import stats

from pruneaudit.evaluation.certificate import Candidate
from pruneaudit.evaluation.limit_test import Question, answer
from pruneaudit.evaluation.limits import ACCURACY, Limits
from pruneaudit.metrics import Measurement, PerVictim, Replicated, auc_influence, bootstrap_tpr, rate_influence

NUM_RESAMPLES = 200
LEVEL = 0.01
TPR = "tpr_at_1%_fpr"
ATTACK = ("rmia", "matched")
SMALLEST, LARGEST = 10_000.0, 100_000.0


@dataclass(frozen=True, eq=False)
class Half:
    """The figures of every candidate on some models."""

    leakage: Callable[[int], Measurement]
    """Of a candidate, measured when it is asked for."""
    accuracy: Callable[[int], PerVictim]
    estimate: Callable[[int], float]
    """The leakage alone, without an error."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What every candidate really leaks, how accurate it is, and its size."""

    leakage: np.ndarray
    """(m,) over new models and new samples."""
    here: Callable[[int], float]
    """Of a candidate, over new models on these samples; the same where samples have no errors of their own."""
    accuracy: np.ndarray
    """(m,)."""
    bytes: np.ndarray
    """(m,)."""


@dataclass(frozen=True, eq=False)
class Study:
    """One simulated study."""

    truth: Truth
    rungs: tuple[Half, ...]
    """The search: half of its models, then all of them."""
    confirm: Half
    whole: Half
    """The whole bank, as a search without confirmation uses it."""


@dataclass(frozen=True)
class Spread:
    """Where the truths of m candidates lie around the limits."""

    num: int
    spread: float = 2.0
    """Standard deviation of the truths in units of s. 0: all lie exactly at the limit, which counts as broken."""
    evenly: bool = False
    """Truths at even distances of `spread`, instead of drawn from a normal distribution."""
    correlation: float = 0.88
    """Between smallness and leakage."""
    by_accuracy: bool = False
    """Whether the accuracy is limited too, and falls with the size; leakage is then well within its limit for half of
    the candidates."""

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Leakage and accuracy relative to their limits in units of s, (m,) each, and sizes (m,).

        Positive is beyond the limit for leakage, and within it for accuracy.
        """
        if self.evenly:
            steps = np.arange(self.num) - self.num // 2 + rng.random()
            above = self.spread * rng.permutation(steps)
            scaled = stats.norm.ppf((stats.rankdata(above) - 0.5) / self.num)
        else:
            scaled = rng.standard_normal(self.num)
            above = self.spread * scaled
        other = np.sqrt(1 - self.correlation**2) * rng.standard_normal(self.num)
        places = stats.rankdata(-(self.correlation * scaled + other)) - 1  # 0: the smallest
        sizes = SMALLEST * (LARGEST / SMALLEST) ** (places / max(self.num - 1, 1))
        accuracy = np.full(self.num, 30.0)
        if self.by_accuracy:  # larger ones are more accurate; what they leak has nothing to do with it
            steps = np.arange(self.num) - self.num // 2 + rng.random()
            accuracy = self.spread * steps[places.astype(int)]
        return above, accuracy, sizes


@dataclass(frozen=True)
class Estimates:
    """A world of normal estimates: 2 V models, half of which search."""

    candidates: Spread
    figure: str = "auc"
    correlation: float = 0.7
    """Of the errors of two candidates of the same models."""
    num_models: int = 16
    """Of the whole bank."""
    narrow: float = 1.0
    """A factor of s: small where many candidates of a TPR lie far apart, between 0 and the limit."""

    @property
    def limits(self) -> Limits:
        """The limits of its studies."""
        return _limits(self.figure, self.candidates.by_accuracy)

    @property
    def error(self) -> float:
        """s, the standard error with the whole bank."""
        return self.narrow * (0.004 if self.figure == TPR else 0.003)

    def draw(self, rng: np.random.Generator) -> Study:
        """Draws one study."""
        above, accurate, sizes = self.candidates.draw(rng)
        limit = self.limits.leakage[self.figure]
        leakage = limit + self.error * above
        accuracy = 0.75 + self.error * accurate
        spread = self.error * np.sqrt(self.num_models)  # of one model
        values = [truth[:, None] + spread * self._errors(rng) for truth in (leakage, accuracy)]  # (m, 2 V)
        order, half = np.arange(self.num_models), self.num_models // 2
        rungs = tuple(_of_values(*values, order < number) for number in (half // 2, half))
        confirm, whole = (_of_values(*values, order >= number) for number in (half, 0))
        truth = Truth(leakage, lambda number: float(leakage[number]), accuracy, sizes)
        return Study(truth, rungs, confirm, whole)

    def _errors(self, rng: np.random.Generator) -> np.ndarray:
        common = rng.standard_normal(self.num_models)
        own = rng.standard_normal((self.candidates.num, self.num_models))
        return np.sqrt(self.correlation) * common + np.sqrt(1 - self.correlation) * own


def _of_values(leakage: np.ndarray, accuracy: np.ndarray, chosen: np.ndarray) -> Half:
    def figures(values: np.ndarray) -> Callable[[int], PerVictim]:
        # Without errors of samples, the error is the spread between models.
        return lambda candidate: PerVictim(values[candidate, chosen], np.zeros((int(chosen.sum()), 2)))

    return Half(figures(leakage), figures(accuracy), lambda candidate: float(leakage[candidate, chosen].mean()))


@dataclass(frozen=True)
class Matrices:
    """A world of scores: each is what a sample's phi is above the mean phi of all other models of the half.

    phi = an effect of the sample + one of (candidate, sample) + for members a gain x the sample's memorisation x the
    model's strength + noise, part of which is common to all candidates of a model.
    """

    candidates: Spread
    figure: str = "auc"
    correlation: float = 0.7
    """Of the noise of two candidates of a model; its strengths likewise."""
    num_models: int = 16
    num_samples: int = 400
    strength: float = 0.2
    """Standard deviation of a model's strength, in logarithms: how much models differ."""
    interaction: float = 0.3
    """Standard deviation of the effects of (candidate, sample): errors that the search shares with the confirmation."""
    common: float = 1.0
    num_fresh: int = 400
    """New models that measure what is true on these samples."""

    @property
    def _alone(self) -> Matrices:
        """The same world with one candidate, whatever the others are."""
        return replace(self, candidates=Spread(1))

    @property
    def limits(self) -> Limits:
        """The limits of its studies: what a gain of 0.5 gives away."""
        truth = round(float(self.leakage(np.array([0.5]))[0]), 4)
        values = {"max_tpr": {LEVEL: truth}} if self.figure == TPR else {"max_auc": truth}
        return Limits.model_validate(values)

    def draw(self, rng: np.random.Generator) -> Study:
        """Draws one study."""
        above, _, sizes = self.candidates.draw(rng)
        limit = self.limits.leakage[self.figure]
        gains, found = _scale_of(self._alone)
        leakage = np.clip(limit + _error_of(self._alone) * above, found[0], found[-1])
        gain = np.interp(leakage, found, gains)  # (m,)
        samples = self._samples(rng)
        half = self.num_models // 2
        banks = [self._bank(gain, samples, half, rng) for _ in range(2)]
        both = tuple(np.concatenate(parts, axis=1) for parts in zip(*banks, strict=True))
        first = tuple(part[:, : half // 2] for part in banks[0])
        *rungs, confirm, whole = (self._half(*bank) for bank in (first, *banks, both))
        truth = Truth(leakage, lambda number: self._here(gain, samples, number), np.full(len(gain), 0.75), sizes)
        return Study(truth, tuple(rungs), confirm, whole)

    def leakage(self, gain: np.ndarray) -> np.ndarray:
        """The true leakage of candidates with these gains (n,), over new models and samples."""
        return np.interp(gain, *_scale_of(self._alone))

    def _samples(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Effects (N,), memorisation (N,), and effects of (candidate, sample) (m, N)."""
        shape = self.candidates.num, self.num_samples
        common = self.common * rng.standard_normal(self.num_samples)
        memorised = 0.3 + np.abs(rng.standard_normal(self.num_samples))
        return common, memorised, self.interaction * rng.standard_normal(shape)

    def _bank(
        self, gain: np.ndarray, samples: tuple[np.ndarray, np.ndarray, np.ndarray], num: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Phi (m, V, N) and membership (m, V, N) of `num` models, the same membership for all candidates."""
        common, memorised, own = samples
        member = rng.random((num, self.num_samples)) < 0.5
        strength = self._correlated(rng, (len(gain), num), num)  # (m, V)
        noise = self._correlated(rng, (len(gain), num, self.num_samples), (num, self.num_samples))
        strong = gain[:, None] * np.exp(self.strength * strength)
        phi = common + own[:, None] + strong[..., None] * memorised * member + noise
        return phi, np.broadcast_to(member, phi.shape)

    def _correlated(
        self, rng: np.random.Generator, shape: tuple[int, ...], shared: int | tuple[int, ...]
    ) -> np.ndarray:
        common, own = rng.standard_normal(shared), rng.standard_normal(shape)
        return np.sqrt(self.correlation) * common + np.sqrt(1 - self.correlation) * own

    def _half(self, phi: np.ndarray, member: np.ndarray) -> Half:
        """The figures of some models, each with the others of its half as references."""
        group = min(phi.shape[1], self.num_models // 2)

        def leakage(candidate: int) -> Measurement:
            scores = referenced(phi[candidate], group)
            if self.figure != TPR:
                return auc_influence(scores, member[candidate])
            generator = np.random.default_rng(0)
            tpr, replicates = bootstrap_tpr(scores, member[candidate], [LEVEL], NUM_RESAMPLES, generator)
            return Replicated(tpr[:, 0], replicates[..., 0])

        right = np.ones(phi.shape[1:], dtype=bool)
        right[:, ::4] = False
        return Half(
            leakage,
            lambda candidate: rate_influence(right, right | True, member[candidate]).fpr,
            lambda candidate: _mean(referenced(phi[candidate], group), member[candidate], self.figure),
        )

    def _here(self, gain: np.ndarray, samples: tuple[np.ndarray, np.ndarray, np.ndarray], number: int) -> float:
        """What new models of a candidate give away on these samples."""
        common, memorised, own = samples
        chosen = slice(number, number + 1)
        rng, group = np.random.default_rng(number), self.num_models // 2
        found = []
        for _ in range(self.num_fresh // group):
            phi, member = self._bank(gain[chosen], (common, memorised, own[chosen]), group, rng)
            found.append(_mean(referenced(phi[0], group), member[0], self.figure))
        return float(np.mean(found))


def referenced(phi: np.ndarray, group: int) -> np.ndarray:
    """Scores (V, N): phi above its mean over the other models of the same group of `group` models."""
    parts = [phi[start : start + group] for start in range(0, len(phi), group)]
    return np.concatenate([part - (part.sum(axis=0) - part) / (len(part) - 1) for part in parts])


def _mean(scores: np.ndarray, member: np.ndarray, figure: str) -> float:
    """The mean AUC or TPR at 1% FPR over models."""
    from pruneaudit.metrics import auc, tpr_at_fpr

    if figure == TPR:
        return float(np.mean(tpr_at_fpr(scores, member, [LEVEL])))
    return float(np.mean(auc(scores, member)))


@cache
def _scale_of(world: Matrices) -> tuple[np.ndarray, np.ndarray]:
    """Gains, and what they give away over new models and samples: large draws, smoothed by a polynomial."""
    gains = np.linspace(0.0, 1.5, 16)
    rng, num_banks = np.random.default_rng(12), 100
    one, group, found = replace(world, num_samples=6_000), world.num_models // 2, np.zeros(len(gains))
    for _ in range(num_banks):
        for place, gain in enumerate(gains):
            phi, member = one._bank(np.array([gain]), one._samples(rng), group, rng)
            found[place] += _mean(referenced(phi[0], group), member[0], world.figure) / num_banks
    smooth = np.polynomial.Polynomial.fit(gains, found, 4)(gains)
    return gains, np.maximum.accumulate(smooth)


@cache
def _error_of(world: Matrices) -> float:
    """s: the standard error at the limit, with the whole bank, over 60 banks."""
    rng, gain = np.random.default_rng(13), np.array([0.5])
    found = []
    for _ in range(60):
        samples = world._samples(rng)
        banks = [world._bank(gain, samples, world.num_models // 2, rng) for _ in range(2)]
        scores = np.concatenate([referenced(phi[0], world.num_models // 2) for phi, _ in banks])
        found.append(_mean(scores, np.concatenate([member[0] for _, member in banks]), world.figure))
    return float(np.std(found, ddof=1))


def _limits(figure: str, by_accuracy: bool) -> Limits:
    leakage = {"max_tpr": {LEVEL: 0.05}} if figure == TPR else {"max_auc": 0.6}
    return Limits.model_validate(leakage | ({"min_accuracy": 0.75} if by_accuracy else {}))


def candidate_of(world: Estimates | Matrices, study: Study, half: Half, number: int) -> Candidate:
    """A candidate of a study with its tests on some models."""
    limits, figure = world.limits, world.figure
    tests = [answer(Question(ACCURACY, limits.min_accuracy), half.accuracy(number))] if limits.min_accuracy else []
    tests.append(answer(Question(figure, limits.leakage[figure], *ATTACK), half.leakage(number)))
    return Candidate(name=str(number), tests=tuple(tests), bytes=float(study.truth.bytes[number]))
