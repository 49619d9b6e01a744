"""`pruneaudit run pruning-mia/...` with the options that Pruning_MIA's users know."""

import argparse
import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.cli.grid_options import given_options, joined

STUDY = "pruning-mia/cifar10"
SMALL = [
    *("--dataset", "digits", "--layers", "8", "--epochs", "1", "--lr", "0.02", "--num-models", "3"),
    *("--attacks", "confidence", "--set", "data.num_samples=90", "--set", "audit.fpr_levels=[0.3]"),
    *("--set", "model=tinycnn:width=4"),
]
NAME = "pruning-mia-digits-resnet8"


@pytest.fixture
def call(call, tmp_path):
    """Runs `pruneaudit run ... --out OUT`."""
    return lambda *arguments, out=tmp_path: call("run", *arguments, "--out", out)


@pytest.fixture
def train(call):
    """Runs a small grid in this process, and expects that it works."""

    def train(*arguments, **place):
        code, out, err = call(STUDY, *SMALL, "--executor", "serial", "-q", *arguments, **place)
        assert code == 0, err
        return out

    return train


def releases(folder):
    return [release["name"] for release in json.loads((folder / NAME / "study.json").read_text())["releases"]]


def without_times(file):
    """A table's rows without what depends on how fast the run was."""
    with file.open() as opened:
        return [{key: text for key, text in row.items() if "seconds" not in key} for row in csv.DictReader(opened)]


def test_one_after_another_ends_as_all_at_once(train, tmp_path):
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    train("--methods", "dpf", "--sparsities", "0.8", out=parts)
    assert releases(parts) == ["dpf_sparsity_0.8"]
    before = {path: path.stat().st_mtime_ns for path in parts.glob("*/*/model-*/DONE")}
    train("--methods", "static", "--sparsities", "0.8", "--skip-existing", out=parts)
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
    train("--methods", "static", "--sparsities", "0.8", "--num-models", "4", "--attacks", "advanced", "wemem")
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
    code, out, err = call(STUDY, *grid.split(), *rest.split(), tmp_path / "r")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if line.startswith("study ")]
    assert [line.partition(":")[0] for line in lines] == [f"study {NAME}", f"study {NAME}-seed43"]
    cells = [f"{method}_sparsity_{s}" for method in ("static", "dpf") for s in (0.5, 0.7, 0.8, 0.9, 0.95)]
    assert lines[0].endswith(f"16 models, releases dense, {', '.join(cells)}")
    assert list(tmp_path.iterdir()) == []


def test_one_named_model(call):
    code, out, _ = call(STUDY, *SMALL, "--name", "dpf_90", "--methods", "dpf", "--sparsities", "0.9", "--dry-run")
    assert code == 0
    assert "3 models, releases dense, dpf_90\n" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "dense", "dcil"], ["methods", "got 'dcil'"]),
        (["--sparsities", "0.5", "many"], ["sparsities", "got 'many'"]),
        (["--sparsities", "0.5", "1.5"], ["sparsities", "1.5"]),
        (["--seeds", "42", "x"], ["seed", "got 'x'"]),
        (["--seeds", ","], ["--seeds: got no number"]),
        (["--seed", "1", "--seeds", "2"], ["--seed, --seeds: got both"]),
        (["--seeds", "1", "2", "--set", "name=x"], ["--seeds: got several", "--set"]),
        (["--arch", "vgg"], ["arch", "got 'vgg'"]),
        (["--layers", "21", "--dataset", "digits"], ["depth", "6n + 2"]),
        (["--name", "x"], ["names one release"]),
        (["--attacks", "lora"], ["lora", "did you mean 'lira'?"]),
        (["--dataset", "cifar11"], ["cifar11", "did you mean 'cifar10'?"]),
        (["--epochs", "many"], ["--epochs", "valid integer"]),
        (["--methods"], ["--methods: got no value"]),
        (["--target-epoch", "75", "--epochs", "50"], ["target_epoch = 75"]),
    ],
)
def test_mistakes_in_one_line(call, tmp_path, arguments, words):
    code, out, err = call(STUDY, *arguments, "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value", "instead"),
    [
        ("--epochs", "5", "use --set training.epochs=N"),
        ("--methods", "dense", "write it into a study file of your own"),
        ("--seeds", "42", "write it into a study file of your own"),
        ("--results-dir", "x", "write it into a study file of your own"),
        ("--num-models", "4", "use --set membership.num_models=N"),
    ],
)
def test_the_grids_options_belong_to_its_studies(call, option, value, instead):
    code, out, err = call("demo-quick", option, value, "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {option}: belongs to the studies pruning-mia/cifar10 and pruning-mia/cifar100")
    assert instead in err
    assert err.count("\n") == 1


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
        (["--methods", "dense", "dpf", STUDY], ["--methods", "dense,dpf", STUDY]),
        (["--methods", "dense,dpf", "my.toml"], ["--methods", "dense,dpf", "my.toml"]),
        (["--methods=dense", "-q"], ["--methods=dense", "-q"]),
        (["--methods", "a", "--methods", "b", "c"], ["--methods", "a", "--methods", "b,c"]),
        (["--set", "a=b", "c"], ["--set", "a=b", "c"]),
        (["-q", "--", "--methods", "a", "b"], ["-q", "--", "--methods", "a", "b"]),
        ([], []),
    ],
)
def test_where_several_values_end(arguments, expected):
    assert joined(arguments, ("methods",)) == expected
