"""A certificate as a page and as Markdown."""

from pruneaudit.report.chosen.markdown import certificate_markdown
from pruneaudit.report.chosen.page import certificate_page

__all__ = ["certificate_markdown", "certificate_page"]
