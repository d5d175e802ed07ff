"""
Who may sign in at the demo issuer, who may ask for it, and how a test bends its answers.

Pure.
`Person` and `Client` are what `staticPasswords` and `staticClients` are in Dex's configuration.
`Quirks` makes the issuer break one rule at a time, as the OpenID conformance suite's provider does.
"""

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

DEVICE_CALLBACK = "/device/callback"  # where a public client's device flow ends, below the issuer's path
CONNECTOR = "local"  # what Dex calls its own password table; it is part of every subject

Claims = dict[str, Any]
Parameters = list[tuple[str, str]]


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in, with ``login`` or with ``email``; ``user_id`` never changes."""

    login: str
    password: str
    name: str
    email: str
    groups: tuple[str, ...]
    user_id: str
    email_verified: bool = True


@dataclass(frozen=True)
class Client:
    """
    A relying party.

    Args:
        secret: None for a public client, which may also come back to any ``http://localhost`` address if it
            registered no ``redirect_uris``.
        trusted_peers: clients that may ask for a token with this client in its audience.
        post_logout_redirect_uris, backchannel_logout_uri: heeded only by an issuer with sessions.
    """

    id: str
    secret: str | None
    redirect_uris: tuple[str, ...]
    name: str = ""
    trusted_peers: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str | None = None

    def accepts_redirect(self, uri: str) -> bool:
        """Byte comparison, as in Dex; no default ports, no trailing slashes forgiven."""
        if self.redirect_uris or self.secret is not None:
            return uri in self.redirect_uris
        if uri == DEVICE_CALLBACK:
            return True
        parts = urlsplit(uri)
        return parts.scheme == "http" and _is_local(parts.hostname or "")


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


DEMO_PEOPLE = (
    Person("alice", "alice", "Alice Arden", "alice@example.com", ("platform-admins",), "demo-0001"),
    Person("bob", "bob", "Bob Berger", "bob@example.com", ("team-shop",), "demo-0002"),
    Person("carol", "carol", "Carol Castell", "carol@example.com", (), "demo-0003"),
)


@dataclass
class Quirks:
    """
    What the issuer does wrong, changeable while it runs; every field is off by default.

    Stages, the keys of ``delay``, ``hang``, ``drop`` and ``fail``, are the names counted in
    `DemoIssuer.calls`: ``discovery``, ``auth``, ``login``, ``token``, ``keys``, ``userinfo``, ``healthz``,
    ``logout``. A stage with ``:reply`` appended lies after the work and before the answer: hanging or
    dropping ``token:reply`` loses a refresh token for good. ``token:code`` and ``token:refresh`` lie between
    the check of what was presented and its claim: two refreshes held there really overlap.

    Args:
        header, claims: change an ID token before it is signed (``header`` a logout token, too).
        logout_claims: changes a logout token before it is signed.
        sign: makes the compact token from header and claims, in place of the issuer's key.
        token_reply: changes a token set before it is sent; bytes are sent as they are.
        token_status: the HTTP status of a token set.
        jwks, discovery: change the documents of these names; bytes are sent as they are.
        callback_params: changes the parameters, names and values, of the redirect back to the client.
        delay: seconds to wait, by stage.
        hang: stages at which requests wait until `release`.
        drop: stages at which the connection is closed without an answer.
        fail: HTTP status by stage, sent with a short HTML body as a broken ingress would.
    """

    header: Callable[[Claims], Claims] | None = None
    claims: Callable[[Claims], Claims] | None = None
    logout_claims: Callable[[Claims], Claims] | None = None
    sign: Callable[[Claims, Claims], str] | None = None
    token_reply: Callable[[Claims], Claims | bytes] | None = None
    token_status: int | None = None
    jwks: Callable[[Claims], Claims | bytes] | None = None
    discovery: Callable[[Claims], Claims | bytes] | None = None
    callback_params: Callable[[Parameters], Parameters] | None = None
    delay: dict[str, float] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)
    drop: set[str] = field(default_factory=set)
    fail: dict[str, int] = field(default_factory=dict)
    _released: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False, compare=False)

    def release(self) -> None:
        """Let every hanging request go on, and hang no more."""
        self.hang.clear()
        self._released.set()
        self._released = asyncio.Event()

    async def released(self) -> None:
        """Return at the next `release`."""
        await self._released.wait()
