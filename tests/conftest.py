"""Made-up results (plausible inputs: what matters is what a report says of them), and small networks."""

from __future__ import annotations

import copy
import gc
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from command_line import built, called
from pruneaudit.evaluation.columns import (
    COMPARISON_COLUMNS,
    CURVE_COLUMNS,
    FINDING_COLUMNS,
    RELEASE_COLUMNS,
)
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.standard import tpr_column

# Files of tests need not survive a power cut, and waiting for the disk is an eighth of the suite. The tests of `flush`
# count its calls.
os.fsync = lambda _: None

settings.register_profile("shared machine", deadline=None, max_examples=50)
settings.load_profile("shared machine")

LEVELS = (0.1, 0.01, 0.001)
ATTACKS = ("loss", "confidence", "entropy", "modified_entropy", "lira", "rmia")
RELEASES = (("dense", "", 0.0), ("dense+finetune", "", 0.0), ("l1unstructured-0.9", "l1unstructured", 0.9))
REFUSED = "TPR at 0.1% FPR: 1,000 non-members give 1 false positive, at least 10 are needed"
FINDING_METRICS = ("auc", "balanced_accuracy", *(tpr_column(level) for level in LEVELS[:2]))


def finding_row(
    rng: np.random.Generator, release: str, attack: str, victim: str, auc: float, **more: Any
) -> dict[str, Any]:
    """A row whose lowest TPR level is refused, as it is with a thousand non-members."""
    row: dict[str, Any] = dict.fromkeys(FINDING_COLUMNS, np.nan)
    row |= {"release": release, "references": "matched", "attack": attack, "victim": victim, "suppressed": REFUSED}
    row |= {"variant": "online, pooled variance" if attack == "lira" else "", "sparsity": 0.0}
    row |= {"auc": auc, "auc_low": auc - 0.012, "auc_high": auc + 0.012, "advantage": auc - 0.5}
    row |= {f"balanced_accuracy{end}": auc - 0.04 + by for end, by in (("", 0), ("_low", -0.01), ("_high", 0.01))}
    for level in LEVELS[:2]:
        rate = level * (1 + 10 * (auc - 0.5)) + rng.uniform(0, 1e-4)
        row |= {f"{tpr_column(level)}{end}": rate * by for end, by in (("", 1), ("_low", 0.8), ("_high", 1.3))}
    row |= {f"{tpr_column(LEVELS[2])}{end}": np.nan for end in ("", "_low", "_high")}
    row |= {"num_victims": 16, "num_members": 1000.5, "num_nonmembers": 999.5, "num_unscored": 0}
    return row | {"train_accuracy": 0.98, "test_accuracy": 0.83} | more


def build_findings(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for step, (release, _, _) in enumerate(RELEASES):
        for index, attack in enumerate(ATTACKS):
            auc = 0.58 + 0.035 * index - (0.0, -0.01, 0.09)[step]
            rows.append(finding_row(rng, release, attack, "mean", auc))
            rows.append(
                finding_row(rng, release, attack, "pooled", auc - 0.01, num_members=16008, num_nonmembers=15992)
            )
            rows += [finding_row(rng, release, attack, str(victim), auc, num_victims=1) for victim in range(2)]
    return pd.DataFrame(rows)


def build_comparisons() -> pd.DataFrame:
    rows = []
    for release, baseline in (
        ("dense+finetune", "dense"),
        ("l1unstructured-0.9", "dense"),
        ("l1unstructured-0.9", "dense+finetune"),
    ):
        common = {"release": release, "baseline": baseline, "references": "matched", "num_victims": 16}
        change = 0.004 if release == "dense+finetune" else -0.1
        for attack in ATTACKS:
            for metric in FINDING_METRICS:
                limits = {"difference": change, "low": change - 0.02, "high": change + 0.02}
                rows.append({**common, "attack": attack, "metric": metric, **limits})
        limits = {"difference": -0.031, "low": -0.036, "high": -0.026}
        rows.append({**common, "references": "", "attack": "", "metric": "test_accuracy", **limits})
    return pd.DataFrame(rows)[list(COMPARISON_COLUMNS)]


def build_releases() -> pd.DataFrame:
    rows = []
    for name, pruner, sparsity in RELEASES:
        accuracy = 0.834 - 0.05 * sparsity
        row: dict[str, Any] = dict.fromkeys(RELEASE_COLUMNS, np.nan)
        row |= {"release": name, "compress": pruner, "origin": "own-dense", "sparsity": sparsity, "parameters": 61706}
        row |= {"nonzero_parameters": round(61706 * (1 - sparsity)), "test_accuracy_before": 0.834}
        for part, value in (("train_accuracy", 0.981), ("test_accuracy", accuracy)):
            row |= {part: value, f"{part}_low": value - 0.004, f"{part}_high": value + 0.004}
        if name != "dense":
            row |= {"test_accuracy_after_finetuning": accuracy}
        if pruner:
            row |= {"test_accuracy_after_pruning": 0.41}
        rows.append(row)
    return pd.DataFrame(rows)


def build_curves() -> pd.DataFrame:
    fpr = np.logspace(-4, 0, 41)
    power = {"loss": 0.8, "confidence": 0.75, "entropy": 0.72, "modified_entropy": 0.7, "lira": 0.5, "rmia": 0.48}
    parts = [
        pd.DataFrame(
            {"release": name, "references": "matched", "attack": attack, "fpr": fpr, "tpr": fpr ** (power[attack] + by)}
        )
        for by, (name, _, _) in zip((0.0, -0.02, 0.2), RELEASES, strict=True)
        for attack in ATTACKS
    ]
    return pd.concat(parts, ignore_index=True)[list(CURVE_COLUMNS)]


def build_about() -> dict[str, Any]:
    attacks = [{"name": attack, "options": {}} for attack in ATTACKS]
    return {
        "name": "fashion",
        "description": "What pruning to 90% changes.",
        "demonstration": False,
        "study": {"name": "fashion", "audit": {"attacks": attacks}},
        "primary": {"attack": "lira", "num_references": 127, "floored": False},
        "protocol": "pooled",
        "num_models": 128,
        "seeds": {"study": 0},
        "audit_data": {
            "name": "fashion_mnist_5k",
            "num_samples": 2000,
            "num_holdout": 500,
            "num_classes": 10,
            "sha256": "ab" * 32,
        },
        "versions": {"pruneaudit": "0.1.0", "torch": "2.9.0", "numpy": "2.4.0", "python": "3.12.3"},
        "device": "cpu",
        "command": "pruneaudit run fashion.toml --set seed=0",
        "created": "2026-01-02T03:04:05+00:00",
        "warnings": ["versions differ from the first run"],
        "failures": [],
    }


def build_parts() -> dict[str, Any]:
    return {
        "findings": build_findings(np.random.default_rng(0)),
        "comparisons": build_comparisons(),
        "releases": build_releases(),
        "curves": build_curves(),
        "about": build_about(),
    }


@pytest.fixture(scope="session")
def make_results() -> Callable[..., Results]:
    """Builds results; `edit` gets the parts as a dict and may change them before they are joined."""
    unchanged = Results(**build_parts())

    def build(edit: Callable[[dict[str, Any]], None] | None = None) -> Results:
        if edit is None:
            return copy.deepcopy(unchanged)
        parts = build_parts()
        edit(parts)
        return Results(**parts)

    return build


@pytest.fixture(scope="session")
def check_command() -> Callable[[str], None]:
    """Fails where a line of a page is no command, or one of its words goes to no option; runs nothing."""
    from pruneaudit.cli import _usual_form, app

    root: Any = built(app)

    def check(line: str) -> None:
        program, *words = shlex.split(line, comments=True)
        assert program == "pruneaudit"
        found, context = root, None
        while hasattr(found, "commands"):
            context = found.context_class(found, info_name=found.name, parent=context)
            name, *words = words
            found = found.commands[name]
        arguments = [_usual_form(word) for word in words]
        made = found.make_context(found.name, arguments, parent=context)
        shown = f"{made.params} {made.meta}"  # budgets of `check` lie in meta
        assert [word for word in words if not word.startswith("-") and word.removeprefix("./") not in shown] == []

    return check


@pytest.fixture
def results(make_results: Callable[..., Results]) -> Results:
    return make_results()


TINY = {
    "name": "tiny",
    "data": {"source": "digits", "num_samples": 160},
    "membership": {"num_models": 4},
    "model": {"name": "mlp", "options": {"hidden": [8]}},
    "training": {"epochs": 1, "batch_size": 32},
    "releases": [{"compress": "l1unstructured", "sparsity": 0.5}],
    "audit": {"attacks": ["loss", "lira"], "fpr_levels": [0.2]},
}


@pytest.fixture(scope="session")
def tiny_study() -> Callable[..., Any]:
    """A function from changed top-level settings to a study of four tiny networks, trained for one epoch."""
    from pruneaudit.study import Study

    return lambda **changes: Study.model_validate(TINY | changes)


@pytest.fixture(scope="session")
def tiny_run(tiny_study: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The finished run of that study; nothing may change its folder."""
    from pruneaudit.api import Runtime, run

    return run(tiny_study(), tmp_path_factory.mktemp("tiny"), Runtime("serial"))


@pytest.fixture
def tiny_copy(tiny_run: Any, tmp_path: Path) -> Path:
    """A copy of its folder, to do harm to: the run `tiny` of `tmp_path`."""
    return Path(shutil.copytree(tiny_run.folder, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def make_net() -> Callable[..., Any]:
    """Builds a small network for images (1, 8, 8) of 3 classes; the same seed gives the same weights."""
    import torch  # most tests need none

    from pruneaudit.models import build_model

    def build(name: str = "tinycnn", seed: int = 0, **options: Any) -> Any:
        chosen = options or ({"width": 4} if name == "tinycnn" else {"hidden": [8]})
        return build_model(name, chosen, (1, 8, 8), 3, torch.Generator().manual_seed(seed))

    return build


def pytest_collectstart() -> None:
    """Modules and tests stay to the end: to look for garbage among them is a quarter of the time to collect them."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Times of networks and of training steps are measured briefly: few tests ask how long anything takes.

    Tests of the measurements themselves set the usual numbers of rounds.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    if "torch" in sys.modules:  # tests without networks need not import it
        from pruneaudit.engine import probe, release_timing

        release_timing.MOST_ROUNDS, probe.MAX_ROUNDS = 5, 2


@pytest.fixture(autouse=True)
def gradients_stay_on() -> Iterator[None]:
    """What switches gradients off, by a generator that is never finished say, is named by the test that did it."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        was_on = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        torch.set_grad_enabled(True)
        assert was_on, "gradients are off after this test"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks are faster on one thread, and on a busy machine by far."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def interruptible():
    """SIGINT does here, and in the processes that a test starts, what Ctrl-C does in a terminal.

    A shell without job control starts what runs in its background with SIGINT ignored, and children inherit that.
    """
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.fixture
def call() -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process: (exit code, standard output, standard error)."""
    return called
