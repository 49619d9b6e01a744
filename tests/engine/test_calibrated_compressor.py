"""A compressor that learns from public samples: which ones it is given, and what that leaves of the holdout."""

import numpy as np
import pytest
import torch

import pruneaudit
from pruneaudit.api import Runtime, run
from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.rtn import Rtn
from pruneaudit.core.errors import UserError
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.engine.plan import check_plugins
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.folder import RunFolder

SEEN = []
"""The inputs that the compressor was given, of each model, in the preflight too."""


class Calibrated(Rtn):
    """Rounding that looks at public samples first."""

    def data(self, options):
        return "public"

    def num_samples(self, options):
        return 40

    def compress(self, model, options, context):
        SEEN.append(context.samples.inputs(slice(None)))
        return super().compress(model, options, context)


@pytest.fixture
def make(make_study, monkeypatch):
    monkeypatch.setitem(COMPRESSORS._registered, "calibrated", Calibrated())
    SEEN.clear()
    releases = [
        {"name": "small", "compress": "calibrated:bits=4"},
        {"name": "child", "parent": "small", "finetune": {"epochs": 1}},
    ]
    return lambda attacks=("loss",), **data: make_study(
        data={"source": "digits", "num_samples": 100, **data}, releases=releases, audit={"attacks": list(attacks)}
    )


def inputs(audit_data, part, count):
    chosen = torch.from_numpy(audit_data.x[part][:count].copy()).float()
    return (chosen / 255 - audit_data.mean[0]) / audit_data.std[0] if audit_data.mean else chosen


@pytest.mark.parametrize(("public", "left"), [(0, 60), (80, 100)])
def test_it_is_given_the_first_of_the_part_and_what_it_took_leaves_the_nulls(make, tmp_path, public, left):
    finished = run(make(num_holdout=100, num_public=public), out=tmp_path, runtime=Runtime(executor="serial"))
    folder = RunFolder.open(finished.folder)
    plan, audit_data = folder.finished()
    part = audit_data.public if public else audit_data.holdout
    assert len(SEEN) >= 4
    for seen in SEEN:
        torch.testing.assert_close(seen.reshape(40, -1), inputs(audit_data, part, 40).reshape(40, -1))
    for release, expected in (("dense", 100), ("small", left), ("child", left)):
        signals = folder.signals(plan, audit_data, release)
        assert signals.untouched_holdout.sum() == expected
        assert (
            audit_data.ids[signals.untouched_holdout].tolist()
            == audit_data.ids[audit_data.holdout][100 - expected :].tolist()
        )


def test_public_samples_are_part_of_its_identity(make):
    def identity(**data):
        return plan_study(make(**data))[0].models("small")[0].artifact.identity

    assert len({identity(num_holdout=100, num_public=size) for size in (0, 50, 60)}) == 3


def test_what_is_left_is_counted_before_anything_is_trained(make):
    check_plugins(make(("loss", "attack_p"), num_holdout=540))
    with pytest.raises(
        UserError, match=r"200 .*got 199 of 439 .*'small'.*'calibrated' uses 40; .*num_public=80.*num_holdout=500"
    ):
        check_plugins(make(("loss", "attack_p"), num_holdout=439))
    check_plugins(make(("loss", "attack_p"), num_holdout=500, num_public=80))
    with pytest.raises(UserError, match=r"'small': compressor 'calibrated' .*data\.num_public"):
        check_plugins(make())


def test_outside_a_study_it_is_refused(make):
    with pytest.raises(UserError, match=r"'calibrated' .*samples"):
        pruneaudit.compress(torch.nn.Linear(4, 4), "calibrated:bits=4")


class OnMembers(Calibrated):
    """The same, with the network's own members."""

    def data(self, options):
        return "members"


def test_members_are_the_networks_own_first_ones_in_one_order(make, tmp_path, monkeypatch):
    monkeypatch.setitem(COMPRESSORS._registered, "calibrated", OnMembers())
    finished = run(make(num_holdout=100), out=tmp_path, runtime=Runtime(executor="serial"))
    folder = RunFolder.open(finished.folder)
    plan, audit_data = folder.finished()
    signals = folder.signals(plan, audit_data, "small")
    assert signals.untouched_holdout.sum() == 100  # no null is lost
    everyone = inputs(audit_data, np.ones(len(audit_data.y), bool), None).flatten(1)
    chosen = [{int((everyone == row).all(dim=1).nonzero()[0]) for row in seen.flatten(1)} for seen in SEEN[-4:]]
    for member, rows in zip(signals.member, chosen, strict=True):
        assert len(rows) == min(40, member.sum() // 2)
        assert member[list(rows)].all()
    # One order of all samples for every network.
    order = numpy_generator(plan.study.seed, "calibration").permutation(len(audit_data.y))
    for member, rows in zip(signals.member, chosen, strict=True):
        assert rows == set(order[member[order]][: len(rows)].tolist())


def test_whose_samples_it_sees_is_part_of_its_identity(make, monkeypatch):
    first = plan_study(make(num_holdout=100))[0].models("small")[0].artifact.identity
    monkeypatch.setitem(COMPRESSORS._registered, "calibrated", OnMembers())
    assert plan_study(make(num_holdout=100))[0].models("small")[0].artifact.identity != first


def test_fewer_samples_than_asked_for_are_told_before_the_run(make, tmp_path):
    finished = run(make(num_holdout=60), out=tmp_path, runtime=Runtime(executor="serial"))
    log = (finished.folder / "run.log").read_text()
    assert "release 'small': 'calibrated' asks for 40 samples and gets 30" in log
    more = run(make(num_holdout=100), out=tmp_path / "more", runtime=Runtime(executor="serial"))
    assert "asks for" not in (more.folder / "run.log").read_text()
