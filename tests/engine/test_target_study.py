"""A study with a target, from the user's files to the report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import refused_study, succeed
from pruneaudit.api import RecordLists, Runtime, attack, records, run
from pruneaudit.api.running import prepare
from pruneaudit.data.digits import Digits
from pruneaudit.data.source import NoOptions
from pruneaudit.engine.progress import Silent
from pruneaudit.models import build_model
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Study
from run_bytes import reproducible_bytes

SERIAL = Runtime(executor="serial")
MODEL = {"name": "mlp", "options": {"hidden": [32]}}


def trained(chosen, seed=7):
    """A network that has learned the chosen rows of the digits by heart."""
    raw = Digits().load(NoOptions(), None)
    x = (torch.tensor(raw.x[chosen]).float() / 255 - raw.mean[0]) / raw.std[0]
    y = torch.tensor(raw.y[chosen])
    network = build_model("mlp", MODEL["options"], raw.x.shape[1:], 10, torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a user: the target, a pruned version of it, its members, and a study."""
    folder = tmp_path_factory.mktemp("files")
    member = np.zeros(1797, np.int8)
    member[np.random.default_rng(0).permutation(1797)[:400]] = 1
    member[:20] = -1
    np.save(folder / "member.npy", member)
    network = trained(member == 1)
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, folder / "prod.pt")
    with torch.no_grad():
        for weight in network.parameters():
            weight[weight.abs() < weight.abs().median()] = 0
    torch.save(network.state_dict(), folder / "shipped.pt")
    return folder


def target_study(files, num_references=3, **changes):
    values = {
        "name": "mine",
        "seed": 3,
        "data": {"source": "digits", "num_samples": 400},
        "model": MODEL,
        "training": {"epochs": 6, "batch_size": 32, "learning_rate": 0.05},
        "target": {
            "weights": str(files / "prod.pt"),
            "member": str(files / "member.npy"),
            "num_references": num_references,
        },
        "releases": [
            {"compress": "l1unstructured", "sparsity": 0.8, "finetune": {"epochs": 1, "learning_rate": 0.02}},
            {"weights": str(files / "shipped.pt")},
            {"name": "recipe", "weights": str(files / "shipped.pt"), "compress": "l1unstructured", "sparsity": 0.5},
        ],
        "audit": {"attacks": ["loss", "rmia"], "fpr_levels": [0.1]},
    }
    return Study.model_validate(values | changes)


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory):
    """The run of a study file on the command line."""
    folder = tmp_path_factory.mktemp("target")
    study = folder / "study.json"
    study.write_text(target_study(files).model_dump_json(exclude_unset=True))
    succeed("run", study, "--out", folder, "--executor", "serial")
    return folder / "mine"


def test_only_the_target_is_attacked_in_every_release(finished):
    results = RunFolder(finished).results()
    single = results.findings[~results.findings["victim"].isin(["mean", "pooled"])]
    assert set(single["victim"].astype(str)) == {"0"}
    means = results.findings[results.findings["victim"] == "mean"]
    references = means.groupby("release")["references"].unique().map(list).to_dict()
    made = {name: ["matched"] for name in ("dense", "l1unstructured-0.8", "recipe", "dense+finetune")}
    assert references == made | {"shipped": ["dense"]}
    dense = means[means["release"] == "dense"].set_index("attack")
    assert dense.loc["rmia", "auc_low"] > 0.5
    compared = results.comparisons.query("release == 'shipped' and baseline == 'dense' and metric == 'auc'")
    assert compared["difference"].notna().all() and len(compared)


def test_the_targets_answers_are_those_of_its_file(finished, files):
    run_folder = RunFolder(finished)
    plan, audit_data = run_folder.finished()
    state = torch.load(files / "prod.pt", weights_only=True)["state_dict"]
    network = build_model("mlp", MODEL["options"], audit_data.x.shape[1:], 10, torch.Generator())
    network.load_state_dict(state)
    x = (torch.tensor(audit_data.x).float() / 255 - audit_data.mean[0]) / audit_data.std[0]
    with torch.no_grad():
        expected = network.eval()(x).numpy()
    np.testing.assert_allclose(run_folder.signals(plan, audit_data, "dense").logits[0], expected, atol=1e-4)
    member = np.load(files / "member.npy")
    signals = run_folder.signals(plan, audit_data, "shipped")
    assert signals.num_models == 1
    np.testing.assert_array_equal(signals.member[0], member[audit_data.ids] == 1)


def test_the_results_name_files_and_sizes(finished):
    about = json.loads((finished / "about.json").read_text())
    target = about["target"]
    assert (target["name"], target["num_references"], target["num_members"]) == ("prod.pt", 3, 397)
    assert target["files"]["shipped"]["name"] == "shipped.pt"
    assert abs(target["reference_members"]["mean"] - 397) < 30
    page = (finished / "report.html").read_text()
    for fact in ("prod.pt", "3 references", "shipped.pt", "Protocol: target", "another training run"):
        assert fact in page, fact
    assert "your file shipped.pt" in page
    for wrong in (
        "choice of samples and of networks",
        "these networks",
        "networks together",
        "over 1 networks",
        "So few networks",
    ):
        assert wrong not in page, wrong
    summaries = [json.loads(path.read_text()) for path in finished.glob("shipped-*/model-000/summary.json")]
    assert [round(summary["sparsity"], 1) for summary in summaries] == [0.5]


def test_the_run_is_whole_and_needs_the_users_files_no_more(finished, files, tmp_path):
    moved = shutil.copytree(finished, tmp_path / "mine")
    succeed("verify", moved)
    assert "0 parts" in succeed("clean", moved)
    away = files.rename(files.with_name("away"))
    try:
        again = attack(moved, ["loss"], out=tmp_path / "again")
    finally:
        away.rename(files)
    assert again.results.about["target"]["name"] == "prod.pt"


@pytest.mark.slow
def test_a_missing_file_is_taken_from_the_run(files, tmp_path):
    own = shutil.copytree(files, tmp_path / "files")
    study = target_study(own, 1, releases=[], audit={"attacks": ["loss"]})
    run(study, out=tmp_path, runtime=SERIAL)
    shutil.rmtree(own)
    study = study.changed(["target.num_references=2"], "study")
    more = run(study, out=tmp_path, runtime=SERIAL)
    assert more.num_tasks_done == 2  # one training, one query
    assert run(tmp_path / "mine" / "study.json", out=tmp_path, runtime=SERIAL).num_tasks_done == 0


@pytest.mark.slow
def test_more_references_train_only_those_that_are_added(finished, tmp_path):
    larger = shutil.copytree(finished, tmp_path / "mine")
    before = {path: path.read_bytes() for path in larger.rglob("DONE")}
    out = succeed(
        *("run", larger / "study.json", "--out", tmp_path, "--set", "target.num_references=4", "--executor", "serial")
    )
    assert all(path.read_bytes() == seal for path, seal in before.items() if "attacks" not in path.parts)
    made = {path.relative_to(larger).as_posix() for path in larger.rglob("DONE") if path not in before}
    assert {place.split("/")[-2] for place in made} == {"model-004"}
    assert RunFolder(larger).results().about["target"]["num_references"] == 4, out


class Interrupting(Silent):
    """Stops a run after some tasks, as Ctrl-C would."""

    def __init__(self, after):
        self.left = after

    def done(self, task, seconds=0.0):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_results(files, tmp_path):
    study = target_study(files, 2, releases=[{"weights": str(files / "shipped.pt")}], audit={"attacks": ["loss"]})
    with pytest.raises(KeyboardInterrupt):
        run(study, out=tmp_path / "one", runtime=Runtime(executor="serial", progress=Interrupting(2)))
    for name in ("one", "two"):
        run(study, out=tmp_path / name, runtime=SERIAL)
    assert reproducible_bytes(tmp_path / "one" / "mine") == reproducible_bytes(tmp_path / "two" / "mine")


def test_another_file_changes_only_what_is_the_targets(files, tmp_path):
    def identities(study):
        plan = prepare(study, tmp_path / "none", SERIAL).plan
        return {(task.action, task.release, task.model_id): task.artifact.identity for task in plan.tasks}

    own = shutil.copytree(files, tmp_path / "files")
    before = identities(target_study(own))
    torch.save(trained(np.load(own / "member.npy") == 1, seed=8).state_dict(), own / "prod.pt")
    after = identities(target_study(own))
    assert {key[2] for key in before if before[key] != after[key]} == {0}
    assert all(before[key] != after[key] for key in before if key[2] == 0)


def test_a_target_whose_members_are_drawn_by_lot_is_at_one_half(files, tmp_path):
    own = shutil.copytree(files, tmp_path / "files")
    member = np.zeros(1797, np.int8)
    member[np.random.default_rng(5).permutation(1797)[:400]] = 1
    np.save(own / "member.npy", member)
    torch.save(trained(np.load(files / "member.npy") == 1).state_dict(), own / "prod.pt")
    data, audit = {"source": "digits", "num_holdout": 300}, {"attacks": ["loss", "lira", "rmia"]}
    study = target_study(own, 4, releases=[], data=data, audit=audit)
    means = run(study, out=tmp_path, runtime=SERIAL).results.findings.query("victim == 'mean'")
    assert set(means["attack"]) == {"loss", "lira", "rmia"}
    assert ((means["auc_low"] <= 0.5) & (means["auc_high"] >= 0.5)).all(), means[["attack", "auc_low", "auc_high"]]


def test_without_references_attacks_that_need_none_are_played(files, tmp_path):
    study = target_study(files, 0, releases=[], audit={"attacks": ["loss"]})
    found = run(study, out=tmp_path, runtime=SERIAL)
    assert found.num_tasks_done == 2
    assert found.results.about["target"]["num_references"] == 0
    assert found.results.findings["auc"].notna().all()


def bad_file(files, tmp_path, content):
    own = shutil.copytree(files, tmp_path / "files")
    if content is None:
        (own / "prod.pt").unlink()
    else:
        torch.save(content, own / "prod.pt")
    return own


def spoiled(files):
    state = torch.load(files / "prod.pt", weights_only=True)["state_dict"]
    return state | {name: torch.full_like(value, torch.nan) for name, value in state.items()}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda files: None, ("prod.pt", "no such file")),
        (lambda files: {"other.weight": torch.zeros(2, 2)}, ("prod.pt", "does not fit", "other.weight")),
        (spoiled, ("prod.pt", "NaN")),
        (lambda files: torch.zeros(3), ("prod.pt", "state dict")),
    ],
)
def test_a_bad_file_is_refused_before_any_work(files, tmp_path, content, told):
    own = bad_file(files, tmp_path, content(files))
    line = refused_study(target_study(own, releases=[]), tmp_path)
    assert all(part in line for part in told), line


def test_a_bad_file_of_a_release_is_refused_before_any_work(files, tmp_path):
    torch.save({"other.weight": torch.zeros(2, 2)}, tmp_path / "small.pt")
    line = refused_study(target_study(files, releases=[{"weights": str(tmp_path / "small.pt")}]), tmp_path)
    assert "small.pt" in line
    assert "does not fit" in line


def test_a_wrong_key_says_which_setting_to_change(files, tmp_path):
    state = torch.load(files / "prod.pt", weights_only=True)["state_dict"]
    own = bad_file(files, tmp_path, {"teacher": state, "student": {k: v * 2 for k, v in state.items()}})
    assert "target.weights_key = teacher or student" in refused_study(target_study(own, releases=[]), tmp_path)
    study = target_study(own, 1, releases=[]).changed(["target.weights_key=student"], "study")
    prepare(study, tmp_path / "none", SERIAL)


def test_attacks_that_need_references_are_refused_without_any(files, tmp_path):
    line = refused_study(target_study(files, 0, releases=[]), tmp_path)
    assert "rmia" in line
    assert "target.num_references" in line


def test_an_open_holdout_that_is_too_small_is_refused_study(files, tmp_path):
    member = np.ones(1797, np.int8)
    member[:500] = 0
    own = shutil.copytree(files, tmp_path / "files")
    np.save(own / "member.npy", member)
    study = target_study(own, releases=[], audit={"attacks": ["attack_p"]})
    line = refused_study(study, tmp_path)
    assert "attack_p" in line
    assert "166" in line


def test_members_in_another_order_are_told(files, tmp_path):
    own = shutil.copytree(files, tmp_path / "files")
    np.save(own / "member.npy", np.roll(np.load(own / "member.npy"), 700))
    notes = prepare(target_study(own, releases=[]), tmp_path / "none", SERIAL).notes
    assert any("prod.pt" in note and "members" in note for note in notes)
    assert not any("members" in note for note in prepare(target_study(files), tmp_path / "none", SERIAL).notes)


def test_a_dry_run_counts_what_is_read_and_trained(files, tmp_path):
    path = tmp_path / "study.json"
    path.write_text(target_study(files).model_dump_json(exclude_unset=True))
    out = succeed("run", path, "--out", tmp_path / "runs", "--dry-run")
    assert "dense trainings: 3 to do" in out
    assert "networks of yours to read: 3 to do" in out
    assert not Path(tmp_path / "runs").exists()


def test_the_mask_of_the_target_is_attacked_with_the_masks_of_its_references(finished, tmp_path):
    """Of a file whose references made no such release, nobody's mask could be compared."""
    again = attack(finished, ["rmia", "mask_filter"], tmp_path / "structure")
    means = again.results.findings.query("victim == 'mean' and attack == 'mask_filter'")
    assert set(means["release"]) == {"l1unstructured-0.8", "recipe"}
    assert set(means["num_victims"]) == {1}
    signals = {setting.setting.release: setting.setting.attack_input.attacked for setting in again.audit.settings}
    assert np.asarray(signals["recipe"].structure).shape == (4, 32 * 64 + 10 * 32)
    assert np.asarray(signals["shipped"].structure).shape[0] == 1


def test_the_targets_records_have_lists_in_every_release(finished):
    found = records(finished, RecordLists(fdr=0.5))
    assert set(found.table["kind"]) == {"model"}  # one network says nothing of a recipe
    assert set(found.table["victim"]) == {"0"}
    assert set(found.table["release"]) == {"dense", "l1unstructured-0.8", "recipe", "dense+finetune", "shipped"}
    assert found.table.set_index("release").loc["shipped", "references"] == "dense"
    assert (found.table["num_nulls"] >= 200).all()
    dense = found.table[found.table["release"] == "dense"].iloc[0]
    assert dense["num_named"] >= dense["fewest"]
