"""Networks that start from the same weights: one draw for all models of a bank, or a file."""

import shutil

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pruneaudit.api import Runtime, run, verify
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import MASK_FILE, STRUCTURE_FILE, WEIGHTS_FILE
from pruneaudit.core.randomness import torch_generator
from pruneaudit.data.membership import read_membership, to_text
from pruneaudit.engine.task_context import TaskContext
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.models import build_model
from pruneaudit.runs.beginning import plan_study
from pruneaudit.study import Study
from pruneaudit.training.checkpoint import load_tensors, save_weights
from run_bytes import reproducible_bytes

SERIAL = Runtime(executor="serial")
FROZEN = {"epochs": 1, "learning_rate": 1e-6, "weight_decay": 0.0}
RELEASES = (
    {"name": "at-start", "compress": "static:start=init", "sparsity": 0.5, "finetune": FROZEN},
    {"name": "ticket", "compress": "iterative:sparsity=0.6:rounds=1:rewind=init", "finetune": FROZEN},
    {
        "name": "student",
        "compress": "distil:data=members",
        "model": {"name": "mlp", "options": {"hidden": [8]}},
        "finetune": FROZEN,
    },
)
"""The first two are the start itself under a mask; the third is another network."""


@pytest.fixture(scope="module")
def make_shared(make_study):
    def made(init="shared", releases=RELEASES, **changes):
        training = {"epochs": 2, "batch_size": 32, "init": str(init)} | changes.pop("training", {})
        changes = {"membership": {"num_models": 3}, "audit": {"attacks": ["loss"]}} | changes
        return make_study(training=training, releases=list(releases), **changes)

    return made


def network(seed=5, hidden=(16,)):
    generator = torch.Generator().manual_seed(seed)
    return build_model("mlp", {"hidden": list(hidden)}, (1, 8, 8), 10, generator)


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A public parent, as another program writes it."""
    place = tmp_path_factory.mktemp("public") / "parent.pt"
    torch.save({"epoch": 3, "state_dict": network().state_dict()}, place)
    return place


@pytest.fixture(scope="module")
def finished(make_shared, tmp_path_factory):
    return run(make_shared(), tmp_path_factory.mktemp("shared"), runtime=SERIAL)


@pytest.fixture(scope="module")
def from_file(make_shared, parent, tmp_path_factory):
    return run(make_shared(parent), tmp_path_factory.mktemp("file"), runtime=SERIAL)


def starts_of(folder, study, release="dense"):
    """The state dicts from which the models of a release start, as their tasks make them."""
    plan, audit_data = plan_study(study, folder=folder)
    splits = read_membership(folder, study.membership.num_models, len(audit_data.y))
    found = []
    for task in plan.models(release):
        places = {role: str(folder / artifact.folder) for role, artifact in task.inputs.items()}
        rows = to_text(splits, [task.model_id])
        context = TaskContext(TaskSpec(task.name, task.action, task.spec, places, staging="", membership=rows))
        found.append(context.initial_model().state_dict())
    return found


def are_equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def weights_of(folder, release, file=WEIGHTS_FILE):
    return [load_tensors(place / file) for place in sorted(folder.glob(f"{release}-????????/model-*"))]


def identities(study):
    return {task.name: task.artifact.identity for task in plan_study(study)[0].tasks}


def test_all_models_start_from_one_draw_and_are_trained_apart(finished, make_shared):
    first, *others = starts_of(finished.folder, make_shared())
    assert all(are_equal(first, other) for other in others)
    draws = torch_generator(3, seeds.INITIALISE)
    assert are_equal(first, build_model("mlp", {"hidden": [16]}, (1, 8, 8), 10, draws).state_dict())
    assert all(are_equal(first, other) for other in starts_of(finished.folder, make_shared(), "at-start"))
    trained = weights_of(finished.folder, "dense")
    assert not are_equal(trained[0], trained[1])
    with np.load(finished.folder / "membership.npz") as file:
        assert len(np.unique(file["member"], axis=0)) == 3


def test_own_starts_differ(make_shared, tmp_path):
    folder = run(make_shared("own", releases=()), tmp_path, runtime=SERIAL).folder
    starts = starts_of(folder, make_shared("own", releases=()))
    assert not any(are_equal(starts[0], other) for other in starts[1:])
    own = build_model("mlp", {"hidden": [16]}, (1, 8, 8), 10, torch_generator(3, seeds.INITIALISE, 1))
    assert are_equal(starts[1], own.state_dict())


def test_all_models_start_from_the_file(from_file, make_shared, parent):
    expected = network().state_dict()
    for release in ("dense", "at-start", "ticket"):
        assert all(are_equal(expected, start) for start in starts_of(from_file.folder, make_shared(parent), release))


@pytest.mark.parametrize("which", ["finished", "from_file"])
def test_a_mask_at_the_start_is_everybodys_and_a_ticket_goes_back_to_the_start(
    which, request, make_shared, parent, tmp_path
):
    folder = request.getfixturevalue(which).folder
    start = starts_of(folder, make_shared(parent if which == "from_file" else "shared"))[0]
    masks = weights_of(folder, "at-start", MASK_FILE)
    assert all(are_equal(masks[0], other) for other in masks[1:])
    tickets = weights_of(folder, "ticket", MASK_FILE)
    assert not are_equal(tickets[0], tickets[1])  # of the trained networks
    for release in ("at-start", "ticket"):
        kept = zip(weights_of(folder, release), weights_of(folder, release, MASK_FILE), strict=True)
        for weights, mask in kept:
            for name, value in weights.items():  # a learning rate of 1e-6 leaves them there
                expected = start[name] * mask[name] if name in mask else start[name]
                assert torch.allclose(value, expected, atol=1e-4), name


def test_another_network_than_the_files_starts_from_weights_of_its_own(from_file, finished, make_shared, parent):
    own = starts_of(from_file.folder, make_shared(parent), "student")
    assert not are_equal(own[0], own[1])
    shared = starts_of(finished.folder, make_shared(), "student")
    assert are_equal(shared[0], shared[1])


def test_each_start_has_an_identity(make_shared, parent, tmp_path):
    other = tmp_path / "other.pt"
    torch.save(network(seed=6).state_dict(), other)
    kinds = [identities(make_shared(init)) for init in ("own", "shared", parent, other)]
    for name in kinds[0]:
        is_other_network = "mlp-hidden" in name  # the student's baseline, which no file fits
        assert len({found[name] for found in kinds}) == (2 if is_other_network else 4), name
    assert any("mlp-hidden" in name for name in kinds[0])
    copy = tmp_path / "copy.pt"
    shutil.copy(parent, copy)
    assert identities(make_shared(copy)) == kinds[2]  # where the file lies does not matter


def test_the_default_is_left_out_of_identities(make_shared):
    given = make_shared("own", releases=())
    without = Study.model_validate(given.model_dump(exclude={"training": {"init", "init_key"}}))
    assert identities(given) == identities(without)
    assert "init" not in plan_study(given)[0].tasks[0].artifact.config


def test_the_scoring_bank_starts_there_too(make_shared, parent):
    defended = {"name": "wemem", "parent": "init", "defense": "wemem:scoring_models=4"}
    for init, role in (("shared", {"audit_data"}), (parent, {"audit_data", "start"})):
        plan = plan_study(make_shared(init, releases=[defended]))[0]
        scoring = plan.models("scoring")
        assert len(scoring) == 4 and all("init" in task.spec and set(task.inputs) == role for task in scoring)


def test_a_baseline_from_new_weights_is_the_dense_bank(make_shared):
    plan, _ = plan_study(make_shared(releases=[{"compress": "static:start=init", "sparsity": 0.5}]))
    assert plan.added == ()


def test_the_run_is_whole_and_needs_the_file_no_more(make_shared, parent, tmp_path):
    gone = tmp_path / "gone.pt"
    shutil.copy(parent, gone)
    study = make_shared(gone, releases=RELEASES[:1])
    folder = run(study, tmp_path, runtime=SERIAL).folder
    assert not [part for part in verify(folder) if part.state != "whole"]
    gone.unlink()
    moved = tmp_path / "elsewhere" / "small"
    shutil.copytree(folder, moved)
    assert run(study, moved.parent, runtime=SERIAL).num_tasks_done == 0
    more = study.changed(["membership.num_models=4"], "study")
    assert run(more, moved.parent, runtime=SERIAL).num_tasks_done > 0


def test_an_interrupted_run_goes_on_from_the_same_start(make_shared, from_file, parent, tmp_path):
    folder = tmp_path / "small"
    shutil.copytree(from_file.folder, folder)
    shutil.rmtree(next(folder.glob("dense-????????")) / "model-001")
    shutil.rmtree(next(folder.glob("at-start-????????")) / "model-000")
    (next(folder.glob("weights-????????")) / WEIGHTS_FILE).write_bytes(b"damaged")
    processes = Runtime(executor="processes", jobs=2)
    assert run(make_shared(parent), tmp_path, runtime=processes).num_tasks_done == 2
    assert reproducible_bytes(folder) == reproducible_bytes(from_file.folder)


# ------------------------------------------------------------------ what is refused, before any training


def refused(study, out):
    with pytest.raises(UserError) as caught:
        run(study, out, runtime=SERIAL)
    assert not list(out.glob("*/dense-*"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_file_of_weights_is_refused_by_name(make_shared, tmp_path):
    said = refused(make_shared("share"), tmp_path)
    assert "training.init" in said and "'shared'" in said and "own" in said
    (tmp_path / "notes.txt").write_text("no weights")
    assert "notes.txt" in refused(make_shared(tmp_path / "notes.txt"), tmp_path)


def test_a_file_of_another_network_is_refused(make_shared, tmp_path):
    torch.save(network(hidden=(32,)).state_dict(), tmp_path / "wide.pt")
    said = refused(make_shared(tmp_path / "wide.pt"), tmp_path)
    assert "wide.pt" in said and "[32, 64]" in said and "[16, 64]" in said


def test_a_broken_file_is_refused(make_shared, tmp_path):
    spoilt = network()
    torch.nn.init.constant_(spoilt[1].bias, float("nan"))
    torch.save(spoilt.state_dict(), tmp_path / "spoilt.pt")
    assert "1.bias" in refused(make_shared(tmp_path / "spoilt.pt"), tmp_path)
    huge = network()
    torch.nn.init.constant_(huge[1].weight[:8], 3e38)
    torch.nn.init.constant_(huge[1].weight[8:], -3e38)
    torch.save(huge.state_dict(), tmp_path / "huge.pt")
    assert "huge.pt" in refused(make_shared(tmp_path / "huge.pt"), tmp_path)


def test_code_in_a_file_is_not_run(make_shared, tmp_path):
    torch.save(network(), tmp_path / "whole.pt")  # a pickled module
    said = refused(make_shared(tmp_path / "whole.pt"), tmp_path)
    assert "torch.save(model.state_dict(), path)" in said


def test_a_file_of_a_smaller_architecture_is_refused(make_shared, tmp_path):
    save_weights(network(), tmp_path / "parent.safetensors")
    (tmp_path / f"parent.safetensors.{STRUCTURE_FILE}").write_text("{}")
    assert STRUCTURE_FILE in refused(make_shared(tmp_path / "parent.safetensors"), tmp_path)


def test_a_key_is_asked_for_where_several_fit_and_the_advice_works(make_shared, tmp_path):
    place = tmp_path / "two.pt"
    torch.save({"a": network(1).state_dict(), "b": network(2).state_dict()}, place)
    assert "training.init_key = a or b" in refused(make_shared(place, releases=()), tmp_path)
    keyed = make_shared(place, releases=(), training={"init_key": "b"})
    folder = run(keyed, tmp_path, runtime=SERIAL).folder
    assert are_equal(network(2).state_dict(), starts_of(folder, keyed)[0])
    assert identities(keyed) != identities(make_shared(place, releases=(), training={"init_key": "a"}))
    with pytest.raises(ValidationError, match=r"init_key = 'b'.*init = 'shared'"):
        make_shared("shared", training={"init_key": "b"})


# ------------------------------------------------------------------ a user's functions, and a target


CODE = """
import torch


def train(model, x, y, generator, device):
    model.seen = [parameter.detach().clone() for parameter in model.parameters()]
    assert float(sum(seen.abs().sum() for seen in model.seen)) > 0
    with torch.no_grad():  # what it has learned: one step aside
        for parameter in model.parameters():
            parameter += float(x.float().mean())


def build(input_shape, num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    (tmp_path / "functions_of_shared_starts.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return "functions_of_shared_starts"


def test_a_users_functions_get_the_shared_start(make_shared, functions, tmp_path):
    training = {"function": f"{functions}:train"}
    study = make_shared(model=f"{functions}:build", releases=(), training=training)
    folder = run(study, tmp_path, runtime=SERIAL).folder
    first, *others = starts_of(folder, study)
    assert all(are_equal(first, other) for other in others)
    for trained in weights_of(folder, "dense"):  # all weights moved by one number
        moved = torch.cat([(trained[name] - first[name]).flatten() for name in first])
        assert moved.std() < 1e-6 < moved.abs().min()


def test_the_references_of_a_target_start_from_its_file(make_study, parent, tmp_path):
    member = (np.arange(1797) % 4 == 0).astype(np.int8)
    np.save(tmp_path / "member.npy", member)
    torch.save(network(seed=9).state_dict(), tmp_path / "mine.pt")
    values = make_study(training={"epochs": 1, "init": str(parent)}, audit={"attacks": ["loss"]})
    values = values.model_dump(mode="json", exclude_unset=True, exclude={"membership": True, "releases": True})
    target = {"weights": str(tmp_path / "mine.pt"), "member": str(tmp_path / "member.npy"), "num_references": 2}
    study = Study.model_validate(values | {"data": {"source": "digits", "num_samples": 200}, "target": target})
    folder = run(study, tmp_path, runtime=SERIAL).folder
    assert all(are_equal(network().state_dict(), start) for start in starts_of(folder, study))
    own = load_tensors(next(folder.glob("dense-*/model-000")) / WEIGHTS_FILE)
    assert are_equal(own, network(seed=9).state_dict())
    with pytest.raises(ValidationError, match=r"training\.init: got 'shared' together with a target.*file"):
        Study.model_validate(values | {"target": target, "training": {"init": "shared"}})
