"""A page as one HTML file that makes no network requests.

jinja2 escapes texts that come from outside; inside figures they are data. A content security policy in the page is a
second protection: it forbids every request, and every script except those whose hashes it names. These are the page's
own two and Vega, which one of them unpacks. Tables can be read without scripts.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pruneaudit import __version__
from pruneaudit.report.figures.drawing import packed_vega_script, vega_script

_FIGURES_SCRIPT = "figures.js"
_TABLES_SCRIPT = "tables.js"


def filled(template: str, context: Mapping[str, Any], has_figures: bool) -> str:
    """The text of one HTML file.

    Args:
        template: a file of `page/templates`, which places `policy`, `vega` and `scripts`.
        context: all that it shows.
        has_figures: whether the page has scripts to draw figures.
    """
    environment = _environment()
    scripts = [_source(environment, _TABLES_SCRIPT), *([_source(environment, _FIGURES_SCRIPT)] if has_figures else [])]
    return environment.get_template(template).render(
        context,
        policy=_policy([*scripts, *([vega_script()] if has_figures else [])]),
        has_figures=has_figures,
        vega=Markup(packed_vega_script()) if has_figures else "",
        scripts=[Markup(script) for script in scripts],
        version=__version__,
    )


@cache
def _environment() -> Environment:
    """The templates; compiled once per process."""
    return Environment(
        loader=PackageLoader("pruneaudit.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _policy(scripts: list[str]) -> str:
    """A content security policy: no request to anywhere, no script but these."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
