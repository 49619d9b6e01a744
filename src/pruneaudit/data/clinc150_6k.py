"""6,000 requests of CLINC150, 600 for each of 10 domains, shipped with the program: nothing to download.

Larson et al. 2019 (EMNLP, D19-1131), CC BY 3.0: see `embedded/LICENSE.clinc150`. `scripts/make_embedded_texts.py` drew
them, 40 of each intent, without copies, and built the tokenizer on the 16,495 other distinct texts.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from pathlib import Path

from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.data.clinc150 import Labels, labelled
from pruneaudit.data.download import readable_bytes
from pruneaudit.data.source import Source
from pruneaudit.data.texts import SHIPPED, RawTexts, TextOptions
from pruneaudit.data.tokenizing import own_tokenizer

FOLDER = Path(__file__).parent / "embedded"
TEXTS, TOKENIZER = "clinc150_6k.csv.gz", "clinc150_6k.tokenizer.json.gz"
SHA256 = {
    TEXTS: "318ef59d3b162108dadd02601a518d38735f9b118e2e69fc96686a1d3cc8f9e2",
    TOKENIZER: "c4bf415912e7e5b965e4f79f05b921d829c43797335b0970ac89d25d67d1ff53",
}
"""Of the unpacked files."""


class Clinc1506kOptions(TextOptions):
    """The labels, and the tokenizer."""

    tokenizer: str = SHIPPED
    """shipped: the tokenizer that comes with the texts; it was built on other rows of CLINC150. public, all-rows, or a
    path: as for other texts."""
    max_length: int | None = Field(default=24, ge=1, le=100_000)
    """T, the number of tokens that a text is cut or padded to; 24 is enough for 99% of the texts."""
    labels: Labels = "domains"
    """The classes: the 10 domains, or the 150 intents."""


class Clinc1506k(Source[Clinc1506kOptions]):
    """The embedded part of CLINC150."""

    is_public = True

    def __init__(self, folder: Path = FOLDER) -> None:
        """Sets the folder of the embedded files."""
        self._folder = folder

    def load(self, options: Clinc1506kOptions, data_root: Path | None) -> RawTexts:
        """Loads all 6,000 texts, in their original order."""
        _, *rows = csv.reader(io.StringIO(self._unpacked(TEXTS), newline=""))
        shipped = own_tokenizer(self._unpacked(TOKENIZER)) if options.tokenizer == SHIPPED else None
        texts = [(text, domain, intent) for text, domain, intent in rows]
        domain_of = {intent: domain for _, domain, intent in texts}
        return labelled(texts, domain_of, options, options.labels, shipped=shipped)

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns that they are part of the program, and their size."""
        size = sum((self._folder / name).stat().st_size for name in SHA256)
        return f"shipped with pruneaudit; {readable_bytes(size)}"

    def _unpacked(self, name: str) -> str:
        file = self._folder / name
        try:
            content = gzip.decompress(file.read_bytes())
        except Exception as error:  # a damaged file causes various errors of zlib
            raise UserError(f"{file}: cannot be read ({error}): reinstall pruneaudit") from None
        if hashlib.sha256(content).hexdigest() != SHA256[name]:
            raise UserError(f"{file}: not the original texts of pruneaudit: reinstall pruneaudit")
        return content.decode("utf-8")


SOURCE = Clinc1506k()
