"""What is said of releases, against the files that they lie in."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from pruneaudit.api import Runtime, attack, report_again, run, verify
from pruneaudit.engine import release_timing
from pruneaudit.engine.release_report import release_report
from pruneaudit.engine.release_timing import (
    BATCH_SIZES,
    MAX_SECONDS,
    MOST_ROUNDS,
    WARM_UP_ROUNDS,
    Gaps,
    affordable,
    time_in_turns,
)
from pruneaudit.engine.store import Store
from pruneaudit.evaluation.columns import TABLES
from pruneaudit.runs.beginning import plan_study
from run_bytes import bytes_of

RELEASES = ("dense", "dense+finetune", "l1unstructured-0.8", "l1structured-0.5", "dpf-0.9")
OUTPUT_SIZES = {"features.0.conv": 14, "features.1.conv": 7, "features.2.conv": 4, "classifier": 1}
"""Height and width of what each layer of `tinycnn` makes of 28 x 28 pixels."""


@pytest.fixture(scope="module")
def images(make_study):
    finetune = {"epochs": 1, "learning_rate": 0.02}
    return make_study(
        data={"source": "fashion_mnist_5k", "num_samples": 90, "num_holdout": 60},
        membership={"num_models": 3},
        model={"name": "tinycnn", "options": {"width": 4}},
        training={"epochs": 4, "batch_size": 8},
        releases=[
            {"name": "dense+finetune", "finetune": finetune},
            {"compress": "l1unstructured", "sparsity": 0.8, "finetune": finetune},
            {"compress": "l1structured", "sparsity": 0.5, "finetune": finetune},
            {"compress": {"name": "dpf", "options": {"period_steps": 2}}, "sparsity": 0.9, "name": "dpf-0.9"},
        ],
        audit={"attacks": ["loss"], "fpr_levels": [0.2]},
    )


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    return run(images, out=tmp_path_factory.mktemp("released"), runtime=Runtime(executor="serial"))


@pytest.fixture(scope="module")
def entries(finished):
    report = finished.audit.results.about["release_report"]
    assert tuple(entry["name"] for entry in report["releases"]) == RELEASES
    return {entry["name"]: entry for entry in report["releases"]}


def folder_of(finished, release, model=0):
    return next(finished.folder.glob(f"{release}-????????")) / f"model-{model:03d}"


def parameters_in(folder):
    """Parameters by name; a file holds BatchNorm's running statistics besides."""
    tensors = load_file(folder / "model.safetensors")
    return {name: w for name, w in tensors.items() if "running" not in name and "num_batches" not in name}


@pytest.mark.parametrize("release", RELEASES)
def test_weights_are_counted_as_they_lie_in_the_files(finished, entries, release):
    dense, left = (parameters_in(folder_of(finished, name)) for name in ("dense", release))
    whole = sum(w.size for w in dense.values())
    nonzero = sum(np.count_nonzero(w) for w in left.values())
    entry = entries[release]
    assert entry["parameters"] == {"dense": whole, "released": sum(w.size for w in left.values())}
    assert entry["nonzero"] == nonzero
    assert entry["sparsity_all"] == pytest.approx(1 - nonzero / whole)
    prunable = [name for name, w in dense.items() if w.ndim > 1]
    kept = sum(np.count_nonzero(left[name]) for name in prunable)
    assert entry["sparsity_prunable"] == pytest.approx(1 - kept / sum(dense[name].size for name in prunable))


@pytest.mark.parametrize("release", RELEASES)
def test_multiply_accumulates_follow_from_shapes(finished, entries, release):
    def macs(name):
        weights = parameters_in(folder_of(finished, name))
        return sum(weights[f"{layer}.weight"].size * size**2 for layer, size in OUTPUT_SIZES.items())

    assert entries[release]["macs"] == {"dense": macs("dense"), "released": macs(release)}
    assert entries[release]["bit_operations"] == {"dense": 1024 * macs("dense"), "released": 1024 * macs(release)}
    smaller = entries[release]["macs"]["released"] < entries[release]["macs"]["dense"]
    assert smaller == (release == "l1structured-0.5"), "zeros save no multiplication"


@pytest.mark.parametrize("release", RELEASES)
def test_sizes_are_those_of_the_files(finished, entries, release):
    dense, content = ((folder_of(finished, name) / "model.safetensors").read_bytes() for name in ("dense", release))
    sizes = entries[release]["bytes"]
    assert (sizes["dense"], sizes["released"]) == (len(dense), len(content))
    is_smaller = release == "l1structured-0.5"
    assert sizes["physically_smaller"] == (len(content) if is_smaller else None)
    assert (len(content) < len(dense)) == is_smaller, "zeros alone save nothing uncompressed"


@pytest.mark.parametrize("release", RELEASES)
def test_layers_and_their_range_over_models(finished, entries, release):
    of_models = [parameters_in(folder_of(finished, release, model)) for model in range(3)]
    dense = parameters_in(folder_of(finished, "dense"))
    assert entries[release]["layers_of_models"] == 3
    rows = {row["name"]: row for row in entries[release]["layers"]}
    assert list(rows) == [f"features.{i}.{part}" for i in range(3) for part in ("conv", "norm")] + ["classifier"]
    for name, row in rows.items():
        weight, whole = of_models[0][f"{name}.weight"], dense[f"{name}.weight"]
        assert (row["shape"], row["dense_shape"]) == (list(weight.shape), list(whole.shape))
        assert (row["weights"], row["nonzero"]) == (weight.size, np.count_nonzero(weight))
        sparsities = [1 - np.count_nonzero(weights[f"{name}.weight"]) / whole.size for weights in of_models]
        assert [row["sparsity"], row["sparsity_low"], row["sparsity_high"]] == pytest.approx(
            [sparsities[0], min(sparsities), max(sparsities)]
        )
    assert rows["classifier"]["type"] == "Linear"


def test_accuracies_are_means_of_what_the_models_said(finished, entries):
    for release, entry in entries.items():
        summaries = [
            json.loads((folder_of(finished, release, model) / "summary.json").read_text()) for model in range(3)
        ]

        def mean(key, summaries=summaries):
            return None if key not in summaries[0] else pytest.approx(np.mean([s[key] for s in summaries]))

        trained = mean("test_accuracy")
        assert entry["accuracy"]["before"] == (trained if release == "dense" else mean("test_accuracy_before"))
        assert entry["accuracy"]["after_pruning"] == mean("test_accuracy_after_pruning")
        assert entry["accuracy"]["after_finetuning"] == (None if release == "dense" else trained)
    assert entries["dpf-0.9"]["accuracy"]["before"] is None, "it never was a dense network"
    assert [entries[name]["method"] for name in RELEASES[:3]] == ["", "", "l1unstructured"]
    assert entries["dpf-0.9"]["origin"] == "init"


def test_reactivation_is_there_where_weights_come_back(finished, entries):
    assert [name for name, entry in entries.items() if entry["reactivation"]] == ["dpf-0.9"]
    histories = [pd.read_csv(folder_of(finished, "dpf-0.9", model) / "history.csv") for model in range(3)]
    expected = pd.concat(histories).groupby("epoch")[["sparsity", "reactivation_rate"]].mean().reset_index()
    found = pd.DataFrame(entries["dpf-0.9"]["reactivation"])
    pd.testing.assert_frame_equal(found, expected)
    assert len(found) == 4
    assert found["reactivation_rate"].max() > 0


def test_latency_is_of_one_run_on_one_thread(finished, entries):
    conditions = finished.audit.results.about["release_report"]["latency"]
    assert conditions["threads"] == 1
    assert conditions["batch_size"] in BATCH_SIZES
    assert 1 <= conditions["rounds"] <= MOST_ROUNDS
    assert "no network faster" in conditions["note"]
    for entry in entries.values():
        found = entry["latency"]
        assert 0 < found["min_milliseconds"] <= found["median_milliseconds"] <= found["max_milliseconds"]
        ratio = found["median_milliseconds"] / entries["dense"]["latency"]["median_milliseconds"]
        assert found["ratio_to_dense"] == pytest.approx(ratio)
        assert entry["gaps"] == {}


def test_times_are_in_no_finding_and_the_rest_is_the_same_again(finished, images):
    findings = [*(f"{name}.csv" for name in TABLES), "findings.json", "scores.parquet"]
    before = bytes_of(finished.folder, findings)
    first = json.loads((finished.folder / "release.json").read_text())
    assert json.loads((finished.folder / "about.json").read_text())["release_report"] == first
    run(images, out=finished.folder.parent, runtime=Runtime(executor="serial"))
    assert bytes_of(finished.folder, findings) == before
    again = json.loads((finished.folder / "release.json").read_text())
    for report in (first, again):
        report.pop("latency")
        for entry in report["releases"]:
            entry.pop("latency")
    assert again == first
    assert {checked.state for checked in verify(finished.folder)} == {"whole"}


def test_it_stays_when_the_report_is_written_again_and_when_other_attacks_are_played(finished, tmp_path):
    measured = json.loads((finished.folder / "release.json").read_text())
    page = finished.report.read_text(encoding="utf-8")
    report_again(finished.folder)
    assert finished.report.read_text(encoding="utf-8") == page
    again = attack(finished.folder, ["entropy"], out=tmp_path)
    assert again.audit.results.about["release_report"] == measured
    assert json.loads((tmp_path / "release.json").read_text()) == measured


def test_a_run_that_was_never_measured_can_be_attacked(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "small")
    (tmp_path / "small" / "release.json").unlink()
    again = attack(tmp_path / "small", ["entropy"], out=tmp_path / "out")
    assert "release_report" not in again.audit.results.about
    assert "Releases." in again.report.read_text(encoding="utf-8")


def test_models_that_are_left_out_are_in_nothing(finished, images):
    plan, audit_data = plan_study(images)
    threads = torch.get_num_threads()
    report = release_report(plan, Store(finished.folder), audit_data, left_out={0})
    assert torch.get_num_threads() == threads
    assert report["model_id"] == 1
    entry = report["releases"][2]
    weights = parameters_in(folder_of(finished, "l1unstructured-0.8", 1))
    assert entry["nonzero"] == sum(np.count_nonzero(w) for w in weights.values())
    assert entry["layers_of_models"] == 2


def test_what_cannot_be_measured_is_null_and_says_why(finished, images, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "small")
    broken = next((tmp_path / "small").glob("l1unstructured-0.8-????????")) / "model-000" / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:50])
    plan, audit_data = plan_study(images)
    report = release_report(plan, Store(tmp_path / "small"), audit_data)
    entries = {entry["name"]: entry for entry in report["releases"]}
    lost = entries.pop("l1unstructured-0.8")
    for part in ("parameters", "nonzero", "sparsity_all", "sparsity_prunable", "macs", "layers", "latency"):
        assert lost[part] is None
    assert "not a readable safetensors file" in lost["gaps"]["network"]
    assert lost["bytes"]["released"] == 50
    assert lost["accuracy"]["after_finetuning"] is not None
    for entry in entries.values():
        assert entry["gaps"] == {}
        assert entry["latency"]["median_milliseconds"] > 0


class Moody(torch.nn.Module):
    """Fails on more than `most` inputs."""

    def __init__(self, most):
        super().__init__()
        self.layer, self.most = torch.nn.Linear(3, 2), most

    def forward(self, x):
        if len(x) > self.most:
            raise RuntimeError("not\nin the mood")
        return self.layer(x)


def test_a_network_that_does_not_run_has_a_reason_and_others_have_times():
    timing = time_in_turns({"good": Moody(99), "bad": Moody(0)}, torch.ones(40, 3))
    assert set(timing.latencies) == {"good"}
    assert timing.gaps == {"bad": "RuntimeError: not in the mood"}
    assert timing.batch_size == max(BATCH_SIZES)
    together = time_in_turns({"good": Moody(99), "bad": Moody(1)}, torch.ones(40, 3))
    assert together.latencies == {}
    assert together.gaps["good"] == together.gaps["bad"] == "RuntimeError: not in the mood"
    assert time_in_turns({}, torch.ones(4, 3)).latencies == {}


@given(st.floats(0, 1e3))
def test_timing_takes_no_longer_than_it_may(seconds):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release_timing, "MOST_ROUNDS", MOST_ROUNDS)
        size, rounds = affordable(seconds)
    assert size in BATCH_SIZES
    assert 1 <= rounds <= MOST_ROUNDS
    if rounds > 1:
        assert (rounds + WARM_UP_ROUNDS) * size * seconds <= MAX_SECONDS * (1 + 1e-9)
    else:
        assert size == 1
        assert 4 * seconds > MAX_SECONDS * (1 - 1e-9), "another round would not fit"


def test_a_reason_is_one_short_line():
    gaps = Gaps()
    assert gaps.measured("sum", lambda: math.fsum([0.5, 0.5])) == 1.0
    assert gaps == {}
    assert gaps.measured("this", lambda: {}["a" * 1000]) is None
    assert gaps["this"].startswith("KeyError: 'aaa")
    assert len(gaps["this"]) == 200
