import csv
import math
import os

import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.engine.progress import Silent
from pruneaudit.study import Study
from pruneaudit.tracking import tracker

TINY = {
    "name": "tiny",
    "seed": 5,
    "data": {"source": "digits", "num_samples": 120, "num_holdout": 20},
    "membership": {"num_models": 2},
    "model": {"name": "mlp", "options": {"hidden": [8]}},
    "training": {"epochs": 3, "batch_size": 32},
    "releases": [
        {"compress": "l1unstructured", "sparsity": 0.5, "finetune": {"epochs": 2, "learning_rate": 0.02}},
        {"name": "tuned", "finetune": {"epochs": 2, "learning_rate": 0.02}},
    ],
    "audit": {"attacks": ["loss", "entropy:thresholds=per_class"], "references": ["matched"]},
}


class Watcher(Silent):
    """Keeps what a run says and warns of."""

    def __init__(self):
        self.said, self.warned = [], []

    def say(self, message):
        self.said.append(message)

    def warn(self, message):
        self.warned.append(message)


def as_is(monkeypatch, home):
    """No account, no settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    as_is(monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def tiny():
    return Study.model_validate(TINY)


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture(scope="session")
def untracked(tiny, tmp_path_factory):
    """The folder of a run without trackers."""
    return run(tiny, out=tmp_path_factory.mktemp("untracked"), runtime=Runtime(executor="serial")).folder


@pytest.fixture(scope="session")
def tracked(tiny, tmp_path_factory):
    """The folder of a run with all trackers, and what it said and warned of."""
    home, watcher = tmp_path_factory.mktemp("home"), Watcher()
    with pytest.MonkeyPatch.context() as monkeypatch:
        as_is(monkeypatch, home)
        trackers = [tracker("wandb", tags=["a", "b"]), tracker("mlflow"), tracker("tensorboard")]
        out = tmp_path_factory.mktemp("tracked")
        finished = run(tiny, out=out, runtime=Runtime(executor="serial", progress=watcher, trackers=trackers))
        yield finished.folder, watcher
        import wandb

        wandb.teardown()


@pytest.fixture(scope="session")
def expected_curves(tracked):
    """(name, epoch) -> value, from every history.csv of the run."""
    expected = {}
    for path in tracked[0].glob("*/model-*/history.csv"):
        release = path.parent.parent.name.rpartition("-")[0]
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                epoch = int(row.pop("epoch"))
                expected |= {(f"{release}/{path.parent.name}/{key}", epoch): float(row[key]) for key in row}
    assert len(expected) == 2 * (3 + 2 + 2) * 2  # models x epochs, with the baseline's, x (loss, learning rate)
    return expected


@pytest.fixture(scope="session")
def expected_findings(tracked):
    """name -> value, from the rows of findings.csv that are means over victims."""
    expected = {}
    with (tracked[0] / "findings.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["victim"] == "mean"]
    assert len(rows) == 6  # releases x attacks
    for row in rows:
        which = "/".join(row.pop(key).replace("=", "_") for key in ("release", "references", "attack"))
        for text in ("variant", "victim", "suppressed"):
            del row[text]
        values = {key.replace("%", "pct"): float(cell) for key, cell in row.items() if cell}
        expected |= {f"findings/{which}/{key}": value for key, value in values.items() if math.isfinite(value)}
    assert "findings/l1unstructured-0.5/matched/entropy:thresholds_per_class/auc_low" in expected
    return expected
