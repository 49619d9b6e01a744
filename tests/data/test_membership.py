"""Who is in whose training set: written once, and read as it was drawn, by rows or whole."""

from dataclasses import fields

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.data.membership import (
    MEMBERSHIP_FILE,
    draw_membership,
    from_text,
    read_membership,
    to_text,
    write_membership,
)
from pruneaudit.data.splits import Splits, split_of
from pruneaudit.study import Study

ARRAYS = [field.name for field in fields(Splits)]
STUDIES = {
    "pooled": {"num_models": 5},
    "disjoint": {"protocol": "disjoint", "num_models": 6, "num_shadows": 2},
}


@pytest.fixture(params=STUDIES)
def drawn(request):
    """A study, its audit data and its splits."""
    study = Study.model_validate(
        {
            "name": "small",
            "data": {"source": "digits", "num_samples": 203, "num_holdout": 20},
            "membership": STUDIES[request.param],
        }
    )
    audit_data = load_audit_data(study.data, study.seed)
    return study, audit_data, draw_membership(study, audit_data)


def test_what_is_read_is_what_was_drawn_model_by_model(drawn, tmp_path):
    study, audit_data, splits = drawn
    write_membership(tmp_path, splits, audit_data)
    found = read_membership(tmp_path, study.membership.num_models, len(audit_data.y))
    for m in range(study.membership.num_models):
        expected, row = split_of(study.membership, study.seed, m, audit_data), found.of(m)
        np.testing.assert_array_equal(row.member, expected.member)
        np.testing.assert_array_equal(row.eligible, expected.eligible)
        assert (row.is_victim, row.group) == (expected.is_victim, expected.group)


def test_rows_that_are_sent_are_those_of_the_models_that_were_named(drawn):
    _, audit_data, splits = drawn
    assert len(audit_data.y) % 8  # so that packed bits are padded
    chosen = [3, 0]
    found = from_text(to_text(splits, chosen))
    for name in ARRAYS:
        expected = getattr(splits, name)[chosen]
        np.testing.assert_array_equal(getattr(found, name), expected)
        assert getattr(found, name).dtype == expected.dtype


def test_a_file_written_again_is_read_again(drawn, tmp_path):
    study, audit_data, splits = drawn
    write_membership(tmp_path, splits, audit_data)
    num_models, num_samples = splits.member.shape
    before = read_membership(tmp_path, num_models, num_samples)
    other = draw_membership(study.model_copy(update={"seed": study.seed + 1}), audit_data)
    write_membership(tmp_path, other, audit_data)
    after = read_membership(tmp_path, num_models, num_samples)
    assert (before.member != after.member).any()
    np.testing.assert_array_equal(after.member, other.member)


@pytest.mark.parametrize("damage", ["absent", "cut", "text", "of another study", "of fewer models"])
def test_what_cannot_be_used_is_one_line_with_the_way_out(drawn, tmp_path, damage):
    _, audit_data, splits = drawn
    write_membership(tmp_path, splits, audit_data)
    num_models, num_samples = splits.member.shape
    file = tmp_path / MEMBERSHIP_FILE
    if damage == "absent":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    elif damage == "text":
        file.write_text("member")
    elif damage == "of another study":
        num_samples += 1
    else:
        num_models += 1
    with pytest.raises(UserError, match=r"membership\.npz: .*pruneaudit run ") as refused:
        read_membership(tmp_path, num_models, num_samples)
    assert "\n" not in str(refused.value)
