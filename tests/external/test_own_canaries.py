"""Canaries in one model: made, trained with, asked about, and turned into a bound on epsilon."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pruneaudit
from command_line import succeed
from npz_files import arrays_in
from pruneaudit.core.errors import UserError
from pruneaudit.data.canaries import read_canaries
from pruneaudit.external.canaries import CanaryFiles, with_canaries, write_canaries
from pruneaudit.external.sources import read_source

# n canaries, N samples

MODULE = "canary_network"
NETWORK = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
"""
NUM_CANARIES = 120


def train(x, y, path):
    """A network that knows its training set by heart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    torch.save(network.state_dict(), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, request):
    """A training set, a pool, canaries of the pool, and two networks: with them, and without them."""
    folder = tmp_path_factory.mktemp("canaries")
    (folder / f"{MODULE}.py").write_text(NETWORK)
    digits = pruneaudit.SOURCES.get("digits")
    raw = digits.load(digits.Options(), None)
    order = np.random.default_rng(0).permutation(len(raw.y))  # the file is grouped by writer
    x, y = (raw.x[order] / 255).astype(np.float32), raw.y[order]
    np.savez(folder / "train.npz", x=x[:500], y=y[:500])
    np.savez(folder / "pool.npz", x=x[500:], y=y[500:])
    np.savez(folder / "all.npz", x=x, y=y)
    np.savez(folder / "member.npz", member=np.arange(len(x)) < 500)
    out = ("--out", folder / "canaries.npz", "--train", folder / "rows.npz")
    succeed("canaries", "make", f"npz:{folder / 'pool.npz'}", "--num", NUM_CANARIES, *out)
    rows = arrays_in(folder / "rows.npz")
    train(np.concatenate([x[:500], rows["x"]]), np.concatenate([y[:500], rows["y"]]), folder / "model.pt")
    train(x[:500], y[:500], folder / "without.pt")
    return folder


@pytest.fixture
def given(folder, monkeypatch):
    """The arguments of `collect_signals`."""
    monkeypatch.syspath_prepend(folder)
    return {
        "factory": f"{MODULE}:build",
        "weights": folder / "model.pt",
        "membership": folder / "member.npz",
        "data": f"npz:{folder / 'all.npz'}",
        "canaries": folder / "canaries.npz",
    }


@pytest.mark.filterwarnings("ignore:.*repeat another")
def test_an_overfit_network_shows_epsilon_and_one_without_canaries_does_not(given, folder):
    bounds = {}
    for weights in ("model.pt", "without.pt"):
        signals = pruneaudit.collect_signals(**given | {"weights": folder / weights})
        found = pruneaudit.audit(signals, attacks=("loss",), fpr_levels=(0.1,)).results.canaries
        bounds[weights] = found[found["victim"] == "every victim"].set_index("figure")["value"]
    assert bounds["model.pt"]["epsilon, one run"] > 1
    assert bounds["model.pt"]["epsilon, one run, Gaussian"] > bounds["model.pt"]["epsilon, one run"]
    assert (bounds["without.pt"] < 0.5).all()


@pytest.mark.filterwarnings("ignore:.*repeat another")
def test_members_are_the_coins_and_rows_with_the_same_x_are_not_scored(given, folder):
    signals = pruneaudit.collect_signals(**given)
    canaries, data = read_canaries(folder / "canaries.npz"), arrays_in(folder / "all.npz")
    planted = np.flatnonzero(signals.canaries)
    np.testing.assert_array_equal(signals.member[0, planted], canaries.member)
    np.testing.assert_array_equal(signals.labels[planted], canaries.y)
    assert signals.scored[0, planted].all()
    ordinary = np.flatnonzero(~signals.canaries)
    np.testing.assert_array_equal(signals.sample_ids[ordinary], np.arange(len(data["y"])))  # ids are rows of the data
    np.testing.assert_array_equal(np.flatnonzero(signals.copies[ordinary]), np.sort(500 + canaries.ids))
    assert not set(signals.sample_ids[planted]) & set(range(len(data["y"])))


def test_from_the_command_line(given, folder, call, tmp_path):
    words = [word for key, value in given.items() for word in (f"--{key}", value)]
    code, out, err = call("collect", *words, "--out", tmp_path / "signals.npz", "--quiet")
    assert code == 0, err
    assert f"canaries  {NUM_CANARIES}" in out
    code, out, err = call(
        "audit", tmp_path / "signals.npz", "--attacks", "loss", "--out", tmp_path / "audit", "--quiet"
    )
    assert code == 0, err
    rows = pd.read_csv(tmp_path / "audit" / "canaries.csv")
    assert (rows.loc[rows["figure"] == "epsilon, one run", "value"] > 1).all()


def joined(folder, **changes):
    """What `with_canaries` makes of the data and a membership."""
    _, data = read_source(f"npz:{folder / 'all.npz'}", None)
    membership = {"member": (np.arange(len(data.y)) < 500)[None]} | changes
    return with_canaries(membership, data, folder / "canaries.npz")


def test_a_canary_that_was_trained_on_beside_its_coin_is_refused(folder):
    canaries = read_canaries(folder / "canaries.npz")
    member = (np.arange(len(arrays_in(folder / "all.npz")["y"])) < 500)[None]
    member[0, 500 + canaries.ids[3]] = True
    with pytest.raises(UserError, match=rf"1 of {NUM_CANARIES} .* row {500 + canaries.ids[3]} "):
        joined(folder, member=member)


def test_the_training_file_with_canaries_can_be_the_data(folder, tmp_path):
    """Rows that were added to the training set are the canaries themselves; an excluded one among them is refused."""
    canaries, data = read_canaries(folder / "canaries.npz"), arrays_in(folder / "train.npz")
    for chosen in (canaries.member, np.ones(NUM_CANARIES, bool)):
        x, y = (np.concatenate([data[key], getattr(canaries, key)[chosen]]) for key in ("x", "y"))
        np.savez(tmp_path / "trained.npz", x=x, y=y)
        _, whole = read_source(f"npz:{tmp_path / 'trained.npz'}", None)
        membership = {"member": np.ones((1, len(y)), bool)}
        if chosen.all():
            with pytest.raises(UserError, match="same x as members"):
                with_canaries(membership, whole, folder / "canaries.npz")
        else:
            found, _ = with_canaries(membership, whole, folder / "canaries.npz")
            np.testing.assert_array_equal(found["member"][0, found["canary"]], canaries.member)


def test_a_reference_that_saw_x_counts_as_trained_on_it(folder):
    canaries = read_canaries(folder / "canaries.npz")
    num = len(arrays_in(folder / "all.npz")["y"])
    member = np.stack([np.arange(num) < 500, np.arange(num) == 500 + canaries.ids[5]])
    found, _ = joined(folder, member=member, is_victim=np.array([True, False]))
    np.testing.assert_array_equal(found["member"][0, found["canary"]], canaries.member)
    assert np.flatnonzero(found["member"][1, found["canary"]]).tolist() == [5]


def test_several_victims_and_other_data_are_refused(folder):
    num = len(arrays_in(folder / "all.npz")["y"])
    with pytest.raises(UserError, match="2 victims"):
        joined(folder, member=np.stack([np.arange(num) < 500, np.arange(num) < 400]))
    _, digits = read_source("digits", None)
    with pytest.raises(UserError, match="uint8"):
        with_canaries({"member": (np.arange(num) < 500)[None]}, digits, folder / "canaries.npz")
    with pytest.raises(UserError, match="'canary'"):
        joined(folder, canary=np.zeros(num, bool))


def test_holdout_rows_with_the_x_of_a_canary_leave_the_holdout(folder):
    num = len(arrays_in(folder / "all.npz")["y"])
    holdout = np.arange(num) >= 600
    found, _ = joined(folder, holdout=holdout, eligible=~holdout[None])
    assert not found["holdout"][found["canary"]].any()
    canaries = read_canaries(folder / "canaries.npz")
    taken = found["holdout"][NUM_CANARIES:]
    np.testing.assert_array_equal(taken, holdout & ~np.isin(np.arange(num), 500 + canaries.ids))


def test_files_keep_the_form_of_the_data_and_the_rest_has_no_x_of_a_canary(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)  # channels last
    images[30:] = images[:10]
    np.savez(tmp_path / "data.npz", x=images, y=np.arange(40) % 4, classes=["a", "b", "c", "d"])
    data = f"npz:{tmp_path / 'data.npz'}"
    files = CanaryFiles(tmp_path / "c.npz", tmp_path / "train.npz", tmp_path / "rest.npz")
    canaries = write_canaries(data, read_source(data, None)[1], 12, 3, files)
    train, rest = arrays_in(tmp_path / "train.npz"), arrays_in(tmp_path / "rest.npz")
    np.testing.assert_array_equal(train["x"], images[canaries.ids[canaries.member]])
    assert train["classes"].tolist() == ["a", "b", "c", "d"]
    planted = images[canaries.ids]
    assert not (rest["x"][:, None] == planted[None]).all(axis=(2, 3, 4)).any()
    assert len(rest["x"]) == 40 - sum((image == planted).all(axis=(1, 2, 3)).any() for image in images)
    np.testing.assert_array_equal(arrays_in(files.canaries)["x"], planted)
    np.testing.assert_array_equal(read_canaries(files.canaries).x, planted.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--num", 5000), ("5,000", "1,797")),
        (("--num", 3), ("3", "10")),
        (("--train", "{out}"), ("--train", "--out")),
        (("--rest", "old.npz"), ("old.npz", "--rest", "--force")),
        (("--train", "rows.csv"), ("--train", ".npz")),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(call, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.npz").write_bytes(b"")
    options = [str(option).format(out="c.npz") for option in options]
    code, _, err = call("canaries", "make", "digits", "--out", "c.npz", *options)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert [word for word in words if word not in err] == []
    assert not (tmp_path / "c.npz").exists()


@pytest.mark.filterwarnings("ignore:.*repeat another", "ignore:.*unknown")
def test_a_canary_whose_x_may_be_in_the_training_set_is_not_scored(given, folder):
    canaries = read_canaries(folder / "canaries.npz")
    member = (np.arange(len(arrays_in(folder / "all.npz")["y"])) < 500).astype(float)
    member[500 + canaries.ids[2]] = np.nan
    signals = pruneaudit.collect_signals(**given | {"membership": member})
    scored = signals.scored[0, signals.canaries]
    assert np.flatnonzero(~scored).tolist() == [2]
