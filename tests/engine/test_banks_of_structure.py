"""Really trained banks: masks leak where networks share a start, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

import pruneaudit
from pruneaudit.api import Runtime, run
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.engine.assemble import study_settings
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study.recipes import load_recipe

FILTER, SALIENCY, ALONE = "mask_filter", "mask_saliency", "mask_saliency:rate=density"
PRUNED = "l1unstructured-0.8"
AT_START = "static-0.8-start=init"
SMALL = (
    "data={source='digits', num_samples=200, num_holdout=100}",
    "membership.num_models=64",
    "releases=[{compress='l1unstructured:sparsity=0.8'}, {compress='static:start=init', sparsity=0.8}]",
)
"""The recipe on 64 pixels: seconds instead of minutes."""
PRUNED_ALONE = "releases=[{compress='l1unstructured:sparsity=0.8'}]"


def bank(out, *changes):
    return run(load_recipe("structure", [*SMALL, *changes]), out, runtime=Runtime(jobs=2))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return bank(tmp_path_factory.mktemp("shared"))


def figures(audited, release):
    """AUC and its two-way interval by attack: the mean over victims."""
    means = audited.findings.query("victim == 'mean' and release == @release").set_index("attack")
    return {attack: tuple(row) for attack, row in means[["auc", "auc_low", "auc_high"]].iterrows()}


@pytest.mark.slow
def test_masks_after_training_from_one_start_leak(shared):
    found = figures(shared.audit, PRUNED)
    assert all(found[attack][1] > 0.5 for attack in (FILTER, SALIENCY, ALONE)), found
    assert found[SALIENCY][0] > found[ALONE][0] + 0.03  # what all masks have in common hides it
    assert found[SALIENCY][0] > found[FILTER][0]


@pytest.mark.slow
def test_masks_before_training_say_nothing(shared):
    found = figures(shared.audit, AT_START)
    assert found[FILTER] == found[SALIENCY] == (0.5, 0.5, 0.5)  # the same mask for all
    value, low, high = found[ALONE]  # a score per sample, the same for all models
    assert low < 0.5 < high and abs(value - 0.5) < 0.02
    assert found["rmia"][1] > 0.55  # outputs of the same networks do leak


@pytest.mark.slow
def test_coins_in_place_of_membership_find_nothing(shared):
    folder = RunFolder.open(shared.folder)
    plan, audit_data = folder.finished()
    settings = {setting.release: setting for setting in study_settings(plan, folder.store, audit_data)}
    signals = settings[PRUNED].attack_input.attacked
    coins = numpy_generator(5, "fresh coins").random(signals.member.shape) < 0.5
    redrawn = replace(signals, member=coins & signals.scored)
    audited = pruneaudit.audit({PRUNED: redrawn}, attacks=[FILTER, SALIENCY, ALONE], fpr_levels=[0.1])
    for attack, (value, low, high) in figures(audited, PRUNED).items():
        assert low < 0.5 < high and abs(value - 0.5) < 0.02, attack


@pytest.mark.slow
def test_own_starts_hide_it(tmp_path):
    own = bank(tmp_path, PRUNED_ALONE, "training.init=own", f"audit.attacks=['loss', 'rmia', '{FILTER}']")
    found = figures(own.audit, PRUNED)
    value, low, high = found[FILTER]
    assert low < 0.5 < high and abs(value - 0.5) < 0.02
    assert found["rmia"][1] > 0.55


@pytest.mark.slow
def test_larger_training_sets_leak_less(shared, tmp_path):
    larger = bank(tmp_path, PRUNED_ALONE, "data.num_samples=1000")
    for attack in (FILTER, SALIENCY):
        assert figures(larger.audit, PRUNED)[attack][0] < figures(shared.audit, PRUNED)[attack][0] - 0.02


@pytest.mark.slow
def test_a_public_parent_is_a_start(tmp_path):
    public = bank(
        tmp_path,
        "name=public",
        "seed=9",
        "training.init=own",
        "releases=[]",
        "audit.attacks=['loss']",
        "membership.num_models=2",
    )
    parent = next(public.folder.glob("dense-*/model-000/model.safetensors"))
    tuned = bank(tmp_path, PRUNED_ALONE, f"training.init={parent}", "training.learning_rate=0.01")
    found = figures(tuned.audit, PRUNED)
    assert found[SALIENCY][1] > 0.5 and found[FILTER][1] > 0.5
    assert np.isfinite(found[ALONE][0])
