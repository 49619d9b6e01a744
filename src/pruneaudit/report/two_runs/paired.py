"""Pairs the scores of two runs with the same victims, and computes differences with their intervals.

Runs are paired attack setting by attack setting, on the models that both audit, with the same samples and membership.
Two studies must have the same audit data (see `differences.py`). If one of the two is an audit of saved predictions,
samples are the same if their ids and labels are. The influence of hard samples and of the models' training sets then
cancels, as it does between the releases of one run. Otherwise the two are treated as independent.
"""

# V victims, N samples, B replicates

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.measure import scored_for
from pruneaudit.evaluation.outcome import SCORES_FILE
from pruneaudit.metrics import Quantity, difference_of, metric_of

SEED = 0
"""Seed of the bootstrap: the two runs can have different seeds."""
_IDS = ("model_id", "sample_id")
Interval = tuple[float, float, float]
"""Value, lower and upper limit."""


@dataclass(frozen=True, eq=False)
class Paired:
    """One attack setting of both runs, on the same rows and columns."""

    first: dict[str, np.ndarray]
    """(V, N) scores of the first run by attack; higher = more likely a member, NaN = not scored."""
    second: dict[str, np.ndarray]
    """(V, N) of the second."""
    member: np.ndarray
    """(V, N) bool."""
    are_some_models: bool = False
    """Whether one of the runs audits further models that the other does not audit."""

    def difference(self, attack: str, quantity: Quantity) -> Interval:
        """A figure of the first run minus that of the second, with the two-way interval of the paired difference.

        Resampled figures use the same weights in both.
        """
        metric, levels = metric_of(quantity.column), () if quantity.level is None else (quantity.level,)
        mine, other = (
            metric.measure(scored_for(scores[attack], self.member, levels, SEED))[0]
            for scores in (self.first, self.second)
        )
        found = difference_of(mine, other, metric.bounds)
        return found.value, found.low, found.high


def independent_difference(first: Interval, second: Interval) -> Interval:
    """The difference of two independent figures with the limits that follow from their own.

    The square-and-add rule (MOVER; Zou and Donner 2008): each limit is as far from the difference as the root of the
    two summed squared distances on that side. For symmetric intervals this is the root of the summed squared
    half-widths; asymmetric ones stay asymmetric. If the runs share members, the interval is wider than necessary.
    """
    difference = first[0] - second[0]
    low = difference - math.hypot(first[0] - first[1], second[2] - second[0])
    high = difference + math.hypot(first[2] - first[0], second[0] - second[1])
    return difference, max(low, -1.0), min(high, 1.0)


def paired_scores(
    first: Path, second: Path, setting: tuple[str, str], their_setting: tuple[str, str], attacks: Sequence[str]
) -> Paired | str:
    """One attack setting's scores in two run folders, aligned; or, in words, why they cannot be paired.

    Args:
        first: a run's folder.
        second: another's; where both are studies, of the same audit data.
        setting: the attacked release and the kind of references, in the first run.
        their_setting: the same in the second run, which can have other names for them.
        attacks: the attacks whose scores are read.

    Raises:
        UserError: a file of scores cannot be read.
    """
    tables = [
        _read(folder / SCORES_FILE, *names, attacks) for folder, names in ((first, setting), (second, their_setting))
    ]
    for table, folder in zip(tables, (first, second), strict=True):
        if table is None:
            return f"{folder} keeps no scores of it"
    mine, other = (table for table in tables if table is not None)
    if any(mine[name].dtype != other[name].dtype for name in _IDS):
        return "the runs' models or samples have ids of different kinds"
    audited = [set(table["model_id"]) for table in (mine, other)]
    shared = audited[0] & audited[1]
    if not shared:
        return "the runs audit different models"
    mine, other = (table[table["model_id"].isin(shared)] for table in (mine, other))
    models = pd.Index(mine["model_id"].unique())
    samples = pd.Index(pd.concat([mine["sample_id"], other["sample_id"]]).unique())
    if _have_other_labels(mine, other):
        return "samples with the same id have different labels in the two runs"
    shape = len(models), len(samples)
    places = [
        (models.get_indexer(table["model_id"]), samples.get_indexer(table["sample_id"])) for table in (mine, other)
    ]
    member, differs = np.zeros(shape, bool), np.zeros(shape, bool)
    member[places[0]] = mine["member"]
    known = np.zeros(shape, bool)
    known[places[0]] = True
    differs[places[1]] = known[places[1]] & (member[places[1]] != other["member"].to_numpy())
    if differs.any() or not known[places[1]].any():
        return "the runs' models were trained on different members"
    member[places[1]] = other["member"]
    scores: list[dict[str, np.ndarray]] = []
    for table, place in zip((mine, other), places, strict=True):
        scores.append({attack: np.full(shape, np.nan) for attack in attacks})
        for attack in attacks:
            scores[-1][attack][place] = table[attack]
    return Paired(scores[0], scores[1], member, audited[0] != audited[1])


def _have_other_labels(mine: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether a sample that both tables name has another label in one of them."""
    labels = [table.drop_duplicates("sample_id").set_index("sample_id")["label"] for table in (mine, other)]
    shared = labels[0].index.intersection(labels[1].index)
    return bool((labels[0][shared] != labels[1][shared]).any())


def _read(path: Path, release: str, references: str, attacks: Sequence[str]) -> pd.DataFrame | None:
    """The ordinary samples' rows of one attack setting; None where the file has none, or is of an older version."""
    parts = []
    try:
        with pq.ParquetFile(path) as file:
            wanted = [*_IDS, "label", "member", "canary", *attacks]
            if not set(wanted) <= set(file.schema_arrow.names):
                return None
            for number in range(file.num_row_groups):
                names = file.read_row_group(number, columns=["release", "references"])
                here = pc.and_(pc.equal(names["release"], release), pc.equal(names["references"], references))
                if pc.any(here).as_py():
                    # A name with a dot is taken for a path, which may bring other columns with it.
                    whole = file.read_row_group(number, columns=wanted).select(wanted)
                    parts.append(whole.filter(here).to_pandas())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); to repair it, run the study again") from None
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"canary": []})
    found = found[~found["canary"].astype(bool)]
    return None if found.empty else found
