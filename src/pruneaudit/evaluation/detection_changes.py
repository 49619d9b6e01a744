"""Finds samples that become exposed: changes of the vulnerability of single samples between releases.

Uses the primary attack and matched references that are disjoint from the victims (`apart.py`): a sample's detection
rate compares victims, so these must not be each other's references. A bank that is too small for that has no rates,
and the rows of its pairs give the reason. `metrics/detection.py` defines the detection rate and the paired test:
a sample's detection rate is the share of victims trained on it in which the attack finds it at a fixed false-positive
rate; it is exposed if that share is at least one half. Both limits are fixed before any score is seen: the level is
`LEVEL` if the study reports it and every victim has enough non-members for it, else the lowest such level.

Pairs are those of the comparisons (every release with the dense models, with the baseline, and with its
undefended counterpart), on the same victims and samples. Canaries are left out. A pair of releases that differ only in
their `finetune_seed` is the noise floor: changes there are due to chance. A comparison shows the floor of its
release, or else of its baseline (the mean of several), or none without such a pair. The floor matters as much as the
test: the test asks whether more samples became exposed than stopped being exposed, and chance moves equally many both
ways.
"""

# V victims, N samples, G groups: all samples, then each class

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from pruneaudit.attacks.attack import Attack
from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.evaluation.apart import Apart, scores_apart
from pruneaudit.evaluation.columns import DETECTION_CHANGE_COLUMNS, SAMPLE_DETECTION_COLUMNS
from pruneaudit.evaluation.findings import Row, Writer
from pruneaudit.metrics import refusal
from pruneaudit.metrics.detection import DetectionChange, NetChange, net_change, sample_detection
from pruneaudit.signals.signals import Signals

LEVEL = 0.01
"""The preferred false-positive rate at which samples count as found."""
ALL = "all"
"""All samples, in place of a class."""

Pair = tuple[str, str]


def fixed_level(levels: Iterable[float], num_nonmembers: int) -> float | None:
    """The false-positive rate at which samples count as found, by a rule that does not use scores.

    Args:
        levels: the study's levels, each in (0, 1).
        num_nonmembers: the smallest number of non-members of any victim.

    Returns:
        `LEVEL` if it is one of them and there are enough non-members; else the lowest with enough; None without any.
    """
    told = [level for level in levels if refusal(num_nonmembers, level) is None]
    return LEVEL if LEVEL in told else min(told, default=None)


def detection_changes(
    attack: Attack, writers: Mapping[str, Writer], pairs: Sequence[Pair], repeats: Mapping[str, str], seed: int
) -> tuple[list[Row], pd.DataFrame]:
    """The changes between releases: counts by class, and every sample.

    Args:
        attack: the attack that the writers measured; it is played once more on each release of a pair.
        writers: its measurement of each release, all of the same victims and samples.
        pairs: release and baseline; of two mirrored pairs only the first is used.
        repeats: for each release that repeats another with a different `finetune_seed`, the repeated one.
        seed: the study's seed.

    Returns:
        Rows of the table `detection_changes`, and the table `sample_detection`. A pair without rates has one row, with
        the reason.
    """
    nothing = pd.DataFrame(columns=list(SAMPLE_DETECTION_COLUMNS))
    wanted = [pair for pair in _once([*pairs, *repeats.items()]) if pair[0] in writers and pair[1] in writers]
    played = {
        name: scores_apart(attack, writers[name]) for name in dict.fromkeys(name for pair in wanted for name in pair)
    }
    told = [pair for pair in wanted if not any(played[name].suppressed for name in pair)]
    some = next(iter(writers.values()), None)
    if some is None or not wanted:
        return [], nothing
    rows = [_without_rates(pair, played, some.attack) for pair in wanted if pair not in told]
    fewest = (played[name].fewest_nonmembers for pair in told for name in pair)
    level = fixed_level(some.levels, min(fewest, default=0))
    if level is None or not told:
        return rows, nothing
    labels = some.setting.attack_input.attacked.labels
    classes = np.unique(labels)
    groups = np.column_stack([np.ones(len(labels), dtype=bool), labels[:, None] == classes])  # (N, G)
    moved, counts = {}, {}
    for pair in told:
        release, baseline = (played[name] for name in pair)
        given = baseline.scores, release.scores, release.member, level
        moved[pair] = sample_detection(*given)
        counts[pair] = net_change(*given, groups, numpy_generator(seed, seeds.MIGRATION))
    names = [ALL, *(str(class_id) for class_id in classes)]
    rows += [
        {**_which(pair, some.attack, played), "fpr": level, **row}
        for pair, count in counts.items()
        for row in _rows(count, _noise(pair, counts, repeats), names)
    ]
    samples = [_samples(pair, found, played[pair[0]].signals) for pair, found in moved.items()]
    return rows, pd.concat(samples, ignore_index=True)


def _which(pair: Pair, attack: str, played: Mapping[str, Apart]) -> Row:
    """What a row is about."""
    numbers = (played[name].num_references for name in pair)
    fewest = min((number for number in numbers if not np.isnan(number)), default=np.nan)
    return {"release": pair[0], "baseline": pair[1], "attack": attack, "disjoint_references": fewest, "suppressed": ""}


def _without_rates(pair: Pair, played: Mapping[str, Apart], attack: str) -> Row:
    """The row of a pair without rates, and why it has none."""
    missing = (
        column for column in DETECTION_CHANGE_COLUMNS if column not in ("release", "baseline", "attack", "class")
    )
    reason = next(played[name].suppressed for name in pair if played[name].suppressed)
    return {**dict.fromkeys(missing, np.nan), **_which(pair, attack, played), "class": ALL, "suppressed": reason}


def _once(pairs: Iterable[Pair]) -> list[Pair]:
    """Each pair once, in either order of its releases."""
    first: dict[frozenset[str], Pair] = {}
    for pair in pairs:
        first.setdefault(frozenset(pair), pair)
    return list(first.values())


def _rows(count: NetChange, noise: tuple[np.ndarray, np.ndarray], names: Sequence[str]) -> list[Row]:
    """One row for all samples, and one per class."""
    return [
        {
            "class": name,
            "newly_detected": int(count.newly_detected[group]),
            "no_longer_detected": int(count.no_longer_detected[group]),
            "detected_before": int(count.num_detected_before[group]),
            "num_samples": int(count.num_samples[group]),
            "p_value": float(count.p_value[group]),
            "noise_newly": float(noise[0][group]),
            "noise_no_longer": float(noise[1][group]),
        }
        for group, name in enumerate(names)
    ]


def _noise(pair: Pair, counts: Mapping[Pair, NetChange], repeats: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Newly and no longer exposed by chance, (G,) each; NaN if no release of the pair was repeated."""
    floors = [floor for floor in repeats.items() if floor in counts]
    if pair not in floors:
        for name in pair:
            own = [counts[floor] for floor in floors if name in floor]
            if own:
                newly = np.mean([count.newly_detected for count in own], axis=0)
                return newly, np.mean([count.no_longer_detected for count in own], axis=0)
    missing = np.full(len(counts[pair].p_value), np.nan)
    return missing, missing


def _samples(pair: Pair, found: DetectionChange, signals: Signals) -> pd.DataFrame:
    """The rows of one pair in the table `sample_detection`: every sample that is a scored member of some victim."""
    told = found.num_victims > 0
    columns = {
        "release": pair[0],
        "baseline": pair[1],
        "sample_id": signals.sample_ids[told],
        "class_id": signals.labels[told],
        "detection_rate_before": found.before[told],
        "detection_rate_after": found.after[told],
        "change": found.after[told] - found.before[told],
        "num_victims": found.num_victims[told],
    }
    return pd.DataFrame(columns)
