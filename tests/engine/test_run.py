"""Whole studies: what is made, what is reused, and that it is the same every time."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from pruneaudit.api import Runtime, attack, run
from pruneaudit.core.errors import UserError
from pruneaudit.engine.progress import Silent
from pruneaudit.engine.scheduler import TasksFailedError
from pruneaudit.evaluation.results import Results
from run_bytes import reproducible_bytes


@pytest.fixture(scope="module")
def finished(make_study, tmp_path_factory):
    return run(make_study(), out=tmp_path_factory.mktemp("serial"), runtime=Runtime(executor="serial"))


def test_cost_law(finished):
    # 4 dense trainings, 4 x 2 releases, and one query of each of the 12 models.
    assert finished.num_tasks_done == 4 + 4 * 2 + 12
    assert (finished.folder / "report.html").stat().st_size > 10_000


def test_a_second_run_does_nothing_and_finds_the_same(finished, study):
    before = reproducible_bytes(finished.folder)
    again = run(study, out=finished.folder.parent, runtime=Runtime(executor="serial"))
    assert again.num_tasks_done == 0
    assert reproducible_bytes(finished.folder) == before


def test_findings_agree_with_what_the_models_said_of_themselves(finished):
    releases = finished.audit.results.releases.set_index("release")
    folders = {name: next(finished.folder.glob(f"{name}-????????")) for name in releases.index}
    for name, folder in folders.items():
        summaries = [json.loads(path.read_text()) for path in sorted(folder.glob("model-*/summary.json"))]
        assert len(summaries) == 4
        for figure in ("train_accuracy", "test_accuracy"):
            assert releases.loc[name, figure] == pytest.approx(np.mean([s[figure] for s in summaries]), abs=1e-9)
    pruned = releases.loc["l1unstructured-0.8"]
    assert pruned["test_accuracy_before"] == pytest.approx(releases.loc["dense", "test_accuracy"])
    assert pruned["test_accuracy_after_finetuning"] == pytest.approx(pruned["test_accuracy"])
    assert pruned["sparsity"] == pytest.approx(0.8, abs=1e-3)


def test_released_weights_are_zero_exactly_where_the_mask_says(finished):
    for folder in finished.folder.glob("l1unstructured-0.8-*/model-*"):
        weights, masks = load_file(folder / "model.safetensors"), load_file(folder / "mask.safetensors")
        kept = sum(int(mask.sum()) for mask in masks.values())
        total = sum(mask.size for mask in masks.values())
        assert total - kept == int(0.8 * total + 0.5)
        for name, mask in masks.items():
            assert np.array_equal(weights[name] != 0, mask)


def test_every_model_is_trained_on_its_own_half_of_one_population(finished):
    scores = pd.read_parquet(finished.folder / "scores.parquet")
    dense = scores[(scores.release == "dense") & (scores.references == "matched")]
    member = dense.pivot(index="model_id", columns="sample_id", values="member").to_numpy()
    assert member.shape == (4, 200)  # the holdout is not scored
    assert 0.35 < member.mean() < 0.65
    assert len(set(member.sum(axis=0))) > 2  # no exact halves per sample
    assert not np.array_equal(member[0], member[1])


@pytest.mark.slow
def test_a_larger_bank_and_a_further_sparsity_cost_only_themselves(make_study, tmp_path):
    run(make_study(), out=tmp_path, runtime=Runtime(executor="serial"))
    larger = run(make_study(membership={"num_models": 5}), out=tmp_path, runtime=Runtime(executor="serial"))
    assert larger.num_tasks_done == 1 + 2 + 3
    base = make_study().model_dump()["releases"]
    further = run(
        make_study(releases=[*base, {**base[1], "name": "", "compress": "l1unstructured:sparsity=0.5"}]),
        out=tmp_path,
        runtime=Runtime(executor="serial"),
    )
    assert further.num_tasks_done == 4 + 4


@pytest.mark.parametrize(
    ("change", "num_tasks"),
    [
        ({"training": {"epochs": 2, "batch_size": 32}}, 24),
        ({"seed": 4}, 24),
        ({"data": {"source": "digits", "num_samples": 200, "num_holdout": 61}}, 24),
        ({"audit": {"attacks": ["rmia"]}}, 0),
        ({"training": {"epochs": 3.0, "batch_size": 32.0}}, 0),
    ],
)
@pytest.mark.slow
def test_what_shapes_a_result_makes_it_anew_and_nothing_else_does(finished, make_study, tmp_path, change, num_tasks):
    shutil.copytree(finished.folder, tmp_path / "small")
    assert run(make_study(**change), out=tmp_path, runtime=Runtime(executor="serial")).num_tasks_done == num_tasks


@pytest.mark.slow
def test_a_bank_in_bfloat16_is_another_bank(finished, study, make_study, tmp_path):
    low = study.training.model_dump() | {"precision": "bfloat16"}
    made = run(make_study(training=low), out=tmp_path, runtime=Runtime(executor="serial"))
    assert made.num_tasks_done == 24
    for pattern in ("dense-*/model-000", "l1unstructured-0.8-*/model-000"):
        (full,), (other,) = finished.folder.glob(pattern), made.folder.glob(pattern)
        one, another = load_file(full / "model.safetensors"), load_file(other / "model.safetensors")
        assert full.parent.name != other.parent.name
        assert {value.dtype for value in another.values()} == {value.dtype for value in one.values()}
        assert any(not np.array_equal(one[name], another[name]) for name in one)


class Interrupting(Silent):
    """Stops a run after some tasks, as Ctrl-C would."""

    def __init__(self, after):
        self.left = after

    def done(self, task, seconds=0.0):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("after", "executor"), [(2, "serial"), pytest.param(20, "processes", marks=pytest.mark.slow), (23, "serial")]
)
def test_an_interrupted_run_goes_on_where_it_stopped(finished, study, tmp_path, after, executor):
    """It ends with the bytes of an undisturbed run. The first 20 of 24 tasks hold every kind."""
    with pytest.raises(KeyboardInterrupt):
        run(study, out=tmp_path, runtime=Runtime(executor=executor, jobs=2, progress=Interrupting(after)))
    rest = run(study, out=tmp_path, runtime=Runtime(executor="serial"))
    assert rest.num_tasks_done == 24 - after
    assert reproducible_bytes(rest.folder) == reproducible_bytes(finished.folder)


class Listening(Silent):
    def __init__(self):
        self.heard = []

    def warn(self, message):
        self.heard.append(message)


@pytest.mark.parametrize("damage", ["flip", "truncate", "unseal", "delete"])
def test_a_damaged_artifact_is_named_set_aside_and_made_again(finished, study, tmp_path, damage):
    shutil.copytree(finished.folder, tmp_path / "small")
    victim = next((tmp_path / "small").glob("dense-????????/model-002"))
    weights = victim / "model.safetensors"
    data = bytearray(weights.read_bytes())
    if damage == "flip":
        data[-5] ^= 1
        weights.write_bytes(data)
    elif damage == "truncate":
        weights.write_bytes(data[:-100])
    elif damage == "unseal":
        (victim / "DONE").unlink()
    else:
        weights.unlink()
    progress = Listening()
    again = run(study, out=tmp_path, runtime=Runtime(executor="serial", progress=progress))
    assert again.num_tasks_done == 1
    assert any("model-002" in line and "quarantined" in line for line in progress.heard)
    assert len(list((tmp_path / "small" / "set-aside").iterdir())) == 1
    assert reproducible_bytes(again.folder) == reproducible_bytes(finished.folder)


def test_a_diverged_training_is_named_and_kept_out_of_findings(make_study, tmp_path):
    hopeless = make_study(training={"epochs": 2, "batch_size": 32, "learning_rate": 1e20})
    with pytest.raises(TasksFailedError, match=r"train dense model-000.*diverged"):
        run(hopeless, out=tmp_path, runtime=Runtime(executor="processes", jobs=1))
    assert not (tmp_path / "small" / "findings.csv").exists()


def test_other_attacks_on_stored_signals(finished, tmp_path):
    again = attack(finished.folder, ["rmia", "lira:mode=offline"], out=tmp_path)
    assert set(again.audit.findings["attack"]) == {"rmia", "lira:mode=offline"}
    assert again.num_tasks_done == 0
    with pytest.raises(UserError, match="unknown attack"):
        attack(finished.folder, ["guess"], out=tmp_path)


def test_an_unfinished_run_is_not_attacked(finished, study, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "small")
    shutil.rmtree(next((tmp_path / "small").glob("dense-????????/signals-*/model-001")))
    with pytest.raises(UserError, match=r"1 of 24 parts.*signals dense model-001.*pruneaudit run"):
        attack(tmp_path / "small", ["loss"])


def test_signals_that_were_never_asked_for_are_named_with_the_command_that_gets_them(finished, tmp_path):
    asking = r"""sensitivity.*\["samia"\].* --set 'audit.attacks=\["samia"\]'"""
    with pytest.raises(UserError, match=asking):
        attack(finished.folder, ["loss", "samia"], out=tmp_path)


def test_dense_knowledge_is_another_attacker_only_where_it_differs(finished):
    findings = finished.audit.findings
    mean = findings[findings["victim"] == "mean"]
    assert set(mean[mean["release"] == "dense"]["references"]) == {"matched"}
    assert set(mean[mean["release"] == "l1unstructured-0.8"]["references"]) == {"matched", "dense"}
    lira = mean[(mean["attack"] == "lira") & (mean["release"] == "l1unstructured-0.8")].set_index("references")["auc"]
    assert lira["matched"] != lira["dense"]


def test_comparisons_are_differences_of_findings(finished):
    results = finished.audit.results
    mean = results.findings[results.findings["victim"] == "mean"].set_index(["release", "references", "attack"])["auc"]
    rows = results.comparisons[
        (results.comparisons["metric"] == "auc") & (results.comparisons["references"] == "matched")
    ]
    assert len(rows)
    for row in rows.itertuples():
        expected = mean[row.release, "matched", row.attack] - mean[row.baseline, "matched", row.attack]
        assert row.difference == pytest.approx(expected, abs=1e-12)
        assert row.low <= row.difference <= row.high


def test_results_read_back(finished):
    read = Results.load(finished.folder)
    pd.testing.assert_frame_equal(read.findings, finished.audit.findings, check_dtype=False)


def test_a_signal_is_found_in_networks_that_memorise(make_study, tmp_path):
    study = make_study(
        data={"source": "digits", "num_samples": 400, "num_holdout": 200, "label_noise": 0.2},
        membership={"num_models": 8},
        model={"name": "mlp", "options": {"hidden": [64]}},
        training={"epochs": 25, "batch_size": 32},
        releases=[],
        audit={"attacks": ["loss", "lira", "rmia"]},
    )
    findings = run(study, out=tmp_path, runtime=Runtime(executor="serial")).audit.findings
    mean = findings[findings["victim"] == "mean"].set_index("attack")
    assert (mean["auc_low"] > 0.55).all()
    assert mean.loc["lira", "auc"] > mean.loc["loss", "auc"]


@pytest.mark.slow
def test_sensitivity_is_asked_for_only_where_an_attack_needs_it(finished, make_study, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "small")
    attacks = ["loss", {"name": "samia", "options": {"epochs": 2, "max_rows": 200}}]
    with_samia = make_study(audit={"attacks": attacks, "fpr_levels": [0.1]})
    again = run(with_samia, out=tmp_path, runtime=Runtime(executor="serial"))
    assert again.num_tasks_done == 4 * 3  # one query more for each of the 12 models, no training
    mean = again.audit.findings.query("victim == 'mean' and release == 'dense'").set_index("attack")["auc"]
    assert mean.filter(like="samia").notna().all()
    assert 0 < mean.filter(like="samia").iloc[0] < 1
