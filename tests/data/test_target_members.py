"""Which samples a target was trained on: every form of the file, and what is refused in one line."""

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data.target_members import read_members

STATUS = [1, 0, 0, -1, 1, 0]
ROWS = len(STATUS)
FORMS = {
    "bool.npy": np.array([True, False, False, False, True, False]),
    "int.npy": np.array(STATUS),
    "float.npy": np.array([1.0, 0.0, 0.0, np.nan, 1.0, 0.0]),
    "text.npy": np.array(["1", "0", "0", "unknown", "true", "False"]),
    "row.npy": np.array([STATUS]),
    "ids.npy": np.array([4, 0]),
    "values.txt": "1\n0\n0\nunknown\n1\n0\n",
    "empty.txt": "1\n0\n0\n\n1\n0\n",
    "ids.txt": "4\n0\n",
    "blank.txt": "0\n4\n\n\n",
    "values.csv": "member\nTrue\nFalse\nFalse\nnan\nTrue\nFalse\n",
    "ids.csv": "id\n0\n4\n",
    "pairs.csv": "id,member\n4,1\n0,1\n1,0\n2,0\n5,0\n3,\n",
    "listed.csv": "member,row\n1,4\n1,0\n0,1\n0,2\n0,5\n",
}
KNOWN_ALL = {"bool.npy", "ids.npy", "ids.txt", "blank.txt", "ids.csv"}
"""Forms that cannot say that the fourth sample is unknown."""


def written(folder, name, content):
    path = folder / name
    if isinstance(content, str):
        path.write_text(content)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    else:
        np.save(path, content)
    return path


@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_the_same(name, tmp_path):
    expected = [max(value, 0) for value in STATUS] if name in KNOWN_ALL else STATUS
    assert read_members(written(tmp_path, name, FORMS[name]), ROWS).tolist() == expected


def test_an_archive_holds_member_or_one_array(tmp_path):
    for number, keys in enumerate((("member", "other"), ("whatever",))):
        arrays = dict.fromkeys(keys, np.array(STATUS)) | ({"other": np.zeros(2)} if "other" in keys else {})
        assert read_members(written(tmp_path, f"{number}.npz", arrays), ROWS).tolist() == STATUS


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("short.npy", np.array([1, 0, 0, 1]), ("4 values", "6 rows")),
        ("far.txt", "0\n6\n", ("'6'", "0 to 5")),
        ("twice.txt", "3\n4\n3\n", ("row 3", "twice")),
        ("words.csv", "member\n1\n0\nmaybe\n0\n1\n0\n", ("'maybe'",)),
        ("wide.txt", "1,2\n3,4\n", ("line 1", "2 columns")),
        ("nobody.npy", np.zeros(ROWS), ("no members",)),
        ("all.npy", np.ones(ROWS), ("no non-members",)),
        ("square.npy", np.zeros((2, 6)), ("(2, 6)",)),
        ("objects.npy", np.array([1, None, 0, 1, 0, 0], object), ("cannot be read",)),
        ("two.npz", {"a": np.array(STATUS), "b": np.array(STATUS)}, ("a, b", "'member'")),
        ("rows.parquet", "1\n", ("'.parquet'", ".csv")),
    ],
)
def test_anything_else_is_refused_in_one_line(name, content, told, tmp_path):
    with pytest.raises(UserError) as error:
        read_members(written(tmp_path, name, content), ROWS)
    assert "\n" not in str(error.value)
    assert all(part in str(error.value) for part in ("target.member", name, *told))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.npy: no such file"):
        read_members(tmp_path / "gone.npy", ROWS)
