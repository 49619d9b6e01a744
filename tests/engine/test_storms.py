"""Storms: kills and flipped bits by the dozen, after which every finding is the one of an undisturbed run.

Each prints what it measured (`pytest -m slow -s tests/engine/test_storms.py`); docs/reliability.md quotes it.
"""

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from killed_runs import Driver
from pruneaudit.api import Runtime, run, verify
from pruneaudit.core.errors import UserError
from pruneaudit.engine.retries import MAX_ATTEMPTS
from run_bytes import reproducible_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc"),
]

NUM_KILLS = 50
NUM_FLIPS = 100
NEITHER_SEALED_NOR_READ = {"run.log", ".lock"}


@pytest.fixture
def storm_study(make_study):
    """Five models whose trainings last long enough to be hit, those of rounded and clustered networks too."""
    tuned = {"finetune": {"epochs": 20, "learning_rate": 0.02}}
    compressed = [
        {"compress": "rtn:bits=4", **tuned},
        {"compress": "kmeans:clusters=8", **tuned},
        {"compress": ["l1unstructured:sparsity=0.7", "rtn:bits=4"], **tuned},
    ]
    releases = [*make_study().model_dump()["releases"], *compressed]
    training = {"epochs": 80, "batch_size": 16}
    return make_study(membership={"num_models": 5}, training=training, releases=releases)


@pytest.fixture
def start(storm_study, tmp_path):
    """Starts a run of the study into a folder."""
    study_file = tmp_path / "study.json"
    study_file.write_text(storm_study.model_dump_json())
    return lambda out: Driver(tmp_path, study_file, out)


def test_kill_storm(storm_study, start, tmp_path):
    rng = random.Random(20261122)
    began = time.monotonic()
    assert start(tmp_path / "calm").code_within(300) == 0
    length = time.monotonic() - began
    expected = reproducible_bytes(tmp_path / "calm" / "small")
    kills, recoveries, endings, num_finished = Counter(), [], [], 0

    def harass(driver):
        """Kills the driver or its workers until it ends; its exit code."""
        num_deaths = 0
        while kills.total() < NUM_KILLS:
            code = driver.code_within(rng.uniform(0.05, length))
            if code is not None:
                assert code == 0 or num_deaths >= MAX_ATTEMPTS  # a task is given up after so many deaths
                return code
            if kills["driver"] <= kills["worker"]:
                kills["driver"] += 1
                endings.append(driver.kill())
                return -signal.SIGKILL
            workers = driver.workers()
            if workers:
                num_deaths += 1
                kills["worker"] += 1
                os.kill(rng.choice(workers), signal.SIGKILL)
        code = driver.code_within(300)
        assert code == 0 or num_deaths >= MAX_ATTEMPTS
        return code

    while kills.total() < NUM_KILLS:
        out = tmp_path / f"storm-{num_finished}"
        num_starts, code = 0, None
        while code != 0:
            driver = start(out)
            code = harass(driver)
            if num_starts and driver.recovery_seconds is not None:
                recoveries.append(driver.recovery_seconds)
            num_starts += 1
        num_finished += 1
        assert reproducible_bytes(out / "small") == expected
        assert {part.state for part in verify(out / "small")} == {"whole"}
        assert not any((out / "small" / ".checkpoints").iterdir())
    assert min(kills["driver"], kills["worker"]) >= NUM_KILLS // 2
    print(
        f"\nkill storm: {dict(kills)} kills over {num_finished} finished runs in {time.monotonic() - began:.0f} s; "
        f"undisturbed {length:.1f} s; restart until the first new task is done: mean {np.mean(recoveries):.1f} s, "
        f"worst {max(recoveries):.1f} s, n = {len(recoveries)}; "
        f"workers gone {max(endings):.2f} s after their driver at the latest"
    )


def flip_a_bit(rng, folder):
    """Flips one bit of one file, each file being as likely; the file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "set-aside" not in path.parts)
    path = rng.choice([path for path in files if path.stat().st_size])
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return path


def is_noticed(folder):
    try:
        return any(part.state == "damaged" for part in verify(folder))
    except UserError as error:  # study.json says nothing that makes sense any more
        assert "study.json" in str(error)
        return True


def test_corruption_storm(make_study, tmp_path):
    rng = random.Random(20261122)
    releases = [*make_study().model_dump()["releases"][1:], {"compress": "rtn:bits=4"}]
    study = make_study(releases=releases)
    began = time.monotonic()
    calm = run(study, out=tmp_path / "calm", runtime=Runtime(executor="serial")).folder
    expected = reproducible_bytes(calm)
    folder = tmp_path / "storm" / "small"
    shutil.copytree(calm, folder)
    seconds, hit = [], Counter()
    for _ in range(NUM_FLIPS):
        path = flip_a_bit(rng, folder)
        harmless = path.name in NEITHER_SEALED_NOR_READ
        assert is_noticed(folder) != harmless, path
        hit["harmless" if harmless else "noticed"] += 1
        restarted = time.monotonic()
        again = run(study, out=tmp_path / "storm", runtime=Runtime(executor="serial"))
        seconds.append(time.monotonic() - restarted)
        assert reproducible_bytes(again.folder) == expected, path
        assert {part.state for part in verify(folder)} == {"whole"}
    print(
        f"\ncorruption storm: {NUM_FLIPS} flipped bits ({dict(hit)}) in {time.monotonic() - began:.0f} s; "
        f"rerun: mean {np.mean(seconds):.2f} s, worst {max(seconds):.2f} s"
    )
