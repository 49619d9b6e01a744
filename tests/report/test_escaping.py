"""Texts of others cannot steer a terminal, leave their place in Markdown, or bring control characters into a figure."""

from __future__ import annotations

import pytest

from pruneaudit.report.escaping import markdown_code, markdown_text, printable_only, terminal_text

NASTY = "a\x1b[31m\u202eb\nc`|[x](y)<b>_"


@pytest.mark.parametrize("shown", [terminal_text(NASTY).plain, markdown_text(NASTY), markdown_code(NASTY)])
def test_control_characters_are_escaped(shown: str) -> None:
    assert shown.isprintable()
    assert "\\x1b" in shown.replace("\\\\", "\\")


def test_a_terminal_gets_the_ends_of_lines_that_are_asked_for_and_no_markup() -> None:
    text = terminal_text(NASTY, "bold", keep="\n")
    assert text.plain.count("\n") == 1
    assert (text.style, text.spans) == ("bold", [])


def test_markdown_means_nothing() -> None:
    assert markdown_text("`*[]<>|_", also="_") == "".join(f"\\{letter}" for letter in "`*[]<>|_")
    assert markdown_text("l1_half") == "l1_half"
    assert markdown_code("a`b|c") == "`a'b\\|c`"


def test_figures_have_a_space_for_each_control_character() -> None:
    assert printable_only(NASTY) == "a [31m b c`|[x](y)<b>_"
