"""`pruneaudit audit` of several releases: names, folders, what is written, former options, and what is refused."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest

NAMES = ("dense", "pruned", "int8")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three releases of four models, and references of each; the folder is the working folder."""
    monkeypatch.chdir(tmp_path)
    labels, easiness = np.arange(120) % 3, np.random.default_rng(1).normal(size=120)
    for kind, num_models, first in (("", 4, 0), ("r", 3, 10)):
        member = np.random.default_rng(first).random((num_models, 120)) < 0.5
        for row, name in enumerate(NAMES):
            logits = np.random.default_rng([first, row]).normal(size=(num_models, 120, 3))
            logits[:, np.arange(120), labels] += easiness + (1.5 - 0.5 * row) * member
            model_ids = np.arange(first, first + num_models)
            np.savez(f"{kind}{name}.npz", logits=logits, labels=labels, member=member, model_ids=model_ids)
    return tmp_path


def findings(folder):
    table = pd.read_csv(folder / "findings.csv")
    return table[table["victim"] == "mean"].set_index(["release", "attack"])


@pytest.mark.slow
def test_several_releases_make_one_report(call, files):
    given = [f"{name}={name}.npz" for name in NAMES]
    own = [part for name in NAMES for part in ("--references", f"{name}=r{name}.npz")]
    attacks = ["--attacks", "loss,rmia,back_front", "--fpr-levels", "0.3"]
    code, out, err = call("audit", *given, *own, "--baseline", "dense", *attacks, "--out", "all")
    assert (code, err) == (0, err)
    assert all(name in out for name in NAMES)
    for name in NAMES:
        alone = ["audit", f"{name}.npz", "--references", f"r{name}.npz", "--attacks", "loss,rmia", *attacks[2:]]
        assert call(*alone, "--out", name)[0] == 0
        for attack in ("loss", "rmia"):
            pd.testing.assert_series_equal(
                findings(files / "all").loc[(name, attack)], findings(files / name).loc[(name, attack)]
            )
    rows = json.loads((files / "all" / "findings.json").read_text())["comparisons"]
    assert {(row["release"], row["baseline"]) for row in rows} == {("pruned", "dense"), ("int8", "dense")}
    about = json.loads((files / "all" / "about.json").read_text())
    assert list(about["files"]["signals"]) == list(about["files"]["references"]) == list(NAMES)
    page = (files / "all" / "report.html").read_text()
    assert "compression and whatever training came with it" in page
    code, out, err = call("report", "all", "--compare", "pruned", "--json")
    assert code == 0, err
    rows = [row for row in json.loads(out)["differences"] if row["attack"] and not row["suppressed"]]
    assert {(row["release"], row["method"], row["difference"]) for row in rows} == {("pruned", "paired", 0.0)}
    code, out, err = call("check", "all", "--max-auc", "0.99", "--json")
    assert {row["release"] for row in json.loads(out)["verdicts"]} == set(NAMES)


def test_files_without_names_go_by_their_own(call, files):
    assert call("audit", *(f"{name}.npz" for name in NAMES), "--attacks", "loss", "--out", "all")[0] == 0
    assert list(findings(files / "all").index.get_level_values("release")) == list(NAMES)
    (files / "a=b.npz").write_bytes((files / "dense.npz").read_bytes())
    assert call("audit", "a=b.npz", "--attacks", "loss", "--out", "one")[0] == 0
    assert list(findings(files / "one").index.get_level_values("release")) == ["a=b"]


def test_one_set_of_references_serves_all_releases(call, files):
    given = ["audit", "dense.npz", "pruned.npz", "--attacks", "rmia", "--references"]
    assert call(*given, "rdense.npz", "--out", "a")[0] == 0
    assert set(findings(files / "a")["references"]) == {"given"}
    assert call(*given, "dense=rdense.npz", "--out", "b")[0] == 0
    assert set(findings(files / "b")["references"]) == {"dense"}


def test_releases_with_sizes_are_compared_at_equal_size(call, files):
    import torch

    import pruneaudit

    folder = pruneaudit.compress(torch.nn.Sequential(torch.nn.Linear(40, 20)), "rtn:bits=8").save(files / "rounded")
    written = json.loads((folder / "summary.json").read_text())
    sizes = [f"--size={size}" for size in ("dense=4 kB", "pruned=1500", "int8=rounded")]
    given = ["audit", *(f"{name}={name}.npz" for name in NAMES), "--attacks", "loss", *sizes, "--out", "all"]
    code, out, err = call(*given, "--fpr-levels", "0.3")
    assert code == 0, err
    table = pd.read_csv(files / "all" / "frontier.csv").drop_duplicates("release").set_index("release")
    size = written["after"]["compressed_bytes"]
    assert table["compressed_bytes"].to_dict() == {"dense": 4000, "pruned": 1500, "int8": size}
    assert size < 1500
    assert f"{size:,} bytes" in table["size_suppressed"]["int8"]
    code, out, err = call("frontier", "all")
    assert code == 0, err
    assert ("At equal size" in " ".join(out.split())) == table["size_difference"].notna().any()


@pytest.mark.parametrize(
    "more", [[], ["--name", "cut", "--seed=4"], ["--references", "rpruned.npz", "--paired-references=rdense.npz"]]
)
def test_a_former_second_release_is_answered_with_what_to_type_now(call, files, more):
    former = ["audit", "pruned.npz", "--attacks", "loss,back_front", "--paired", "dense.npz", "--quiet", *more]
    code, out, err = call(*former)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not (files / "audit").exists()
    line = shlex.split(err[err.index("pruneaudit audit ") :])
    assert "--paired" not in line and "--quiet" in line
    code, out, err = call(*line[1:])
    assert code == 0, err
    attacked = "cut" if "cut" in more else "pruned"
    assert (attacked, "back_front") in findings(files / "audit").index


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["dense.npz", "d=dense.npz"], ["dense.npz", "dense and for d"]),
        (["dense.npz", "./dense.npz"], ["'dense' twice", "NAME=FILE"]),
        (["dense=dense.npz", "dense=pruned.npz"], ["'dense' twice"]),
        (["dense.npz", "pruned.npz", "--baseline", "dens"], ["did you mean 'dense'"]),
        (["a=dense.npz", "b=pruned.npz"], ["a, b", "--baseline a"]),
        (["dense.npz", "pruned.npz", "--name", "x"], ["'x'"]),
        (
            ["dense.npz", "=pruned.npz", "--baseline", "pruned", "--references", "x=rdense.npz"],
            ["'x'", "dense, pruned"],
        ),
        (["dense.npz", "rpruned.npz"], ["dense and rpruned", "model_ids"]),
        (["dense.npz", "pruned=absent.npz"], ["absent.npz"]),
        (["."], ["releases.json", "*.npz"]),
        (["dense.npz", "pruned.npz", "--size", "prunde=5"], ["prunde", "did you mean 'pruned'"]),
        (["dense.npz", "pruned.npz", "--size", "pruned"], ["'pruned'", "NAME=BYTES"]),
        (["dense.npz", "pruned.npz", "--size", "pruned=big"], ["pruned=big", "241kB"]),
        (["dense.npz", "pruned.npz", "--size", "pruned=0"], ["'pruned'", "0.0"]),
        (["dense.npz", "pruned.npz", "--size", "pruned=5TB"], ["pruned=5TB", "1.2MB"]),
        (["dense.npz", "pruned.npz", "--size", "pruned=."], ["summary.json"]),
        (["dense.npz", "pruned.npz", "--size", "pruned=5", "--size", "pruned=6"], ["'pruned' twice"]),
        (["dense.npz", "--size", "dense=5"], ["'dense'", "several"]),
        (
            ["dense.npz", "pruned.npz", "--references", "dense=rdense.npz", "--references", "pruned=rdense.npz"],
            ["once"],
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, files, given, words):
    code, out, err = call("audit", *given, "--attacks", "loss", "--out", "audit")
    assert (code, out, err.count("\n")) == (2, "", 1)
    for word in words:
        assert word in err
    assert not (files / "audit").exists()
