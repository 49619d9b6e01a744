"""`pruneaudit records` as a user meets it: a run gets counts and a private file, and stays whole; predictions too."""

import json
import stat
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import pruneaudit
from pruneaudit.tracking.tracker import Tracker

STUDY = """
name = "tiny"
[data]
source = "digits"
label_noise = 0.4
num_samples = 240
num_holdout = 500
[membership]
num_models = 6
[model]
name = "mlp"
options = { hidden = [32] }
[training]
epochs = 25
batch_size = 16
[[releases]]
name = "pruned"
compress = "l1unstructured"
sparsity = 0.3
finetune = { epochs = 2, learning_rate = 0.02 }
[[releases]]
name = "again"
compress = "l1unstructured"
sparsity = 0.3
finetune = { epochs = 2, learning_rate = 0.02 }
finetune_seed = 1
[audit]
attacks = ["rmia"]
fpr_levels = [0.1]
"""
SERIAL = pruneaudit.Runtime(executor="serial")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("records")
    (place / "study.toml").write_text(STUDY)
    return pruneaudit.run(place / "study.toml", place, SERIAL).folder


def build_predictions(num_samples=800, num_holdout=460, num_models=7, gain=6.0, first_id=0, seed=0):
    rng, labels = np.random.default_rng(seed), np.random.default_rng(9).integers(4, size=num_samples)
    member = rng.random((num_models, num_samples)) < 0.5
    member[:, :num_holdout] = False
    logits = rng.normal(size=(num_models, num_samples, 4))
    logits[:, np.arange(num_samples), labels] += gain * member
    held_out = np.arange(num_samples) < num_holdout
    eligible = np.broadcast_to(~held_out, member.shape)
    ids = np.array([f"row-{row}" for row in range(num_samples)])
    return pruneaudit.Signals(
        logits,
        labels,
        member,
        eligible,
        holdout=held_out,
        ids=ids,
        model_ids=np.arange(first_id, first_id + num_models),
    )


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    place = tmp_path_factory.mktemp("predictions")
    build_predictions().save(place / "dense.npz")
    build_predictions(gain=3.0, seed=1).save(place / "other.npz")
    return place


def names_in(page, records):
    """The named samples whose ids stand in the page's section on records."""
    section = page.read_text().split('<h2 id="records-heading"')[1].split("</section>")[0]
    return [one for one in set(records.loc[records["named"] == 1, "id"]) if f"<bdi>{one}</bdi></th>" in section]


def test_a_run_gets_counts_and_a_file_for_its_owner(call, run_folder):
    others = {path.name: path.read_bytes() for path in run_folder.glob("*.csv") if path.name != "records.csv"}
    code, out, err = call("records", run_folder, "--fdr", "40%", "--quiet")
    assert code == 0, err
    assert "dense" in out and "records.csv" in out and "report.html" in out
    assert {name: (run_folder / name).read_bytes() for name in others if name != "verdicts.csv"} == {
        name: content for name, content in others.items() if name != "verdicts.csv"
    }
    file = run_folder / "records.csv"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    records, table = pd.read_csv(file, dtype={"id": str, "victim": str}), pd.read_csv(run_folder / "verdicts.csv")
    of_models = table[table["kind"] == "model"]
    assert set(of_models["release"]) == {"dense", "pruned", "again", "dense+finetune"}
    assert len(of_models) == 4 * 6
    assert (of_models["fdr"] == 0.4).all()
    assert of_models["num_named"].sum() > 0
    assert table["num_named"].sum() == records["named"].sum()
    assert table["num_records"].sum() == len(records)
    assert set(of_models.loc[of_models["repeats"].notna(), "release"]) == {"again"}
    assert of_models.loc[of_models["release"] == "again", "stability"].notna().any()
    assert json.loads((run_folder / "findings.json").read_text())["verdicts"]
    assert {part.state for part in pruneaudit.verify(run_folder)} == {"whole"}
    assert not any("records.csv" in part.place for part in pruneaudit.verify(run_folder))
    again = pruneaudit.run(run_folder / "study.json", run_folder.parent, SERIAL)
    assert again.num_tasks_done == 0
    assert len(again.results.verdicts) == len(table)  # the run is reused with its counts


def test_names_are_on_the_page_only_if_its_reader_asks(call, run_folder):
    page = run_folder / "report.html"
    assert call("records", run_folder, "--fdr", "0.4", "--quiet")[0] == 0
    records = pd.read_csv(run_folder / "records.csv", dtype={"id": str})
    assert names_in(page, records) == []  # of public data, too
    assert call("records", run_folder, "--fdr", "0.4", "--show-records", "--quiet")[0] == 0
    assert names_in(page, records)
    assert call("report", run_folder)[0] == 0
    assert names_in(page, records) == []
    assert call("report", run_folder, "--show-records")[0] == 0
    assert names_in(page, records)
    (run_folder / "records.csv").write_text("kind,release,victim,id,class,p,q,named\nmodel,dense,0,stranger,1,0,0,1\n")
    assert call("report", run_folder, "--show-records")[0] == 0
    assert "stranger" not in page.read_text()  # not the file of these counts


def test_trackers_get_counts_at_most(call, run_folder):
    class Kept(Tracker):
        name = "kept"

        def __init__(self):
            super().__init__(None)
            self.paths = []

        def begin(self, about, folder):
            pass

        def findings(self, values):
            pass

        def files(self, paths):
            self.paths += paths

        def end(self, failed):
            pass

    assert call("records", run_folder, "--fdr", "0.4", "--show-records", "--quiet")[0] == 0
    records, kept = pd.read_csv(run_folder / "records.csv", dtype={"id": str}), Kept()
    runtime = pruneaudit.Runtime(executor="serial", trackers=[kept])
    pruneaudit.run(run_folder / "study.json", run_folder.parent, runtime)
    sent = [path for path in kept.paths if path.suffix == ".html"]
    assert sent and "records.csv" not in [path.name for path in kept.paths]
    assert all(names_in(path, records) == [] for path in sent)


def test_new_results_take_the_names_of_old_ones_with_them(call, run_folder, tmp_path):
    assert call("records", run_folder, "--fdr", "0.4", "--quiet")[0] == 0
    assert call("attack", run_folder, "--attacks", "loss", "--out", tmp_path / "other", "--quiet")[0] == 0
    assert (run_folder / "records.csv").exists()
    assert call("attack", run_folder, "--attacks", "rmia", "--quiet")[0] == 0
    assert not (run_folder / "records.csv").exists()
    assert not (run_folder / "verdicts.csv").exists()


def test_some_releases_and_victims_with_another_score(call, run_folder):
    code, out, err = call(
        *("records", run_folder, "--release", "pruned", "--victim", 3, "--victim", 4, "--score", "lira", "--json"),
        "--quiet",
    )
    assert code == 0, err
    rows = json.loads(out)
    assert [(row["kind"], row["release"], row["victim"], row["score"]) for row in rows] == [
        ("model", "pruned", "3", "lira"),
        ("model", "pruned", "4", "lira"),
    ]
    assert rows[0]["fdr"] == 0.1


@pytest.mark.slow
def test_predictions_have_verdicts_and_their_audit_gets_them(call, predictions, tmp_path):
    file, audited = predictions / "dense.npz", tmp_path / "audit"
    code, out, err = call("records", file, "--fdr", "0.3", "--quiet")
    assert code == 0, err
    assert "--out" in out and "records.csv" in out
    assert not (predictions / "records.csv").exists()
    assert call("audit", file, "--attacks", "rmia", "--fpr-levels", "10%", "--out", audited, "--quiet")[0] == 0
    code, _, err = call("records", file, "--fdr", "0.3", "--out", audited, "--quiet")
    assert code == 0, err
    records = pd.read_csv(audited / "records.csv")
    assert records["id"].str.startswith("row-").all()
    assert stat.S_IMODE((audited / "records.csv").stat().st_mode) == 0o600
    found = pruneaudit.records(pruneaudit.PredictionFiles(file), pruneaudit.RecordLists(fdr=0.3))
    counts = pd.read_csv(audited / "verdicts.csv")
    assert counts["num_named"].tolist() == found.table["num_named"].tolist()
    assert found.file is None
    table = counts[counts["kind"] == "model"]
    assert (table["num_named"] > 20).all()
    assert table["share_nonmembers"].mean() <= 0.3
    assert call("records", audited)[0] == 2  # it keeps no predictions


def test_one_model_is_judged_with_references_or_without(call, predictions, tmp_path):
    bank = build_predictions()
    alone = bank.take_models(np.array([2]))
    replace(alone, is_victim=np.array([True])).save(tmp_path / "mine.npz")
    build_predictions(first_id=50, seed=3).save(tmp_path / "refs.npz")
    code, out, err = call(
        "records", tmp_path / "mine.npz", "--references", tmp_path / "refs.npz", "--json", "--fdr", "0.3", "--quiet"
    )
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["score"], row["num_references"], row["victim"]) == ("rmia", 7, "2")
    assert row["num_named"] > 20
    code, out, err = call("records", tmp_path / "mine.npz", "--json", "--fdr", "0.3", "--quiet")
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["score"], row["num_references"], row["agreement_named"]) == ("loss", 0, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fdr", "0"], ["0", "0.1"]),
        (["--fdr", "1"], ["1", "0.1"]),
        (["--fdr", "many"], ["--fdr", "many"]),
        (["--fdr", "0.1,0.2"], ["--fdr", "0.1,0.2"]),
        (["--release", "prunde"], ["prunde", "pruned"]),
        (["--victim", "77"], ["77", "0", "5"]),
        (["--score", "lirra"], ["lirra", "lira", "rmia"]),
        (["--seed", "1"], ["seed", "leave"]),
        (["--references", "refs.npz"], ["--references", "leave"]),
        (["--out", "elsewhere"], ["elsewhere", "leave it out"]),
    ],
)
def test_a_mistake_is_one_line(call, run_folder, options, words):
    code, _, err = call("records", run_folder, *options)
    assert code == 2
    assert all(word in err for word in words) and err.count("\n") == 1


def test_too_few_nulls_are_refused_with_a_remedy_that_works(call, tmp_path):
    build_predictions(num_holdout=300).save(tmp_path / "few.npz")
    code, _, err = call("records", tmp_path / "few.npz", "--quiet")
    assert code == 2
    assert "200" in err and "500" in err and "num_holdout=500" in err and err.count("\n") == 1
    build_predictions(num_holdout=500).save(tmp_path / "enough.npz")
    assert call("records", tmp_path / "enough.npz", "--quiet")[0] == 0


def test_classes_alone_are_refused(call, tmp_path):
    bank = build_predictions()
    classes = pruneaudit.Signals(
        labels=bank.labels,
        member=bank.member,
        eligible=bank.eligible,
        holdout=bank.holdout,
        predicted=bank.logits.argmax(2),
    )
    classes.save(tmp_path / "classes.npz")
    code, _, err = call("records", tmp_path / "classes.npz", "--quiet")
    assert code == 2
    assert "probabilities" in err and err.count("\n") == 1
