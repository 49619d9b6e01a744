"""Arrays as torch and pandas give them: taken for what they are, or refused with the row that is wrong."""

import numpy as np
import pandas as pd
import pytest
import torch

from pruneaudit.core.errors import UserError
from pruneaudit.external.membership import membership_of
from pruneaudit.external.tuning import samples_of
from pruneaudit.signals.signals import Signals

# M models, N samples, C classes

M, N, C = 3, 40, 4
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(M, N, C)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
MEMBER = RNG.random((M, N)) < 0.5
NAMES = [f"p{n}" for n in range(N)]
HOLE = np.broadcast_to(np.arange(N) == 7, (M, N))
EXACT = (np.round(LOGITS * 8) / 8 + np.arange(M)[:, None, None]).astype(np.float32)  # bfloat16 holds these


def signals(**changes):
    return Signals(**{"logits": LOGITS, "labels": LABELS, "member": MEMBER} | changes)


@pytest.mark.parametrize(
    "given",
    [
        torch.tensor(EXACT, requires_grad=True),
        torch.tensor(EXACT).bfloat16(),
        torch.tensor(EXACT).half(),
        torch.tensor(EXACT).to_sparse(),
        torch.tensor(EXACT).permute(2, 0, 1).contiguous().permute(1, 2, 0),
        [torch.tensor(row, requires_grad=True) for row in EXACT],
        EXACT.astype(object),
        EXACT.tolist(),
    ],
    ids=["gradient", "bfloat16", "half", "sparse", "strided", "list", "object", "lists"],
)
def test_logits_of_any_kind_are_the_numbers_that_they_hold(given):
    np.testing.assert_array_equal(signals(logits=given).logits, EXACT)


@pytest.mark.parametrize(
    "given",
    [
        pd.DataFrame(MEMBER),
        pd.DataFrame(MEMBER).astype("boolean"),
        pd.DataFrame(MEMBER).astype("Int8"),
        pd.DataFrame(MEMBER).astype(object),
        pd.DataFrame(MEMBER).astype("bool[pyarrow]"),
        torch.tensor(MEMBER),
        MEMBER.astype(object),
        MEMBER.astype(int).tolist(),
    ],
    ids=["frame", "boolean", "Int8", "object frame", "pyarrow", "tensor", "object", "lists"],
)
def test_membership_of_any_kind(given, tmp_path):
    found = signals(member=given).member
    assert found.dtype == bool
    np.testing.assert_array_equal(found, MEMBER)
    files = [tmp_path / f"{row}.pt" for row in range(M)]
    np.testing.assert_array_equal(membership_of(given, files, N)["member"], MEMBER)


@pytest.mark.parametrize(
    "given",
    [
        pd.Series(NAMES),
        pd.Series(NAMES, dtype="string"),
        pd.Series(NAMES, dtype="category"),
        pd.Series(NAMES, dtype="string[pyarrow]"),
        pd.Index(NAMES),
        np.array(NAMES, dtype=object),
        NAMES,
    ],
    ids=["series", "string", "category", "pyarrow", "index", "object", "list"],
)
def test_texts_of_any_kind_are_ids(given):
    assert signals(ids=given).sample_ids.tolist() == NAMES


@pytest.mark.parametrize("kind", ["int64", "Int64", "uint8", "category", "int64[pyarrow]", object])
def test_labels_of_any_integer_kind(kind):
    found = signals(labels=pd.Series(LABELS).astype(kind)).labels
    assert found.dtype.kind in "iu"
    np.testing.assert_array_equal(found, LABELS)


def holed(values, kind, row):
    column = pd.Series(values).astype(kind)
    column[row] = None
    return column


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eligible": pd.DataFrame(MEMBER).astype("boolean").mask(HOLE)}, ("eligible", "row 0", "column 7")),
        ({"labels": holed(LABELS, "Int64", 5)}, ("labels", "row 5")),
        ({"ids": holed(NAMES, "string", 3)}, ("ids", "row 3")),
        ({"ids": np.array([*NAMES[1:], 5], dtype=object)}, ("ids", "texts")),
        ({"member": [np.flatnonzero(row) for row in MEMBER[:, 1:] | (np.arange(N - 1) < [[1], [9], [30]])]}, ("isin",)),
        ({"eligible": np.ma.array(MEMBER, mask=HOLE)}, ("eligible", "row 0", "column 7")),
        ({"canary": np.arange(N)}, ("canary", "2")),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(changes, words):
    with pytest.raises(UserError) as caught:
        signals(**changes)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_samples_to_prune_with_may_be_pandas_and_tensors():
    network = torch.nn.Linear(3, C)
    x = RNG.normal(size=(N, 3)).astype(np.float32)
    for given in (
        (pd.DataFrame(x), pd.Series(LABELS, dtype="Int64")),
        (torch.tensor(x, requires_grad=True), torch.tensor(LABELS)),
        (torch.tensor(x).to_sparse(), LABELS.tolist()),
    ):
        samples = samples_of(given, network)
        assert not samples.stored.requires_grad
        np.testing.assert_array_equal(samples.stored.numpy(), x)
        np.testing.assert_array_equal(samples.y.numpy(), LABELS)
