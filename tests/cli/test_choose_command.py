"""`pruneaudit choose` and what follows: the gate, the export, maintenance of the folder."""

import json
import shutil

import pytest
import safetensors.torch

from command_line import called, succeed

STUDY = """
name = "tiny"
data = { source = "digits", num_samples = 300, num_holdout = 500 }
membership = { num_models = 8 }
model = { name = "mlp", options = { hidden = [16] } }
training = { epochs = 12, batch_size = 16, learning_rate = 0.02 }

[choose]
rungs = []

[[choose.space]]
compress = "rtn"
bits = [2, 4, 8]
"""
LIMITS = ("--min-accuracy", "60%", "--max-auc", "0.8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a choice, and what the command said."""
    folder = tmp_path_factory.mktemp("choose")
    (folder / "study.toml").write_text(STUDY)
    code, out, err = called("choose", folder / "study.toml", *LIMITS, "--out", folder, "--executor", "serial")
    assert code == 0, err
    return folder / "tiny", out, err


def test_it_names_the_chosen_network_and_the_naive_choice(finished):
    folder, out, err = finished
    assert "Rung 1: 4 candidates on 4 models" in err
    assert "the list to confirm, safest first: " in err
    chosen = json.loads((folder / "choice/certificate.json").read_text())["judged"]
    name = next(one["candidate"]["name"] for one in chosen if one["outcome"] == "chosen")
    assert f"Chosen: {name}\n{name} (rtn {name[-1]} bits) is shown to keep all limits" in out
    assert "Without a confirmation, rtn-" in out
    assert str(folder / "choice/certificate.json") in out


def test_where_nothing_is_certified_the_exit_code_is_1(finished, tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    limits = ("--min-accuracy", "0.9", "--max-auc", "0.8")
    code, out, _ = called("choose", tmp_path / "study.toml", *limits, "--out", tmp_path, "--executor", "serial", "-q")
    assert code == 1
    assert "No network was certified" in out


def test_a_dry_run_counts_stages_and_writes_nothing(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    out = succeed("choose", tmp_path / "study.toml", *LIMITS, "--out", tmp_path / "runs", "--dry-run")
    assert "rung 1: at most 4 candidates on 4 models, 32 tasks" in out
    assert "confirmation: at most 4 candidates on 4 models" in out
    assert "minutes" in out
    assert not (tmp_path / "runs").exists()


def test_the_certificate_is_a_gate(finished):
    file = finished[0] / "choice/certificate.json"
    assert "certified" in succeed("check", file)
    assert called("check", file, "--max-auc", "0.8", "--min-accuracy", "0.5")[0] == 0
    assert called("check", file, "--max-auc", "0.7")[0] == 1
    assert called("check", file, "--max-tpr", "1%:0.05")[0] == 2
    record = json.loads(succeed("check", file, "--json"))
    assert record["outcome"] == "within"


def test_the_gate_asks_for_the_study(finished, tmp_path):
    file, study = finished[0] / "choice/certificate.json", finished[0].parent / "study.toml"
    succeed("check", file, "--study", study)
    (tmp_path / "other.toml").write_text(STUDY.replace("epochs = 12", "epochs = 13"))
    code, _, err = called("check", file, "--study", tmp_path / "other.toml")
    assert code == 2 and "another study" in err
    code, _, err = called("check", finished[0], "--max-auc", "0.8", "--study", study)
    assert code == 2 and "--study" in err
    code, _, err = called("check", file, "--attack", "rmia")
    assert code == 2 and "--attack" in err


def test_the_chosen_network_is_exported_in_one_command(finished, tmp_path):
    folder, out, _ = finished
    succeed("export", folder, "--chosen", "--format", "safetensors", "--out", tmp_path / "chosen.safetensors")
    note = json.loads((tmp_path / "chosen.safetensors.json").read_text())
    assert f"Chosen: {note['release']}\n" in out
    assert note["model_id"] == 4  # the first that confirmed
    stored = next(folder.glob(f"{note['release']}-*/model-004/model.safetensors"))
    written = safetensors.torch.load_file(tmp_path / "chosen.safetensors")
    assert all((tensor == written[name]).all() for name, tensor in safetensors.torch.load_file(stored).items())
    code, _, err = called("export", folder, "--out", tmp_path / "x")
    assert code == 2 and "--chosen" in err
    code, _, err = called("export", folder, "--chosen", "--release", "dense", "--out", tmp_path / "x")
    assert code == 2 and "both" in err


def test_without_a_certificate_there_is_nothing_to_export(tiny_run, tmp_path):
    code, _, err = called("export", tiny_run.folder, "--chosen", "--out", tmp_path / "x", "--format", "torch")
    assert code == 2 and "pruneaudit choose" in err


def test_trials_are_no_leftovers(finished, tmp_path):
    folder = finished[0]
    assert "rtn" not in succeed("clean", folder, "--dry-run")
    assert "0 damaged, 0 missing, 0 stale" in succeed("verify", folder)
    shutil.copytree(folder, tmp_path / "tiny")
    file = tmp_path / "tiny/choice/certificate.json"
    file.write_text(file.read_text() + " ")
    code, out, _ = called("verify", tmp_path / "tiny")
    assert code == 1 and "damaged: choice/certificate.json" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ["--min-accuracy", "--max-tpr"]),
        (("--max-tpr", "0.05"), ["FPR:LIMIT"]),
        (("--max-tpr", "1%:0.005"), ["guessing"]),
        (("--max-bytes", "many", "--max-auc", "0.8"), ["--max-bytes", "many"]),
        (("--max-auc", "0.8", "--minimize", "size"), ["minimize", "size"]),
        (("--max-auc", "0.8", "--budget", "0"), ["budget", "0"]),
        (("--max-auc", "0.8", "--set", "choose.serach=grid"), ["serach", "search"]),
        (("--max-auc", "0.501"), ["num_models"]),
    ],
)
def test_wrong_limits_are_one_line(tmp_path, options, words):
    (tmp_path / "study.toml").write_text(STUDY)
    code, out, err = called("choose", tmp_path / "study.toml", *options, "--out", tmp_path / "runs")
    assert (code, out) == (2, "")
    (line,) = err.strip().splitlines()
    assert all(word in line for word in words), line
    assert not (tmp_path / "runs").exists()
