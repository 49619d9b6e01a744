"""Who becomes exposed: how the vulnerability of single samples changes from one release to another.

Under the primary attack and matched references. `metrics/detection.py` defines the detection rate and the paired test:
a sample's detection rate is the share of the victims with it as a member that find it at a fixed false-positive rate,
and it is exposed from a share of one half on. Level and line are fixed before any score is seen: the level is `LEVEL`
where the study reports it and no victim has too few non-members for it, or else the lowest level of which both hold.

Pairs are those of the comparisons (every release with the dense models, with the baseline, and with its undefended
undefended counterpart), on the same victims and samples. Canaries are left out. A pair of releases that differ in
nothing but their `finetune_seed` is the noise floor: what moves there moved by chance alone. Beside a comparison
stands the floor of its release, or else of its baseline, the mean where there are several; without such a pair there
is none. The floor matters as much as the test: the test asks whether more samples became exposed than are so no
longer, and chance moves as many one way as the other.
"""

# V victims, N samples, G groups: all samples, then each class

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.evaluation.columns import SAMPLE_DETECTION_COLUMNS
from pruneaudit.evaluation.findings import Row, Writer
from pruneaudit.metrics import refusal
from pruneaudit.metrics.detection import DetectionChange, NetChange, net_change, sample_detection

LEVEL = 0.01
"""The false-positive rate at which samples count as found, where it can be told."""
ALL = "all"
"""In the place of a class: all samples."""

Pair = tuple[str, str]


def fixed_level(levels: Iterable[float], num_nonmembers: int) -> float | None:
    """The false-positive rate at which samples count as found, by a rule that knows no score.

    Args:
        levels: those that the study reports, each in (0, 1).
        num_nonmembers: of the victim that has fewest.

    Returns:
        `LEVEL` if it is one of them and can be told; else the lowest that can; None where none can.
    """
    told = [level for level in levels if refusal(num_nonmembers, level) is None]
    return LEVEL if LEVEL in told else min(told, default=None)


def detection_changes(
    writers: Mapping[str, Writer], pairs: Sequence[Pair], repeats: Mapping[str, str], seed: int
) -> tuple[list[Row], pd.DataFrame]:
    """What moved between releases: counts by class, and every sample.

    Args:
        writers: one attack on each release, all of the same victims and samples.
        pairs: release and baseline; of two that mirror each other the first counts.
        repeats: releases that repeat another one with another `finetune_seed`, and which.
        seed: the study's.

    Returns:
        Rows of the table `detection_changes`, and the table `sample_detection`.
    """
    nothing = pd.DataFrame(columns=list(SAMPLE_DETECTION_COLUMNS))
    wanted = [pair for pair in _once([*pairs, *repeats.items()]) if pair[0] in writers and pair[1] in writers]
    if not wanted:
        return [], nothing
    some = next(iter(writers.values()))
    level = fixed_level(some.levels, min(int(writer.measured.num_nonmembers.min()) for writer in writers.values()))
    if level is None:
        return [], nothing
    labels = some.setting.attack_input.attacked.labels
    classes = np.unique(labels)
    groups = np.column_stack([np.ones(len(labels), dtype=bool), labels[:, None] == classes])  # (N, G)
    moved, counts = {}, {}
    for pair in wanted:
        release, baseline = (writers[name].measured for name in pair)
        given = baseline.counted_scores, release.counted_scores, release.member, level
        moved[pair] = sample_detection(*given)
        counts[pair] = net_change(*given, groups, numpy_generator(seed, seeds.MIGRATION))
    names = [ALL, *(str(class_id) for class_id in classes)]
    rows = [
        {"release": pair[0], "baseline": pair[1], "attack": some.attack, "fpr": level, **row}
        for pair, count in counts.items()
        for row in _rows(count, _noise(pair, counts, repeats), names)
    ]
    return rows, pd.concat([_samples(pair, found, some) for pair, found in moved.items()], ignore_index=True)


def _once(pairs: Iterable[Pair]) -> list[Pair]:
    """Each pair once, whichever of the two releases is named first."""
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
    """Newly and no longer exposed by chance alone, (G,) each: NaN where no release of the pair was repeated."""
    floors = [floor for floor in repeats.items() if floor in counts]
    if pair not in floors:
        for name in pair:
            own = [counts[floor] for floor in floors if name in floor]
            if own:
                newly = np.mean([count.newly_detected for count in own], axis=0)
                return newly, np.mean([count.no_longer_detected for count in own], axis=0)
    missing = np.full(len(counts[pair].p_value), np.nan)
    return missing, missing


def _samples(pair: Pair, found: DetectionChange, writer: Writer) -> pd.DataFrame:
    """The rows of one pair in the table `sample_detection`: every sample that some victim has as a scored member."""
    told, signals = found.num_victims > 0, writer.setting.attack_input.attacked
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
