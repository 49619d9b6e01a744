"""What the site has beside the files in docs/: tables made from the code, and the gallery's reports.

mkdocs calls this (mkdocs.yml, `hooks`). Reports are taken from where scripts/gallery.py puts them; it is `make docs`
that makes them, so that a site can be built without training anything.
"""

from __future__ import annotations

import os
import re
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneaudit.study import settings_reference

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

GALLERY = Path(os.environ.get("PRUNEAUDIT_GALLERY", Path(__file__).parents[1] / "build" / "gallery"))
GALLERY_MARK = re.compile(r"<!-- gallery ([\w-]+): (.+) -->")
NOT_MADE = "*`make docs` makes this report. This site was built without it.*"

SETTINGS_MARK = "<!-- settings -->"
LEADS_OUT = re.compile(r"\[([^\]]*)\]\((\.\./[^)]+)\)")
TITLES = {
    "": "The study itself",
    "data": "`[data]`",
    "membership": "`[membership]`",
    "training": "`[training]`",
    "training.lora": "`[training.lora]`, and `lora` of a release's `finetune`",
    "base": "`[base]`",
    "target": "`[target]`",
    "releases[]": "`[[releases]]`",
    "releases[].finetune": "`finetune` of a release",
    "audit": "`[audit]`",
    "choose": "`[choose]`",
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts tables where a page asks for them; links to files outside docs/ keep their words only."""
    shown = GALLERY_MARK.sub(lambda mark: gallery_entry(mark[1], mark[2]), markdown)
    return LEADS_OUT.sub(r"\1", shown.replace(SETTINGS_MARK, settings_tables()))


def on_files(files: Files, config: Any) -> Files:
    """Adds the gallery's reports and pictures, those that are made."""
    from mkdocs.structure.files import File

    for file in sorted([*GALLERY.glob("*.html"), *GALLERY.glob("*.svg")]):
        files.append(File.generated(config, f"gallery/{file.name}", abs_src_path=str(file)))
    return files


def gallery_entry(name: str, what: str) -> str:
    """The picture of a report, which leads to it; or a sentence, if it is not made.

    Args:
        name: the report's, as in scripts/gallery.py.
        what: what the picture shows.
    """
    if not (GALLERY / f"{name}.html").exists():
        return NOT_MADE
    return f"[![{what}](gallery/{name}.svg)](gallery/{name}.html)\n\n[Open the report](gallery/{name}.html)"


def settings_tables() -> str:
    """Every setting of a study as markdown, a table per section."""
    parts = []
    for section, settings in groupby(settings_reference(), key=lambda setting: setting.key.rpartition(".")[0]):
        rows = [f"| `{row.key}` | {_code(row.default)} | {_cell(row.meaning)} |" for row in settings]
        parts.append(
            "\n".join([f"## {TITLES[section]}", "", "| setting | default | meaning |", "|---|---|---|", *rows])
        )
    return "\n\n".join(parts)


def _code(default: str) -> str:
    return default if default in ("required", "none") else f"`{default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
