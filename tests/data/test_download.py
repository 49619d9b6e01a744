"""Downloads are whole and right, or an error that names the file; nothing is left half-written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pruneaudit.core.errors import StorageError, UserError
from pruneaudit.data.download import RemoteFile, obtain, readable_bytes, trust, verify

CONTENT = bytes(range(256)) * 1000
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("checksum", [SHA256, MD5])
def test_a_file_is_downloaded_once(web: Any, tmp_path: Path, checksum: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = RemoteFile("data.bin", (web.put("data.bin", CONTENT),), len(CONTENT), checksum)
    folder = tmp_path / "root" / "data"
    for _ in range(2):
        assert obtain([file], folder, "Data") == [folder / "data.bin"]
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert names(folder) == ["data.bin"]
    assert web.asked == ["/data.bin"]
    assert (folder / "data.bin").stat().st_mode & 0o777 == folder.stat().st_mode & 0o666
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"downloading Data: data.bin from {web.address}data.bin (66 kB of 256 kB)\n"


@pytest.mark.parametrize("checksum", [SHA256, MD5])
def test_a_tampered_file_is_refused(web: Any, tmp_path: Path, checksum: str) -> None:
    file = RemoteFile("data.bin", (web.put("data.bin", CONTENT[:-1] + b"x"),), len(CONTENT), checksum)
    with pytest.raises(UserError, match=rf"Data: cannot download data.bin .*{checksum}.*put data.bin into"):
        obtain([file], tmp_path, "Data")
    assert names(tmp_path) == []


@pytest.mark.parametrize("checksum", [SHA256, None])
def test_a_truncated_download_is_refused(web: Any, tmp_path: Path, checksum: str | None) -> None:
    file = RemoteFile("data.bin", (web.put("data.bin", CONTENT[:5000], announced=len(CONTENT)),), None, checksum)
    with pytest.raises(UserError, match=r"cannot download data.bin"):
        obtain([file], tmp_path, "Data")
    assert names(tmp_path) == []


def test_the_next_address_is_tried(web: Any, tmp_path: Path) -> None:
    good = web.put("copy/data.bin", CONTENT)
    wrong = web.put("wrong/data.bin", b"<html>moved</html>")
    urls = ("http://127.0.0.1:9/data.bin", f"{web.address}absent", wrong, good)
    assert obtain([RemoteFile("data.bin", urls, None, SHA256)], tmp_path, "Data")[0].read_bytes() == CONTENT


def test_offline_it_says_which_files_to_put_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [RemoteFile(name, (f"http://127.0.0.1:9/{name}",), None, SHA256) for name in ("a.gz", "b.gz", "c.gz")]
    (tmp_path / "b.gz").write_bytes(CONTENT)
    with pytest.raises(UserError, match=rf"no connection, ConnectionError\); put a.gz and c.gz into {tmp_path}$"):
        obtain(files, tmp_path, "Data")
    assert names(tmp_path) == ["b.gz"]
    assert capsys.readouterr().err == ""


def test_what_is_there_already_is_checked_and_stays(web: Any, tmp_path: Path) -> None:
    file = RemoteFile("data.bin", (web.put("data.bin", CONTENT),), len(CONTENT), SHA256)
    (tmp_path / "data.bin").write_bytes(CONTENT[:100])
    with pytest.raises(
        UserError, match=r"data.bin: has sha256 .* as published, 100 bytes of 256,000: download it again"
    ):
        obtain([file], tmp_path, "Data")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT[:100]
    assert web.asked == []


def test_without_a_published_checksum_the_first_is_recorded(
    web: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = RemoteFile("data.bin", (web.put("data.bin", CONTENT),))
    path = obtain([file], tmp_path, "Data")[0]
    note = tmp_path / "data.bin.sha256"
    assert note.read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  data.bin\n"
    assert "unverified" in capsys.readouterr().err
    assert trust(path, file) == "unverified, checksum recorded on first use"
    verify(path, file, record=True)
    assert "unverified" not in capsys.readouterr().err
    path.write_bytes(CONTENT[1:])
    with pytest.raises(UserError, match=rf"{path}: has sha256 .* as recorded in {note}: .*again, or delete"):
        verify(path, file, record=False)
    note.unlink()
    verify(path, file, record=False)
    assert not note.exists()


def test_a_published_checksum_goes_before_a_recorded_one(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(CONTENT)
    (tmp_path / "data.bin.sha256").write_text("00  data.bin\n")
    verify(path, RemoteFile("data.bin", (), None, SHA256), record=True)
    with pytest.raises(UserError, match="recorded"):
        verify(path, RemoteFile("data.bin", ()), record=True)


def test_a_folder_that_cannot_be_made_is_named(web: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    file = RemoteFile("data.bin", (web.put("data.bin", CONTENT),))
    with pytest.raises(UserError, match=rf"{tmp_path / 'file' / 'data'}: cannot write there .*--data-root"):
        obtain([file], tmp_path / "file" / "data", "Data")


def test_a_full_disk_is_told_apart(web: Any, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    file = RemoteFile("data.bin", (web.put("data.bin", CONTENT),))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=rf"{tmp_path}: cannot write .*free some space"):
            obtain([file], tmp_path, "Data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("size", "text"), [(287_293, "287 kB"), (4_542, "5 kB"), (170_052_171, "170 MB")])
def test_sizes(size: int, text: str) -> None:
    assert readable_bytes(size) == text
