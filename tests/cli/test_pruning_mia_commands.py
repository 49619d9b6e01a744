"""`pruneaudit pruning-mia train`, `run-experiment`, `mia`, `test`, `export`, with the options of its scripts."""

import argparse
import csv
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import called, succeed
from pruneaudit.core.errors import UserError
from pruneaudit.published.pruning_mia_parsing import (
    attacks_asked,
    experiment,
    given_options,
    joined,
    several_seeds,
)

SMALL = [
    *("--dataset", "digits", "--layers", "8", "--epochs", "1", "--lr", "0.02", "--attacks", "confidence"),
    *("--set", "membership.num_models=3", "--set", "data.num_samples=90", "--set", "audit.fpr_levels=[0.3]"),
    *("--set", "model=tinycnn:width=4"),
]
NAME = "pruning-mia-digits-resnet8"


@pytest.fixture
def call(tmp_path):
    """Runs `pruneaudit pruning-mia COMMAND ... --out OUT`."""
    return lambda *arguments, out=tmp_path: called("pruning-mia", *arguments, "--out", out)


@pytest.fixture
def train(call):
    """Runs a small grid in this process, and expects that it works."""

    def train(*arguments, command="train", **place):
        code, out, err = call(command, *SMALL, "--executor", "serial", "-q", *arguments, **place)
        assert code == 0, err
        return out

    return train


def releases(folder):
    return [release["name"] for release in json.loads((folder / NAME / "study.json").read_text())["releases"]]


def without_times(file):
    """A table's rows without what depends on how fast the run was."""
    with file.open() as opened:
        return [{key: text for key, text in row.items() if "seconds" not in key} for row in csv.DictReader(opened)]


@pytest.mark.slow
def test_one_after_another_ends_as_all_at_once(train, tmp_path):
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    train("--methods", "dpf", "--sparsities", "0.8", out=parts)
    assert releases(parts) == ["dpf_sparsity_0.8"]
    before = {path: path.stat().st_mtime_ns for path in parts.glob("*/*/model-*/DONE")}
    train("--prune", "--sparsity", "0.8", command="run-experiment", out=parts)
    assert releases(parts) == ["static_sparsity_0.8", "dpf_sparsity_0.8"]
    assert len(before) == 6  # three dense models, and three of dpf
    assert {path: path.stat().st_mtime_ns for path in before} == before
    all_three = ("--methods", "dense", "static", "dpf", "--sparsities", "0.8")
    told = train(*all_three, "--results-dir", tmp_path / "r", out=whole)
    assert f"written: {tmp_path / 'r' / 'comprehensive_mia_results.csv'}" in told
    assert not (whole / NAME / "results").exists()
    assert (parts / NAME / "study.json").read_bytes() == (whole / NAME / "study.json").read_bytes()
    assert (parts / NAME / "findings.csv").read_bytes() == (whole / NAME / "findings.csv").read_bytes()
    for name in ("training_results.csv", "comprehensive_mia_results.csv"):
        assert without_times(parts / NAME / "results" / name) == without_times(tmp_path / "r" / name)


def test_seeds_one_after_another_and_what_they_say_together(train, tmp_path):
    told = train("--methods", "dense", "--seeds", "43", "44")
    assert "means over seeds 43, 44" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, f"{NAME}-seed43", f"{NAME}-seed44"]
    results = tmp_path / NAME / "results"
    assert [row["seed"] for row in without_times(results / "comprehensive_mia_results.csv")] == ["43", "44"]
    over_seeds = without_times(results / "results_over_seeds.csv")
    assert {row["num_seeds"] for row in over_seeds} == {"2"}
    assert all(float(row["low"]) <= float(row["mean"]) <= float(row["high"]) for row in over_seeds)


@pytest.mark.slow
def test_the_nine_attacks_have_the_promised_columns(train, tmp_path):
    four = ("--set", "membership.num_models=4")
    train("--methods", "static", "--sparsities", "0.8", *four, "--attacks", "advanced", "wemem")
    columns = list(without_times(tmp_path / NAME / "results/comprehensive_mia_results.csv")[0])
    names = ["lira", "shokri_nn", "top3_nn", "class_label_nn", "samia"]
    names += ["confidence", "entropy", "modified_entropy", "neural_network"]
    assert columns[:3] == ["experiment", "method", "sparsity"]
    assert sorted(column for column in columns if column.endswith("_auc")) == sorted(f"{name}_auc" for name in names)
    assert {f"{name}_accuracy" for name in names} <= set(columns)


@pytest.mark.slow
def test_the_issues_own_command_says_what_it_would_do(call, tmp_path):
    grid = "--methods dense static dpf --sparsities 0.5 0.7 0.8 0.9 0.95 --dataset digits --arch resnet --layers 8"
    rest = "--epochs 200 --batch-size 64 --seeds 42 43 --skip-existing --dry-run --verbose --results-dir"
    code, out, err = call("train", *grid.split(), *rest.split(), tmp_path / "r")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if line.startswith("study ")]
    assert [line.partition(":")[0] for line in lines] == [f"study {NAME}", f"study {NAME}-seed43"]
    cells = [f"{method}_sparsity_{s}" for method in ("static", "dpf") for s in (0.5, 0.7, 0.8, 0.9, 0.95)]
    assert lines[0].endswith(f"16 models, releases dense, {', '.join(cells)}")
    assert list(tmp_path.iterdir()) == []


def without_free(said):
    """What a dry run says, but for the room on the disk, which others use too."""
    return re.sub(r"where [0-9,]+ MB are free", "", said)


def test_one_named_model(call):
    cell = ("--name", "dpf_90", "--prune", "--prune_method", "dpf", "--sparsity", "0.9")
    for asked in (("run-experiment", *cell), ("train", "--name=dpf_90", "--methods=dpf", "--sparsities", "0.9")):
        code, out, _ = call(*asked, *SMALL, "--dry-run")
        assert code == 0
        assert "3 models, releases dense, dpf_90\n" in out
    code, out, _ = call("run-experiment", "--name", "dense_cifar10", *SMALL, "--dry-run")
    assert code == 0
    assert "3 models, releases dense\n" in out
    harmless = ("--mia", "--workers", "4", "--print-freq", "10", "--prune-type", "unstructured")
    again = call("run-experiment", *harmless, *SMALL, "--dry-run")
    assert (again[0], without_free(again[1])) == (0, without_free(out))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "dense", "dcil"], ["methods", "got 'dcil'"]),
        (["--sparsities", "0.5", "many"], ["sparsities", "got 'many'"]),
        (["--sparsities", "0.5", "1.5"], ["sparsities", "1.5"]),
        (["--seeds", "42", "x"], ["seed", "got 'x'"]),
        (["--seeds", ","], ["--seeds: got no numbers"]),
        (["--seed", "1", "--seeds", "2"], ["--seed: cannot be combined with several seeds"]),
        (["--seed", "1", "--multi-seed"], ["--seed: cannot be combined with several seeds", "--multi-seed"]),
        (["--num-seeds", "2"], ["--num-seeds: got 2 without --multi-seed"]),
        (["--seeds", "1", "2", "--set", "name=x"], ["--seeds: got several", "--set"]),
        (["--arch", "vgg"], ["arch", "got 'vgg'"]),
        (["--layers", "21", "--dataset", "digits"], ["depth", "6n + 2"]),
        (["--name", "x"], ["is for one release"]),
        (["--attacks", "lora"], ["lora", "did you mean 'lira'?"]),
        (["--dataset", "cifar11"], ["cifar11", "did you mean 'cifar10'?"]),
        (["--epochs", "many"], ["--epochs", "valid integer"]),
        (["--methods"], ["--methods: got no value"]),
        (["--target-epoch", "75", "--epochs", "50"], ["target_epoch = 75"]),
    ],
)
def test_mistakes_in_one_line(call, tmp_path, arguments, words):
    code, out, err = call("train", *arguments, "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sparsity", "0.9"], ["--sparsity: got 0.9 without --prune"]),
        (["--prune", "--prune-method", "dcil"], ["methods", "got 'dcil'"]),
        (["--prune", "--sparsity", "1.5"], ["sparsities", "1.5"]),
        (["--wandb-project", "x"], ["--wandb-project: got it without --wandb"]),
        (["--gpu", "-1"], ["--gpu", "greater than or equal to 0"]),
        (["--gpu", "99"], ["device", "cuda"]),
    ],
)
def test_mistakes_of_one_experiment_in_one_line(call, tmp_path, arguments, words):
    code, out, err = call("run-experiment", *arguments, "--dry-run")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err
    assert list(tmp_path.iterdir()) == []


def test_what_one_experiment_asks_of_the_grid():
    assert experiment(False, None, None, "dense_cifar10") == {"methods": ["dense"]}
    assert experiment(True, None, None, None) == {"methods": ["static"], "sparsities": [0.5]}
    dpf = {"methods": ["dpf"], "sparsities": [0.9], "name": "dpf_90", "num_models": 65}
    assert experiment(True, "dpf", 0.9, "dpf_90", 64) == dpf


def test_several_seeds_are_numbered_as_there():
    assert several_seeds(False, None, None) is None
    assert several_seeds(True, None, None) == list(range(43, 51))
    assert several_seeds(True, 2, 7) == [7, 8]


def test_which_attacks_are_played():
    assert attacks_asked(None, None) == ["advanced", "wemem"]
    assert attacks_asked("advanced", None) == ["advanced"]
    assert attacks_asked("advanced", ["lira,samia"]) == ["lira", "samia"]
    assert attacks_asked(None, ["rmia"]) == ["rmia"]
    for only, attacks, said in (
        ("classic", None, "advanced or wemem"),
        ("wemem", ["lira"], "'lira'"),
        (None, [","], "no"),
    ):
        with pytest.raises(UserError, match=said):
            attacks_asked(only, attacks)


@pytest.mark.slow
def test_runs_are_attacked_tested_and_exported(train, tmp_path):
    """`mia`, `test` and `export`, on what `train` has made under two seeds."""
    train("--methods", "dense", "--multi-seed", "--num-seeds", "2", "--start-seed", "42")
    runs, results = ("--runs-dir", tmp_path), tmp_path / "unified"
    findings = (tmp_path / NAME / "findings.csv").read_bytes()

    told = succeed("pruning-mia", "mia", *runs, "--attacks", "loss", "entropy", "--results_dir", results, "-q")
    assert f"written: {results / 'comprehensive_mia_results.csv'}" in told
    rows = without_times(results / "comprehensive_mia_results.csv")
    assert [row["seed"] for row in rows] == ["42", "43"]
    assert {name.partition("_")[0] for name in rows[0]} >= {"loss", "entropy"}
    assert (tmp_path / NAME / "findings.csv").read_bytes() == findings
    told = succeed("pruning-mia", "test", *runs, "--attacks", "loss", "-q")
    assert told.count("membership redrawn") == 2
    both = (tmp_path / NAME, tmp_path / f"{NAME}-seed43")
    told = succeed("pruning-mia", "export", *both, "--out", tmp_path / "exported")
    assert "runs/dense/digits/seed43" in told
    assert (tmp_path / "exported/runs/dense/digits/best_model.pth").is_file()


def test_where_there_is_no_run_it_is_said(tmp_path):
    for command in ("mia", "test"):
        code, out, err = called("pruning-mia", command, "--runs-dir", tmp_path)
        assert (code, out) == (2, "")
        assert f"{tmp_path}: contains no run" in err


@pytest.fixture(scope="module")
def parser():
    """The published system's way of parsing."""
    parser = argparse.ArgumentParser()
    for name in ("--methods", "--sparsities", "--seeds"):
        parser.add_argument(name, nargs="+", default=[])
    parser.add_argument("--epochs")
    return parser


WORDS = st.sampled_from(["dense", "static", "0.5", "0.95", "42", "x"])
CHUNKS = st.one_of(
    st.tuples(st.sampled_from(["--methods", "--sparsities", "--seeds"]), st.lists(WORDS, min_size=1, max_size=4)),
    st.tuples(st.just("--epochs"), WORDS.map(lambda word: [word])),
)


@given(chunks=st.lists(CHUNKS, max_size=4, unique_by=lambda chunk: chunk[0]))
def test_several_values_are_understood_as_there(parser, chunks):
    arguments = [part for flag, values in chunks for part in (flag, *values)]
    theirs = vars(parser.parse_args(arguments))
    ours = joined(arguments, ("methods", "sparsities", "seeds"))
    assert len(ours) == 2 * len(chunks)
    read = dict(zip(ours[::2], ours[1::2], strict=True))
    for name in ("methods", "sparsities", "seeds"):
        text = read.get(f"--{name}")
        assert given_options(**{name: [text] if text else None}).get(name, []) == theirs[name]
    assert read.get("--epochs") == theirs["epochs"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--methods", "dense", "dpf", "--epochs", "3"], ["--methods", "dense,dpf", "--epochs", "3"]),
        (["--methods=dense", "-q"], ["--methods=dense", "-q"]),
        (["--methods", "a", "--methods", "b", "c"], ["--methods", "a", "--methods", "b,c"]),
        (["--set", "a=b", "c"], ["--set", "a=b", "c"]),
        (["-q", "--", "--methods", "a", "b"], ["-q", "--", "--methods", "a", "b"]),
        ([], []),
    ],
)
def test_where_several_values_end(arguments, expected):
    assert joined(arguments, ("methods",)) == expected
