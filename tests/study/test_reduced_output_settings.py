"""Names of what an attacker sees, in a study."""

import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.study.audit import Audit
from pruneaudit.study.outputs import Outputs


@pytest.mark.parametrize(
    "name", ["logits", "probabilities", "round:1", "round:12", "top:1", "top:100", "label", "label:queries"]
)
def test_a_name_stays_the_same(name):
    assert Outputs.parse(f" {name} ").name == name


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("lables", "did you mean 'label'"),
        ("", "round:DECIMALS"),
        ("top:0", "top:1"),
        ("top", "top:1"),
        ("top:", "top:1"),
        ("top:-1", "top:1"),
        ("top:1.5", "top:1"),
        ("round:x", "round:1"),
        ("round:0", "1 to 12"),
        ("round:13", "1 to 12"),
        ("round:²", "round:1"),
        ("label:2", "label:queries"),
        ("round:2:3", "round:1"),
    ],
)
def test_other_names_are_refused_with_what_was_got_and_what_is_expected(name, word):
    with pytest.raises(UserError) as caught:
        validated(Audit, {"outputs": ["logits", name]}, "study.toml")
    assert f"'{name}'" in str(caught.value)
    assert word in str(caught.value)
    assert "outputs" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_are_kept_once_in_their_order():
    assert Audit(outputs=("label", "round:02", "round:2", "label")).outputs == ("label", "round:2")
    assert Audit().outputs == ()


def test_labels_of_queries_need_queries_and_the_advice_works():
    with pytest.raises(UserError, match=r"audit\.queries = 8"):
        validated(Audit, {"outputs": ["label:queries"]}, "study.toml")
    assert validated(Audit, {"outputs": ["label:queries"], "queries": 8}, "study.toml").outputs == ("label:queries",)
