"""Studies whose models are adapted by matrices beside their weights: merged, compressed, audited as plain networks."""

import json
import shutil

import pytest
import torch
from pydantic import ValidationError

from pruneaudit.api import Runtime, run, verify
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import ADAPTER_CONFIG_FILE, ADAPTER_FILE, SUMMARY_FILE, WEIGHTS_FILE, file_sha256
from pruneaudit.runs.beginning import plan_study
from pruneaudit.study import Study
from pruneaudit.study.baselines import baselines
from pruneaudit.training.checkpoint import load_tensors
from run_bytes import reproducible_bytes

pytest.importorskip("peft")

SERIAL = Runtime(executor="serial")
VIT = {"name": "vit", "options": {"width": 16, "heads": 2}}
RELEASES = (
    {"compress": "l1unstructured", "sparsity": 0.5},
    {"finetune": {"epochs": 1, "lora": {"r": 1, "target": ["fc1"]}}},
    {"compress": "l1unstructured", "sparsity": 0.7, "finetune": {"epochs": 1}},
)


@pytest.fixture(scope="module")
def make_thin(make_study):
    def made(lora=None, releases=RELEASES, **changes):
        training = {"epochs": 2, "batch_size": 32, "optimizer": "adam", "momentum": 0.0, "learning_rate": 0.01}
        training |= {"lora": {"r": 2} | (lora or {})} | changes.pop("training", {})
        values = {"data": {"source": "digits", "num_samples": 150, "num_public": 200}, "model": VIT}
        values |= {"membership": {"num_models": 3}, "base": {"epochs": 2}, "audit": {"attacks": ["loss"]}}
        return make_study(training=training, releases=list(releases), **(values | changes))

    return made


@pytest.fixture(scope="module")
def finished(make_thin, tmp_path_factory):
    return run(make_thin(), tmp_path_factory.mktemp("thin"), runtime=SERIAL)


def models(folder, release):
    return sorted(folder.glob(f"{release}-????????/model-*"))


def test_the_released_network_is_the_base_plus_the_product(finished):
    [base] = models(finished.folder, "base")
    start = load_tensors(base / WEIGHTS_FILE)
    for place in models(finished.folder, "dense"):
        weights, adapter = load_tensors(place / WEIGHTS_FILE), load_tensors(place / ADAPTER_FILE)
        adapter = {name.removeprefix("base_model.model."): value for name, value in adapter.items()}
        assert weights.keys() == start.keys()
        num_changed = 0
        for name, value in start.items():
            layer = name.removesuffix(".weight")
            if name in adapter:  # the head
                assert torch.equal(weights[name], adapter[name])
            elif f"{layer}.lora_A.weight" in adapter and name.endswith("weight"):
                product = adapter[f"{layer}.lora_B.weight"] @ adapter[f"{layer}.lora_A.weight"]
                assert torch.allclose(weights[name], value + 16 / 2 * product, atol=1e-6)
                assert not torch.equal(weights[name], value)
                num_changed += 1
            else:
                assert torch.equal(weights[name], value)
        assert num_changed >= 2
        told = json.loads((place / ADAPTER_CONFIG_FILE).read_text())
        assert told["revision"] == file_sha256(base / WEIGHTS_FILE)
        assert told["base_model_name_or_path"].startswith("base-")


def test_models_differ_and_a_release_can_be_adapted_too(finished):
    first, second, _ = (load_tensors(place / ADAPTER_FILE) for place in models(finished.folder, "dense"))
    assert all(not torch.equal(first[name], second[name]) for name in first)
    for place, parent in zip(models(finished.folder, "dense+lora"), models(finished.folder, "dense"), strict=True):
        before, after = load_tensors(parent / WEIGHTS_FILE), load_tensors(place / WEIGHTS_FILE)
        changed = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
        assert "fc1" in changed and not changed & {"fc2", "q", "v"}
        told = json.loads((place / ADAPTER_CONFIG_FILE).read_text())
        assert told["revision"] == file_sha256(parent / WEIGHTS_FILE)


def test_compression_comes_after_the_merge_and_holds(finished):
    for release, sparsity in (("l1unstructured-0.5", 0.5), ("l1unstructured-0.7", 0.7)):
        for place in models(finished.folder, release):
            assert json.loads((place / SUMMARY_FILE).read_text())["sparsity"] == pytest.approx(sparsity, abs=0.01)
            assert not (place / ADAPTER_FILE).exists()
    assert not [part for part in verify(finished.folder) if part.state != "whole"]


def test_the_report_says_how_large_adapters_are(finished):
    [summary] = [json.loads((place / SUMMARY_FILE).read_text()) for place in models(finished.folder, "dense")[:1]]
    adapter = summary["adapter"]
    assert adapter["bytes"] == (models(finished.folder, "dense")[0] / ADAPTER_FILE).stat().st_size
    assert adapter["parameters"] < 0.2 * summary["parameters"]
    entries = {entry["name"]: entry for entry in finished.results.about["release_report"]["releases"]}
    assert entries["dense"]["adapter"] == adapter and entries["l1unstructured-0.5"]["adapter"] is None
    assert f"{adapter['bytes']:,} bytes" in finished.report.read_text()


def test_a_killed_run_goes_on_to_the_same_bytes(finished, make_thin, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "small")
    shutil.rmtree(models(folder, "dense")[1])
    shutil.rmtree(models(folder, "dense+lora")[0])
    assert run(make_thin(), tmp_path, runtime=SERIAL).num_tasks_done == 2
    assert reproducible_bytes(folder) == reproducible_bytes(finished.folder)


def identities(study):
    return {task.name: task.artifact.identity for task in plan_study(study)[0].tasks}


def test_it_is_part_of_identities_and_its_absence_is_not(make_thin):
    one, other = identities(make_thin()), identities(make_thin({"r": 3}))
    assert one["train base"] == other["train base"]
    assert not {name: found for name, found in one.items() if other[name] == found}.keys() - {"train base"}
    plain = make_thin(training={"lora": None}, releases=[])
    assert "lora" not in plan_study(plain)[0].models("dense")[0].spec["training"]


def test_releases_from_new_weights_inherit_it_and_others_do_not(make_thin):
    anew = {"name": "anew", "parent": "init", "finetune": {"epochs": 1}}
    full = {"name": "full", "parent": "init", "finetune": {"epochs": 1, "lora": False}}
    further = {"name": "further", "finetune": {"epochs": 1}}
    plan, _ = plan_study(make_thin(releases=[anew, full, further]))
    trained = {name: plan.models(name)[0].spec["finetune"].get("lora") for name in ("anew", "full", "further")}
    assert trained == {"anew": {"r": 2, "alpha": 16, "dropout": 0, "target": []}, "full": None, "further": None}


def test_baselines_train_the_same_weights_as_what_they_are_compared_with(make_thin):
    smaller = {"name": "vit", "options": {"width": 8, "heads": 2}}
    students = [
        {"name": "student", "compress": "distil:data=members", "model": smaller, "finetune": {"epochs": 1}},
        {"name": "alone", "parent": "init", "model": smaller},
        {"name": "itself", "compress": "distil:data=members", "finetune": {"epochs": 1}},
        {"name": "snip", "compress": "snip:sparsity=0.5", "finetune": {"epochs": 2, "lora": False}},
    ]
    study = make_thin(releases=students)
    plan, _ = plan_study(study)
    found = baselines(study)
    for release in study.releases:
        trained = plan.models(release.name)[0].spec["finetune"]
        assert "lora" not in trained
        if release.name in found:
            assert plan.models(found[release.name].name)[0].spec["finetune"] == trained


def test_dp_sgd_sees_the_gradients_of_single_samples(make_thin, tmp_path):
    pytest.importorskip("opacus")
    private = {"name": "private", "parent": "init", "defense": "dp:noise_multiplier=1.0"}
    study = make_thin(releases=[private], membership={"num_models": 2})
    folder = run(study, tmp_path, runtime=SERIAL).folder
    [base] = models(folder, "base")
    start = load_tensors(base / WEIGHTS_FILE)
    for place in models(folder, "private"):
        weights, summary = load_tensors(place / WEIGHTS_FILE), json.loads((place / SUMMARY_FILE).read_text())
        changed = {name for name in start if not torch.equal(weights[name], start[name])}
        assert changed and all(name.split(".")[-2] in ("q", "v", "head", "classifier") for name in changed), changed
        assert summary["defense"]["epsilon"] > 0 and summary["adapter"]["r"] == 2


# ------------------------------------------------------------------ what is refused, before any training


def refused(study, out):
    with pytest.raises(UserError) as caught:
        run(study, out, runtime=SERIAL)
    assert not list(out.glob("*/dense-*"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_masks_do_not_hold_under_matrices(make_thin, tmp_path):
    under = {"compress": "l1unstructured", "sparsity": 0.5, "finetune": {"epochs": 1, "lora": {}}}
    said = refused(make_thin(releases=[under]), tmp_path)
    assert "l1unstructured" in said and "lora = false" in said
    snip = {"name": "snip", "compress": "snip", "sparsity": 0.5}
    said = refused(make_thin(releases=[snip]), tmp_path)
    assert "finetune = { epochs = 2, lora = false }" in said
    mended = snip | {"finetune": {"epochs": 2, "lora": False}}
    assert plan_study(make_thin(releases=[mended]))


def test_targets_are_tried_before_training(make_thin, tmp_path):
    assert "'w'" in refused(make_thin({"target": ["w"]}), tmp_path)
    said = refused(make_thin(model="mlp:hidden=[8]"), tmp_path)
    assert "lora.target" in said
    later = {"name": "later", "finetune": {"epochs": 1, "lora": {"target": ["w"]}}}
    assert "release 'later'" in refused(make_thin(releases=[later]), tmp_path)


def test_random_weights_are_adapted_with_a_warning(make_thin, tmp_path):
    found = run(make_thin(base=None, releases=[], membership={"num_models": 2}), tmp_path, runtime=SERIAL)
    assert "lora would adapt different random weights" in (found.folder / "run.log").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {"keep_early": 0.1}}, "keep_early"),
        ({"training": {"function": "mine:train"}}, "mine:train"),
        ({"base": {"epochs": 1, "lora": {}}}, r"base\.lora"),
        ({"lora": {"r": 0}}, r"lora\.r"),
    ],
)
def test_settings_that_do_not_go_with_it_are_refused(make_thin, changes, said):
    with pytest.raises((ValidationError, UserError), match=said):
        make_thin(**changes)


def test_it_is_read_from_a_file(tmp_path):
    (tmp_path / "study.toml").write_text('name = "x"\n[training]\nepochs = 1\n[training.lora]\nr = 4\ntarget = ["q"]\n')
    lora = Study.load(tmp_path / "study.toml").training.lora
    assert lora.r == 4 and lora.target == ("q",)
