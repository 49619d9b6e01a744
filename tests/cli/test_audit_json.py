"""`pruneaudit audit --json`: findings for other programs."""

import json

import numpy as np

from pruneaudit.evaluation.columns import TABLES
from pruneaudit.evaluation.results import SANITY_CHECKS


def test_json_is_what_findings_json_holds_and_nothing_else(tmp_path, call):
    rng = np.random.default_rng(0)
    member = rng.random((4, 60)) < 0.5
    np.savez(tmp_path / "p.npz", logits=rng.normal(size=(4, 60, 3)), labels=np.arange(60) % 3, member=member)
    code, out, err = call("audit", tmp_path / "p.npz", "--attacks", "scores", "--json", "--out", tmp_path / "audit")
    assert code == 0
    assert out == (tmp_path / "audit" / "findings.json").read_text()
    tables = json.loads(out)
    assert set(tables) == {"format", *TABLES, *SANITY_CHECKS}
    rows = [row for row in tables["findings"] if row["victim"] == "mean"]
    assert {"loss", "lira", "rmia"} <= {row["attack"] for row in rows}
    assert all(0 <= row["auc"] <= 1 for row in rows)
    assert "warning: attack 'attack_p' left out" in err  # warnings are not mixed with results
