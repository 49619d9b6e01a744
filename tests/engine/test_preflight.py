"""What a release asks for and its networks do not allow is said before anything is trained."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.engine.preflight import preflight
from pruneaudit.engine.store import Store
from pruneaudit.runs.beginning import plan_study
from pruneaudit.study import Study
from pruneaudit.study.recipes import load_recipe

TUNED = {"finetune": {"epochs": 1}}
DP = "dp:noise_multiplier=1"


@pytest.fixture
def table(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "table.npz", x=rng.random((60, 6), np.float32), y=np.arange(60) % 3)
    return f"npz:{tmp_path / 'table.npz'}"


def study(*releases: dict[str, Any], model: str = "tinycnn:width=4", source: str = "digits") -> Study:
    return Study.model_validate(
        {
            "name": "checked_before",
            "data": {"source": source, "num_samples": 50},
            "membership": {"num_models": 2},
            "model": model,
            "training": {"epochs": 1},
            "releases": list(releases),
            "audit": {"attacks": ["loss"]},
        }
    )


def checked_before(asked: Study, folder: Path) -> None:
    plan, audit_data = plan_study(asked)
    preflight(plan, audit_data, Store(folder / asked.name))


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ({"compress": "slim", **TUNED}, "release 'x': .*BatchNorm"),
        ({"compress": "slim:preset=mia_prune", **TUNED}, "release 'x': .*BatchNorm2d"),
        ({"compress": "l1structured:preset=mia_prune", **TUNED}, "release 'x': .* network without Conv2d"),
        ({"compress": "l1structured:max_channel_sparsity=0.1", **TUNED}, "release 'x': .*sparsity"),
        ({"compress": 'l1unstructured:exclude=["nowhere"]'}, "release 'x': .*nowhere"),
    ],
)
def test_what_a_table_cannot_lose_is_refused(release: dict[str, Any], said: str, table: str, tmp_path: Path) -> None:
    asked = study({"name": "x", "sparsity": 0.9, **release}, model="mlp:hidden=[8]", source=table)
    with pytest.raises(UserError, match=said) as caught:
        checked_before(asked, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "checked_before").exists()


def test_privacy_from_weights_with_batch_norm_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("opacus")
    private = {"name": "private", "defense": DP, **TUNED}
    with pytest.raises(UserError, match=r"^release 'private': defense 'dp' changes the network.* parent = 'init'"):
        checked_before(study(private), tmp_path)
    whole = {"name": "whole", "parent": "init", "defense": DP}
    then = {"name": "then", "parent": "whole", "compress": "l1unstructured", "sparsity": 0.5, "defense": DP, **TUNED}
    checked_before(study(whole, then), tmp_path)
    checked_before(study(private, model="tinycnn:width=4:norm=group"), tmp_path)
    with pytest.raises(UserError, match=r"'dp' .*single training.* compressor 'iterative' trains several"):
        checked_before(study(whole, {**then, "compress": "iterative:rounds=2"}), tmp_path)


def test_positions_without_a_batch_are_refused_under_dp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opacus")
    code = """
import torch
from torch import nn
class Rows(nn.Module):
    def __init__(self, shape, classes, each):
        super().__init__()
        self.positions, self.head, self.each = nn.Embedding(shape[1], shape[2]), nn.Linear(shape[2], classes), each
    def forward(self, x):
        places = torch.arange(x.shape[2])[None]
        return self.head((x[:, 0] + self.positions(places.expand(len(x), -1) if self.each else places)).tanh().mean(1))
def once(input_shape, num_classes): return Rows(input_shape, num_classes, False)
def each(input_shape, num_classes): return Rows(input_shape, num_classes, True)
"""
    (tmp_path / "rows_network.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    private = {"name": "private", "parent": "init", "defense": DP}
    checked_before(study(private, model="rows_network:each"), tmp_path)
    with pytest.raises(UserError, match=r"^release 'private': defense 'dp': .*'positions\.weight' has 1 .*expand"):
        checked_before(study(private, model="rows_network:once"), tmp_path)


def test_what_can_be_done_passes_and_draws_nothing(tmp_path: Path) -> None:
    asked = load_recipe("demo", ["data.source='digits'", "data.num_samples=300", "data.num_holdout=20"])
    before = torch.get_rng_state()
    checked_before(asked, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert not list(tmp_path.iterdir())


def test_what_is_made_already_is_not_tried_again(tmp_path: Path) -> None:
    asked = study({"compress": "l1unstructured", "sparsity": 0.5})
    run(asked, tmp_path, runtime=Runtime(executor="serial"))
    (tmp_path / "study.json").write_text(asked.model_dump_json())
    code = (
        "import sys\nfrom pathlib import Path\nfrom pruneaudit.engine.preflight import preflight\n"
        "from pruneaudit.engine.plan import make_plan\nfrom pruneaudit.engine.store import Store\n"
        "from pruneaudit.data.drawing import load_audit_data\nfrom pruneaudit.study import Study\n"
        f"root = Path({str(tmp_path)!r})\nstudy = Study.load(root / 'study.json')\n"
        "audit_data = load_audit_data(study.data, study.seed, None)\n"
        "preflight(make_plan(study, audit_data), audit_data, Store(root / study.name))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_kept_whole_is_said_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
from torch import nn
class Turned(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, 8, 3), nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, classes)
    def forward(self, x):
        return self.head(self.second(self.first(x).relu().flip(1)).relu().mean((2, 3)))
def build(input_shape, num_classes):
    return Turned(input_shape[0], num_classes)
"""
    (tmp_path / "turned_network.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    release = {"name": "x", "compress": "l1structured", "sparsity": 0.3, **TUNED}
    plan, audit_data = plan_study(study(release, model="turned_network:build"))
    notes = preflight(plan, audit_data, Store(tmp_path / "checked_before"))
    assert len(notes) == 1
    assert notes[0].startswith("release 'x': kept whole: first: ")
    plain, audit_data = plan_study(study(release))
    assert preflight(plain, audit_data, Store(tmp_path / "checked_before")) == ()


@pytest.mark.parametrize(("model", "source"), [("tiny_transformer", "digits"), ("resnet20", "clinc150_6k")])
def test_a_network_for_other_samples_is_refused(model: str, source: str, tmp_path: Path) -> None:
    if source == "clinc150_6k":
        pytest.importorskip("tokenizers")
    with pytest.raises(UserError, match=rf"'{model}'.*expected.*tinycnn|'{model}'.*expected.*tiny_transformer"):
        checked_before(study(model=model, source=source), tmp_path)
    assert not (tmp_path / "checked_before").exists()
