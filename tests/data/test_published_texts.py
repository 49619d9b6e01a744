"""CLINC150 and Banking77: downloaded with a checksum, put there by hand, or shipped with the program."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data import SOURCES, banking77, clinc150
from pruneaudit.data.banking77 import Banking77, Banking77Options
from pruneaudit.data.clinc150 import Clinc150, Clinc150Options
from pruneaudit.data.clinc150_6k import FOLDER, SHA256, TEXTS, TOKENIZER, Clinc1506k, Clinc1506kOptions
from pruneaudit.data.download import RemoteFile
from pruneaudit.data.tokenizing import own_tokenizer

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_embedded_texts.py"
BANKING = {
    "train.csv": 'text,category\n"is it ""on"" its way,\nor lost?",arrival\nNA,fees\nwhy a fee,fees\n',
    "test.csv": "text,category\nwhere is it,arrival\n",
}
CLINC = {
    "data_full.json": json.dumps(
        {
            "oos_train": [["a show", "oos"]],
            "val": [["how is rain", "weather"]],
            "train": [["lost my card", "card"], ["NA", "weather"], ["any fee", "fees"]],
            "test": [["what fee", "fees"]],
        }
    ),
    "domains.json": json.dumps({"outside": ["weather"], "banking": ["card", "fees"]}),
}


def published(files: tuple[RemoteFile, ...], contents: dict[str, str], web: Any) -> tuple[RemoteFile, ...]:
    """The same files with contents of the test's own."""
    return tuple(
        replace(
            file,
            urls=(web.put(file.name, contents[file.name].encode()),),
            num_bytes=len(contents[file.name].encode()),
            checksum=f"sha256:{hashlib.sha256(contents[file.name].encode()).hexdigest()}",
        )
        for file in files
    )


@pytest.fixture
def banking(web: Any) -> Banking77:
    return Banking77(published(banking77.FILES, BANKING, web))


@pytest.fixture
def clinc(web: Any) -> Clinc150:
    return Clinc150(published(clinc150.FILES, CLINC, web))


def test_banking77_is_downloaded_once(banking: Banking77, web: Any, tmp_path: Path) -> None:
    for _ in range(2):
        raw = banking.load(Banking77Options(), tmp_path)
    assert raw.texts == ('is it "on" its way,\nor lost?', "NA", "why a fee", "where is it")
    assert raw.classes == ("arrival", "fees") and raw.y.tolist() == [0, 1, 1, 0]
    assert sorted(web.asked) == ["/test.csv", "/train.csv"]
    assert f"found: {tmp_path / 'banking77'} (sha256 published" in banking.whereabouts(tmp_path)
    test = banking.load(Banking77Options(split="test"), tmp_path)
    assert test.texts == ("where is it",) and test.classes == raw.classes


def test_clinc150_has_domains_or_intents_and_nothing_out_of_scope(clinc: Clinc150, tmp_path: Path) -> None:
    raw = clinc.load(Clinc150Options(), tmp_path)
    assert raw.texts == ("lost my card", "NA", "any fee", "how is rain", "what fee")
    assert raw.classes == ("banking", "outside") and raw.y.tolist() == [0, 1, 0, 1, 0]
    intents = clinc.load(Clinc150Options(labels="intents"), tmp_path)
    assert intents.classes == ("card", "fees", "weather") and intents.y.tolist() == [0, 2, 1, 2, 1]
    val = clinc.load(Clinc150Options(split="val"), tmp_path)
    assert val.texts == ("how is rain",) and val.classes == raw.classes


def test_files_put_there_by_hand_are_checked(clinc: Clinc150, web: Any, tmp_path: Path) -> None:
    for name, content in CLINC.items():
        (tmp_path / name).write_text(content)
    assert len(clinc.load(Clinc150Options(path=tmp_path), None).texts) == 5
    assert web.asked == []
    (tmp_path / "domains.json").write_text(CLINC["domains.json"] + " ")
    with pytest.raises(UserError, match=r"domains\.json: has sha256 .* as published.*download it again"):
        clinc.load(Clinc150Options(path=tmp_path), None)
    (tmp_path / "domains.json").unlink()
    with pytest.raises(UserError, match=r"no domains\.json in .*put data_full\.json and domains\.json"):
        clinc.load(Clinc150Options(path=tmp_path), None)


@pytest.mark.parametrize("name", ["banking77", "clinc150"])
def test_without_a_network_it_says_what_to_put_where(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    files = {"banking77": banking77.FILES, "clinc150": clinc150.FILES}[name]
    offline = tuple(replace(file, urls=("http://127.0.0.1:9/x",)) for file in files)
    source: Any = Banking77(offline) if name == "banking77" else Clinc150(offline)
    with pytest.raises(UserError, match=rf"put {files[0].name} and {files[1].name} into {tmp_path / name}"):
        source.load(source.Options(), tmp_path)


def test_files_of_another_form_are_refused(web: Any, tmp_path: Path) -> None:
    wrong = {"train.csv": "a,b\n1,2\n", "test.csv": BANKING["test.csv"]}
    with pytest.raises(UserError, match="expected rows of text and category"):
        Banking77(published(banking77.FILES, wrong, web)).load(Banking77Options(), tmp_path)
    wrong = {"data_full.json": "[]", "domains.json": CLINC["domains.json"]}
    with pytest.raises(UserError, match="expected a table of parts"):
        Clinc150(published(clinc150.FILES, wrong, web)).load(Clinc150Options(), tmp_path)


def test_the_shipped_texts_are_balanced_and_free_of_copies() -> None:
    source = SOURCES.get("clinc150_6k")
    domains, intents = (source.load(Clinc1506kOptions(labels=labels), None) for labels in ("domains", "intents"))
    assert np.bincount(domains.y).tolist() == [600] * 10 and np.bincount(intents.y).tolist() == [40] * 150
    assert (domains.first_equal() == np.arange(6000)).all()
    assert domains.texts == intents.texts
    licence = (FOLDER / "LICENSE.clinc150").read_text()
    assert "Larson" in licence and "CC BY 3.0" in licence and "D19-1131" in licence
    assert sum((FOLDER / name).stat().st_size for name in SHA256) < 110_000


def test_the_shipped_tokenizer_needs_no_public_samples_and_knows_every_text() -> None:
    raw = SOURCES.get("clinc150_6k").load(Clinc1506kOptions(), None)
    rows = np.arange(6000)
    found = raw.taken(rows, np.zeros(6000, bool))
    assert found.x.shape == (6000, 24) and found.lengths is not None and found.vocabulary is not None
    assert found.vocabulary.size == 2000 and found.notes == ()
    real = np.arange(24) < found.lengths[:, None]
    assert found.x[real].min() > 1, "no unknown token"
    whole = own_tokenizer(found.tokenizer).lengths(raw.texts)
    assert 0.005 < (whole > 24).mean() < 0.01
    np.testing.assert_array_equal(np.minimum(whole, 24), found.lengths)
    own = SOURCES.get("clinc150_6k").load(Clinc1506kOptions(tokenizer="public"), None)
    assert own.taken(rows, rows < 1000).tokenizer != found.tokenizer


@pytest.mark.parametrize("name", [TEXTS, TOKENIZER])
def test_altered_shipped_files_are_refused(name: str, tmp_path: Path) -> None:
    for each in SHA256:
        (tmp_path / each).write_bytes((FOLDER / each).read_bytes())
    content = gzip.decompress((tmp_path / name).read_bytes())
    (tmp_path / name).write_bytes(gzip.compress(content + b"x"))
    with pytest.raises(UserError, match=f"{name}: not the original"):
        Clinc1506k(tmp_path).load(Clinc1506kOptions(), None)
    (tmp_path / name).write_bytes(gzip.compress(content)[:-20])
    with pytest.raises(UserError, match=f"{name}: cannot be read .*reinstall"):
        Clinc1506k(tmp_path).load(Clinc1506kOptions(), None)


def test_the_script_repeats_itself_and_leaves_drawn_texts_out_of_the_tokenizer(tmp_path: Path) -> None:
    """On made-up files, so it says that these are not the shipped ones."""
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import make_embedded_texts as script
    finally:
        sys.path.remove(str(SCRIPT.parent))
    source = SOURCES.get("clinc150_6k")
    raw = source.load(Clinc1506kOptions(labels="intents"), None)
    more = tuple(f"{text} please" for text in raw.texts)
    copies = tuple(text.upper() for text in raw.texts[:50])
    whole = replace(raw, texts=(*raw.texts, *more, *copies), y=np.concatenate([raw.y, raw.y, raw.y[:50]]))
    rows, others = script.drawn_rows(whole)
    again, _ = script.drawn_rows(whole)
    np.testing.assert_array_equal(rows, again)
    assert np.bincount(whole.y[rows]).tolist() == [40] * 150
    drawn = {whole.texts[row].casefold() for row in rows}
    assert len(drawn) == 6000 and not drawn & {whole.texts[row].casefold() for row in others}
    content = script.csv_bytes(raw, source.load(Clinc1506kOptions(), None), np.arange(6000))
    assert hashlib.sha256(content).hexdigest() == SHA256[TEXTS]


def test_the_script_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--folder", tmp_path], capture_output=True, text=True)
    assert done.returncode == 2 and "no data_full.json" in done.stderr
