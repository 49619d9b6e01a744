"""What `benchmarks/peers.py` does between the peers: places, processes of their own, figures, the table."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

FOLDER = Path(__file__).parents[2] / "benchmarks"
MODULES = ("peers", "peer_matches", "peer_results", "peer_banks", "exchange", "interleaved", "made_up")
DRIVER = """
import sys
sys.path.insert(0, {drivers!r})
import numpy as np
from exchange import run

def attack(bank, clock, sign):
    with clock:
        return sign * np.stack([bank.true_class(row)[bank.audited] for row in bank.rows("victims")])

def broken(bank, clock):
    raise ValueError("no such luck")

run({{"confidence": attack, "broken": broken}}, lambda: "0.1")
"""


@pytest.fixture(scope="module")
def bench():
    """The script, with its folders on the path while it is imported."""
    added = [str(FOLDER), str(FOLDER / "peer_drivers")]
    sys.path[:0] = added
    try:
        import exchange
        import peers

        yield peers, exchange
    finally:
        for each in added:
            sys.path.remove(each)
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture
def bank(tmp_path, bench):
    """Four models of 60 audited samples and 5 others: two victims that are each other's pair, two references."""
    import peer_banks

    folder, rng = tmp_path / "bank", np.random.default_rng(0)
    folder.mkdir()
    holdout, labels = np.arange(65) < 5, rng.integers(3, size=65)
    eligible = np.broadcast_to(~holdout, (4, 65))
    member = peer_banks.in_pairs((rng.random((4, 65)) < 0.5) & eligible, eligible)
    for row, inside in enumerate(member):
        logits = rng.normal(size=(65, 3))
        logits[np.arange(65), labels] += 3 * inside
        np.save(folder / f"0-{row}.npy", logits.astype(np.float32))
    np.savez(folder / "rest.npz", labels=labels, member=member, holdout=holdout, **peer_banks.roles_of(4, 2, 2))
    return folder


def test_roles_and_pairs(bank, bench):
    _, exchange = bench
    read = exchange.Bank(bank)
    assert (read.rows("victims"), read.rows("paired"), read.rows("references")) == ([0, 1], [1, 0], [2, 3])
    assert read.pairs() == [(2, 3)] and read.num_releases == 1
    assert (read.member[0, read.audited] ^ read.member[1, read.audited]).all(), "one of a pair, and only one"
    assert not read.member[:, read.rest["holdout"]].any()
    assert np.allclose(read.posteriors(0).sum(axis=1), 1)


def test_rows_by_membership_come_back_in_their_places(bank, bench):
    _, exchange = bench
    read = exchange.Bank(bank)
    sides = np.concatenate([read.stacked(read.true_class, "victims", side) for side in (True, False)])
    expected = np.stack([read.true_class(row)[read.audited] for row in (0, 1)])
    assert np.array_equal(read.put_back(sides), expected)


def written_driver(folder, peer):
    (folder / f"{peer}_driver.py").write_text(DRIVER.format(drivers=str(FOLDER / "peer_drivers")))


def test_a_peer_plays_in_a_process_of_its_own(bank, bench, tmp_path):
    peers, exchange = bench
    written_driver(tmp_path, "art")
    places = {"art": {"python": sys.executable}}
    play = peers.Play("art", "confidence", (("sign", -1),))
    outcome = peers.played(play, bank, places, tmp_path)
    assert not outcome.failure
    read = exchange.Bank(bank)
    assert np.array_equal(outcome.scores[1], -read.true_class(1)[read.audited].astype(np.float64))
    assert outcome.facts["version"] == "0.1" and outcome.facts["cpu"] >= 0
    assert outcome.facts["peak"] > 10 and outcome.facts["added"] < outcome.facts["peak"]


def test_a_peer_that_fails_is_a_row_of_the_table(bank, bench, tmp_path):
    peers, _ = bench
    written_driver(tmp_path, "art")
    written_driver(tmp_path, peers.OURS)
    places = {"art": {"python": sys.executable}}
    good = peers.Play(peers.OURS, "confidence", (("sign", 1),), "confidence")
    matches = [
        peers.Match(peers.Play("art", "confidence", (("sign", -1),)), good, "another sign"),
        peers.Match(peers.Play("art", "broken"), good),
    ]
    found = peers.everything(matches, lambda play: peers.played(play, bank, places, tmp_path), 2)
    assert {play.attack: len(runs) for play, runs in found.items()} == {"confidence": 2, "broken": 2}
    header, rows = peers.rows_of(matches, found, bank)
    assert all(len(row) == len(header) for row in rows)
    assert rows[0][header.index("so ours is")] == "ahead" and rows[0][-1] == "another sign"
    assert "no such luck" in rows[1][-1]
    assert peers.versions_of(found) == [["art", "0.1"], [peers.OURS, "0.1"]]


def test_differences_are_paired(bench):
    from peer_results import compared

    rng = np.random.default_rng(0)
    member = rng.random((1, 400)) < 0.5
    theirs = rng.normal(size=(1, 400)) + member
    same = compared(theirs, 2 * theirs + 1, member)
    assert same.auc_less == (0.0, 0.0, 0.0) and same.verdict == "level"
    better = compared(theirs, theirs + member, member)
    area = stats.mannwhitneyu(theirs[member], theirs[~member]).statistic / (member.sum() * (~member).sum())
    assert better.auc[0] == pytest.approx(area) and better.verdict == "ahead"
    assert compared(theirs + member, theirs, member).verdict == "behind"
    assert better.tpr is None, "200 non-members are too few for 1%"


def test_samples_that_one_side_does_not_score_are_left_out(bench):
    from peer_results import compared

    rng = np.random.default_rng(0)
    member = rng.random((2, 300)) < 0.5
    theirs = rng.normal(size=(2, 300))
    holed = theirs.copy()
    holed[:, :50] = np.nan
    kept = compared(theirs[:, 50:], theirs[:, 50:], member[:, 50:])
    assert compared(holed, theirs, member).auc == pytest.approx(kept.auc)


def test_rates_need_ten_false_positives(bench):
    from peer_results import compared

    rng = np.random.default_rng(0)
    member = np.arange(2400)[None] % 2 == 0
    theirs = rng.normal(size=(1, 2400)) + member
    found = compared(theirs, theirs + member, member)
    assert found.tpr is not None and found.tpr[1] > found.tpr[0] > 0.01
    assert found.tpr_less is not None and found.tpr_less[1] < found.tpr_less[0] < found.tpr_less[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[nobody]\npython = '/'", "nobody"),
        ("[art]\npython = '/not/there'", "/not/there"),
        ("[art]\npython = '/'\ncheckout = '/'", "checkout"),
        ("[mia_prune]\npython = '/'", "checkout"),
        ("[art", "TOML"),
    ],
)
def test_wrong_places_are_told_in_one_line(bench, tmp_path, text, said):
    peers, _ = bench
    file = tmp_path / "peers.toml"
    file.write_text(text)
    with pytest.raises(SystemExit) as error:
        peers.read_places(file)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_made_up_bank_has_pairs(bench, tmp_path):
    peers, exchange = bench
    peers.make_bank(tmp_path / "made", "made-up", (6, 40, 10))
    read = exchange.Bank(tmp_path / "made")
    assert len(read.audited) == 40 and read.rows("victims") == [0] and read.rows("references") == [2, 3, 4, 5]
    assert all((read.member[a] ^ read.member[b])[read.audited].all() for a, b in read.pairs())


def test_every_peer_has_a_driver_and_matches(bench):
    peers, _ = bench
    assert all((FOLDER / "peer_drivers" / f"{name}_driver.py").exists() for name in (*peers.PEERS, peers.OURS))
    assert {match.theirs.peer for match in peers.MATCHES["trained"]} == set(peers.PEERS)
    assert all(
        json.dumps(dict(play.options)) for match in peers.MATCHES["trained"] for play in (match.theirs, match.ours)
    )
