"""What `import pruneaudit` offers is there, typed, and every example of its docstrings runs."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import pruneaudit
from pruneaudit.core.registry import Registry

NAMES = [name for name in pruneaudit.__all__ if name != "__version__"]
STUDY = """
name = "first"
model = { name = "mlp", options = { hidden = [16] } }
membership = { num_models = 4 }
training = { epochs = 2, batch_size = 32 }
audit = { attacks = ["loss", "rmia"], fpr_levels = [0.1] }

[data]
source = "digits"
num_samples = 200
num_holdout = 500
"""
CODE = """
from torch import nn

def build(input_shape, num_classes):
    return nn.Sequential(nn.Linear(input_shape[0], 16, bias=False), nn.ReLU(), nn.Linear(16, num_classes, bias=False))
"""

SHAPES = {"0.weight": (16, 8), "2.weight": (3, 16)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with a study that was run, checkpoints, samples and predictions."""
    place = tmp_path_factory.mktemp("examples")
    (place / "study.toml").write_text(STUDY)
    (place / "my_code.py").write_text(CODE)
    pruneaudit.run(place / "study.toml", out=place / "runs", runtime=pruneaudit.Runtime(executor="serial"))
    rng = np.random.default_rng(0)
    member = np.argsort(rng.random((4, 60)), axis=0) < 2  # every sample in half of the models
    x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    right = {name: torch.randn(shape, generator=torch.Generator().manual_seed(1)) for name, shape in SHAPES.items()}
    labels = (torch.relu(x @ right["0.weight"].T) @ right["2.weight"].T).argmax(dim=1).numpy()
    np.savez(place / "samples.npz", x=x.numpy(), y=labels)
    np.savez(place / "membership.npz", member=member)
    (place / "checkpoints").mkdir()
    for model_id in range(4):  # four networks that know nearly all answers
        state = {name: tensor + 0.05 * torch.randn(tensor.shape) for name, tensor in right.items()}
        save_file(state, place / f"checkpoints/{model_id}.safetensors")
    for name in ("signals", "compressed"):
        pruneaudit.Signals(rng.normal(size=(4, 60, 3)), labels, member).save(place / f"{name}.npz")
    return place


@pytest.fixture
def here(folder, monkeypatch):
    """What examples take for granted: the folder, and a network with data."""
    monkeypatch.chdir(folder)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 8, generator=generator), torch.randint(0, 3, (40,), generator=generator)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    return {"pruneaudit": pruneaudit, "np": np, "model": model, "x": x, "y": y}


def documented(name):
    """The object whose docstring a reader of a name sees."""
    found = getattr(pruneaudit, name)
    return Registry if isinstance(found, Registry) else found


@pytest.mark.filterwarnings("ignore::UserWarning")  # networks of an example have learned little
@pytest.mark.parametrize("name", NAMES)
def test_its_example_runs(name, here):
    text = inspect.getdoc(documented(name))
    assert text
    test = doctest.DocTestParser().get_doctest(text, dict(here), name, None, None)
    assert test.examples, "no example"
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test, out=said.append).failed == 0, "".join(said)


def test_all_of_it_is_seen_before_it_is_imported():
    seen = subprocess.run(
        [sys.executable, "-c", "import pruneaudit, sys; print(*dir(pruneaudit)); print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    assert set(pruneaudit.__all__) <= set(seen[0].split())
    assert seen[1] == "False"


def test_type_checkers_see_what_is_imported_later():
    source = Path(pruneaudit.__file__).read_text()
    for name, home in pruneaudit._HOME.items():
        assert getattr(import_module(home), name) is getattr(pruneaudit, name)
        assert name in source.split("__all__")[0], name
    assert set(pruneaudit._HOME) == set(NAMES)


@pytest.mark.parametrize("name", pruneaudit._GONE)
def test_a_former_name_is_answered_with_one_that_exists(name):
    with pytest.raises(pruneaudit.UserError, match=rf"^pruneaudit\.{name} is gone; use: ") as refused:
        getattr(pruneaudit, name)
    now = str(refused.value).split("use: ")[1].removeprefix("pruneaudit.").split("(")[0]
    assert now in pruneaudit.__all__
    assert name not in dir(pruneaudit)
