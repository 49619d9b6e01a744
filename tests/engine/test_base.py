"""A base: trained once on public samples, and the start of all models."""

import json
import shutil

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pruneaudit.api import Runtime, attack, run, verify
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SUMMARY_FILE, WEIGHTS_FILE
from pruneaudit.core.randomness import torch_generator
from pruneaudit.data.membership import read_membership, to_text
from pruneaudit.engine.task_context import TaskContext, public_split
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.models import build_model
from pruneaudit.models._head import head_of
from pruneaudit.runs.beginning import plan_study
from pruneaudit.study import Study
from pruneaudit.training.checkpoint import load_tensors, save_weights
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples
from run_bytes import reproducible_bytes

SERIAL = Runtime(executor="serial")
DATA = {"source": "digits", "num_samples": 200, "num_public": 300, "num_holdout": 40}
FROZEN = {"epochs": 1, "learning_rate": 1e-5, "weight_decay": 0.0}
RELEASES = (
    {"name": "anew", "parent": "init", "finetune": FROZEN},
    {"name": "small", "parent": "init", "model": "mlp:hidden=[8]", "finetune": FROZEN},
)


@pytest.fixture(scope="module")
def make_tuned(make_study):
    def made(base=None, releases=RELEASES, **changes):
        base = {"epochs": 8, "learning_rate": 0.1} | (base or {})
        changes = {"membership": {"num_models": 3}, "data": DATA, "audit": {"attacks": ["loss"]}} | changes
        changes["training"] = {"epochs": 1, "batch_size": 32, "learning_rate": 0.01} | changes.get("training", {})
        return make_study(base=base, releases=list(releases), **changes)

    return made


@pytest.fixture(scope="module")
def finished(make_tuned, tmp_path_factory):
    return run(make_tuned(), tmp_path_factory.mktemp("base"), runtime=SERIAL)


@pytest.fixture(scope="module")
def with_new_heads(make_tuned, tmp_path_factory):
    return run(make_tuned({"head": "new"}), tmp_path_factory.mktemp("heads"), runtime=SERIAL)


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


def base_of(folder):
    [place] = folder.glob("base-????????/model-*")
    return place


def identities(study):
    return {task.name: task.artifact.identity for task in plan_study(study)[0].tasks}


def test_it_is_trained_once_on_all_public_samples_and_on_nothing_else(finished, make_tuned):
    study = make_tuned()
    plan, audit_data = plan_study(study, folder=finished.folder)
    split = public_split(audit_data)
    assert (split.member == audit_data.public).all() and split.member.sum() == 300
    assert not (split.member & (audit_data.coined | audit_data.holdout)).any()
    draws = [torch_generator(study.seed, seeds.BASE, purpose, 0) for purpose in (seeds.INITIALISE, seeds.TRAINING)]
    network = build_model("mlp", {"hidden": [16]}, (1, 8, 8), 10, draws[0])
    train(network, Samples.of(audit_data, audit_data.public), study.base.training(study.training), draws[1])
    assert are_equal(load_tensors(base_of(finished.folder) / WEIGHTS_FILE), network.state_dict())
    [task] = plan.models("base")
    assert task.trains_base and task.name == "train base"
    assert set(task.inputs) == {"audit_data"}


def test_all_models_start_from_it(finished, make_tuned):
    base = load_tensors(base_of(finished.folder) / WEIGHTS_FILE)
    for release in ("dense", "anew"):
        assert all(are_equal(base, start) for start in starts_of(finished.folder, make_tuned(), release))
    other = starts_of(finished.folder, make_tuned(), "small")  # another network has no base
    assert not are_equal(other[0], other[1])
    trained = [load_tensors(place / WEIGHTS_FILE) for place in sorted(finished.folder.glob("dense-*/model-*"))]
    assert not are_equal(trained[0], trained[1]) and not are_equal(trained[0], base)


def test_new_heads_are_each_models_own_and_the_rest_is_the_bases(with_new_heads, make_tuned):
    study = make_tuned({"head": "new"})
    base = load_tensors(base_of(with_new_heads.folder) / WEIGHTS_FILE)
    starts = starts_of(with_new_heads.folder, study)
    head = head_of(build_model("mlp", {"hidden": [16]}, (1, 8, 8), 10, torch.Generator()), 10)
    assert head and set(head) < set(base)
    for model_id, start in enumerate(starts):
        draws = torch_generator(study.seed, seeds.INITIALISE, model_id)
        own = build_model("mlp", {"hidden": [16]}, (1, 8, 8), 10, draws).state_dict()
        for name, value in start.items():
            assert torch.equal(value, own[name] if name in head else base[name]), name
    weights = next(name for name in head if name.endswith("weight"))
    assert not torch.equal(starts[0][weights], starts[1][weights])


def test_the_report_says_what_it_was_trained_on_and_its_accuracy(finished):
    told = finished.results.about["release_report"]["base"]
    summary = json.loads((base_of(finished.folder) / SUMMARY_FILE).read_text())
    assert told["num_samples"] == 300 and told["epochs"] == 8 and told["head"] == "kept"
    assert told["test_accuracy"] == summary["test_accuracy"] > 0.6
    page = finished.report.read_text()
    assert "300 public samples" in page and f"{told['test_accuracy']:.1%}" in page and "costs no epsilon" in page


def test_it_is_part_of_identities(make_tuned, make_study):
    kept, new, longer = (identities(make_tuned(base)) for base in ({}, {"head": "new"}, {"epochs": 9}))
    without = identities(make_tuned().model_copy(update={"base": None}))
    assert kept["train base"] == new["train base"] != longer["train base"]
    for name in without:
        num_different = len({found[name] for found in (kept, new, longer, without)})
        assert num_different == (1 if "small" in name else 4), name  # another network has no base
    plain = make_study(data=DATA)
    dumped = plain.model_dump(mode="json")
    assert "base" not in dumped and Study.model_validate(make_tuned().model_dump(mode="json")) == make_tuned()


def test_public_samples_drawn_last_are_part_of_it(make_tuned):
    more = make_tuned(data=DATA | {"num_public": 310})
    first = make_tuned(data=DATA | {"num_public": 310, "drawn_first": "public"})
    assert identities(make_tuned())["train base"] != identities(more)["train base"]
    assert identities(first)["train base"] != identities(more)["train base"]


def test_a_damaged_base_is_made_again_with_the_same_bytes(finished, make_tuned, tmp_path):
    study = make_tuned()
    folder = tmp_path / "small"
    shutil.copytree(finished.folder, folder)
    (base_of(folder) / WEIGHTS_FILE).write_bytes(b"damaged")
    shutil.rmtree(next(folder.glob("dense-????????")) / "model-001")
    assert run(study, tmp_path, runtime=SERIAL).num_tasks_done == 2
    assert reproducible_bytes(folder) == reproducible_bytes(finished.folder)
    assert not [part for part in verify(folder) if part.state != "whole"]


def test_weights_that_are_not_kept_are_made_again(make_tuned, tmp_path):
    study = make_tuned(keep_weights=False, releases=RELEASES[:1])
    run(study, tmp_path, runtime=SERIAL)
    more = study.changed(["membership.num_models=4"], "study")
    assert run(more, tmp_path, runtime=SERIAL).num_tasks_done > 0


def test_a_file_can_be_the_start_of_the_base(make_tuned, tmp_path):
    start = build_model("mlp", {"hidden": [16]}, (1, 8, 8), 10, torch.Generator().manual_seed(8))
    save_weights(start, tmp_path / "public.safetensors")
    study = make_tuned(FROZEN, releases=(), training={"init": str(tmp_path / "public.safetensors")})
    folder = run(study, tmp_path, runtime=SERIAL).folder
    base = load_tensors(base_of(folder) / WEIGHTS_FILE)
    assert all(torch.allclose(base[name], value, atol=1e-3) for name, value in start.state_dict().items())
    assert all(are_equal(base, found) for found in starts_of(folder, study))
    assert identities(study)["train base"] != identities(make_tuned(FROZEN, releases=()))["train base"]


def test_it_counts_as_a_public_start_for_attacks_on_masks(make_tuned, tmp_path):
    masked = {"compress": "l1unstructured", "sparsity": 0.5}
    study = make_tuned(releases=[masked], audit={"attacks": ["loss", "mask_saliency"]})
    found = run(study, tmp_path, runtime=SERIAL)
    assert "mask_saliency" in set(found.audit.findings["attack"])
    assert np.isfinite(found.audit.findings.query("attack == 'mask_saliency'")["auc"]).any()
    with pytest.raises(UserError, match=r"base\.head"):
        plan_study(make_tuned({"head": "new"}, releases=[masked], audit={"attacks": ["mask_saliency"]}))
    again = attack(found.folder, ["loss"], tmp_path / "again")
    assert again.results.about["release_report"]["base"]["num_samples"] == 300


def test_tables_have_bases_too(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 6)).astype(np.float32), rng.integers(0, 2, 400)
    np.savez(tmp_path / "table.npz", x=x + y[:, None], y=y)
    source = f"npz:{tmp_path / 'table.npz'}"
    values = {"name": "table", "data": {"source": source, "num_samples": 100, "num_public": 150}}
    values |= {"model": "mlp:hidden=[8]", "membership": {"num_models": 2}, "base": {"epochs": 3}}
    values |= {"training": {"epochs": 1, "batch_size": 16}, "audit": {"attacks": ["loss"], "fpr_levels": [0.2]}}
    found = run(Study.model_validate(values), tmp_path, runtime=SERIAL)
    assert found.results.about["release_report"]["base"]["test_accuracy"] > 0.8


# ------------------------------------------------------------------ what is refused, before any training


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": DATA | {"num_public": 0}}, r"num_public above 0"),
        ({"training": {"init": "shared"}}, r"training\.init: got 'shared' together with a base"),
        ({"base": {"select": "best_dev"}}, r"base\.select"),
        ({"base": {"patience": 2}}, r"patience"),
        ({"base": {"head": "old"}}, r"'kept' or 'new'"),
    ],
)
def test_settings_that_do_not_go_with_it_are_refused(make_tuned, changes, said):
    with pytest.raises((ValidationError, UserError), match=said):
        make_tuned(**changes)


def test_a_target_did_not_start_from_it(make_tuned):
    values = make_tuned(releases=()).model_dump(mode="json", exclude_unset=True, exclude={"membership": True})
    with pytest.raises(ValidationError, match=r"base: got a base together with a target.*training\.init"):
        Study.model_validate(values | {"target": {"weights": "mine.pt", "member": "member.npy"}})


def test_its_name_is_reserved_only_beside_it(make_tuned, make_study):
    taken = [{"name": "base", "finetune": {"epochs": 1}}]
    with pytest.raises(UserError, match="named 'base'"):
        plan_study(make_tuned(releases=taken))
    plan_study(make_study(releases=taken))


def test_a_dev_set_that_the_base_has_learned_is_a_warning(make_tuned):
    assert any("best_dev" in note for note in make_tuned(training={"select": "best_dev"}).warnings())
    assert not any("best_dev" in note for note in make_tuned().warnings())
