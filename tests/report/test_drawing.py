"""What draws the figures: specifications that Vega-Lite understands, and the program that the page carries."""

import json
import re

import pytest

from pruneaudit.report.figures.drawing import SNIPPET, vega_script
from pruneaudit.report.page.html import render
from pruneaudit.report.paper import draw


def specifications(results):
    """Those of the page, choices among them, and those of a paper."""
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', render(results), re.DOTALL)
    return {key: json.loads(text) for key, text in found} | {
        stem: figure.spec for stem, figure in draw(results)[0].items()
    }


def test_every_figure_is_what_vega_lite_understands(results):
    altair = pytest.importorskip("altair")
    found = specifications(results)
    assert len(found) > 10
    for spec in found.values():
        altair.Root.validate(spec)


@pytest.mark.slow
def test_the_program_of_the_page_is_what_vl_convert_bundles():
    vl_convert = pytest.importorskip("vl_convert")
    assert vega_script() == vl_convert.javascript_bundle(SNIPPET).replace("\r\n", "\n").replace("\r", "\n")
