"""Pruning_MIA's tables against what the run itself has written, read by other means."""

# M models, N samples, C classes

import csv
import json
import math
import re
import shutil

import numpy as np
import pytest
import torch

from npz_files import arrays_in
from pruneaudit.core.errors import UserError
from pruneaudit.published.finished import Finished, all_seeds, load_runs
from pruneaudit.published.pruning_mia_tables import attack_column, results_over_seeds, write_tables
from pruneaudit.study import Study

pytestmark = pytest.mark.slow

EXPERIMENTS = ["dense_digits", "static_sparsity_0.8_digits", "dpf_sparsity_0.8_digits"]
RELEASES = ["dense", "static_sparsity_0.8", "dpf_sparsity_0.8"]


def rows_of(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.fixture(scope="module")
def tables(grid_runs, tmp_path_factory):
    """The three tables as texts, by file name."""
    files = write_tables(load_runs(grid_runs), tmp_path_factory.mktemp("tables") / "results")
    return {file.name: rows_of(file) for file in files}


@pytest.mark.parametrize(
    ("label", "column"),
    [
        ("lira", "lira"),
        ("nn", "neural_network"),
        ("nn_top3", "top3_nn"),
        ("nn_cls", "class_label_nn"),
        ("shokri_nn", "shokri_nn"),
        ("lira:mode=offline", "lira_mode_offline"),
        ("nn:epochs=3", "neural_network_epochs_3"),
    ],
)
def test_attacks_are_called_as_there(label, column):
    assert attack_column(label) == column


def test_every_figure_is_the_one_of_the_findings(tables, grid_runs):
    table = tables["comprehensive_mia_results.csv"]
    assert list(table[0])[:4] == ["experiment", "method", "sparsity", "lira_auc"]
    assert [row["experiment"] for row in table] == 2 * EXPERIMENTS
    assert [(row["method"], row["sparsity"]) for row in table[:3]] == [
        ("dense", "0.0"),
        ("static", "0.8"),
        ("dpf", "0.8"),
    ]
    checked = 0
    for run, seed in zip(grid_runs, ("42", "43"), strict=True):
        findings = {
            (row["release"], row["attack"]): row
            for row in rows_of(run / "findings.csv")
            if (row["victim"], row["references"]) == ("mean", "matched")
        }
        for row in (row for row in table if row["seed"] == seed):
            release = row["experiment"].removesuffix("_digits")
            for attack in ("lira", "confidence"):
                found = findings[release, attack]
                for theirs, ours in (("auc", "auc"), ("accuracy", "balanced_accuracy"), ("tpr_at_30%_fpr",) * 2):
                    for end in ("", "_low", "_high"):
                        assert row[f"{attack}_{theirs}{end}"] == found[ours + end] != ""
                        checked += 1
    assert checked == 2 * 3 * 2 * 9


def test_a_refused_figure_is_empty(tables):
    for row in tables["comprehensive_mia_results.csv"]:
        assert row["lira_tpr_at_1%_fpr"] == row["lira_tpr_at_1%_fpr_low"] == ""
    over_seeds = [row for row in tables["results_over_seeds.csv"] if row["metric"] == "tpr_at_1%_fpr"]
    assert over_seeds
    assert {(row["num_seeds"], row["mean"], row["low"]) for row in over_seeds} == {("0", "", "")}


def test_accuracies_are_those_of_the_releases(tables, grid_runs):
    table = [row for row in tables["training_results.csv"] if row["seed"] == "42"]
    for row, release in zip(table, rows_of(grid_runs[0] / "releases.csv"), strict=True):
        assert row["experiment"] == f"{release['release']}_digits"
        for end in ("", "_low", "_high"):
            assert row[f"accuracy{end}"] == release[f"test_accuracy{end}"]
        assert row["train_accuracy"] == release["train_accuracy"]
        assert row["num_models"] == "4"


def stored_loss(run, release, model_id):
    """The cross-entropy of a model's non-members, by torch, from the files of the run."""
    membership = arrays_in(run / "membership.npz")
    chosen = membership["eligible"][model_id] & ~membership["member"][model_id]  # (N,)
    labels = np.load(next(run.glob("audit_data-*/y.npy")))
    logits = np.load(next(run.glob(f"{release}-*/signals-*/model-{model_id:03d}/logits.npy")))  # (N, C)
    outside = torch.from_numpy(logits[chosen]).double(), torch.from_numpy(labels[chosen])
    return float(torch.nn.functional.cross_entropy(*outside))


def test_the_loss_is_that_of_non_members(tables, grid_runs):
    for row, release in zip(tables["training_results.csv"][:3], RELEASES, strict=True):
        expected = np.mean([stored_loss(grid_runs[0], release, model_id) for model_id in range(4)])
        assert float(row["loss"]) == pytest.approx(expected, rel=1e-9)
        assert 0 < float(row["loss_low"]) < expected < float(row["loss_high"])


def test_training_times_come_from_the_log(tables, grid_runs):
    log = (grid_runs[0] / "run.log").read_text()
    for row, release in zip(tables["training_results.csv"][:3], RELEASES, strict=True):
        seconds = re.findall(rf'task="(?:train|release) {re.escape(release)} model-\d+" seconds=([\d.]+)', log)
        assert len(seconds) == int(row["num_timed"]) == 4
        assert float(row["training_seconds_in_all"]) == pytest.approx(sum(map(float, seconds)))
        assert float(row["training_seconds"]) == pytest.approx(sum(map(float, seconds)) / 4)


def test_without_a_log_there_is_no_time(grid_runs, tmp_path):
    copied = shutil.copytree(grid_runs[0], tmp_path / "copied")
    (copied / "run.log").unlink()
    first = rows_of(write_tables([Finished.load(copied)], tmp_path / "tables")[0])[0]
    assert (first["training_seconds"], first["training_seconds_in_all"], first["num_timed"]) == ("", "", "0")


def test_what_was_done_again_counts_the_last_time(grid_runs, tmp_path):
    copied = shutil.copytree(grid_runs[0], tmp_path / "copied")
    with (copied / "run.log").open("a") as log:
        log.write('2026-11-22T00:00:00Z INFO event=done task="train dense model-002" seconds=99.5\nhalf a line')
    assert Finished.load(copied).seconds["train dense model-002"] == 99.5


def test_means_over_seeds_by_hand(tables):
    """Two values a, b: the mean, and t(0.975, 1) = 12.7062 standard errors |a - b| / 2 either side."""
    values = [float(row["lira_auc"]) for row in tables["comprehensive_mia_results.csv"] if row["method"] == "dpf"]
    (row,) = [
        row
        for row in tables["results_over_seeds.csv"]
        if (row["experiment"], row["attack"], row["metric"]) == (EXPERIMENTS[2], "lira", "auc")
    ]
    mean, reach = sum(values) / 2, 12.7062047 * abs(values[0] - values[1]) / 2
    assert (float(row["mean"]), int(row["num_seeds"])) == (pytest.approx(mean), 2)
    assert float(row["low"]) == pytest.approx(max(0, mean - reach))
    assert float(row["high"]) == pytest.approx(min(1, mean + reach))


def test_the_networks_own_figures_are_averaged_too(tables):
    own = {row["metric"]: row for row in tables["results_over_seeds.csv"] if row["attack"] == ""}
    assert set(own) == {"accuracy", "loss"}
    last = [row for row in tables["training_results.csv"] if row["experiment"] == EXPERIMENTS[2]]
    assert float(own["loss"]["mean"]) == pytest.approx(np.mean([float(row["loss"]) for row in last]))


def test_one_seed_has_no_interval_and_no_table_of_seeds(grid_runs, tmp_path):
    run = Finished.load(grid_runs[0])
    (tmp_path / "results_over_seeds.csv").write_text("of earlier seeds")
    files = write_tables([run], tmp_path)
    assert [file.name for file in files] == ["training_results.csv", "comprehensive_mia_results.csv"]
    assert not (tmp_path / "results_over_seeds.csv").exists()
    alone = results_over_seeds([run])
    scored = alone[alone["num_seeds"] == 1]
    assert len(scored) and all(map(math.isnan, [*scored["low"], *scored["high"]]))


def test_all_finished_seeds_are_found(grid_runs, tmp_path):
    for run in grid_runs:
        shutil.copytree(run, tmp_path / run.name)
    half = shutil.copytree(grid_runs[1], tmp_path / f"{grid_runs[0].name}-seed44")
    (half / "SHA256SUMS").unlink()
    study = Study.load(grid_runs[1] / "study.json")
    assert [run.study.seed for run in all_seeds(study, tmp_path)] == [42, 43]
    changed = json.loads((tmp_path / grid_runs[0].name / "study.json").read_text())
    changed["training"]["epochs"] = 2
    (tmp_path / grid_runs[0].name / "study.json").write_text(json.dumps(changed))
    assert [run.study.seed for run in all_seeds(study, tmp_path)] == [43]


def test_a_place_that_cannot_be_written_is_a_users_mistake(grid_runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, expected the name of a folder"):
        write_tables([Finished.load(grid_runs[0])], tmp_path / "file")


def test_runs_that_differ_in_more_than_the_seed_do_not_share_a_table(grid_runs, other_run):
    with pytest.raises(UserError, match="in more than the seed"):
        load_runs([grid_runs[0], other_run])
