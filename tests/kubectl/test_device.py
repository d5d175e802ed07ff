"""A login on another device."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from oidcgate.errors import ProviderError, TokenError
from oidcgate.kubectl.account import CredentialError
from oidcgate.kubectl.device import DeviceLogin, code_request, parse_code_reply, poll_request, slower
from oidcgate.net.provider_calls import Calls
from oidcgate.oidc.authorization import challenge
from tests.kubectl.support import Desk

VERIFIER = "v" * 43
REPLY = {
    "device_code": "abc",
    "user_code": "BCDF-GHJK",
    "verification_uri": "https://dex.example.com/device",
    "verification_uri_complete": "https://dex.example.com/device?user_code=BCDF-GHJK",
    "expires_in": 300,
    "interval": 5,
}


class Sleeper:
    """Turns the issuer's clock in place of sleeping."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.desk.clock.ahead += seconds
        await asyncio.gather(*self.desk._tasks)


async def login(desk: Desk, sleeper: Sleeper) -> Any:
    """A whole login."""
    sign_in = desk.sign_in(desk.account())
    calls = Calls(ca_file=None, proxy=None, timeout=10.0)
    try:
        device = DeviceLogin(sign_in._provider, desk.account().wanted, calls, sleep=sleeper, clock=desk.clock)
        return await device.run(desk.say)
    finally:
        await calls.close()
        await sign_in._provider.close()


async def test_login(desk: Desk) -> None:
    """The code is shown, and the tokens come once it was typed in."""
    sleeper = Sleeper(desk)
    token_set, claims = await login(desk, sleeper)
    assert claims.email == "alice@example.com"
    assert token_set.refresh_token
    assert "/dex/device?user_code=" in desk.said[0]
    assert sleeper.slept == [5.0]
    assert "may go on" in desk.pages[-1].text


async def test_it_waits(desk: Desk) -> None:
    """For as long as the code is good, at the issuer's pace, and then says so."""
    desk.login = None
    sleeper = Sleeper(desk)
    with pytest.raises(CredentialError, match="while the code was good"):
        await login(desk, sleeper)
    assert set(sleeper.slept) == {5.0}
    assert len(sleeper.slept) == 60


async def test_slow_down(desk: Desk) -> None:
    """It asks five seconds more slowly from then on."""
    desk.login = None
    sleeper = Sleeper(desk)
    polls = 0

    async def hasty(seconds: float) -> None:
        nonlocal polls
        polls += 1
        if polls == 2:  # the issuer's clock stands still, so the second poll is too early
            sleeper.slept.append(seconds)
            return
        if polls == 3:
            desk.login = "alice"
            desk.say(desk.said[0])
        await sleeper(seconds)

    await login(desk, hasty)  # type: ignore[arg-type]
    assert sleeper.slept == [5.0, 5.0, 10.0]


async def test_the_issuer_is_away(desk: Desk) -> None:
    """It is asked more slowly, and goes on."""
    sleeper = Sleeper(desk)
    desk.issuer.quirks.drop.add("token")

    async def sleep(seconds: float) -> None:
        await sleeper(seconds)
        if len(sleeper.slept) == 3:
            desk.issuer.quirks.drop.clear()

    token_set, _ = await login(desk, sleep)  # type: ignore[arg-type]
    assert token_set.id_token
    assert sleeper.slept == [5.0, 10.0, 20.0]


async def test_an_issuer_without_it(desk: Desk) -> None:
    """Says so, and what else one can do."""
    desk.issuer.quirks.discovery = lambda document: {
        name: value for name, value in document.items() if name != "device_authorization_endpoint"
    }
    with pytest.raises(CredentialError, match=r"no device flow.*--no-browser"):
        await login(desk, Sleeper(desk))


def test_requests() -> None:
    """A public client with PKCE S256; the verifier goes with the poll alone."""
    asked = parse_qs(code_request("kubectl", frozenset({"openid", "groups"}), VERIFIER).body.decode())
    assert asked == {
        "client_id": ["kubectl"],
        "scope": ["openid groups"],
        "code_challenge": [challenge(VERIFIER)],
        "code_challenge_method": ["S256"],
    }
    polled = parse_qs(poll_request("kubectl", "abc", VERIFIER).body.decode())
    assert polled == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:device_code"],
        "client_id": ["kubectl"],
        "device_code": ["abc"],
        "code_verifier": [VERIFIER],
    }


@pytest.mark.parametrize(
    ("changes", "expires_in", "interval"),
    [
        ({}, 300.0, 5.0),
        ({"interval": 0.5, "expires_in": 1e9}, 3600.0, 1.0),
        ({"interval": 1000}, 300.0, 60.0),
        ({"verification_uri_complete": None}, 300.0, 5.0),
        ({"verification_uri": "http://localhost:5556/dex/device"}, 300.0, 5.0),
    ],
)
def test_reply(changes: dict[str, Any], expires_in: float, interval: float) -> None:
    """Times stay sane, and the sentence has the code."""
    code = parse_code_reply(200, json.dumps(REPLY | changes).encode())
    assert (code.expires_in, code.interval) == (expires_in, interval)
    assert "BCDF-GHJK" in code.sentence
    assert "abc" not in repr(code)


@pytest.mark.parametrize(
    "changes",
    [
        {"user_code": "\x1b[31mred"},
        {"user_code": "A" * 65},
        {"user_code": None},
        {"device_code": "a b"},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "http://dex.example.com/device"},
        {"verification_uri": "https://dex.example.com/\x1b]8;;"},
        {"verification_uri_complete": "https://dex.example.com/ x"},
        {"expires_in": "300"},
        {"expires_in": 0},
        {"interval": True},
    ],
)
def test_a_reply_that_is_none(changes: dict[str, Any]) -> None:
    """Nothing of it reaches the terminal."""
    with pytest.raises(ProviderError, match="device code: expected"):
        parse_code_reply(200, json.dumps(REPLY | changes).encode())


def test_a_refusal() -> None:
    """The issuer's code is kept."""
    with pytest.raises(TokenError, match="invalid_client"):
        parse_code_reply(401, b'{"error": "invalid_client"}')


@pytest.mark.parametrize(
    ("error", "status", "seconds"),
    [("authorization_pending", 400, 0.0), ("slow_down", 400, 5.0), ("invalid_reply", 503, 5.0), ("x", 429, 5.0)],
)
def test_answers_that_mean_wait(error: str, status: int, seconds: float) -> None:
    """As before, or more slowly."""
    assert slower(TokenError(error, status_seen=status)) == seconds


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ("expired_token", CredentialError, "while the code was good"),
        ("access_denied", CredentialError, "declined"),
        ("invalid_grant", TokenError, "invalid_grant"),
    ],
)
def test_answers_that_end_it(error: str, kind: type[Exception], words: str) -> None:
    """With what to do, where the flow knows it."""
    with pytest.raises(kind, match=words):
        slower(TokenError(error, status_seen=400))
