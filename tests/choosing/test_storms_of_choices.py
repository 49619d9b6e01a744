"""Kills at any moment of a choice: its certificate is that of an undisturbed one, byte for byte."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from killed_runs import CHOICE, Driver
from pruneaudit.study import Study
from run_bytes import bytes_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc"),
]
NUM_KILLS = 25
FILES = ("search.json", "certificate.json", "certificate.md", "certificate.html", "SHA256SUMS")
SPACE = [
    {"compress": "rtn", "bits": [2, 4, 8]},
    {"compress": "l1unstructured", "sparsity": [0.5, 0.9], "finetune": {"epochs": [2, 8]}},
    {"parent": "init", "finetune": {"epochs": [4, 12]}, "name": "early"},
]


@pytest.mark.parametrize("search", ["grid", "optuna"])
def test_kill_storm_of_a_choice(tmp_path, search):
    study = Study.model_validate(
        {
            "name": "small",
            "data": {"source": "digits", "num_samples": 300, "num_holdout": 500},
            "membership": {"num_models": 12},
            "model": {"name": "mlp", "options": {"hidden": [16]}},
            "training": {"epochs": 40, "batch_size": 16, "learning_rate": 0.02},
            "choose": {"space": SPACE, "rungs": [4], "search": search, "batch": 3, "budget": 8},
        }
    )
    file = tmp_path / "study.json"
    file.write_text(study.model_dump_json())

    def start(out):
        return Driver(tmp_path, file, out, CHOICE)

    began = time.monotonic()
    assert start(tmp_path / "calm").code_within(600) == 0
    length = time.monotonic() - began
    expected = bytes_of(tmp_path / "calm/small/choice", FILES)
    rng, kills, num_finished = random.Random(20261201), 0, 0
    while kills < NUM_KILLS:
        out = tmp_path / f"storm-{num_finished}"
        driver = start(out)
        while kills < NUM_KILLS:
            code = driver.code_within(rng.uniform(0.05, length))
            if code == 0:
                break
            assert code is None
            kills += 1
            workers = driver.workers()
            if kills % 2 and workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
            else:
                driver.kill()
                driver = start(out)
        assert driver.code_within(600) == 0
        assert bytes_of(out / "small/choice", FILES) == expected
        num_finished += 1
    print(f"\n{search}: {kills} kills, {num_finished} choices, {length:.0f} s undisturbed")
