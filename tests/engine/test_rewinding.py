"""A study that keeps early weights: lottery tickets rewind to those of their own dense network."""

import json

import pytest
import torch

from pruneaudit.api import Runtime, run, verify
from pruneaudit.api.upkeep import clean_run
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import EARLY_FILE, WEIGHTS_FILE
from pruneaudit.engine.scheduler import tasks_to_do
from pruneaudit.engine.store import Store
from pruneaudit.runs.beginning import plan_study
from pruneaudit.training.checkpoint import load_tensors
from run_bytes import bytes_of

TICKET = {"name": "ticket", "compress": "iterative:sparsity=0.6:rounds=2:rewind=early", "finetune": {"epochs": 1}}
FROZEN = {"name": "frozen", "compress": TICKET["compress"], "finetune": {"epochs": 1, "learning_rate": 1e-12}}
CHANNELS = {
    "name": "narrow",
    "compress": ["l1structured:sparsity=0.3", "iterative:sparsity=0.6:rounds=1:rewind=early"],
    "finetune": {"epochs": 1, "learning_rate": 1e-12},
}


@pytest.fixture(scope="module")
def make_early(make_study):
    """A study of two models of 3 epochs that keeps the weights of the first one."""

    def made(releases=(FROZEN,), keep_early=1, **changes):
        training = {"epochs": 3, "batch_size": 32} | ({"keep_early": keep_early} if keep_early else {})
        changes = {"membership": {"num_models": 2}, "audit": {"attacks": ["loss"]}} | changes
        return make_study(training=training, releases=list(releases), **changes)

    return made


@pytest.fixture(scope="module")
def finished(make_early, tmp_path_factory):
    return run(make_early([FROZEN, CHANNELS]), tmp_path_factory.mktemp("early"), runtime=Runtime("serial"))


def folders(folder, name):
    return sorted(folder.glob(f"{name}-????????/model-*"))


def test_a_ticket_is_the_early_network_under_its_mask(finished):
    for dense, ticket in zip(folders(finished.folder, "dense"), folders(finished.folder, "frozen"), strict=True):
        early, last, weights = (
            load_tensors(folder / file)
            for folder, file in ((dense, EARLY_FILE), (dense, WEIGHTS_FILE), (ticket, WEIGHTS_FILE))
        )
        assert any(not torch.equal(early[name], last[name]) for name in last)
        masks = load_tensors(ticket / "mask.safetensors")
        kept = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
        assert kept == pytest.approx(0.4, abs=1e-3)
        for name, weight in weights.items():  # a learning rate of 1e-12 leaves them where they are
            expected = early[name] * masks[name] if name in masks else early[name]
            assert torch.allclose(weight, expected, atol=1e-7), name


def test_a_chain_rewinds_the_channels_that_are_left(finished):
    for dense, narrow in zip(folders(finished.folder, "dense"), folders(finished.folder, "narrow"), strict=True):
        early, weights = load_tensors(dense / EARLY_FILE), load_tensors(narrow / WEIGHTS_FILE)
        assert weights["1.weight"].shape[0] < early["1.weight"].shape[0]
        rows = {tuple(row.tolist()) for row in early["1.bias"].view(-1, 1)}
        near = [min(abs(value - row[0]) for row in rows) for value in weights["1.bias"].tolist()]
        assert max(near) < 1e-7


def test_verify_sees_the_file_and_a_changed_one(finished, make_early, tmp_path):
    assert {part.state for part in verify(finished.folder)} == {"whole"}
    folder = run(make_early([]), tmp_path, runtime=Runtime("serial")).folder
    place = folders(folder, "dense")[1]
    assert EARLY_FILE in json.loads((place / "DONE").read_text())["files"]
    content = bytearray((place / EARLY_FILE).read_bytes())
    content[-1] ^= 1
    (place / EARLY_FILE).write_bytes(content)
    damaged = [part for part in verify(folder) if part.state == "damaged"]
    assert [(part.place, part.reason) for part in damaged] == [
        (place.relative_to(folder).as_posix(), f"{EARLY_FILE} has changed")
    ]


def test_clean_removes_early_weights_that_the_study_no_longer_keeps(make_early, tmp_path):
    folder = run(make_early([]), tmp_path, runtime=Runtime("serial")).folder
    assert clean_run(folder, dry_run=True) == []  # nothing of the study itself
    run(make_early([], keep_early=None), tmp_path, runtime=Runtime("serial"))
    assert len(list(folder.rglob(EARLY_FILE))) == 2
    clean_run(folder)
    assert not list(folder.rglob(EARLY_FILE))
    assert {part.state for part in verify(folder)} == {"whole"}


def test_only_the_dense_networks_know_of_it(make_early):
    releases = [{"name": "again", "parent": "init"}, {"name": "longer", "finetune": {"epochs": 1}}]
    plans = [plan_study(make_early(releases, keep_early=keep))[0] for keep in (1, None)]
    identities = [{task.name: task.artifact.identity for task in plan.tasks} for plan in plans]
    same = {name for name in identities[0] if identities[0][name] == identities[1][name]}
    assert {name for name in same if "signals" not in name} == {"release again model-000", "release again model-001"}
    files = {task.name: task.artifact.files for task in plans[0].tasks if EARLY_FILE in task.artifact.files}
    assert set(files) == {"train dense model-000", "train dense model-001"}
    assert not any(EARLY_FILE in task.artifact.files for task in plans[1].tasks)


def test_epochs_to_train_again_are_refused_beside_it(make_early, tmp_path):
    ticket = TICKET | {"compress": f"{TICKET['compress']}:early_epochs=2"}
    with pytest.raises(UserError, match=r"release 'ticket': early_epochs: got 2, .*training\.keep_early"):
        run(make_early([ticket]), tmp_path, runtime=Runtime("serial"))
    assert not list(tmp_path.rglob(WEIGHTS_FILE))  # before any training


@pytest.mark.slow
def test_dropped_weights_are_made_again_with_the_early_ones(make_early, tmp_path):
    expected = run(make_early([TICKET]), tmp_path / "kept", runtime=Runtime("serial")).folder
    dropping = make_early([], keep_weights=False)
    folder = run(dropping, tmp_path / "dropped", runtime=Runtime("serial")).folder
    assert {path.parent.name for path in folder.rglob(EARLY_FILE)} == {"model-000"}
    assert {part.state for part in verify(folder)} == {"whole"}
    more = make_early([TICKET], keep_weights=False)
    todo = [task.name for task in tasks_to_do(plan_study(more)[0], Store(folder))]
    assert [name for name in todo if "dense model" in name] == ["train dense model-001"]
    run(more, tmp_path / "dropped", runtime=Runtime("serial"))
    assert bytes_of(folder) == bytes_of(expected)


@pytest.mark.slow
def test_processes_give_the_same_bytes(make_early, finished, tmp_path):
    again = run(make_early([FROZEN, CHANNELS]), tmp_path, runtime=Runtime("processes", jobs=2))
    assert bytes_of(again.folder) == bytes_of(finished.folder)
