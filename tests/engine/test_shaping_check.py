"""The samples that a release used beside its members: who used which, and whether they are recognised."""

import numpy as np
import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.evaluation.shaping_samples import SHAPING, Used, shaping_row
from pruneaudit.report.tables.shaping_samples import shaping_lines
from pruneaudit.signals.signals import Signals

SMALL = {"name": "mlp", "options": {"hidden": [64]}}


def bank(phi, holdout):
    """Signals of two classes whose phi is given, (M, N); audited samples are those outside the holdout."""
    num_models, num_samples = phi.shape
    p = 1 / (1 + np.exp(-phi))
    member = np.zeros((num_models, num_samples), dtype=bool)
    member[:, ~holdout] = np.arange((~holdout).sum()) % 2 == 0
    return Signals(
        probabilities=np.stack([p, 1 - p], axis=-1),
        labels=np.zeros(num_samples, dtype=int),
        member=member,
        eligible=np.broadcast_to(~holdout, member.shape),
        holdout=holdout,
    )


def row_of(shift, also_by_dense=False, num_used=60):
    rng = np.random.default_rng(1)
    holdout, used = np.arange(200) >= 20, np.zeros(200, dtype=bool)
    used[20 : 20 + num_used] = True
    before = rng.normal(size=(3, 200)) * 2
    after = before + 0.1 * rng.normal(size=before.shape) + shift * used
    row = shaping_row(
        Used("small", ("compressor 'gptq'",), used, "holdout", also_by_dense),
        bank(after, holdout),
        bank(before, holdout),
        np.arange(3),
    )
    return row, before, after, used, holdout


def test_the_auc_is_that_of_the_change_in_confidence():
    row, before, after, used, holdout = row_of(0.05)
    rest = holdout & ~used
    change = after - before
    pairs = [(change[m][used][:, None] > change[m][rest][None]).mean() for m in range(3)]
    assert row["auc"] == pytest.approx(np.mean(pairs), abs=1e-4)
    assert (row["num_used"], row["num_unused"]) == (60, 120)
    assert row["low"] < row["auc"] < row["high"]


def test_used_samples_are_recognised_only_if_they_changed_something():
    assert row_of(1.0)[0]["low"] > 0.9
    null = row_of(0.0)[0]
    assert null["low"] < 0.5 < null["high"]
    # The dense networks used them too: only the level is left, and a small shift drowns in it.
    seen = row_of(0.05, also_by_dense=True)[0]
    assert seen["low"] < 0.5 < seen["high"]


def test_too_few_samples_are_named():
    row = row_of(1.0, num_used=10)[0]
    assert "auc" not in row
    assert "30" in row["reason"]


def test_a_study_has_a_row_for_each_release_that_used_samples(make_study, tmp_path):
    study = make_study(
        data={"source": "digits", "num_samples": 100, "num_holdout": 100, "num_public": 60},
        membership={"num_models": 3},
        training={"epochs": 1, "batch_size": 32},
        releases=[
            {"compress": "rtn:bits=4"},
            {
                "compress": "distil:data=public:alpha=0",
                "model": SMALL,
                "finetune": {"epochs": 60, "learning_rate": 0.1},
            },
            {"name": "child", "parent": "distil-public-alpha=0", "compress": "rtn:bits=8"},
            {"name": "chosen", "finetune": {"epochs": 2, "select": "best_dev"}},
        ],
        audit={"attacks": ["loss"]},
    )
    finished = run(study, tmp_path, runtime=Runtime("serial"))
    rows = {row["release"]: row for row in finished.audit.results.about[SHAPING]}
    assert set(rows) == {"distil-public-alpha=0", "child", "chosen"}
    assert all((row["num_used"], row["num_unused"], row["part"]) == (60, 100, "public") for row in rows.values())
    assert rows["chosen"]["by"] == ["the dev set"]
    assert rows["distil-public-alpha=0"]["low"] > 0.5  # it was trained on them
    lines = {line.release: line for line in shaping_lines(finished.audit.results)}
    assert lines["child"].used == "60 public samples, for compressor 'distil'"
    page = (finished.folder / "report.html").read_text()
    assert lines["child"].interval in page
