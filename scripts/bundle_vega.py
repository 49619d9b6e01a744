"""Bundles the program that draws figures in the page from the libraries that vl-convert holds.

    python scripts/bundle_vega.py

Run it after an update of vl-convert-python; `tests/report/test_drawing.py` compares. No network is used.
"""

import gzip
from pathlib import Path

import vl_convert

from pruneaudit.report.figures.drawing import SNIPPET

PLACE = Path(__file__).parents[1] / "src" / "pruneaudit" / "report" / "figures" / "embedded" / "vega.js.gz"


def main() -> None:
    """Writes the file."""
    script = vl_convert.javascript_bundle(SNIPPET)
    # A browser reads a line end as "\n" before it hashes the script for the page's policy.
    script = script.replace("\r\n", "\n").replace("\r", "\n")
    PLACE.write_bytes(gzip.compress(script.encode(), 9, mtime=0))
    versions = f"Vega {vl_convert.get_vega_version()}, Vega-Lite {vl_convert.get_vegalite_versions()[-1]}"
    print(f"{PLACE}: {PLACE.stat().st_size:,} bytes; {versions}, vega-embed {vl_convert.get_vega_embed_version()}")


if __name__ == "__main__":
    main()
