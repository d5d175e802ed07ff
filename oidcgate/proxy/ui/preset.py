"""
The shape of a UI preset.

Pure: data only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from oidcgate.errors import RequestError
from oidcgate.policy import readings

JSON_UNAUTHORIZED = b'{"error":"unauthorized","message":"Sign in first: open this site in a browser."}'


@dataclass(frozen=True, slots=True)
class Preset:
    """
    What the gate knows of a UI.

    Attributes:
        name: as in the configuration.
        api_paths: prefixes of paths that scripts fetch; never a redirect there.
        secret_paths: prefixes of paths that hold a bearer secret; logged without what follows.
        token_cookies: the UI's own login cookies (or their beginnings, with ``*``): passed in neither direction, and
            expired at sign-in and sign-out.
        unauthorized: body of our 401, in the words that the UI's own code understands.
        unauthorized_type: its media type.
        answered: paths that we answer ourselves without a session, with 200 and this JSON.
        meanwhile: paths that we answer ourselves, with 200 and this JSON, to somebody signed in while nobody else can:
            the client would take an outage for the end of the login.
        outage_status: of our own answers to scripts during an outage, in place of 503.
        tried_again: paths whose GET is worth a second try, on 502, 503, 504 or a connection that failed: one failure
            there ends the login in the client's eyes.
        may_ignore_bearer: over plain HTTP it may act as itself for everybody, so it is asked first.
        identity_headers: groups of further headers that tell it who somebody is, as in ``forward_auth.headers``.
        no_passage: prefixes answered with 404: pages that would load code from elsewhere.
    """

    name: str
    api_paths: tuple[str, ...] = ("/api/", "/apis/")
    secret_paths: tuple[str, ...] = ("/api/sockjs/",)
    token_cookies: tuple[str, ...] = ()
    unauthorized: bytes = JSON_UNAUTHORIZED
    unauthorized_type: str = "application/json"
    answered: Mapping[str, bytes] = field(default_factory=dict)
    meanwhile: Mapping[str, bytes] = field(default_factory=dict)
    outage_status: int = 503
    tried_again: tuple[str, ...] = ()
    may_ignore_bearer: bool = False
    no_passage: tuple[str, ...] = ("/api/sockjs/iframe",)
    identity_headers: tuple[str, ...] = ()

    def is_api(self, path: str) -> bool:
        """Whether scripts fetch this path, or one that a server may take it for."""
        return any(reading.startswith(self.api_paths) for reading in readings(path))

    def is_closed(self, path: str) -> bool:
        """Whether nobody gets this path, or one that a server may take it for."""
        return bool(self.no_passage) and any(reading.startswith(self.no_passage) for reading in readings(path))

    def logged(self, path: str) -> str:
        """A path as the log may show it: never a query, and nothing behind a secret prefix, however it is spelled."""
        plain = path.partition("?")[0]
        for prefix in self.secret_paths:
            if any(reading.startswith(prefix) for reading in _readings(plain)):
                return prefix + "…"
        return plain


def _readings(path: str) -> tuple[str, ...]:
    """As ``policy.readings``; of a path that is refused for having too many, the plainest."""
    try:
        return readings(path)
    except RequestError:
        return path, unquote(path)
