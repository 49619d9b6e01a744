"""A study with LAMP, SynFlow, RigL, SNIP, Wanda and ERK densities: exact sparsity on disk, and the samples seen."""

import json

import pandas as pd
import pytest

from pruneaudit.api import Runtime, run, verify
from pruneaudit.compression.densities import num_removed_in
from pruneaudit.compression.selection import num_removed
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import MASK_FILE, SUMMARY_FILE, WEIGHTS_FILE
from pruneaudit.defenses.dp import DOES_NOT_HOLD
from pruneaudit.runs.beginning import plan_study
from pruneaudit.study.parts import own_uses
from pruneaudit.training.checkpoint import load_tensors
from run_bytes import bytes_of

TUNED = {"finetune": {"epochs": 1, "learning_rate": 0.02}}
RELEASES = {
    "lamp-0.8": {"compress": "lamp", **TUNED},
    "wanda-0.8": {"compress": "wanda:num_samples=20"},
    "snip-0.8": {"compress": "snip:num_samples=20"},
    "snip-members": {"compress": "snip:data=members:num_samples=20"},
    "synflow-0.8": {"compress": "synflow"},
    "rigl-0.8": {"compress": "rigl:period_steps=2"},
    "static-erk": {"compress": "static:start=init:densities=erk"},
}
BY_LAYER = {"wanda-0.8"}
BY_ERK = {"rigl-0.8", "static-erk"}


def study_of(make_study, **changes):
    return make_study(
        membership={"num_models": 2},
        model={"name": "tinycnn", "options": {"width": 4}},
        training={"epochs": 2, "batch_size": 16},
        releases=[{"name": name, "sparsity": 0.8, **release} for name, release in RELEASES.items()],
        audit={"attacks": ["loss"]},
        **changes,
    )


@pytest.fixture(scope="module")
def finished(make_study, tmp_path_factory):
    return run(study_of(make_study), tmp_path_factory.mktemp("pruners"), runtime=Runtime("serial"))


def folders(finished, name):
    found = sorted(finished.folder.glob(f"{name}-????????/model-*"))
    assert len(found) == 2
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", RELEASES)
def test_masks_on_disk_have_exactly_the_asked_sparsity(name, finished):
    for folder in folders(finished, name):
        masks, weights = load_tensors(folder / MASK_FILE), load_tensors(folder / WEIGHTS_FILE)
        sizes = {key: mask.numel() for key, mask in masks.items()}
        gone = {key: int((~mask).sum()) for key, mask in masks.items()}
        if name in BY_LAYER:
            assert gone == {key: num_removed(size, 0.8) for key, size in sizes.items()}
        else:
            assert sum(gone.values()) == num_removed(sum(sizes.values()), 0.8)
        if name in BY_ERK:
            shapes = {key: weights[key].shape for key in sizes if key in weights}
            in_order = [
                "features.0.conv.weight",
                "features.1.conv.weight",
                "features.2.conv.weight",
                "classifier.weight",
            ]
            assert gone == num_removed_in({key: shapes[key] for key in in_order}, 0.8, "erk")
        assert all((weights[key][~mask] == 0).all() for key, mask in masks.items())
        summary = json.loads((folder / SUMMARY_FILE).read_text())
        assert summary["sparsity"] == sum(gone.values()) / sum(sizes.values())


@pytest.mark.slow
def test_every_release_is_whole_and_reported(finished):
    assert {part.state for part in verify(finished.folder)} == {"whole"}
    table = pd.read_csv(finished.folder / "releases.csv").set_index("release")
    assert set(RELEASES) <= set(table.index)
    assert (table.loc[list(RELEASES), "effective_bits"] < 0.25 * 32 + 2).all()


@pytest.mark.slow
def test_processes_give_the_same_bytes(make_study, finished, tmp_path):
    again = run(study_of(make_study), tmp_path, runtime=Runtime("processes", jobs=2))
    assert bytes_of(again.folder) == bytes_of(finished.folder)


def test_what_a_pruner_sees_leaves_the_nulls_and_is_part_of_its_identity(make_study):
    study = study_of(make_study)
    taken = {
        release.name: {use.what: use.num_samples for use in own_uses(study, release)} for release in study.releases
    }
    seen = {name: uses for name, uses in taken.items() if uses}
    assert seen == {"wanda-0.8": {"compressor 'wanda'": 20}, "snip-0.8": {"compressor 'snip'": 20}}
    plan, _ = plan_study(study)
    by_public, by_members = (plan.models(name)[0].artifact for name in ("snip-0.8", "snip-members"))
    assert by_public.identity != by_members.identity


@pytest.mark.slow
def test_a_private_training_under_a_mask_says_whether_members_chose_it(make_study, tmp_path):
    how = {"parent": "init", "sparsity": 0.8, "defense": "dp:noise_multiplier=1"}
    releases = {
        "by-public": "snip:num_samples=20",
        "by-members": "snip:data=members:num_samples=20",
        "moving": "rigl:period_steps=2",
        "free": "synflow:rounds=5",
    }
    study = make_study(
        membership={"num_models": 2},
        training={"epochs": 2, "batch_size": 16},
        releases=[{"name": name, "compress": compress, **how} for name, compress in releases.items()],
        audit={"attacks": ["loss"]},
    )
    folder = run(study, tmp_path, runtime=Runtime("serial")).folder
    entries = {entry["name"]: entry for entry in json.loads((folder / "release.json").read_text())["releases"]}
    for name in releases:
        (place,) = folder.glob(f"{name}-????????/model-000")
        summary = json.loads((place / SUMMARY_FILE).read_text())
        voided = entries[name]["defense_report"]["statement"].startswith(DOES_NOT_HOLD)
        assert voided == (name == "by-members")
        assert summary["sparsity"] == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        (["rigl:sparsity=0.5", "kmeans:clusters=4"], "'kmeans' cannot follow 'rigl': 'rigl' is finished only by"),
        (["rtn:bits=4", "lamp:sparsity=0.5"], "'lamp' cannot follow 'rtn'"),
        (["lamp:sparsity=0.5", "snip:sparsity=0.8"], "'snip' cannot follow 'lamp': 'snip' starts from new weights"),
        (["wanda:sparsity=0.5", "synflow:sparsity=0.8"], "'synflow' starts from new weights .* start=pretrained"),
        (["lamp:sparsity=0.5", "synflow:sparsity=0.8:start=pretrained", "rtn:bits=4"], ""),
        (["snip:sparsity=0.5", "kmeans:clusters=4"], ""),
    ],
)
def test_orders_that_undo_a_step_are_refused(chain, message, make_study):
    study = make_study(releases=[{"name": "chain", "compress": chain, "finetune": {"epochs": 1}}])
    if not message:
        plan_study(study)
        return
    with pytest.raises(UserError, match=message):
        plan_study(study)
