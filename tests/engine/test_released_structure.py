"""The structure that attacks read is that of the released networks, bit by bit at the same place in all of them."""

import json

import numpy as np
import pytest
import torch

from pruneaudit.api import Runtime, attack, run
from pruneaudit.compression.state import load_state, masks_in
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STRUCTURE_FILE, WEIGHTS_FILE
from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.assemble import study_settings
from pruneaudit.engine.plan import check_plugins, make_plan
from pruneaudit.engine.released_structure import released_structure
from pruneaudit.engine.store import Store
from pruneaudit.evaluation.attack_setting import setting_of
from pruneaudit.training.checkpoint import load_tensors

CHANNELS = "l1structured:sparsity=0.5:target=channels:scope=global"
MASK = "l1unstructured:sparsity=0.6"
NUM_MODELS = 4
RELEASES = [
    {"name": "masked", "compress": MASK},
    {"name": "masked-longer", "parent": "masked", "finetune": {"epochs": 1, "learning_rate": 0.02}},
    {"name": "smaller", "compress": CHANNELS},
    {"name": "both", "compress": [CHANNELS, MASK]},
    {"name": "rounded", "compress": "rtn", "bits": 8},
    {"name": "masked-then-rounded", "compress": [MASK, "rtn:bits=4"]},
    {"name": "at-start", "compress": "static:start=init:sparsity=0.6"},
]


@pytest.fixture(scope="module")
def study(make_study):
    return make_study(
        membership={"num_models": NUM_MODELS},
        model={"name": "mlp", "options": {"hidden": [16, 12]}},
        releases=RELEASES,
        audit={"attacks": ["loss", "mask_filter"], "references": ["matched", "dense"]},
    )


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    return run(study, tmp_path_factory.mktemp("runs"), runtime=Runtime("serial"))


@pytest.fixture(scope="module")
def parts(study, finished):
    audit_data = AuditData.load(next(finished.folder.glob("audit_data-*")))
    return make_plan(study, audit_data), Store(finished.folder), audit_data


def folders(finished, name):
    found = sorted(finished.folder.glob(f"{name}-????????/model-*"))
    assert len(found) == NUM_MODELS
    return found


def bits(parts, name):
    return np.asarray(released_structure(*parts, name))


@pytest.mark.parametrize("name", ["masked", "masked-longer", "masked-then-rounded", "at-start"])
def test_masks_are_those_of_the_released_networks(name, finished, parts):
    for row, folder in zip(bits(parts, name), folders(finished, name), strict=True):
        masks = masks_in(load_state(folder))
        np.testing.assert_array_equal(row, np.concatenate([masks[key].flatten().numpy() for key in sorted(masks)]))
        weights = load_tensors(folder / WEIGHTS_FILE)
        zeros = np.concatenate([(weights[key] != 0).flatten().numpy() for key in sorted(masks)])
        np.testing.assert_array_equal(row & zeros, zeros)  # a rounded weight that is kept can be 0


def test_channels_are_those_that_the_record_keeps(finished, parts):
    found = bits(parts, "smaller")
    records = [json.loads((folder / STRUCTURE_FILE).read_text()) for folder in folders(finished, "smaller")]
    names = {name for record in records for name, _ in record["removed"]}
    dense = load_tensors(folders(finished, "dense")[0] / WEIGHTS_FILE)
    widths = {name: len(dense[f"{name}.weight"]) for name in sorted(names)}
    assert found.shape == (NUM_MODELS, sum(widths.values()))
    for row, record in zip(found, records, strict=True):
        removed = dict(record["removed"])
        expected = [n not in removed.get(name, ()) for name, width in widths.items() for n in range(width)]
        assert row.tolist() == expected


def test_masks_of_smaller_networks_are_put_where_the_weights_were(finished, parts):
    """Nothing is trained after the removal, so a kept weight has the value that it had in the dense network."""
    found, channels = bits(parts, "both"), bits(parts, "smaller")
    np.testing.assert_array_equal(found[:, : channels.shape[1]], channels)
    shapes = set()
    for row, small, dense in zip(found, folders(finished, "both"), folders(finished, "dense"), strict=True):
        masks, before = masks_in(load_state(small)), load_tensors(dense / WEIGHTS_FILE)
        after = load_tensors(small / WEIGHTS_FILE)
        shapes.add(tuple(mask.shape for mask in masks.values()))
        kept = [torch.isin(before[key], after[key][masks[key]]).flatten() for key in sorted(masks)]
        np.testing.assert_array_equal(row[channels.shape[1] :], torch.cat(kept).numpy())
    assert len(shapes) > 1  # models kept other numbers of channels, so the masks themselves could not be compared


def test_dense_and_rounded_networks_have_none(parts):
    assert released_structure(*parts, "dense") is None
    assert released_structure(*parts, "rounded") is None


def test_models_can_be_left_out(parts):
    found = released_structure(*parts, "masked", left_out=[1])
    np.testing.assert_array_equal(np.asarray(found), bits(parts, "masked")[[0, 2, 3]])


def test_the_attack_is_played_on_releases_with_structure_and_matched_references(finished, parts):
    played = finished.results.findings.query("attack == 'mask_filter'")
    assert set(played["release"]) == {*(release["name"] for release in RELEASES)} - {"rounded"}
    assert set(played["references"]) == {"matched"}
    assert len(set(finished.results.findings.query("attack == 'loss'")["references"])) == 2
    settings = study_settings(*parts)
    for name in ("masked", "both"):
        signals = setting_of(settings, name, "matched").attack_input.attacked
        np.testing.assert_array_equal(np.asarray(signals.structure), bits(parts, name))


def test_structure_is_read_only_if_an_attack_needs_it(study, parts, finished):
    changed = study.model_copy(update={"audit": study.audit.model_copy(update={"attacks": study.audit.attacks[:1]})})
    settings = study_settings(make_plan(changed, parts[2]), *parts[1:])
    assert all(setting.attack_input.attacked.structure is None for setting in settings)
    again = attack(finished.folder, ["mask_filter"], finished.folder.parent / "again")
    before = finished.results.findings.query("attack == 'mask_filter'")["auc"].tolist()
    assert again.results.findings["auc"].tolist() == before


def test_a_study_without_structure_is_refused_before_any_training(make_study):
    with pytest.raises(UserError, match="'mask_filter' needs a release with masks") as refused:
        check_plugins(make_study(releases=[{"compress": "rtn", "bits": 4}], audit={"attacks": ["mask_filter"]}))
    assert "\n" not in str(refused.value)
    check_plugins(make_study(releases=[{"compress": "rtn", "bits": 4}], audit={"attacks": ["scores"]}))
    check_plugins(make_study(releases=[{"compress": CHANNELS}], audit={"attacks": ["mask_filter"]}))


def test_a_users_network_is_never_built_for_it(make_study, network_of_files, tmp_path, monkeypatch):
    """A run folder may be a stranger's: its functions are not called where structure is read."""
    target, _ = network_of_files
    study = make_study(
        membership={"num_models": 2},
        model={"name": "factory", "options": {"target": target}},
        releases=[{"name": "both", "compress": [CHANNELS, MASK]}],
        audit={"attacks": ["mask_filter"]},
    )
    finished = run(study, tmp_path, runtime=Runtime("serial"))
    assert set(finished.results.findings["attack"]) == {"mask_filter"}
    monkeypatch.setattr(f"{target.partition(':')[0]}.build", lambda *_: pytest.fail("it was called"))
    audit_data = AuditData.load(next(finished.folder.glob("audit_data-*")))
    found = np.asarray(released_structure(make_plan(study, audit_data), Store(finished.folder), audit_data, "both"))
    for row, folder in zip(found, sorted(finished.folder.glob("both-????????/model-*")), strict=True):
        removed = dict(json.loads((folder / STRUCTURE_FILE).read_text())["removed"])["1"]
        assert np.flatnonzero(~row[: max(removed) + 1]).tolist() == removed
