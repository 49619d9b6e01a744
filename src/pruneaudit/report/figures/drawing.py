"""The program that draws figures in the page: Vega, Vega-Lite and vega-embed, as `scripts/bundle_vega.py` made it.

The package includes it, so every report can draw its figures without further installation. Bundling it again would take
seconds per report.
"""

from __future__ import annotations

import base64
import gzip
from functools import cache
from importlib.resources import files

SNIPPET = "window.pruneaudit = { vegaEmbed };"
"""The name under which the page's script finds the program."""
_FILE = "vega.js.gz"


@cache
def vega_script() -> str:
    """The program as a browser runs it."""
    return gzip.decompress(_packed()).decode()


@cache
def packed_vega_script() -> str:
    """The program as the page carries it: compressed, which is a third of it, in letters."""
    return base64.b64encode(_packed()).decode()


@cache
def _packed() -> bytes:
    return (files("pruneaudit.report.figures") / "embedded" / _FILE).read_bytes()
