"""Steps that several tests take: half a login, a clock for everything, a store that fails."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from html import unescape
from typing import Any
from urllib.parse import quote, urljoin

from aiohttp import ClientTimeout

from oidcgate.errors import StoreUnavailable
from oidcgate.session.store import OnMessage, Store, Stored
from oidcgate.web.attempts import Attempts
from oidcgate.web.live import Live
from oidcgate.web.server import GateServer
from tests.support.browser import NAVIGATION, Browser, Page
from tests.support.stack import Clock, Stack, merged

MEMORY = {"session": {"store": "memory"}}
RETURN = {**NAVIGATION, "Sec-Fetch-Site": "cross-site"}  # how a browser comes back from the provider
PLAIN: dict[str, str] = {}  # a program that sends no browser metadata


def quick_stack(**options: Any) -> Stack:
    """A stack whose gate keeps its sessions in memory, unless told otherwise."""
    return Stack(**{**options, "config": merged(MEMORY, options.get("config", {}))})


def gate_of(stack: Stack) -> GateServer:
    """The running gate."""
    assert stack.gate is not None
    return stack.gate


def attempts_of(stack: Stack) -> Attempts:
    """The gate's login attempts."""
    pages: Any = gate_of(stack).gate.own_pages
    attempts: Attempts = pages._login._attempts
    return attempts


def lives(stack: Stack) -> list[Live]:
    """The sessions that the gate holds in memory."""
    return list(gate_of(stack).sessions._lives.values())


def the_live(stack: Stack) -> Live:
    """The only session in memory."""
    (live,) = lives(stack)
    return live


def look_again(stack: Stack, *, at_the_store: bool = False) -> None:
    """Make the next request of each session look at limits and tokens, and perhaps at the store."""
    for live in lives(stack):
        live.fresh_until = 0.0
        if at_the_store:
            live.checked = 0.0


@asynccontextmanager
async def clocked(**options: Any) -> AsyncIterator[tuple[Stack, Clock]]:
    """A stack in which issuer, UI and gate go by one clock."""
    clock = Clock()
    options["issuer"] = {"clock": clock, **options.get("issuer", {})}
    options["ui"] = {"clock": clock, **options.get("ui", {})}
    async with quick_stack(**options) as stack:
        set_clock(stack, clock)
        yield stack, clock


def set_clock(stack: Stack, clock: Callable[[], float]) -> None:
    """Let the gate go by another clock."""
    gate: Any = gate_of(stack)
    documents = [document for provider in gate.providers for document in (provider._metadata, provider._keys)]
    for part in (
        gate.sessions,
        gate.grants,
        attempts_of(stack),
        getattr(gate.store, "_inner", gate.store),
        *gate.providers,
        *documents,
    ):
        part._clock = clock


def turn(stack: Stack, clock: Clock, seconds: float) -> None:
    """Let time pass."""
    clock.ahead += seconds
    look_again(stack)


def hurry(stack: Stack, seconds: float = 0.2) -> None:
    """Give calls to the provider little time."""
    provider: Any = gate_of(stack).providers.by_id("")
    provider._calls._timeout = ClientTimeout(total=seconds)
    if provider._calls._session is not None:
        provider._calls._session._timeout = provider._calls._timeout


class Intermediary:
    """A store between the gate and its store: counts, notes the order of writes, and fails on demand."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.is_down = False
        self.events: list[str] = []
        self.gets = 0
        self.before_put: Callable[[str], None] = lambda _key: None

    def _check(self) -> None:
        if self.is_down:
            raise StoreUnavailable("out for a test")

    async def get(self, key: str) -> Stored | None:
        self._check()
        self.gets += 1
        return await self.inner.get(key)

    async def put(self, key: str, value: bytes, *, life: float, expected: int | None = None) -> int | None:
        self.before_put(key)
        self._check()
        self.events.append(f"put {key.partition(':')[0]}")
        return await self.inner.put(key, value, life=life, expected=expected)

    async def delete(self, key: str, *, expected: int | None = None) -> bool:
        self._check()
        return await self.inner.delete(key, expected=expected)

    async def keys(self, prefix: str) -> list[str]:
        self._check()
        return await self.inner.keys(prefix)

    async def notify(self, message: str) -> None:
        self._check()
        await self.inner.notify(message)

    def listen(self, on_message: OnMessage) -> None:
        self.inner.listen(on_message)

    async def close(self) -> None:
        await self.inner.close()


def intercept_store(stack: Stack) -> Intermediary:
    """Put an intermediary before the gate's store."""
    gate: Any = gate_of(stack)
    store = Intermediary(gate.store._inner)  # behind what tells how long it takes
    gate.store = gate.sessions._store = gate.grants._store = attempts_of(stack)._store = store
    return store


# Half a login.


def start_url(stack: Stack, goal: str = "/", fragment: str = "") -> str:
    """The second step of /start."""
    return f"{stack.url}/oauth2/start?rd={quote(goal, safe='')}&f={quote(fragment, safe='')}"


async def begin(browser: Browser, stack: Stack, goal: str = "/", fragment: str = "") -> str:
    """Begin a login; the provider's address that the browser is sent to."""
    page = await browser.send("GET", start_url(stack, goal, fragment), NAVIGATION)
    assert page.status == 302, (page.status, page.text)
    return page.location


async def consent(browser: Browser, url: str, login: str = "alice") -> str:
    """Log in at the provider; the callback's address, which is not opened yet."""
    page = await browser.send("GET", url, NAVIGATION)
    while page.status in (302, 303) and "/oauth2/callback" not in page.location:
        page = await browser.send("GET", urljoin(page.url, page.location), NAVIGATION)
    if "/oauth2/callback" in page.location:
        return page.location
    body = f"login={login}&password={login}".encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    page = await browser.send("POST", page.url, form, body)
    assert "/oauth2/callback" in page.location, (page.status, page.text)
    return page.location


async def to_callback(browser: Browser, stack: Stack, goal: str = "/", login: str = "alice") -> str:
    """A whole login but for its last step: the callback's address."""
    return await consent(browser, await begin(browser, stack, goal), login)


async def come_back(browser: Browser, url: str) -> Page:
    """Open the callback as a browser does that the provider redirects."""
    return await browser.send("GET", url, RETURN)


async def is_signed_in(browser: Browser, stack: Stack) -> bool:
    """Whether the browser has a session."""
    return (await browser.fetch(f"{stack.url}/oauth2/userinfo")).status == 200


async def ask(browser: Browser, stack: Stack, path: str = "/api/v1/me") -> Page:
    """What the UI's script fetches."""
    return await browser.fetch(f"{stack.url}{path}")


def links(page: Page) -> list[str]:
    """Where a page's links and forms lead."""
    pieces = page.text.replace('action="', 'href="').split('href="')[1:]
    return [unescape(piece.partition('"')[0]) for piece in pieces]


def cookies_set(page: Page) -> list[str]:
    """Names of the cookies that an answer sets; those it expires are left out."""
    lines = page.reply.values("Set-Cookie")
    return [line.partition("=")[0] for line in lines if "max-age=0" not in line.lower()]
