"""What others send may be a bomb, a pipe, or a text that steers the terminal: one line, in bounded memory."""

import gzip
import io
import json
import os
import pickle
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pruneaudit.cli.common import LineProgress
from pruneaudit.core.errors import UserError, printable
from pruneaudit.core.files import MAX_DEPTH, parse_json, read_json
from pruneaudit.core.settings_file import parse_settings, read_settings
from pruneaudit.core.unpacking import DEFAULT_GIB, LIMIT, max_unpacked
from pruneaudit.data.archives import read_tar, zip_members
from pruneaudit.data.array_pickle import read_array_pickle
from pruneaudit.data.npz import SOURCE as NPZ
from pruneaudit.data.npz import NpzOptions
from pruneaudit.data.table import SOURCE as TABLE
from pruneaudit.data.table import TableOptions
from pruneaudit.evaluation.results import Results
from pruneaudit.external.membership import membership_of
from pruneaudit.external.weights import read_checkpoint
from pruneaudit.signals.signals import Signals

LARGE = 40_000_000
"""What bombs here unpack to, in bytes; the limit is a tenth of it."""


@pytest.fixture
def low(monkeypatch):
    """A limit that a small bomb exceeds."""
    monkeypatch.setenv(LIMIT, str(LARGE / 10 / 2**30))


def peak_of(action):
    """The most memory that an action held, in bytes."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def npz(folder, **arrays):
    np.savez_compressed(folder / "bomb.npz", **arrays)
    return folder / "bomb.npz"


def data(folder):
    file = npz(folder, x=np.zeros((100, LARGE // 100), np.uint8), y=np.zeros(100, int))
    return lambda: NPZ.load(NpzOptions(path=file), None)


def signals(folder):
    file = npz(folder, logits=np.zeros((1, LARGE // 8, 2), np.float32), labels=np.zeros(1), member=np.zeros(1))
    return lambda: Signals.load(file)


def membership(folder):
    file = npz(folder, member=np.zeros((1, LARGE), bool))
    return lambda: membership_of(file, [folder / "a.pt"], LARGE)


def weights(folder):
    with zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("archive/data.pkl", pickle.dumps({}))
        packed.writestr("archive/data/0", bytes(LARGE))
    return lambda: read_checkpoint(folder / "bomb.pt")


def pictures(folder):
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(40):
            packed.writestr(f"{number}.tif", bytes(LARGE // 40))
    return lambda: list(zip_members(folder / "bomb.zip", ".tif", LARGE))


def tar(folder):
    with tarfile.open(folder / "bomb.tar.gz", "w:gz") as packed:
        member = tarfile.TarInfo("unwanted")
        member.size = LARGE
        packed.addfile(member, io.BytesIO(bytes(LARGE)))
    return lambda: read_tar(folder / "bomb.tar.gz", ["wanted"], lambda name, file, size: file.read())


def header(folder):
    """A tar archive whose header alone is the bomb."""
    with gzip.open(folder / "bomb.tar.gz", "wb") as packed:
        member = tarfile.TarInfo("pax_header")
        member.type, member.size = tarfile.XHDTYPE, LARGE
        packed.write(member.tobuf())
        packed.write(bytes(LARGE))
    return lambda: read_tar(folder / "bomb.tar.gz", ["wanted"], lambda name, file, size: file.read())


def text(folder):
    with gzip.open(folder / "bomb.csv.gz", "wb") as packed:
        packed.write(b"a,label\n" + b"0,0\n" * (LARGE // 4))
    return lambda: TABLE.load(TableOptions(path=folder / "bomb.csv.gz", label="label"), None)


def parquet(folder):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {name: pa.array(np.zeros(LARGE // 16)) for name in ("a", "label")}
    pq.write_table(pa.table(columns), folder / "bomb.parquet")
    return lambda: TABLE.load(TableOptions(path=folder / "bomb.parquet", label="label"), None)


@pytest.mark.parametrize("bomb", [data, signals, membership, weights, pictures, tar, header, text, parquet])
def test_a_bomb_is_refused_before_it_fills_the_memory(low, tmp_path, bomb):
    opened = bomb(tmp_path)
    (file,) = tmp_path.glob("bomb.*")
    assert file.stat().st_size < LARGE / 100

    def refused():
        with pytest.raises(UserError, match=LIMIT) as caught:
            opened()
        assert file.name in str(caught.value)

    opened_twice = peak_of(refused)  # the first time imports too
    assert min(opened_twice, peak_of(refused)) < LARGE / 2  # readers of streams hold a few copies of a piece


def test_the_limit_is_stated_and_can_be_raised(low, tmp_path, monkeypatch):
    file = npz(tmp_path, x=np.zeros((100, LARGE // 100), np.uint8), y=np.arange(100) % 2)
    with pytest.raises(UserError, match=r"4,000,\d+|3,999,\d+"):
        NPZ.load(NpzOptions(path=file), None)
    monkeypatch.delenv(LIMIT)
    assert max_unpacked() == DEFAULT_GIB * 2**30
    for wrong in ("much", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(LIMIT, wrong)
        with pytest.raises(UserError, match=f"{LIMIT}: got '{wrong}'"):
            max_unpacked()


def test_a_pickle_that_asks_for_memory_is_refused():
    for instruction in (b"r\xff\xff\xff\x7f", b"p2147483647\n"):  # room for two thousand million remembered objects
        bomb = b"\x80\x02}" + instruction + b"."
        with pytest.raises(UserError, match=r"data_batch_1.*memory"):
            read_array_pickle(io.BytesIO(bomb), "data_batch_1")
    announced = b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"."  # a terabyte that does not follow
    with pytest.raises(UserError, match="data_batch_1: cannot be read"):
        read_array_pickle(io.BytesIO(announced), "data_batch_1")
    assert read_array_pickle(io.BytesIO(pickle.dumps({"a": list(range(1000))})), "x") == {"a": list(range(1000))}


@pytest.mark.parametrize(
    "text",
    ["a" * 1_000_000, '"' * 1_000_000, '"\\' * 500_000, "a." * 40 + "\n" * 900_000, "a " * 500_000, "'\"" * 500_000],
)
def test_keys_are_checked_in_linear_time(text):
    began = time.process_time()
    with pytest.raises(UserError):
        parse_settings(text, "study.toml", is_json=False)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("part", ["a", '"a b"', "'a.b'", '"\\""'])
@pytest.mark.parametrize("gap", [".", " . ", "\t.\t"])
def test_a_key_of_many_parts_is_refused_however_it_is_written(part, gap):
    with pytest.raises(UserError, match="nested too deeply"):
        parse_settings(gap.join([part] * 5000) + " = 1", "study.toml", is_json=False)
    assert parse_settings(gap.join([part] * 20) + " = 1", "study.toml", is_json=False)


def test_numbers_and_sentences_are_no_deep_keys():
    numbers = ", ".join(["0.5"] * 100)
    sentences = "One word. Two words. " * 60
    found = parse_settings(f'a = [{numbers}]\nb = "{sentences}"\n', "study.toml", is_json=False)
    assert (len(found["a"]), found["b"]) == (100, sentences)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 100_000])
def test_json_that_is_nested_deeply_is_refused(tmp_path, depth):
    deep = "[" * depth + "]" * depth
    for text in (deep, '{"a":' * depth + "1" + "}" * depth):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(text)
        with pytest.raises(UserError, match="nested too deeply"):
            parse_settings(text, "study.json", is_json=True)
    if depth < 900:
        with pytest.raises(UserError, match="nested too deeply"):
            parse_settings(f"a = {deep}", "study.toml", is_json=False)
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    (tmp_path / "a.json").write_text(deep)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "a.json")


def test_deep_json_in_a_run_is_one_line(make_results, tmp_path):
    make_results().save(tmp_path)
    (tmp_path / "about.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"about\.json.*nested too deeply"):
        Results.load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    for name in ("a.toml", "a.npz", "a.pt", "a.csv", "about.json"):
        os.mkfifo(tmp_path / name)
    for action in (
        lambda: read_settings(tmp_path / "a.toml"),
        lambda: Signals.load(tmp_path / "a.npz"),
        lambda: NPZ.load(NpzOptions(path=tmp_path / "a.npz"), None),
        lambda: membership_of(tmp_path / "a.npz", [tmp_path / "a.pt"], 3),
        lambda: read_checkpoint(tmp_path / "a.pt"),
        lambda: TABLE.load(TableOptions(path=tmp_path / "a.csv", label="y"), None),
        lambda: Results.load(tmp_path),
    ):
        with pytest.raises(UserError):
            action()
    with pytest.raises(OSError, match="no ordinary file"):
        read_json(tmp_path / "about.json")
    with pytest.raises(UserError):
        read_settings(Path("/dev/zero"))


STEERING = "a\x1b[2Jb\x07\x9b\u202ec\rd"


def test_what_would_steer_a_terminal_is_escaped(capsys):
    shown = printable(STEERING)
    assert shown.isprintable()
    assert shown.startswith("a\\x1b[2Jb\\x07")
    assert printable("two\nlines\tof it", "\n\t") == "two\nlines\tof it"
    progress = LineProgress()
    progress.say(STEERING)
    progress.warn(STEERING)
    told = capsys.readouterr().err
    assert told == f"{shown}\nwarning: {shown}\n"
    assert json.loads(f'"{shown}"'.replace("\\x", "\\u00"))  # escaped once
