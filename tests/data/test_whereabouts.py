"""`pruneaudit list datasets`: where each data set comes from, how large it is, whether it is here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pruneaudit.data import SOURCES

DOWNLOADED = ("chmnist", "cifar10", "cifar100", "location", "mnist", "purchase100", "svhn", "texas100")
PAGE = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.mark.parametrize("name", DOWNLOADED)
def test_a_data_set_that_is_not_here(name: str, tmp_path: Path) -> None:
    said = SOURCES.get(name).whereabouts(tmp_path)
    assert said.startswith("http")
    assert said.endswith("; not downloaded")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "file", "how_far"),
    [
        ("cifar10", "cifar-10-binary.tar.gz", "sha256 published"),
        ("cifar10", "cifar-10-python.tar.gz", "md5 published"),
        ("cifar100", "cifar100/cifar-100-python.tar.gz", "md5 published"),
        ("cifar100", "cifar-100-python/train", "its format is checked, no checksum"),
        ("chmnist", "chmnist/Kather_texture_2016_image_tiles_5000.zip", "sha256 published"),
        ("location", "location/dataset_location.tgz", "unverified"),
        ("purchase100", "dataset_purchase.tgz", "unverified"),
        ("texas100", "texas100/texas/100/feats", "its format is checked, no checksum"),
        ("mnist", "MNIST/raw/train-images-idx3-ubyte.gz", "sha256 published"),
        ("mnist", "MNIST/raw/train-images-idx3-ubyte", "its format is checked, no checksum"),
        ("svhn", "train_32x32.mat", "sha256 published"),
    ],
)
def test_a_data_set_that_is_here(name: str, file: str, how_far: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(b"not read")
    said = SOURCES.get(name).whereabouts(tmp_path)
    assert f"found: {tmp_path}" in said
    assert how_far in said


def test_the_list_names_every_data_set_and_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "dataset_location.tgz").write_bytes(b"not read")
    program = (
        "import sys\nfrom pruneaudit.cli import main\n"
        "try:\n    main(['list', 'datasets', '--data-root', sys.argv[1]])\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(SOURCES.names())
    said = dict(zip(SOURCES.names(), (line.strip() for line in lines[1::2]), strict=True))
    assert said["location"].endswith(f"found: {tmp_path / 'dataset_location.tgz'} (unverified)")
    assert said["table"] == "your own files"
    assert said["texas100"].endswith("not downloaded")


def test_the_data_sets_of_the_page_are_there() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {"cifar10", "location"} <= set(named) <= set(SOURCES.names())
