"""`keep_weights = false`: the same findings from less disk, and what needs the weights later trains them again."""

import pytest

from pruneaudit.api import Runtime, run, verify
from pruneaudit.core.errors import UserError
from pruneaudit.engine.scheduler import tasks_to_do
from pruneaudit.engine.store import Store
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.folder import RunFolder
from run_bytes import bytes_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def make_small(make_study):
    """A study of four models, with the first `num_releases` of two releases."""

    def made(num_releases, **changes):
        releases = make_study().model_dump()["releases"][:num_releases]
        return make_study(releases=releases, audit={"attacks": ["loss"]}, **changes)

    return made


@pytest.fixture(scope="module")
def kept(make_small, tmp_path_factory):
    """The run that keeps everything."""
    return run(make_small(2), out=tmp_path_factory.mktemp("kept"), runtime=Runtime(executor="serial")).folder


def models_with_weights(folder):
    return {path.parent.name for path in folder.rglob("model.safetensors")}


def test_weights_go_and_come_back_and_findings_stay(make_small, kept, tmp_path):
    dropping = make_small(1, keep_weights=False)
    folder = run(dropping, out=tmp_path, runtime=Runtime(executor="serial")).folder
    assert models_with_weights(folder) == {"model-000"}  # what the report measures
    assert {part.state for part in verify(folder)} == {"whole"}
    assert run(dropping, out=tmp_path, runtime=Runtime(executor="serial")).num_tasks_done == 0

    plan, _ = RunFolder(folder).finished()
    assert RunFolder(folder).model(plan, "dense", 0)[0].model_id == 0
    with pytest.raises(UserError, match=r"model 2 of 'dense' were not kept.*model 0, or .*keep_weights=true"):
        RunFolder(folder).model(plan, "dense", 2)

    more = make_small(2, keep_weights=False)  # the further release starts from dense weights, three of which are gone
    todo = [task.name for task in tasks_to_do(plan_study(more)[0], Store(folder))]
    assert [name for name in todo if "dense model" in name] == [f"train dense model-00{m}" for m in (1, 2, 3)]
    assert run(more, out=tmp_path, runtime=Runtime(executor="serial")).num_tasks_done == len(todo) == 3 + 2 * 4
    assert models_with_weights(folder) == {"model-000"}
    assert bytes_of(folder) == bytes_of(kept)

    again = run(make_small(2), out=tmp_path, runtime=Runtime(executor="serial"))
    assert again.num_tasks_done == 3 * 3
    assert models_with_weights(folder) == {f"model-00{m}" for m in range(4)}
    for seal in kept.rglob("DONE"):
        assert (folder / seal.relative_to(kept)).read_bytes() == seal.read_bytes()


def test_what_is_kept_is_no_part_of_any_identity(make_small):
    plans = [plan_study(make_small(1, keep_weights=keep))[0] for keep in (True, False)]
    assert len({tuple(task.artifact.identity for task in plan.tasks) for plan in plans}) == 1


def test_a_kill_between_the_seal_and_the_file_leaves_a_whole_artifact(make_small, tmp_path):
    folder = run(make_small(0), out=tmp_path, runtime=Runtime(executor="serial")).folder
    plan, _ = RunFolder(folder).finished()
    store, artifact = Store(folder), plan.models("dense")[1].artifact
    weights = (store.path(artifact) / "model.safetensors").read_bytes()
    assert store.drop(artifact, "model.safetensors")
    assert store.status(artifact)[0] == "whole"
    (store.path(artifact) / "model.safetensors").write_bytes(weights)  # as if it had not gone yet
    assert store.status(artifact)[0] == "whole"
    assert store.drop(artifact, "model.safetensors")
    assert not store.drop(artifact, "model.safetensors")
