# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A page in Debian's Chromium, driven by Playwright, and whatever it complained of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

PATIENCE_MS: Final = 30_000.0


@dataclass
class Opened:
    """A page that is open: `complaints` are errors and warnings on its console, `asked` the URLs that it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _heard(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.complaints.append(said.text)


@contextlib.contextmanager
def chromium(program: Path) -> Iterator[Browser]:
    """That Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(browser: Browser, file: Path, place: str = "", **context: Any) -> Iterator[Opened]:
    """A file in a window of its own, loaded; `place` is what stands behind its address (#web1/shop); `context` is
    Playwright's: viewport, color_scheme, java_script_enabled."""
    with contextlib.closing(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})) as window:
        window.set_default_timeout(PATIENCE_MS)
        found = Opened(window.new_page())
        found.page.goto(file.as_uri() + place)
        yield found
