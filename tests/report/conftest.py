"""A browser for the tests of the page: one of the machine, else playwright's own; without any, they are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@dataclass
class Opened:
    """A page in a browser, and what happened while it was open."""

    page: Any
    problems: list[str] = field(default_factory=list)
    """Errors and warnings on the console, and exceptions that nobody caught."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for, the page's own first."""
    dialogs: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra pruneaudit[dev])")
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with api.sync_playwright() as playwright:
        if program is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip(f"no browser: looked for {', '.join(BROWSERS)}; or: python -m playwright install chromium")
        running = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def open_report(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Opens a file in a window of its own; `before` is a script that runs first."""
    contexts = []

    def open_file(path: Path, width: int = 1280, before: str = "", **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 844}, **options)
        contexts.append(context)
        if before:
            context.add_init_script(before)
        opened = Opened(context.new_page())
        opened.page.set_default_timeout(20_000)
        opened.page.on("console", lambda message: opened.problems.append(message.text))
        opened.page.on("pageerror", lambda error: opened.problems.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("dialog", lambda dialog: (opened.dialogs.append(dialog.message), dialog.dismiss()))
        opened.page.goto(path.as_uri())
        if options.get("java_script_enabled", True) and opened.page.query_selector("[data-figure]"):
            opened.page.wait_for_selector("html[data-figures=drawn]", state="attached")
        return opened

    yield open_file
    for context in contexts:
        context.close()
