"""Evaluates the committed predictions of this folder; `python tests/golden/golden_bank.py` writes what is expected.

Write them anew only where a figure is meant to change, and say in the changelog which and why.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pruneaudit.evaluation.attack_setting import bank_settings
from pruneaudit.evaluation.comparison_plan import ComparisonPlan, ready
from pruneaudit.evaluation.evaluating import Known, Measuring, evaluate
from pruneaudit.signals.signals import Signals

# M models, N samples, C classes, Q queries

FOLDER = Path(__file__).parent
BANK_FILE = FOLDER / "bank.npz"
SHARED = ("labels", "member", "eligible", "canary")
RELEASES = ("dense", "pruned")
ATTACKS = (
    "scores",  # every attack that trains nothing
    *("lira:mode=offline", "rmia:mode=offline", "base:mode=offline"),
    *(f"{name}:thresholds=per_class" for name in ("confidence", "entropy", "modified_entropy")),
)
TABLES = ("findings", "comparisons", "attack_comparisons", "canaries", "frontier")
SEED = 5
LEVELS = (0.1, 0.01)
NUM_MODELS, NUM_SAMPLES, NUM_CLASSES = 8, 300, 3
NUM_HOLDOUT, NUM_CANARIES = 50, 30


def evaluated() -> dict[str, pd.DataFrame]:
    """The tables of all attacks on the committed bank; without the rows of single victims."""
    with np.load(BANK_FILE) as file:
        shared = {key: file[key] for key in SHARED}
        releases = {
            name: Signals(**shared, **{key: file[f"{name}_{key}"] for key in ("logits", "confidence", "correct")})
            for name in RELEASES
        }
    settings = bank_settings(releases, ["matched", "dense"])
    comparison_plan = ComparisonPlan(baselines=("dense",), undefended=("dense",))
    results = evaluate(settings, ready(ATTACKS), Measuring(SEED, LEVELS), Known(comparison_plan), skip=True).results
    tables = {name: getattr(results, name) for name in TABLES}
    for name, table in tables.items():
        if "victim" in table:
            tables[name] = table[table["victim"].isin(["mean", "pooled"])].reset_index(drop=True)
    return tables


def expected(name: str) -> pd.DataFrame:
    """What a table was when it was written."""
    return pd.read_csv(FOLDER / f"{name}.csv")


def _draw_bank() -> None:
    """Made-up predictions: how easy a sample is, a gain where it was trained on, noise; queries differ a little."""
    rng = np.random.default_rng(17)
    shape = NUM_MODELS, NUM_SAMPLES
    labels = rng.integers(NUM_CLASSES, size=NUM_SAMPLES)
    holdout = np.arange(NUM_SAMPLES) < NUM_HOLDOUT
    member = (rng.random(shape) < 0.5) & ~holdout
    ease = rng.normal(1.0, 1.5, NUM_SAMPLES)
    arrays = {
        "labels": labels,
        "member": member,
        "eligible": np.broadcast_to(~holdout, shape),
        "canary": np.arange(NUM_SAMPLES) >= NUM_SAMPLES - NUM_CANARIES,
    }
    for name, gain in zip(RELEASES, (1.5, 0.7), strict=True):
        logits = rng.normal(0.0, 0.7, (*shape, NUM_CLASSES))
        logits[:, np.arange(NUM_SAMPLES), labels] += ease + gain * member
        logits = logits.round(2).astype(np.float32)  # so that some answers are equal
        first = Signals(logits=logits, labels=labels, member=member).phi[..., 0]  # (M, N)
        second = (first + rng.normal(0.0, 0.3, shape)).astype(np.float32)
        arrays[f"{name}_logits"] = logits
        arrays[f"{name}_confidence"] = np.stack([first.astype(np.float32), second], axis=2)
        arrays[f"{name}_correct"] = np.stack([logits.argmax(axis=2) == labels, second > 0], axis=2)
    np.savez_compressed(BANK_FILE, **arrays)


if __name__ == "__main__":
    if not BANK_FILE.exists():
        _draw_bank()
    for name, table in evaluated().items():
        table.to_csv(FOLDER / f"{name}.csv", index=False)
