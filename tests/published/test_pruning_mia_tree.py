"""Pruning_MIA's folders from finished runs: what is in them, and when nothing is written."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch

from pruneaudit.core.errors import UserError
from pruneaudit.data.audit_data import AuditData
from pruneaudit.models import build_model
from pruneaudit.published.pruning_mia_evaluation import evaluate
from pruneaudit.published.pruning_mia_tree import export_tree

CELLS = {"dense": "dense", "static_sparsity_0.8": "static/sparsity_0.8", "dpf_sparsity_0.8": "dpf/sparsity_0.8"}


@pytest.fixture(scope="module")
def tree(grid_runs, tmp_path_factory):
    return export_tree(grid_runs, tmp_path_factory.mktemp("tree") / "exported")


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_folders_are_theirs(tree):
    expected = [f"runs/{cell}/digits{seed}" for seed in ("", "/seed43") for cell in CELLS.values()]
    assert [str(folder.relative_to(tree.folder)) for folder in tree.experiments] == expected
    bank = [f"model-00{m}/{name}" for m in (1, 2, 3) for name in ("experiment_summary.json", "history.csv")]
    own = ["best_model.pth", "config.json", "experiment_summary.json", "history.csv"]
    for folder in tree.experiments:
        assert [name for name in files_below(folder) if not name.startswith("seed")] == sorted([*own, *bank])
    assert [name for name in files_below(tree.folder) if not name.startswith("runs/")] == [
        "comprehensive_mia_results.csv",
        "exported_files.txt",
        "results/advanced/lira.csv",
        "results/mia/comprehensive_mia_results.csv",
        "results/wemem/confidence.csv",
        "results_over_seeds.csv",
        "training_results.csv",
    ]


@pytest.mark.parametrize(("release", "cell"), CELLS.items())
def test_the_weights_are_those_that_were_attacked(tree, grid_runs, release, cell):
    folder = tree.folder / "runs" / cell / "digits/seed43"
    config = json.loads((folder / "config.json").read_text())
    state = torch.load(folder / "best_model.pth", weights_only=True)
    network = build_model(config["model"]["arch"], config["model"]["options"], (1, 8, 8), 10, torch.Generator())
    network.load_state_dict(state)
    audit_data = AuditData.load(next(grid_runs[1].glob("audit_data-*")))
    mean, std = (np.array(value, np.float32)[:, None, None] for value in (audit_data.mean, audit_data.std))
    with torch.no_grad():
        x = torch.from_numpy(((audit_data.x / 255 - mean) / std).astype(np.float32))
        logits = network.eval()(x).numpy()
    stored = np.load(next(grid_runs[1].glob(f"{release}-*/signals-*/model-000/logits.npy")))
    assert logits == pytest.approx(stored, abs=1e-4)
    zeros = [float((weight == 0).float().mean()) for name, weight in state.items() if weight.ndim == 4]
    assert (max(zeros) > 0.5) == (release != "dense")


def test_the_summary_says_what_the_run_knows(tree, grid_runs):
    summary = json.loads((tree.folder / "runs/static/sparsity_0.8/digits/experiment_summary.json").read_text())
    model = json.loads(next(grid_runs[0].glob("static*/model-000/summary.json")).read_text())
    assert (summary["experiment_name"], summary["seed"], summary["model_id"]) == ("static_sparsity_0.8_digits", 42, 0)
    assert (summary["method"], summary["sparsity"], summary["epochs"]) == ("static", 0.8, 1)
    assert summary["sparsity_reached"] == pytest.approx(0.8, abs=1e-4)  # of all convolutions, by one threshold
    assert summary["accuracy"] == model["test_accuracy"]
    assert summary["final_metrics"]["acc1"] == pytest.approx(100 * model["test_accuracy"])
    assert summary["parameters"] > summary["nonzero_parameters"] == model["nonzero_parameters"]
    assert summary["total_duration"] > 0
    with (tree.folder / "training_results.csv").open() as file:
        row = list(csv.DictReader(file))[1]
    bank = summary["bank"]
    assert bank["num_models"] == 4
    assert [bank["accuracy"][key] for key in ("mean", "low", "high")] == [
        float(row[f"accuracy{end}"]) for end in ("", "_low", "_high")
    ]
    losses = [
        json.loads((tree.folder / "runs/static/sparsity_0.8/digits" / place / "experiment_summary.json").read_text())[
            "loss"
        ]
        for place in ("", "model-001", "model-002", "model-003")
    ]
    assert bank["loss"]["mean"] == pytest.approx(np.mean(losses))


def test_the_configuration_is_the_studys(tree):
    config = json.loads((tree.folder / "runs/dpf/sparsity_0.8/digits/config.json").read_text())
    assert (config["data"], config["system"]) == ({"dataset": "digits", "batch_size": 128}, {"seed": 42})
    assert (config["training"]["scheduler"], config["training"]["gamma"]) == ("multistep", 0.1)
    pruning = config["pruning"]
    assert (pruning["enabled"], pruning["method"], pruning["sparsity"]) == (True, "dpf", 0.8)
    assert pruning["options"]["period_steps"] == 16
    assert json.loads((tree.folder / "runs/dense/digits/config.json").read_text())["pruning"]["enabled"] is False


def test_the_order_of_seeds_changes_nothing_but_the_order_of_rows(tree, grid_runs, tmp_path):
    turned = export_tree(grid_runs[::-1], tmp_path / "turned").folder
    assert files_below(turned) == files_below(tree.folder)
    name = "runs/dense/digits/experiment_summary.json"
    assert (turned / name).read_bytes() == (tree.folder / name).read_bytes()


def test_any_study_can_be_laid_out_so(other_run, tmp_path):
    tree = export_tree([other_run], tmp_path / "out", model_id=2)
    assert [str(folder.relative_to(tree.folder / "runs")) for folder in tree.experiments] == [
        "dense/digits",
        "dense+finetune/digits",
        "l1unstructured/sparsity_0.5/digits",
        "l1unstructured-0.5+seed1/sparsity_0.5/digits",
    ]
    assert all((folder / "model-000").is_dir() and not (folder / "model-002").exists() for folder in tree.experiments)


def test_nothing_is_written_where_something_is_wrong(grid_runs, tmp_path):
    with pytest.raises(UserError, match="has no model 9"):
        export_tree(grid_runs, tmp_path / "out", model_id=9)
    with pytest.raises(UserError, match=r"no study\.json there"):
        export_tree([grid_runs[0], tmp_path], tmp_path / "out")
    with pytest.raises(UserError, match="two runs of seed"):
        export_tree([grid_runs[0], grid_runs[0]], tmp_path / "out")
    broken = shutil.copytree(grid_runs[0], tmp_path / "broken")
    weights = next(broken.glob("dpf*/model-002/model.safetensors"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="damaged"):
        export_tree([broken], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_only_an_earlier_export_is_replaced(grid_runs, tmp_path):
    out = tmp_path / "out"
    export_tree(grid_runs[:1], out)
    before = files_below(out)
    with pytest.raises(UserError, match="is not empty"):
        export_tree(grid_runs[1:], out)
    assert files_below(out) == before
    export_tree(grid_runs[1:], out, force=True)
    assert all("seed43" in name for name in files_below(out / "runs"))
    assert (out / "exported_files.txt").read_text().splitlines() == files_below(out)
    for place in ("notes.txt", "results/mia/notes.txt", "runs/dense/digits/seed43/model-001/notes.txt"):
        (out / place).write_text("mine")
        with pytest.raises(UserError, match=rf"an earlier export \({place}\)"):
            export_tree(grid_runs, out, force=True)
        assert (out / place).read_text() == "mine"
        (out / place).unlink()
    (out / "runs/data").symlink_to(grid_runs[0])
    with pytest.raises(UserError, match=r"\(runs/data\)"):
        export_tree(grid_runs, out, force=True)
    (out / "runs/data").unlink()
    export_tree(grid_runs[:1], out, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_no_list_calls_an_export_is_not_replaced(grid_runs, tmp_path):
    out = tmp_path / "out"
    export_tree(grid_runs[:1], out)
    (out / "exported_files.txt").unlink()
    before = files_below(out)
    with pytest.raises(UserError, match=r"no exported_files\.txt.* is not replaced") as caught:
        export_tree(grid_runs[1:], out, force=True)
    assert "\n" not in str(caught.value)
    assert files_below(out) == before


def test_an_evaluation_leaves_the_run_as_it_was(grid_runs, tmp_path):
    before = (grid_runs[1] / "findings.csv").read_bytes()
    done = evaluate(grid_runs[1:], ["entropy"], tmp_path / "results")
    assert (grid_runs[1] / "findings.csv").read_bytes() == before
    with done.tables[1].open() as file:
        table = list(csv.DictReader(file))
    assert [row["seed"] for row in table] == ["43", "43", "43"]
    assert {name.partition("_")[0] for name in table[0]} == {"experiment", "method", "sparsity", "entropy", "seed"}
    assert (tmp_path / "results" / grid_runs[1].name / "report.html").exists()
    found = done.runs[0].audit.results.findings
    (value,) = found[(found["release"] == "dense") & (found["victim"] == "mean")]["auc"]
    assert float(table[0]["entropy_auc"]) == value
