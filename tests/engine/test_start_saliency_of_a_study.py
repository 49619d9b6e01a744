"""The query at public initial weights: where it is planned, what it computes, and that every executor agrees."""

import shutil
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from pruneaudit.api import Runtime, attack, run, verify
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import MASK_FILE
from pruneaudit.core.randomness import torch_generator
from pruneaudit.data.digits import Digits
from pruneaudit.data.source import NoOptions
from pruneaudit.models import build_model
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Study
from pruneaudit.training.checkpoint import load_tensors
from pruneaudit.training.samples import Samples
from run_bytes import reproducible_bytes

SERIAL = Runtime(executor="serial")
BOTH = ("loss", "mask_filter", "mask_saliency")
PRUNED = {"compress": "l1unstructured:sparsity=0.8", "finetune": {"epochs": 1}}
CHANNELS = {"compress": "l1structured:sparsity=0.5", "finetune": {"epochs": 1}}
ROUNDED = {"compress": "rtn:bits=4"}


def study(*attacks, init="shared", releases=(PRUNED, CHANNELS, ROUNDED), **changes):
    values = {
        "name": "starts",
        "data": {"source": "digits", "num_samples": 120, "num_holdout": 40},
        "membership": {"num_models": 4},
        "model": {"name": "mlp", "options": {"hidden": [16]}},
        "training": {"epochs": 3, "batch_size": 32, "init": str(init)},
        "releases": list(releases),
        "audit": {"attacks": list(attacks), "fpr_levels": [0.1]},
    }
    return Study.model_validate(values | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(study(*BOTH), out=tmp_path_factory.mktemp("starts"), runtime=SERIAL)


def planned(asked):
    return [task for task in plan_study(asked)[0].tasks if task.action == "start_saliency"]


def test_the_answers_are_those_of_single_gradients_at_the_start(finished):
    folder = RunFolder.open(finished.folder)
    plan, audit_data = folder.finished()
    draws = torch_generator(plan.study.seed, seeds.INITIALISE)
    start = build_model("mlp", {"hidden": [16]}, (1, 8, 8), 10, draws).eval()
    samples = Samples.of(audit_data, np.ones(len(audit_data.y), dtype=bool))
    release = "l1unstructured-0.8"
    found = folder.signals(plan, audit_data, release).start_saliency
    assert found.shape == (4, len(audit_data.y))
    for m, task in enumerate(plan.models(release)):
        masks = load_tensors(folder.path / task.artifact.folder / MASK_FILE)
        for n in range(0, len(audit_data.y), 20):
            x, y = samples.batch(torch.tensor([n]))
            weights = [start.get_parameter(name) for name in masks]
            gradients = torch.autograd.grad(cross_entropy(start(x), y), weights)
            parts = zip(masks.values(), weights, gradients, strict=True)
            grown = [(-g * w.detach().sign() * (m.float() - m.float().mean())).sum() for m, w, g in parts]
            assert found[m, n] == pytest.approx(float(sum(grown)), rel=1e-3, abs=1e-5)


def test_it_is_planned_where_a_public_start_meets_a_mask_or_fewer_channels(finished):
    tasks = planned(study(*BOTH))
    assert {task.release for task in tasks} == {"l1unstructured-0.8", "l1structured-0.5"}
    assert len(tasks) == 2 * 4
    assert not planned(study("loss", "mask_filter"))
    assert not planned(study("all", init="own"))
    means = finished.audit.findings.query("attack == 'mask_saliency' and victim == 'mean'")
    assert {"l1unstructured-0.8", "l1structured-0.5"} == set(means["release"])
    assert means["auc"].notna().all()


def test_asking_for_it_changes_no_network_and_no_other_answer():
    without, asked = (plan_study(study(*attacks))[0] for attacks in (("loss", "mask_filter"), BOTH))
    before = {task.artifact.identity for task in without.tasks}
    assert before == {task.artifact.identity for task in asked.tasks if task.action != "start_saliency"}


def test_own_starts_are_refused_by_name_and_left_out_of_groups(tmp_path):
    with pytest.raises(UserError, match=r"'mask_saliency'.*training\.init = 'own'.*'shared'"):
        plan_study(study(*BOTH, init="own"))
    with pytest.raises(UserError, match=r"'mask_saliency'.*a release with masks"):
        plan_study(study("loss", "mask_saliency", releases=[ROUNDED]))
    found = run(study("scores", init="own", releases=[PRUNED]), out=tmp_path, runtime=SERIAL)
    assert "mask_saliency" not in set(found.audit.findings["attack"])
    told = [note for note in found.results.about["warnings"] if "mask_saliency" in note]
    assert len(told) == 1 and "training.init" in told[0]


def test_a_killed_run_goes_on_and_processes_agree(finished, tmp_path):
    folder = tmp_path / "starts"
    shutil.copytree(finished.folder, folder)
    answers = sorted(folder.glob("l1unstructured-0.8-*/start_saliency-*/model-*"))
    assert len(answers) == 4
    shutil.rmtree(answers[0])
    (answers[1] / "start_saliency.npy").write_bytes(b"half")
    again = run(study(*BOTH), tmp_path, runtime=Runtime(executor="processes", jobs=2))
    assert again.num_tasks_done == 2
    assert reproducible_bytes(folder) == reproducible_bytes(finished.folder)
    assert all(part.state == "whole" for part in verify(folder) if "set-aside" not in part.place)


def test_a_public_file_is_differentiated_as_it_is(tmp_path):
    network = build_model("mlp", {"hidden": [16]}, (1, 8, 8), 10, torch.Generator().manual_seed(8))
    torch.save(network.state_dict(), tmp_path / "public.pt")
    asked = study(*BOTH, init=tmp_path / "public.pt", releases=[PRUNED])
    folder = RunFolder.open(run(asked, tmp_path, runtime=SERIAL).folder)
    plan, audit_data = folder.finished()
    found = folder.signals(plan, audit_data, "l1unstructured-0.8").start_saliency
    masks = load_tensors(folder.path / plan.models("l1unstructured-0.8")[0].artifact.folder / MASK_FILE)
    x, y = Samples.of(audit_data, np.arange(len(audit_data.y)) == 7).batch(torch.tensor([0]))
    gradients = torch.autograd.grad(cross_entropy(network(x), y), [network.get_parameter(name) for name in masks])
    grown = [
        (-g * network.get_parameter(name).detach().sign() * (mask.float() - mask.float().mean())).sum()
        for (name, mask), g in zip(masks.items(), gradients, strict=True)
    ]
    assert found[0, 7] == pytest.approx(float(sum(grown)), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("num_references", [0, 2])
def test_a_shipped_file_from_a_public_parent_needs_no_reference(tmp_path, num_references):
    """The target is the parent after training on its members; its pruned file is all that the attacker has."""
    member = np.zeros(1797, np.int8)
    member[np.random.default_rng(0).permutation(1797)[:60]] = 1
    np.save(tmp_path / "member.npy", member)
    network = build_model("mlp", {"hidden": [16]}, (1, 8, 8), 10, torch.Generator().manual_seed(8))
    torch.save(network.state_dict(), tmp_path / "public.pt")
    raw = Digits().load(NoOptions(), None)
    x = (torch.tensor(raw.x[member == 1]).float() / 255 - raw.mean[0]) / raw.std[0]
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        cross_entropy(network(x), torch.tensor(raw.y[member == 1])).backward()
        optimizer.step()
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    with torch.no_grad():
        for name in ("1.weight", "3.weight"):
            weight = network.get_parameter(name)
            weight[weight.abs() < weight.abs().quantile(0.7)] = 0
    torch.save(network.state_dict(), tmp_path / "shipped.pt")
    values = study("loss", "mask_saliency", init=tmp_path / "public.pt", releases=[]).model_dump(exclude={"membership"})
    values["data"] = {"source": "digits", "num_samples": 120, "num_holdout": 40}
    values["releases"] = [{"weights": str(tmp_path / "shipped.pt")}]
    target = {"weights": str(tmp_path / "mine.pt"), "member": str(tmp_path / "member.npy")}
    target |= {"num_references": num_references}
    found = run(Study.model_validate(values | {"target": target}), tmp_path, runtime=SERIAL)
    means = found.audit.findings.query("victim == 'mean' and attack == 'mask_saliency'").set_index("release")
    assert list(means.index) == ["shipped"]
    assert means.loc["shipped", "num_trainings"] == 0 and means.loc["shipped", "auc"] > 0.5


def test_a_finished_run_without_it_says_how_to_compute_it(tmp_path):
    finished = run(study("loss", releases=[PRUNED]), out=tmp_path, runtime=SERIAL)
    with pytest.raises(UserError, match=r"gradients at the start.*mask_saliency.*--set .audit.attacks="):
        attack(finished.folder, ["mask_saliency"], out=tmp_path / "more")


def test_a_mask_at_the_start_says_exactly_nothing(tmp_path):
    asked = study(*BOTH, releases=[{"compress": "static:start=init", "sparsity": 0.8}])
    findings = run(asked, tmp_path, runtime=SERIAL).audit.findings
    means = findings.query("victim == 'mean'").set_index(["release", "attack"])
    assert means.loc[("static-0.8-start=init", "mask_saliency"), "auc"] == 0.5


CODE = """
import torch


class Odd(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        return gradient * 2


class Network(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.last = torch.nn.Linear(64, num_classes)

    def forward(self, x):
        return Odd.apply(self.last(x.flatten(1)))


def build(input_shape, num_classes):
    return Network(num_classes)
"""


def test_a_network_without_second_derivatives_is_refused_before_any_training(tmp_path, monkeypatch):
    (tmp_path / "odd_networks.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "odd_networks", raising=False)
    asked = study(*BOTH, releases=[PRUNED], model="odd_networks:build")
    with pytest.raises(UserError, match=r"odd_networks:build.*mask_saliency") as caught:
        run(asked, tmp_path, runtime=SERIAL)
    assert "\n" not in str(caught.value) and not list(tmp_path.glob("starts/dense-*"))
