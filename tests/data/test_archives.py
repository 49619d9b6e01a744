"""Hostile and damaged archives: one line that names the archive, and nothing on disk."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data.archives import read_tar, zip_members


def tar_of(path: Path, members: list[tuple[str, bytes | str]]) -> Path:
    """Files by content; a text is where a symbolic link of that name leads."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def contents(archive: Path, *wanted: str) -> dict[str, bytes]:
    return read_tar(archive, wanted, lambda name, file, size: file.read())


def test_wanted_members_are_read_by_the_end_of_their_names(tmp_path: Path) -> None:
    members: list[tuple[str, bytes | str]] = [("x/100/feats", b"f"), ("x/feats", b"no"), ("y/a100/feats", b"no")]
    archive = tar_of(tmp_path / "a.tgz", [*members, ("labels", b"l"), ("elsewhere", "/etc/hostname")])
    assert contents(archive, "100/feats", "labels", "absent") == {"100/feats": b"f", "labels": b"l"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


@pytest.mark.parametrize("name", ["../data", "a/../../data", "/data", "..\\data", "C:/data", "../unrelated"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = tar_of(inner / "a.tgz", [(name, b"x")])
    with pytest.raises(UserError, match=r"a.tgz: member .* leads out of the archive's folder"):
        contents(archive, "data")
    with zipfile.ZipFile(inner / "a.zip", "w") as packed:
        packed.writestr(name, b"x")
    with pytest.raises(UserError, match=r"a.zip: member .* leads out of the archive's folder"):
        list(zip_members(inner / "a.zip", "data", 10))
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]


@pytest.mark.parametrize("target", ["/etc/hostname", "../secret", "other"])
def test_a_link_in_place_of_a_file_is_refused(tmp_path: Path, target: str) -> None:
    archive = tar_of(tmp_path / "a.tgz", [("other", b"x"), ("data", target)])
    with pytest.raises(UserError, match=r"a.tgz: member data is not a plain file"):
        contents(archive, "data")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 0.99])
def test_a_cut_archive_is_refused(tmp_path: Path, part: float) -> None:
    noise = np.random.default_rng(0).bytes(5000)
    whole = tar_of(tmp_path / "a.tgz", [("data", noise)]).read_bytes()
    (tmp_path / "a.tgz").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(UserError, match=r"a.tgz: cannot be read"):
        contents(tmp_path / "a.tgz", "data")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("data", noise)
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(UserError, match=r"a.zip: cannot be read"):
        list(zip_members(tmp_path / "a.zip", "data", 10_000))


def test_the_checksum_of_the_compression_is_looked_at(tmp_path: Path) -> None:
    content = bytearray(tar_of(tmp_path / "a.tgz", [("data", b"x" * 5000)]).read_bytes())
    content[-8] ^= 1  # gzip's, at the very end
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(UserError, match=r"a.tgz: cannot be read \(CRC"):
        contents(tmp_path / "a.tgz", "data")


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("b.tif", bytes(1_000_000))
        packed.writestr("a.TIF", b"fine")
        packed.writestr("c.txt", bytes(1_000_000))
    members = zip_members(tmp_path / "a.zip", ".tif", 1000)
    assert next(members)[1] == b"fine"
    with pytest.raises(UserError, match="unpacks to 1,000,000 bytes"):
        next(members)
