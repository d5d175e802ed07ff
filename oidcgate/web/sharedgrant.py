"""
One person's tokens as this process uses them, shared by that person's sessions here.

Edge by the task it may hold. Whoever uses it is made to look again when it changes.
"""

import asyncio
from typing import Protocol
from weakref import WeakSet

from oidcgate.errors import ProviderError, StoreUnavailable
from oidcgate.oidc.tokens import TokenSet
from oidcgate.proxy.rewrite import bearer_line
from oidcgate.session.grant import Grant

SEND_MARGIN = 1.0  # seconds before exp when a token counts as gone: it must still be good when it arrives
MOST_MARGIN_SHARE = 10  # ... but at most this part of a short token's life


class GrantUser(Protocol):
    """A session that uses a grant."""

    fresh_until: float


class SharedGrant:
    """
    One person's tokens, shared by that person's sessions in this process.

    Attributes:
        bearer: the ready Authorization line.
        due: when renewal begins; ``usable_until``: when the token may no longer be sent (seconds since the epoch).
        revision: counts what was adopted, so that sessions notice a change.
        users: the sessions in this process.
    """

    def __init__(self, grant: Grant, version: int, due: float) -> None:
        self.renewing: asyncio.Task[None] | None = None
        self.failures = 0
        self.next_try = 0.0
        self.failure: ProviderError | StoreUnavailable | None = None
        self.revision = 0
        self.users: WeakSet[GrantUser] = WeakSet()
        # What the provider gave for which refresh token, until it is safe in the store: it cannot be had again.
        self.unstored: tuple[str, TokenSet] | None = None
        self.adopt(grant, version, due)

    def __repr__(self) -> str:
        return f"<SharedGrant {self.grant.key[:14]} until {self.usable_until:.0f}>"

    def adopt(self, grant: Grant, version: int, due: float) -> None:
        """Take over what the store holds."""
        claims = grant.claims
        margin = min(SEND_MARGIN, (claims.expires - claims.issued_at) / MOST_MARGIN_SHARE)
        self.grant = grant
        self.version = version
        self.bearer = bearer_line(grant.id_token)
        self.usable_until = claims.expires - margin
        self.due = due
        self.revision += 1
        for user in self.users:
            user.fresh_until = 0.0  # look again: the person's groups may have changed

    @property
    def can_renew(self) -> bool:
        """Whether there is a refresh token to try."""
        return self.grant.refresh_token is not None
