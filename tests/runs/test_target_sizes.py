"""The sizes of the references' training sets beside the target's."""

import pytest

from pruneaudit.runs.provenance import target_lines, target_notes


def told(smallest, largest, own=1000):
    sizes = {"mean": 1003.4, "sd": 12.6, "min": smallest, "max": largest}
    return {"name": "prod.pt", "num_members": own, "num_references": 4, "reference_members": sizes}


@pytest.mark.parametrize(
    ("smallest", "largest", "warns"), [(950, 1050, False), (949, 1000, True), (1000, 1051, True), (1000, 1000, False)]
)
def test_a_reference_of_another_size_is_warned_of(smallest, largest, warns):
    notes = target_notes(told(smallest, largest))
    assert bool(notes) == warns
    for note in notes:
        assert all(part in note for part in (f"{smallest:,}", f"{largest:,}", "1,000", "5%", "data.num_samples"))


def test_mean_and_spread_are_told():
    (line,) = target_lines({"target": told(950, 1050)})
    assert all(part in line for part in ("1,003", "SD 13", "950", "1,050", "prod.pt", "1,000"))


def test_without_references_there_is_nothing_to_tell():
    alone = {"name": "prod.pt", "num_members": 10, "num_references": 0}
    assert not target_notes(alone)
    assert not target_lines({"target": alone})
    assert not target_lines({})
