"""Login cookies: found by the one browser that has them, useless to everybody else."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from oidcgate.config.load import parse_config
from oidcgate.session.attempt import LIFE, LOOP_LOGINS, LOOP_WINDOW
from oidcgate.session.seal import KeyRing
from oidcgate.stores.memory import MemoryStore
from oidcgate.web.attempts import Attempts
from oidcgate.web.providers import Providers
from oidcgate.web.site import SiteRuntime, make_site

NOW = 1_800_000_000.0


class Jar:
    """A browser's cookies."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def take(self, response: web.Response) -> None:
        """Obey Set-Cookie."""
        for line in response.headers.getall("Set-Cookie", []):
            name, _, rest = line.partition("=")
            self.cookies[name] = rest.partition(";")[0]
            if "Max-Age=0" in rest:
                del self.cookies[name]

    @property
    def header(self) -> bytes:
        """As sent."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items()).encode()


class Setting:
    """Attempts of two sites, and a clock."""

    def __init__(self) -> None:
        self.now = NOW
        config = parse_config(
            {
                "provider": {"issuer": "http://localhost:1/dex", "client_id": "gate"},
                "sites": [
                    {"url": f"http://{host}", "upstream": {"url": "http://127.0.0.1:2"}}
                    for host in ("a.localhost", "b.localhost")
                ],
            },
            folder=Path("."),
        )
        providers = Providers(config)
        self.sites = [make_site(config, site, providers) for site in config.sites]
        self.attempts = Attempts(MemoryStore(), KeyRing([bytes(32)]), clock=lambda: self.now)

    def begin(self, jar: Jar, target: str = "/", site: SiteRuntime | None = None) -> str:
        """Begin an attempt; its state."""
        response = web.Response()
        attempt = self.attempts.begin(site or self.sites[0], jar.header, target=target, fragment="", response=response)
        jar.take(response)
        return attempt.state


@pytest.fixture
def setting() -> Iterator[Setting]:
    """Fresh for each test."""
    return Setting()


def test_an_attempt_is_found_by_its_state(setting: Setting) -> None:
    """Among several, the one that the callback names."""
    jar = Jar()
    states = [setting.begin(jar, f"/{n}") for n in range(3)]
    found = [setting.attempts.find(setting.sites[0], jar.header, state) for state in states]
    assert [attempt and attempt.target for attempt in found] == ["/0", "/1", "/2"]
    assert setting.attempts.find(setting.sites[0], jar.header, "another") is None
    assert setting.attempts.find(setting.sites[0], b"", states[0]) is None


def test_an_attempt_belongs_to_its_site(setting: Setting) -> None:
    """Its cookie does not open on another site of the same gate."""
    jar = Jar()
    state = setting.begin(jar)
    assert setting.attempts.find(setting.sites[1], jar.header, state) is None


def test_the_cookie_tells_nothing(setting: Setting) -> None:
    """Neither name nor value shows the state, the verifier or where somebody was going."""
    jar = Jar()
    state = setting.begin(jar, "/secret")
    ((name, value),) = jar.cookies.items()
    raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    assert state not in name + value
    assert b"secret" not in raw
    assert state.encode() not in raw


@pytest.mark.parametrize("position", [0, 3, 10, 20, -1])
def test_a_changed_cookie_does_not_open(setting: Setting, position: int) -> None:
    """A single bit is enough."""
    jar = Jar()
    state = setting.begin(jar)
    ((name, value),) = jar.cookies.items()
    raw = bytearray(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    raw[position] ^= 1
    jar.cookies[name] = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert setting.attempts.find(setting.sites[0], jar.header, state) is None


def test_an_attempt_of_another_release_is_none(setting: Setting) -> None:
    """During an upgrade such a login begins anew."""
    jar = Jar()
    state = setting.begin(jar)
    ((name, _),) = jar.cookies.items()
    site = setting.sites[0]
    jar.cookies[name] = setting.attempts._sealed(b'["one","thing"]', "login", f"{site.origin} {name}")
    assert setting.attempts.find(site, jar.header, state) is None
    setting.begin(jar)
    assert list(jar.cookies) != [name]


async def test_an_attempt_is_used_once(setting: Setting) -> None:
    """Also when two callbacks race."""
    jar = Jar()
    state = setting.begin(jar)
    attempt = setting.attempts.find(setting.sites[0], jar.header, state)
    assert attempt is not None
    assert [await setting.attempts.use(attempt) for _ in range(3)] == [True, False, False]


def test_late_attempts_are_expired_with_the_next(setting: Setting) -> None:
    """Nothing piles up."""
    jar = Jar()
    setting.begin(jar)
    setting.now += LIFE
    setting.begin(jar)
    assert len(jar.cookies) == 1


def test_a_loop_is_so_many_logins_within_a_minute(setting: Setting) -> None:
    """Slow repetition is none, and telling the person begins the count anew."""
    site, jar = setting.sites[0], Jar()

    def finish() -> None:
        response = web.Response()
        setting.attempts.finish(site, jar.header, response)
        jar.take(response)

    for _ in range(LOOP_LOGINS):
        assert not setting.attempts.loops(site, jar.header)
        finish()
    assert setting.attempts.loops(site, jar.header)
    response = web.Response()
    setting.attempts.forget_finished(site, response)
    jar.take(response)
    assert not setting.attempts.loops(site, jar.header)
    for _ in range(2 * LOOP_LOGINS):
        setting.now += LOOP_WINDOW / 2
        finish()
        assert not setting.attempts.loops(site, jar.header)


def test_any_cookie_of_ours_shows_that_cookies_work(setting: Setting) -> None:
    """Which decides between two explanations."""
    site, jar = setting.sites[0], Jar()
    assert not setting.attempts.has_any(site, b"other=1")
    assert setting.attempts.has_any(site, b"other=1; oidcgate-guard=x")
    assert setting.attempts.has_any(site, b"oidcgate=x")
    setting.begin(jar)
    assert setting.attempts.has_any(site, jar.header)


def test_starts_are_counted_by_address_and_minute(setting: Setting) -> None:
    """One address's flood is nobody else's."""
    verdicts = [setting.attempts.is_too_many("198.51.100.1") for _ in range(241)]
    assert verdicts == [False] * 240 + [True]
    assert not setting.attempts.is_too_many("198.51.100.2")
    setting.now += 60
    assert not setting.attempts.is_too_many("198.51.100.1")
