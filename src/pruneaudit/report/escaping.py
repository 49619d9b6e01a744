"""Escapes foreign texts for a terminal, for Markdown and for figures.

Names of releases, reasons and paths come from files. `core.errors.printable` escapes what a terminal would obey.
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
        text: any text.
        style: the style's name in rich.
        keep: characters to leave as they are, such as line ends.
    """
    from rich.text import Text

    return Text(printable(text, keep), style)


def markdown_text(text: str, also: str = "") -> str:
    """A sentence without characters that mean something to Markdown or HTML.

    Args:
        text: any text.
        also: further characters to escape.
    """
    return "".join(f"\\{letter}" if letter in _MARKDOWN + also else letter for letter in printable(text))


def markdown_code(name: str) -> str:
    """A name as a code span that no name can leave, inside a table or not."""
    return f"`{printable(name).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def printable_only(text: str) -> str:
    """The text with spaces for characters that do not print: figures have no room for escapes."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def one_line(text: str) -> str:
    """The text with a space for everything that does not print, and no two spaces together."""
    return " ".join(printable_only(text).split())
