"""
A headless Chromium, started once for all tests that want one, and people who use it.

Each person has a context of their own (cookies, storage) and keeps what the page's console said and which documents
and origins were asked for. When a test fails, its pages are photographed into `tests/artifacts/`.
Playwright's objects belong to one event loop: modules that use this run their tests on the session's loop.
"""

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    WebError,
    async_playwright,
)

ARTIFACTS = Path(__file__).parent.parent / "artifacts"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 15_000  # ms after which a test is stuck
# Chromium puts a line into the console for each reply that failed; tests look at what pages and policies complain of.
ABOUT_STATUS = "Failed to load resource: the server responded with a status"


def executable() -> str:
    """
    Where Chromium is.

    Raises:
        RuntimeError: it is not there; says what to do.
    """
    found = shutil.which(os.environ.get("OIDCGATE_CHROMIUM") or "chromium")
    if found is None:
        raise RuntimeError(
            "Chromium is not installed: `make test` installs it (Debian: apt-get install chromium), "
            "or name one in OIDCGATE_CHROMIUM"
        )
    return found


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A running Chromium."""
    path = executable()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=ARGUMENTS, ignore_default_args=["--disable-back-forward-cache"]
        )
        try:
            yield browser
        finally:
            await browser.close()


class Person:
    """
    Somebody with a browser profile of their own.

    Attributes:
        complaints: errors and warnings of the console, and exceptions that no script caught.
        origins: every origin that was asked for anything.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        self.origins: set[str] = set()
        self._asked: list[Request] = []
        context.set_default_timeout(PATIENCE)
        context.on("console", self._hear)
        context.on("weberror", self._caught)
        context.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(ABOUT_STATUS):
            self.complaints.append(f"{message.type}: {message.text}")

    def _caught(self, error: WebError) -> None:
        self.complaints.append(f"exception: {error.error}")

    def _see(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob"):
            self.origins.add(f"{parts.scheme}://{parts.netloc}")
        if request.is_navigation_request():
            self._asked.append(request)

    async def chain(self) -> list[str]:
        """The documents asked for so far: status, and the address without its query."""
        replies = [(request, await request.response()) for request in self._asked]
        return [f"{reply.status if reply else '-'} {request.url.partition('?')[0]}" for request, reply in replies]

    async def tab(self, url: str | None = None) -> Page:
        """A new tab, at an address."""
        page = await self.context.new_page()
        if url is not None:
            await visit(page, url)
        return page


async def visit(page: Page, url: str) -> None:
    """Type an address. Returns with the first page of what may be a chain of them: wait for what the last one shows."""
    try:
        await page.goto(url, wait_until="commit")
    except Error as error:  # the page's own script went somewhere at the same moment
        if "ERR_ABORTED" not in str(error):
            raise
        await page.goto(url, wait_until="commit")


class People:
    """Makes people, and photographs their pages when the test has failed."""

    def __init__(self, browser: Browser, test: str) -> None:
        self._browser = browser
        self._test = re.sub(r"[^A-Za-z0-9]+", "-", test).strip("-")
        self._all: list[Person] = []

    async def __call__(self, **options: Any) -> Person:
        """Somebody new; options as for Playwright's `new_context`."""
        person = Person(await self._browser.new_context(**options))
        self._all.append(person)
        return person

    async def leave(self, *, failed: bool) -> None:
        """Everybody goes home."""
        for number, person in enumerate(self._all):
            for tab, page in enumerate(person.context.pages if failed else ()):
                ARTIFACTS.mkdir(exist_ok=True)
                await page.screenshot(path=ARTIFACTS / f"{self._test}-{number}-{tab}.png")
            await person.context.close()
