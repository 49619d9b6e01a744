"""Location, Purchase100, Texas100: text of zeros and ones, labels in the row or in a file of their own."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data import SOURCES
from pruneaudit.data.binary_table import PAGE, BinaryTable, Description, Location, Texas100
from pruneaudit.data.download import RemoteFile
from pruneaudit.data.source import PathOptions, default_data_root

N, F, C = 2_500, 7, 5  # more rows than a block
RNG = np.random.default_rng(0)
BITS = RNG.integers(0, 2, (N, F))
LABELS = np.arange(N) % C + 1


def small(about: Description, address: str = "http://127.0.0.1:9/") -> BinaryTable:
    archive = RemoteFile(about.archive.name, (address + about.archive.name,))
    return BinaryTable(dataclasses.replace(about, num_samples=N, num_features=F, num_classes=C, archive=archive))


def rows(bits: np.ndarray) -> list[str]:
    return [",".join(map(str, row)) for row in bits.tolist()]


def location_text(quoted: bool = True, end: str = "\n") -> str:
    mark = '"' if quoted else ""
    return "".join(f"{mark}{label}{mark},{row}{end}" for label, row in zip(LABELS, rows(BITS), strict=True))


def packed(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


def texas_files() -> dict[str, str]:
    return {"texas/100/feats": "\n".join(rows(BITS)), "texas/100/labels": "\n".join(map(str, LABELS)) + "\n"}


def check(raw: Any) -> None:
    assert raw.x.dtype == np.float32
    np.testing.assert_array_equal(raw.x, BITS)
    assert raw.y.tolist() == (LABELS - 1).tolist()
    assert raw.classes == ("1", "2", "3", "4", "5")
    assert raw.mean is raw.std is None


@pytest.mark.parametrize(
    "text",
    [location_text(), location_text(quoted=False), location_text(end="\r\n"), "\ufeff" + location_text(quoted=False)],
)
def test_labels_in_the_row(tmp_path: Path, text: str) -> None:
    (tmp_path / "bangkok").write_text(text, newline="", encoding="utf-8")
    check(small(Location.about).load(PathOptions(path=tmp_path), None))


def test_values_spelled_otherwise_mean_the_same(tmp_path: Path) -> None:
    spelled = location_text().replace(",0", ',"0"').replace(",1", ", 1.0")
    (tmp_path / "bangkok").write_text(spelled)
    check(small(Location.about).load(PathOptions(path=tmp_path), None))


def test_a_table_is_downloaded_and_its_checksum_recorded(web: Any, tmp_path: Path) -> None:
    web.put("dataset_location.tgz", packed({"bangkok": location_text()}))
    source = small(Location.about, web.address)
    assert source.whereabouts(tmp_path) == f"{PAGE}; 287 kB; not downloaded"
    for _ in range(2):
        check(source.load(PathOptions(), tmp_path))
    assert web.asked == ["/dataset_location.tgz"]
    folder = tmp_path / "location"
    assert sorted(path.name for path in folder.iterdir()) == ["dataset_location.tgz", "dataset_location.tgz.sha256"]
    assert "unverified, checksum recorded" in source.whereabouts(tmp_path)
    (folder / "dataset_location.tgz").write_bytes(packed({"bangkok": location_text(quoted=False)}))
    with pytest.raises(UserError, match=r"dataset_location.tgz: has sha256 .* as recorded"):
        source.load(PathOptions(), tmp_path)


def test_labels_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "dataset_texas.tgz").write_bytes(packed(texas_files()))
    check(small(Texas100.about).load(PathOptions(), tmp_path))
    for name, text in texas_files().items():
        (tmp_path / "texas100" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texas100" / name).write_text(text)
    (tmp_path / "dataset_texas.tgz").unlink()
    check(small(Texas100.about).load(PathOptions(), tmp_path))
    (tmp_path / "texas100" / "texas" / "100" / "labels").unlink()
    with pytest.raises(UserError, match="labels: cannot be read"):
        small(Texas100.about).load(PathOptions(), tmp_path)


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.tgz").write_bytes(packed({"texas/100/feats": texas_files()["texas/100/feats"]}))
    with pytest.raises(UserError, match=r"t.tgz: has no texas/100/labels"):
        small(Texas100.about).load(PathOptions(path=tmp_path / "t.tgz"), None)


def test_offline_it_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"put dataset_location.tgz into {tmp_path / 'location'}$"):
        small(Location.about).load(PathOptions(), tmp_path)
    with pytest.raises(UserError, match=rf"no dataset_location.tgz in {tmp_path}"):
        small(Location.about).load(PathOptions(path=tmp_path), None)


LINES = location_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LINES[:-1], "has 2,499 rows, expected 2,500"),
        ([*LINES, LINES[0]], "more than 2,500 rows"),
        ([*LINES[:2100], '"1",0,1,0\n', *LINES[2101:]], "row 2101 has 3 features, expected 7"),
        (['"1",0,2,0,0,0,0,0\n', *LINES[1:]], "row 1 has values other than"),
        (['"1",0,1.5,0,0,0,0,0\n', *LINES[1:]], "row 1 has values other than"),
        (['"1",0,0;0,0,0,0,0\n', *LINES[1:]], "row 1 has values other than"),
        (['"x",0,1,0,0,0,0,0\n', *LINES[1:]], "row 1 has label b'x'"),
        (['"-1",0,1,0,0,0,0,0\n', *LINES[1:]], "row 1 has label b'-1'"),
        (['"6",0,1,0,0,0,0,0\n', *LINES[1:]], r"y: got labels 0\.\.5"),
        (["1," + "0" * 100_000], "row 1 has more than 128 characters"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, lines: list[str], message: str) -> None:
    (tmp_path / "bangkok").write_text("".join(lines))
    with pytest.raises(UserError, match=message) as caught:
        small(Location.about).load(PathOptions(path=tmp_path), None)
    assert str(caught.value).startswith(str(tmp_path))


def test_the_real_location_table() -> None:
    places = [default_data_root() / folder / "dataset_location.tgz" for folder in ("location", ".")]
    found = [place for place in places if place.is_file()]
    if not found:
        pytest.skip("needs dataset_location.tgz in the folder of data sets (PRUNEAUDIT_DATA)")
    raw = SOURCES.get("location").load(PathOptions(path=found[0]), None)
    assert raw.x.shape == (5010, 446)
    assert set(np.unique(raw.x)) == {0, 1}
    assert np.unique(raw.y).tolist() == list(range(30))
