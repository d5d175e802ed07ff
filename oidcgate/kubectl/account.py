"""
Whose tokens are meant: an issuer, a client of it, and whom a token is for.

Pure.

- One client has one grant at a time: Dex keeps one refresh token a person and client, and a second login kills the
  first one's. So everything of one issuer and client is kept in one place, whatever clusters it is for.
- A token is for one audience. What opens several clusters is narrowed before anybody gets it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from oidcgate.errors import OidcgateError

AUDIENCE_SCOPE = "audience:server:client_id:"
DEFAULT_SCOPES = ("openid", "email", "profile", "groups", "offline_access")
DEFAULT_ALGORITHMS = ("RS256", "ES256")
DEFAULT_TOKEN_LIFE = 25 * 3600.0  # seconds; what the gate takes by default


class CredentialError(OidcgateError):
    """There is no credential; the message is one sentence for the person, and says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """
    What the plugin's arguments say of the issuer and the client.

    ``audience`` is whom the token is for besides the client, empty for nobody; ``scopes`` are what a login asks for,
    without audiences; ``ca_file`` is the only authority to believe, None for the system's; ``endpoint_hosts``,
    ``algorithms`` and ``max_token_life`` (seconds) are as in the gate's configuration.
    """

    issuer: str
    client_id: str
    audience: str = ""
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    ca_file: str | None = None
    endpoint_hosts: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    max_token_life: float = DEFAULT_TOKEN_LIFE

    @property
    def name(self) -> str:
        """What its tokens are kept under: the same for every audience."""
        return hashlib.sha256("\n".join((self.issuer, self.client_id)).encode()).hexdigest()[:32]

    @property
    def wanted(self) -> frozenset[str]:
        """The scopes of the one token that is asked for."""
        own = self.audience and self.audience != self.client_id
        return frozenset(("openid", *self.scopes, *((AUDIENCE_SCOPE + self.audience,) if own else ())))

    @property
    def slot(self) -> str:
        """What that token is kept under."""
        return " ".join(sorted(self.wanted))

    @property
    def exactly(self) -> frozenset[str]:
        """The whole audience that the token must have."""
        return frozenset({self.client_id, *audiences_in(self.wanted)})


def audiences_in(scopes: Iterable[str]) -> frozenset[str]:
    """Whom tokens with these scopes are for, besides the client."""
    return frozenset(scope.removeprefix(AUDIENCE_SCOPE) for scope in scopes if scope.startswith(AUDIENCE_SCOPE))


def in_order(scopes: Iterable[str]) -> tuple[str, ...]:
    """Scopes as they are sent: ``openid`` first, then by name."""
    return tuple(sorted(scopes, key=lambda scope: (scope != "openid", scope)))
