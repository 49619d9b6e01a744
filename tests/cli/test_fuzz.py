"""Random and damaged input: an answer or one line of refusal, never a traceback, nothing written when refused."""

# M models, N samples, C classes

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command_line import called

pytestmark = pytest.mark.slow

STUDY = """
name = "tiny"
seed = 3
[data]
source = "digits"
num_samples = 120
num_holdout = 40
label_noise = 0.1
[membership]
num_models = 3
[model]
name = "mlp"
options = { hidden = [8, 4] }
[training]
epochs = 1
batch_size = 32
schedule = "step"
milestones = [1]
[[releases]]
finetune = { epochs = 1 }
[[releases]]
compress = "l1unstructured:scope=layer"
sparsity = [0.5, 0.9]
finetune = { epochs = 1, select = "best_dev" }
[audit]
attacks = ["loss", "lira:mode=offline", { name = "rmia", options = {} }]
references = ["matched", "dense"]
fpr_levels = [0.1]
"""
VALUES = ["-1", "0", "1e308", "nan", "inf", "9" * 30, "true", '""', '"\\u0000"', "[]", "[[]]", "{}", "{ a = 1 }", "''"]
VALUES += ["1979-05-27", '"../x"', '"lira:"', '"npz:/dev/null"', '"cifar10:."', '"\\U0001F600"', "0x_1", "[1, 'a']"]


def answered(outcome):
    """Whether the command did its work; otherwise checks that it refused in one line."""
    code, out, err = outcome
    assert "Traceback" not in err
    if code == 0:
        return True
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    return False


@st.composite
def changed_studies(draw):
    """The study with a few lines, values or characters replaced, removed, doubled or swapped."""
    lines = STUDY.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["value", "key", "drop", "double", "swap", "insert", "cut"]))
        line = lines[place]
        at = draw(st.integers(0, len(line)))
        if kind == "value" and " = " in line:
            lines[place] = line.partition(" = ")[0] + " = " + draw(st.sampled_from(VALUES))
        elif kind == "key" and " = " in line:
            lines[place] = draw(st.sampled_from(["name", "a.b", '"\\n"', "ä", "options"])) + line[line.index(" = ") :]
        elif kind == "drop":
            lines[place] = ""
        elif kind == "double":
            lines.insert(place, line)
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[place], lines[other] = lines[other], line
        elif kind == "insert":
            lines[place] = line[:at] + draw(st.text(max_size=3)) + line[at:]
        else:
            lines[place] = line[:at]
    return "\n".join(lines)


def fuzzed(max_examples):
    """The same examples every time: a failure is a failure of the code, not of the day."""
    return settings(max_examples=max_examples, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def place():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@fuzzed(30)
@given(text=changed_studies())
def test_changed_studies(place, text):
    study = place / "study.toml"
    study.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    if answered(called("run", study, "--out", place / "runs", "--dry-run")):
        assert "name" in text
    assert not (place / "runs").exists()


@fuzzed(15)
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".toml", ".json"]))
def test_random_bytes_as_a_study(place, content, suffix):
    study = place / f"random{suffix}"
    study.write_bytes(content)
    assert not answered(called("run", study, "--out", place / "runs", "--dry-run"))


def predictions():
    """Small predictions that can be audited: M = 3, N = 12, C = 2."""
    rng = np.random.default_rng(0)
    member = rng.random((3, 12)) < 0.5
    return {"logits": rng.normal(size=(3, 12, 2)), "labels": np.arange(12) % 2, "member": member}


def predictions_bytes():
    file = io.BytesIO()
    np.savez(file, **predictions())
    return file.getvalue()


def audited(place, content):
    file = place / "predictions.npz"
    file.write_bytes(content)
    out = place / "audit"
    if not answered(called("audit", file, "--attacks", "loss", "--out", out)):
        assert not out.exists()
        return
    for path in out.iterdir():
        path.unlink()
    out.rmdir()


@fuzzed(15)
@given(content=st.binary(max_size=300) | st.binary(max_size=50).map(lambda rest: b"PK\x03\x04" + rest))
def test_random_bytes_as_predictions(place, content):
    audited(place, content)


@fuzzed(15)
@given(data=st.data())
def test_predictions_with_changed_bytes(place, data):
    content = bytearray(predictions_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 0, 1, 30, 500]))
    audited(place, bytes(content[: len(content) - cut]))


OTHERS = [
    np.zeros((3, 12)),
    np.zeros((0, 12, 2)),
    np.full((3, 12, 2), np.inf),
    np.full((3, 12, 2), 1e300),
    np.zeros((3, 12, 2), complex),
    np.zeros((3, 12), bool),
    np.ones((3, 12), int),
    np.full((3, 12), 2),
    np.arange(12),
    np.arange(12) - 1,
    np.full(12, 2**62),
    np.zeros(12, "U3"),
    np.zeros(12, "datetime64[s]"),
    np.zeros(12, [("a", int)]),
    np.array(1),
    np.zeros((1,) * 20),
    np.array(["../x", "\x1b[2J", "a\nb"]),
    np.zeros(3, int),
    np.array([np.nan, 1.0, 2.0]),
]
KEYS = ["logits", "labels", "member", "eligible", "is_victim", "group", "confidence", "correct", "sensitivity"]
KEYS += ["canary", "ids", "model_ids", "unknown"]


@fuzzed(15)
@given(changes=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(range(len(OTHERS))), min_size=1, max_size=2))
def test_predictions_with_other_arrays(place, changes):
    file = io.BytesIO()
    np.savez(file, **{**predictions(), **{key: OTHERS[number] for key, number in changes.items()}})
    audited(place, file.getvalue())
