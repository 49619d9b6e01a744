"""`pruneaudit audit-model` on a folder of Transformers: what it asks for, and the study that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pruneaudit.cli.audit_model import _with_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like one of Transformers; nothing is read of it before the study is planned."""
    place = tmp_path / "mine"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (place / "tokenizer.json").write_text("{}")
    return place


def test_without_a_factory_it_says_what_the_references_need(call: Any, folder: Path, tmp_path: Path) -> None:
    given = ("audit-model", "--data", "text:texts.csv", "--member", "members.txt", "--out", tmp_path, "--weights")
    code, _, err = call(*given, folder)
    assert code == 2
    for words in ("--factory hf", "folder=BASE", f"folder={folder}", "from_scratch=true", "new_head=true"):
        assert words in err
    code, _, err = call(*given, tmp_path / "mine.pt")
    assert code == 2 and "--factory MODULE:FUNCTION" in err


def test_texts_get_the_tokenizer_of_the_folder(folder: Path) -> None:
    assert _with_tokenizer("text:a.csv", folder) == f"text:a.csv:tokenizer={folder}"
    assert _with_tokenizer("text:a.csv:max_length=9", folder) == f"text:a.csv:max_length=9:tokenizer={folder}"
    for data in ("text:a.csv:tokenizer=base", "npz:a.npz"):
        assert _with_tokenizer(data, folder) == data
    (folder / "tokenizer.json").unlink()
    assert _with_tokenizer("text:a.csv", folder) == "text:a.csv"
