"""What surrounds the trainings of a large study does not grow with its models where it need not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def large_study(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("large_study")
    for name in ("large_study", "interleaved"):
        sys.modules.pop(name, None)


def test_a_dry_run_makes_as_many_networks_for_many_models_as_for_two(large_study, tmp_path):
    made = []
    for num_models in (2, 12):
        folder = tmp_path / str(num_models)
        folder.mkdir()
        large_study.write_study(folder, num_models, 200, "tinycnn")
        made.append(large_study.dry(folder))
    assert made == [3, 3]  # one each for the trials, the disk space and the timings


@pytest.mark.slow  # an audit of nine releases; the store and the dry run have fast tests
def test_every_step_works_and_simulated_artifacts_are_whole(large_study, tmp_path):
    large_study.write_study(tmp_path, 4, 400, "tinycnn")
    num_tasks = large_study.plan(tmp_path)
    assert num_tasks == 4 * 2 * 9
    assert large_study.fill(tmp_path) == num_tasks
    assert large_study.index(tmp_path) == 0
    assert large_study.dry(tmp_path) == 0  # all is made
    assert large_study.audit(tmp_path) > 9 * 3 * 4  # releases, attacks, and a row for each victim
    assert large_study.report(tmp_path) > 100_000
