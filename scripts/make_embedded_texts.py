"""Draws the embedded 6,000 texts from CLINC150, and builds their tokenizer on the other ones.

usage: make_embedded_texts.py [--folder FOLDER] [--output FOLDER]

FOLDER holds data_full.json and domains.json of https://github.com/clinc/oos-eval; by default they are downloaded. Run
twice, it writes the same bytes; another zlib may compress to other bytes, so what the program checks on load is the
SHA-256 of the unpacked files.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import sys
from pathlib import Path

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.data.clinc150 import SOURCE, Clinc150Options
from pruneaudit.data.clinc150_6k import FOLDER, SHA256, TEXTS, TOKENIZER
from pruneaudit.data.texts import RawTexts
from pruneaudit.data.tokenizing import build_tokenizer

SEED = 20191103  # the day on which EMNLP 2019 began
NUM_PER_INTENT = 40
VOCABULARY_SIZE = 2000


def drawn_rows(raw: RawTexts) -> tuple[np.ndarray, np.ndarray]:
    """Rows (6000,) of 40 different texts of each intent, in ascending order, and the rows that no drawn one equals."""
    generator = numpy_generator(SEED, seeds.EMBEDDED_TEXTS)
    first = raw.first_equal()
    different = np.flatnonzero(first == np.arange(len(first)))
    by_intent = [different[raw.y[different] == label] for label in range(len(raw.classes))]
    rows = np.sort(np.concatenate([generator.permutation(those)[:NUM_PER_INTENT] for those in by_intent]))
    return rows, np.setdiff1d(different, rows)


def csv_bytes(raw: RawTexts, domains: RawTexts, rows: np.ndarray) -> bytes:
    """Text, domain and intent of the rows."""
    held = io.StringIO(newline="")
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(["text", "domain", "intent"])
    for row in rows:
        writer.writerow([raw.texts[row], domains.classes[domains.y[row]], raw.classes[raw.y[row]]])
    return held.getvalue().encode("utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Draws the embedded 6,000 texts from CLINC150.")
    parser.add_argument("--folder", type=Path, default=None, help="where data_full.json and domains.json are")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder to write to")
    arguments = parser.parse_args()
    try:
        raw, domains = (
            SOURCE.load(Clinc150Options(path=arguments.folder, labels=labels), None)
            for labels in ("intents", "domains")
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    rows, others = drawn_rows(raw)
    tokenizer = build_tokenizer([raw.texts[row] for row in others], VOCABULARY_SIZE)
    contents = {TEXTS: csv_bytes(raw, domains, rows), TOKENIZER: tokenizer.json.encode("utf-8")}
    found = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        packed = gzip.compress(content, 9, mtime=0)
        (arguments.output / name).write_bytes(packed)
        print(f"{arguments.output / name}: {len(packed):,} bytes, unpacked {found[name]}")
    print(f"{len(rows):,} texts; the tokenizer was built on {len(others):,} others")
    if found != SHA256:
        print(f"these are not the files that clinc150_6k.py expects ({SHA256})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
