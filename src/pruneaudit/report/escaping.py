"""Texts that somebody else wrote, made harmless where they are shown: on a terminal, in Markdown, in a figure.

Names of releases, reasons and paths come from files. `core.errors.printable` says what a terminal would obey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.core.errors import printable

if TYPE_CHECKING:
    from rich.text import Text

_MARKDOWN = "\\`*[]<>|"


def terminal_text(text: str, style: str = "", keep: str = "") -> Text:
    """The text for a terminal, control characters escaped; markup in it means nothing.

    Args:
        text: any.
        style: as rich calls it.
        keep: letters to leave as they are, such as ends of lines.
    """
    from rich.text import Text

    return Text(printable(text, keep), style)


def markdown_text(text: str, also: str = "") -> str:
    """A sentence whose characters mean nothing to Markdown or HTML.

    Args:
        text: any.
        also: letters to escape beside the usual ones.
    """
    return "".join(f"\\{letter}" if letter in _MARKDOWN + also else letter for letter in printable(text))


def markdown_code(name: str) -> str:
    """A name as a code span that no name can leave, inside a table or not."""
    return f"`{printable(name).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def printable_only(text: str) -> str:
    """The text with a space for every character that does not print: a figure has no room for escapes."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
