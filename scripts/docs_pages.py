"""What the site has beside the files in docs/: tables made from the code. mkdocs calls this (mkdocs.yml, `hooks`)."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from pruneaudit.study import settings_reference

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
    return LEADS_OUT.sub(r"\1", markdown.replace(SETTINGS_MARK, settings_tables()))


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
