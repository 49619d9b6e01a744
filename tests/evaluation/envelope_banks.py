"""Banks with known accuracies and leakages, and how often an interval at equal accuracy or size holds the truth."""

# R releases, V victims, N samples, B replicates

from dataclasses import dataclass

import numpy as np
from scipy import stats

from pruneaudit.evaluation.candidates import Candidates
from pruneaudit.evaluation.envelope import against_envelope, joint_replicates, weighed
from pruneaudit.evaluation.frontier import NUM_JOINT
from pruneaudit.evaluation.measure import NUM_RESAMPLES
from pruneaudit.metrics import auc_influence, bootstrap_tpr, rate_influence

NUM_SAMPLES = 400
LEVEL = 0.1  # with 200 non-members, 20 false positives


@dataclass(frozen=True, eq=False)
class Case:
    """Releases, the last of which is compared with others."""

    name: str
    gains: tuple[float, ...]
    """From training on a sample."""
    skills: tuple[float, ...]
    candidates: Candidates


@dataclass(frozen=True)
class World:
    """How much of what varies is common to all victims, and how much is each model's own."""

    common: float
    strength: float

    @property
    def skill(self):
        return self.strength / 2

    def draw(self, gains, skills, num_victims, rng):
        """Membership, and for each release scores and correctness; half of a model's noise is in all its releases."""
        shape = num_victims, NUM_SAMPLES
        member = rng.random(shape) < 0.5
        common, difficulty = self.common * rng.normal(size=NUM_SAMPLES), rng.normal(size=NUM_SAMPLES)
        memorised = 0.3 + np.abs(rng.normal(size=NUM_SAMPLES))
        mine, noise = rng.normal(size=(2, num_victims)), rng.normal(size=(2, *shape))
        drawn = []
        for gain, skill in zip(gains, skills, strict=True):
            strength, better = (mine + rng.normal(size=mine.shape)) / np.sqrt(2)
            first, second = (noise + rng.normal(size=noise.shape)) / np.sqrt(2)
            scores = common + gain * np.exp(self.strength * strength)[:, None] * memorised * member + first
            drawn.append((scores, skill + self.skill * better[:, None] + difficulty + second > 0))
        return member, drawn

    def truth(self, gains, skills, metric, among):
        """The last release's difference to the envelope of others, of expected figures of models drawn at random."""
        strength, memorised = np.random.default_rng(9).normal(size=(2, 1_000_000))
        gain = np.exp(self.strength * strength) * (0.3 + np.abs(memorised)) / np.sqrt(self.common**2 + 1)
        # In units of a non-member's standard deviation: a member beats a non-member, or the threshold at LEVEL.
        limit, scale = (0.0, np.sqrt(2)) if metric == "auc" else (stats.norm.isf(LEVEL), 1.0)
        leakage = np.array([stats.norm.cdf((by * gain - limit) / scale).mean() for by in gains])
        accuracy = stats.norm.cdf(np.array(skills) / np.sqrt(2 + self.skill**2))
        return leakage[-1] - leakage[among][accuracy[among] >= accuracy[-1]].min()


WORLDS = {"shared": World(3.0, 0.05), "mixed": World(1.0, 0.3), "models": World(0.3, 0.5)}
ALIKE = World(1.0, 0.0)
"""Networks that do not differ beyond their samples: the truth is that of each one."""


def figures(member, drawn, metric, seed):
    """Accuracies and leakages (V, 2 R) of the victims, and their replicates (B, V, 2 R)."""
    weights = np.random.default_rng(seed).standard_exponential((NUM_RESAMPLES, NUM_SAMPLES))
    found = [rate_influence(correct, np.ones_like(member), member).fpr for _, correct in drawn]
    both = [(accuracy.values, weighed(accuracy, [~member], weights)) for accuracy in found]
    for scores, _ in drawn:
        if metric == "auc":
            area = auc_influence(scores, member)
            both.append((area.values, weighed(area, [member, ~member], weights)))
        else:
            rates = bootstrap_tpr(scores, member, [LEVEL], NUM_RESAMPLES, np.random.default_rng(seed))
            both.append((rates[0][:, 0], rates[1][..., 0]))
    return np.stack([values for values, _ in both], axis=1), np.stack([drawn for _, drawn in both], axis=2)


def pigeonhole(replicates, rng):
    """Joint replicates (B, 2 R) with a weight per model times a weight per sample."""
    weights = rng.standard_exponential((NUM_JOINT, replicates.shape[1]))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.stack([own @ replicates[index % len(replicates)] for index, own in enumerate(weights)])


def percentiles(joint, among):
    """The plain percentile interval of the last release's difference to the envelope of others."""
    accuracy, leakage = np.split(joint, 2, axis=1)  # (B, R)
    eligible = accuracy[:, among] >= accuracy[:, -1:]
    differences = leakage[:, -1] - np.where(eligible, leakage[:, among], np.inf).min(axis=1)
    return np.quantile(differences, 0.025, method="lower"), np.quantile(differences, 0.975, method="higher")


def simulate(world, case, num_victims, metric, num_simulations):
    """Simulates banks: (errors, whether three intervals hold the truth, whether ours is below 0, two widths) each.

    Args:
        world: one of `WORLDS`, or `alike`.
        case: its releases, of which the last one is compared.
        num_victims: models in a bank.
        metric: `auc` or `tpr`.
        num_simulations: number of banks.
    """
    gains, skills, candidates, rows = case.gains, case.skills, case.candidates, []
    among = np.flatnonzero(candidates.allowed[-1])
    drawn_from = WORLDS.get(world, ALIKE)
    truth = drawn_from.truth(gains, skills, metric, among)
    for simulation in range(num_simulations):
        rng = np.random.default_rng([simulation, num_victims, 3])
        member, drawn = drawn_from.draw(gains, skills, num_victims, rng)
        values, replicates = figures(member, drawn, metric, simulation)
        joint = joint_replicates(values, replicates, NUM_JOINT, rng)
        found = against_envelope(values.mean(axis=0), joint, candidates)[-1]
        if np.isnan(found.value):
            continue
        low, high = -np.inf if np.isnan(found.low) else found.low, found.high
        plain, twice = (percentiles(each, among) for each in (joint, pigeonhole(replicates, rng)))
        within = [ends[0] <= truth <= ends[1] for ends in ((low, high), plain, twice)]
        rows.append((found.value - truth, *within, high < 0, high - low, twice[1] - twice[0]))
    table = np.array(rows)
    ours, plain, twice = 100 * table[:, 1:4].mean(axis=0)
    narrow = table[np.isfinite(table[:, 5:]).all(axis=1)]  # a width that is open below says nothing of the other
    wider = np.median(narrow[:, 6] / narrow[:, 5]) if len(narrow) else np.nan
    bias, spread = table[:, 0].mean(), table[:, 0].std()
    print(
        f"| {metric} | {world} | {case.name} | {num_victims} | {len(rows)} | {bias:+.4f} ({bias / spread:+.1f} sd) | "
        f"**{ours:.1f}%** | {plain:.1f}% | {twice:.1f}%, {wider:.2f} x as wide |"
    )
    return table
