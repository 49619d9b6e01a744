"""Made-up certificates and searches: what matters is what a report says of them."""

import numpy as np

from pruneaudit.evaluation.certificate import Candidate, PassedOver, Scope, certify
from pruneaudit.evaluation.limit_test import Question, answer
from pruneaudit.evaluation.limits import Limits
from pruneaudit.evaluation.search_path import Rung, SearchPath
from pruneaudit.metrics import PerVictim

LIMITS = Limits(min_accuracy=0.75, max_tpr={0.01: 0.05}, max_bytes=40_000)
SCOPE = Scope(
    study="fashion",
    study_hash="ab" * 32,
    version="1",
    attacks=("lira", "rmia"),
    num_search_models=8,
    num_confirm_models=8,
    num_references=7,
    num_samples=2200,
    num_candidates=6,
)


def victims(mean, spread, seed, num=8):
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=num)
    return PerVictim(mean + spread * (drawn - drawn.mean()), rng.normal(size=(num, 50)) * 1e-4)


def candidate(name, accuracy=0.8, tpr=0.03, size=30_000.0, limits=LIMITS, num=8):
    """Standard errors of .2 and .18 points with 8 models."""
    questions = [
        (Question("test_accuracy", limits.min_accuracy), accuracy, 0.005),
        *(
            (Question("tpr_at_1%_fpr", limits.max_tpr.get(0.01), attack, "matched"), tpr - by, 0.005)
            for attack, by in (("lira", 0.005), ("rmia", 0.0))
        ),
        (Question("auc", limits.max_auc, "rmia", "matched"), 0.5 + 2 * tpr, 0.005),
    ]
    tests = tuple(
        answer(question, victims(mean, spread, len(name) + place, num))
        for place, (question, mean, spread) in enumerate(questions)
    )
    return Candidate(name=name, description=f"pruning, {name}", tests=tests, bytes=size, macs=1e6, leakage=tpr)


def searched(naive="tiny", **more):
    first = [candidate("dense", 0.85, 0.2, 200_000.0), candidate("l1-0.5"), candidate("l1-0.7", 0.79, 0.03, 25_000.0)]
    first += [
        candidate("tiny", 0.77, 0.046, 12_000.0),
        candidate("raced", 0.78, 0.045, 26_000.0),
        candidate("bad", 0.6),
    ]
    passed = (
        PassedOver(name="dense", why="too large", rung=0, figure="bytes", value=200_000, limit=40_000),
        PassedOver(name="bad", why="accuracy", rung=0, figure="test_accuracy", value=0.6, limit=0.75),
        PassedOver(
            name="raced",
            why="raced out",
            rung=0,
            figure="tpr_at_1%_fpr",
            difference=0.01,
            bound=0.004,
            attack="rmia",
            against="l1-0.7",
        ),
    )
    rungs = (
        Rung(number=0, model_ids=(0, 1, 2, 3), num_references=3, candidates=tuple(first), passed_over=passed),
        Rung(number=1, model_ids=tuple(range(8)), num_references=7, candidates=tuple(first[1:4])),
    )
    return SearchPath(
        rungs=rungs,
        limits=LIMITS,
        confirm_model_ids=tuple(range(8, 16)),
        naive=naive,
        listed=("l1-0.5", "l1-0.7", "tiny"),
        **more,
    )


def confirmed(tiny_tpr=0.049, safe_tpr=0.03, scope=SCOPE, limits=LIMITS):
    listed = [
        candidate("l1-0.5", tpr=safe_tpr),
        candidate("l1-0.7", 0.79, 0.032, 25_000.0),
        candidate("tiny", 0.77, tiny_tpr, 12_000.0),
    ]
    return certify(listed, limits, scope, passed_over=searched().left)
