"""An issuer, a folder for tokens, and somebody at the browser."""

import asyncio
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oidcgate.cli.credential import page
from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer
from oidcgate.kubectl.account import Account
from oidcgate.kubectl.cache import Cache
from oidcgate.kubectl.entry import Entry, Token
from oidcgate.kubectl.signin import SignIn, Ways
from tests.cli.support import ran
from tests.support.browser import Browser, Page
from tests.support.stack import Clock, signing_key

ROOT = Path(__file__).resolve().parent.parent.parent
URL = re.compile(r"https?://\S+")
PEERS = ("one", "two")


class Desk:
    """
    Where somebody uses kubectl.

    Attributes:
        said: what the program told them.
        pages: what their browser showed in the end.
        login: as whom they sign in; None = they do not.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder / "cache"
        self.opened = folder / "opened"
        peers = [Client(name, name, (), trusted_peers=("kubectl",)) for name in PEERS]
        clients = (Client("kubectl", None, ()), *peers)
        self.clock = Clock()
        self.issuer = DemoIssuer(DEMO_PEOPLE, clients, key=signing_key(), clock=self.clock, **options)
        self.said: list[str] = []
        self.pages: list[Page] = []
        self.login: str | None = "alice"
        self.browser = Browser()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Desk":
        await self.issuer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._tasks)
        await self.issuer.stop()

    # In this process

    def account(self, audience: str = "", **changes: Any) -> Account:
        """The account, for one cluster."""
        return replace(Account(self.issuer.url, "kubectl", audience), **changes)

    def cache(self) -> Cache:
        """Where its tokens are."""
        return Cache(self.folder, self.account().name, clock=self.clock)

    def say(self, sentence: str) -> None:
        """Tell them; an address is opened."""
        self.said.append(sentence)
        found = URL.search(sentence)
        if found and self.login is not None:
            task = asyncio.get_running_loop().create_task(self.follow(found[0].rstrip(";")))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def follow(self, url: str) -> None:
        """Open an address, sign in, and go on to the end."""
        assert self.login is not None
        page = await self.browser.open(url)
        if 'name="user_code"' in page.text:
            page = await self.browser.submit(page)
        if "password" in page.text:
            page = await self.browser.submit(page, login=self.login, password=self.login)
        self.pages.append(page)

    def sign_in(self, account: Account, **ways: Any) -> SignIn:
        """What talks to the issuer; the person opens the address by hand."""
        chosen = Ways(**{"opens": False, "limit": 30.0, **ways})
        return SignIn(account, self.cache(), chosen, page=page, say=self.say, clock=self.clock)

    async def token(self, audience: str = "", *, entry: Entry | None = None, **ways: Any) -> Token:
        """A token, as the plugin gets it once it holds the lock; an entry replaces what is kept."""
        try:
            with self.cache().lock(lambda: None):
                return await self.sign_in(self.account(audience), **ways).token(entry or self.cache().read())
        finally:
            await asyncio.gather(*self._tasks)  # their page may still be on its way

    def kept(self) -> Entry:
        """What is kept."""
        entry = self.cache().read()
        assert entry is not None
        return entry

    def claims(self, token: str) -> dict[str, Any]:
        """What a token says."""
        return self.issuer.keys.verify(token, issuer=self.issuer.url, expired=True)

    # As a program

    @property
    def browser_command(self) -> str:
        """A command that signs alice in."""
        return shlex.join([sys.executable, "-m", "tests.kubectl.follow", str(self.opened), "alice"])

    @property
    def environment(self) -> dict[str, str]:
        """The program's: no screen, no key ring, nobody's own folders."""
        return {
            "XDG_CACHE_HOME": str(self.folder.parent / "xdg"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            "PYTHONPATH": str(ROOT),
            "DISPLAY": "",
            "WAYLAND_DISPLAY": "",
            "BROWSER": "",
        }

    def arguments(self, what: str, *more: str) -> Sequence[str]:
        """The plugin's command line."""
        return ("credential", what, "--issuer", self.issuer.url, "--client-id", "kubectl", *more)

    async def ran(self, what: str, *more: str, **environment: str) -> tuple[int, str, str]:
        """Run it: exit code, output, standard error."""
        return await ran(*self.arguments(what, *more), **{**self.environment, **environment})

    def tabs(self) -> list[str]:
        """A line for each tab that the browser command opened."""
        return self.opened.read_text().splitlines() if self.opened.exists() else []
