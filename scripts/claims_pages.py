"""Puts the verdicts and figures of docs/claims/results.csv on the pages of docs/claims/ and into the README.

They stand between markers.

    pruneaudit claims runs/claims-fashion runs/claims-location --out runs/claims
    python scripts/claims_pages.py runs/claims/claims.csv      # copies the file, then writes the pages
    python scripts/claims_pages.py                             # writes the pages again

`tests/test_claims_pages.py` checks that the pages are what this makes of results.csv, and that each verdict there
follows from its interval.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pandas as pd

from pruneaudit.claims.catalogue import CLAIMS
from pruneaudit.claims.judge import TEXTS
from pruneaudit.claims.markdown import RULE, about, disagreements, of_page, overview, short_overview

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "claims"
RESULTS = FOLDER / "results.csv"
README = "README"
"""The name of the part that stands in the README."""
BEGIN, END = "<!-- results: {} -->", "<!-- end of results -->"
NOTHING = "No results stand here yet: `make claims`, then `python scripts/claims_pages.py runs/claims/claims.csv`."
PAGES = tuple(dict.fromkeys(claim.page for claim in CLAIMS))


def read(file: Path) -> pd.DataFrame | None:
    """The rows of a claims.csv, missing texts as empty ones; None without the file."""
    if not file.exists():
        return None
    table = pd.read_csv(file)
    return table.assign(**{name: table[name].fillna("").astype(str) for name in TEXTS})


def parts(table: pd.DataFrame | None) -> dict[str, str]:
    """What goes between the markers of each page, by page."""
    if table is None:
        return dict.fromkeys([*PAGES, "index", README], NOTHING)
    found = {page: of_page(table, [claim for claim in CLAIMS if claim.page == page]) for page in PAGES}
    others = disagreements(table, [claim.name for claim in CLAIMS])
    whole = [others, overview(table, linked=True), f"{RULE} {about(table)}"]
    return found | {"index": "\n\n".join(part for part in whole if part), README: short_overview(table, "docs/claims")}


def file_of(name: str) -> Path:
    """The file of a page, by its name."""
    return ROOT / "README.md" if name == README else FOLDER / f"{name}.md"


def filled(text: str, name: str, part: str) -> str:
    """A page with the part between its markers.

    Args:
        text: the page.
        name: of the page, which its first marker has.
        part: what goes there.
    """
    before, begin, rest = text.partition(BEGIN.format(name))
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file_of(name)}: expected the markers {BEGIN.format(name)} and {END}")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def main() -> None:
    """Copies results if a file is given, then writes every page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, help="a claims.csv to copy first")
    given = parser.parse_args()
    if given.results is not None:
        shutil.copyfile(given.results, RESULTS)
    for name, part in parts(read(RESULTS)).items():
        file = file_of(name)
        file.write_text(filled(file.read_text(), name, part))
        print(file)


if __name__ == "__main__":
    main()
