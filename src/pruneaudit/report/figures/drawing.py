"""The program that draws figures in the page: Vega, Vega-Lite and vega-embed, as `scripts/bundle_vega.py` made it.

It lies in the package so that every report has its figures, needs nothing else installed, and is written
at once: to bundle it anew takes seconds.
"""

from __future__ import annotations

import base64
import gzip
from functools import cache
from importlib.resources import files

SNIPPET = "window.pruneaudit = { vegaEmbed };"
"""How the program makes itself known to the page's script."""
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
