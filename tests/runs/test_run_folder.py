"""One door to a run on disk: what it gives, and what it refuses."""

import numpy as np
import pytest

from pruneaudit import api
from pruneaudit.core.errors import UserError
from pruneaudit.runs import RunFolder

RELEASE = "l1unstructured-0.5"


@pytest.fixture
def copied(tiny_copy):
    return RunFolder.open(tiny_copy)


def test_everything_that_a_run_holds_comes_through_one_door(tiny_run):
    run = RunFolder.open(tiny_run.folder)
    assert run.is_begun
    assert run.study.name == "tiny"
    plan, audit_data = run.finished()
    assert run.planned()[0] == plan
    membership = run.membership(run.study, audit_data)
    signals = run.signals(plan, audit_data, RELEASE, left_out={1})
    np.testing.assert_array_equal(signals.member, membership.member[[0, 2, 3]])
    np.testing.assert_array_equal(signals.labels, audit_data.y)
    task, folder = run.model(plan, RELEASE, 2)
    assert task.model_id == 2
    assert (folder / "model.safetensors").is_file()
    assert run.results().findings.equals(tiny_run.results.findings)
    assert set(run.problems().values()) == {""}


def test_a_folder_that_moved_is_read_alike(tiny_run, copied):
    plan, audit_data = copied.finished()
    here = RunFolder.open(tiny_run.folder).finished()
    assert plan == here[0]
    np.testing.assert_array_equal(audit_data.x, here[1].x)


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_what_is_no_run_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    assert not RunFolder(tmp_path / name).is_begun
    with pytest.raises(UserError, match=f"{name}: no study.json there"):
        RunFolder.open(tmp_path / name)
    with pytest.raises(UserError, match=r"such folder|contains no results"):
        RunFolder(tmp_path / name).results()


def test_a_model_that_is_not_there_is_refused_with_those_that_are(copied):
    plan, _ = copied.finished()
    for release, model_id, said in (("denes", 0, r"did you mean 'dense'"), ("dense", 4, r"there are: 0, 1, 2, 3")):
        with pytest.raises(UserError, match=said):
            copied.model(plan, release, model_id)


@pytest.mark.parametrize("name", ["findings.csv", "scores.parquet"])
def test_results_that_changed_are_refused(copied, name):
    (copied.path / name).write_bytes((copied.path / name).read_bytes() + b"\n")
    with pytest.raises(UserError, match=rf"{name} has changed since it was written"):
        copied.results()


def test_attacks_read_membership_and_draw_none(copied):
    file = copied.path / "membership.npz"
    with np.load(file) as arrays:
        content = dict(arrays)
    content["member"] = ~content["member"] & content["eligible"]
    np.savez_compressed(file, **content)
    with pytest.raises(UserError, match=r"membership\.npz has changed since it was written"):
        api.attack(copied.path, ["loss"])
    copied.seal()
    plan, audit_data = copied.finished()
    np.testing.assert_array_equal(copied.signals(plan, audit_data, "dense").member, content["member"])
