"""Every compressor in one study: the same under every executor, after kills, and without a leak where there is none."""

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest

from killed_runs import Driver
from pruneaudit.api import Runtime, run, verify
from pruneaudit.attacks import ATTACKS
from pruneaudit.compression import COMPRESSORS
from pruneaudit.evaluation.attack_setting import AttackSetting, bank_settings
from pruneaudit.evaluation.measure import play
from pruneaudit.evaluation.sanity_check import redrawn_setting
from pruneaudit.metrics import auc_influence, two_way
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Plugin
from pruneaudit.study.lineage import plugin_options
from run_bytes import reproducible_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc"),
]
NUM_KILLS = 16
TUNED = {"finetune": {"epochs": 2, "learning_rate": 0.02}}
SMALL = {"name": "tinycnn", "options": {"width": 2}}
ONE_SHOT = [
    *("l1unstructured:sparsity=0.7", "random:sparsity=0.5", "lamp:sparsity=0.7", "wanda:sparsity=0.5"),
    *("sparsegpt:sparsity=0.5", "obc:sparsity=0.5", "nm:pattern=2:4", "svd:fraction=0.5", "static8"),
    *("rtn:bits=4", "rtn:bits=ternary", "gptq:bits=3", "kmeans:clusters=8"),
]
TRAINED = [
    *("static:sparsity=0.7", "dpf:sparsity=0.7", "gradual:sparsity=0.7", "iterative:sparsity=0.7"),
    *("rigl:sparsity=0.7:period_steps=3", "snip:sparsity=0.7", "synflow:sparsity=0.7", "qat:bits=4"),
    *("l1structured:sparsity=0.4", "l2structured:sparsity=0.4", "slim:sparsity=0.4"),
    *("gptq:bits=4:data=members", "deep-compression:sparsity=0.5"),
]
RELEASES = [
    *({"compress": method} for method in ONE_SHOT),
    *({"compress": method, **TUNED} for method in TRAINED),
    {"compress": "distil", "data": ["members", "members-soft", "public", "mixed"], "model": SMALL, **TUNED},
    {"name": "chain", "compress": ["l1unstructured:sparsity=0.5", "rtn:bits=4"], **TUNED},
    {"name": "students-child", "parent": "distil-members", "compress": "kmeans:clusters=4", **TUNED},
]
OF_TRANSFORMERS = {"heads", "ffn"}
"""Those of test_transformer_releases.py."""
ATTACKS_PLAYED = ("loss", "lira", "rmia", "family", "back_front", "pair_lr", "pair_rf:trees=30", "pair_nn:epochs=3")
FAMILY_ERROR = 0.001
"""Probability that a sound bank fails the null test."""


@pytest.fixture(scope="module")
def study(make_study):
    return make_study(
        data={"source": "digits", "num_samples": 300, "num_holdout": 120, "num_public": 100},
        membership={"num_models": 4},
        model={"name": "tinycnn", "options": {"width": 4}},
        training={"epochs": 3, "batch_size": 16},
        releases=RELEASES,
        audit={"attacks": ["loss", "lira"]},
    )


@pytest.fixture(scope="module")
def calm(study, tmp_path_factory):
    finished = run(study, tmp_path_factory.mktemp("calm"), runtime=Runtime("serial"))
    assert not finished.failures
    return finished.folder


def test_every_compressor_takes_part(study):
    compressors = {plugin.name for release in study.releases for plugin in release.compress}
    assert compressors == set(COMPRESSORS.names()) - OF_TRANSFORMERS


def test_processes_find_the_same_to_the_byte(study, calm, tmp_path):
    finished = run(study, tmp_path, runtime=Runtime(jobs=2))
    assert not finished.failures
    assert reproducible_bytes(finished.folder) == reproducible_bytes(calm)


def test_after_kills_it_finds_the_same_to_the_byte(study, calm, tmp_path):
    rng = random.Random(20261129)
    study_file = tmp_path / "study.json"
    study_file.write_text(study.model_dump_json())
    num_kills, code = 0, None
    while code != 0:
        driver = Driver(tmp_path, study_file, tmp_path / "storm")
        while (code := driver.code_within(rng.uniform(1, 6) if num_kills < NUM_KILLS else 900)) is None:
            num_kills += 1
            if num_kills % 2 or not driver.workers():
                driver.kill()
                break
            os.kill(rng.choice(driver.workers()), signal.SIGKILL)
    assert num_kills >= NUM_KILLS // 2  # a run can end before the next kill
    folder = tmp_path / "storm" / "small"
    assert reproducible_bytes(folder) == reproducible_bytes(calm)
    assert {part.state for part in verify(folder)} == {"whole"}


def test_with_membership_redrawn_no_attack_finds_anything_under_any_compressor(calm):
    held = RunFolder.open(calm)
    plan, audit_data = held.finished()
    signals = {name: held.signals(plan, audit_data, name) for name in plan.releases}
    settings = bank_settings(signals, ("matched", "dense"))
    alpha = FAMILY_ERROR / len(settings) / len(ATTACKS_PLAYED)
    plugins = {label: Plugin.model_validate(label) for label in ATTACKS_PLAYED}
    attacks = {
        label: ATTACKS.get(plugin.name)(plugin_options(ATTACKS, plugin, "test")) for label, plugin in plugins.items()
    }
    found = []
    for setting in settings:
        nothing = redrawn_setting(setting.attack_input, 5)
        given = AttackSetting(setting.release, setting.references, nothing)
        for label in ATTACKS_PLAYED:
            attack = attacks[label]
            if "two releases" in attack.needs and min(len(nothing.releases), len(nothing.references)) < 2:
                continue
            scores = play(attack, label, given, 3).victims
            member = nothing.attacked.member[nothing.victims]
            auc = two_way(*auc_influence(scores, member), alpha=alpha)
            found.append((setting.release, label, auc))
    assert len(found) > 2 * len(RELEASES)
    wrong = [(release, label, auc.value) for release, label, auc in found if not auc.low <= 0.5 <= auc.high]
    assert not wrong
    assert abs(np.mean([auc.value for *_, auc in found]) - 0.5) < 0.02
