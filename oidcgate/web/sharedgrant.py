"""
One person's token for one audience as this process uses it, shared by that person's sessions here.

Edge by the task it may hold. Whoever uses it is made to look again when it changes. What concerns the grant as a whole,
its one refresh token above all, is in one ``Renewals`` for all of its audiences.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakSet

from oidcgate.errors import ProviderError, StoreUnavailable
from oidcgate.oidc.claims import Claims
from oidcgate.oidc.tokens import TokenSet
from oidcgate.proxy.rewrite import bearer_line
from oidcgate.session.grant import Grant, Token

SEND_MARGIN = 1.0  # seconds before exp when a token counts as gone: it must still be good when it arrives
MOST_MARGIN_SHARE = 10  # ... but at most this part of a short token's life


class GrantUser(Protocol):
    """A session that uses a grant."""

    fresh_until: float


@dataclass(slots=True)
class Trouble:
    """What went wrong of late: how often in a row, until when to leave it alone, and how it went last."""

    failures: int = 0
    next_try: float = 0.0
    failure: ProviderError | StoreUnavailable | None = None

    def clear(self) -> None:
        """All is well again."""
        self.failures, self.next_try, self.failure = 0, 0.0, None


@dataclass(frozen=True, slots=True)
class Unstored:
    """What the provider gave for a refresh token, which is spent by that, and for which audience that was."""

    spent: str = field(repr=False)
    tokens: TokenSet
    audience: str


@dataclass(slots=True, eq=False, weakref_slot=True)
class Renewals:
    """
    The renewals of one grant in this process.

    Attributes:
        lock: one at a time, so that each has the newest refresh token.
        trouble: failures that every audience would meet.
        unstored: a token reply, until its refresh token is safe in the store: it cannot be had again.
        members: the grant's audiences in use here.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    trouble: Trouble = field(default_factory=Trouble)
    unstored: Unstored | None = None
    members: "WeakSet[SharedGrant]" = field(default_factory=WeakSet)


class SharedGrant:
    """
    One person's token for one audience, shared by that person's sessions in this process.

    Attributes:
        audience: whom the token is for; empty = the client itself.
        token: None until the first renewal for this audience.
        bearer: the ready Authorization line; empty without a token.
        due: when renewal begins; ``usable_until``: when the token may no longer be sent (seconds since the epoch).
        revision: counts what was adopted, so that sessions notice a change.
        users: the sessions in this process.
        refusals: what went wrong with this audience alone; ``renewals`` has what concerns the whole grant.
    """

    def __init__(self, grant: Grant, version: int, due: float, *, audience: str, renewals: Renewals) -> None:
        self.audience = audience
        self.renewals = renewals
        self.refusals = Trouble()
        self.renewing: asyncio.Task[None] | None = None
        self.revision = 0
        self.users: WeakSet[GrantUser] = WeakSet()
        self.adopt(grant, version, due)
        renewals.members.add(self)

    def __repr__(self) -> str:
        return f"<SharedGrant {self.grant.key[:14]} {self.audience!r} until {self.usable_until:.0f}>"

    def adopt(self, grant: Grant, version: int, due: float) -> None:
        """Take over what the store holds."""
        token = grant.tokens.get(self.audience)
        self.grant = grant
        self.version = version
        self.token = token
        self.bearer = b"" if token is None else bearer_line(token.id_token)
        self.usable_until = 0.0 if token is None else _usable_until(token.claims)
        self.due = due
        self._let_users_look()

    def end(self, grant: Grant) -> None:
        """No token of the grant is good any more."""
        self.grant, self.token, self.bearer, self.usable_until = grant, None, b"", 0.0
        self._let_users_look()

    def _let_users_look(self) -> None:
        """The token is another, or the person's groups may be."""
        self.revision += 1
        for user in self.users:
            user.fresh_until = 0.0

    @property
    def claims(self) -> Claims:
        """What the token says; without one, what is known of the person."""
        return self.grant.claims if self.token is None else self.token.claims

    @property
    def can_renew(self) -> bool:
        """Whether there is a refresh token to try, of a login that was for this audience."""
        return self.grant.allows(self.audience)

    def is_spent(self, now: float) -> bool:
        """Whether no audience has a token that may be sent, nor ever will."""
        others = (_usable_until(token.claims) for name, token in self.grant.tokens.items() if name != self.audience)
        return self.grant.refresh_token is None and now >= max((self.usable_until, *others))

    def differs_from(self, before: Token | None) -> bool:
        """Whether there is another token than before."""
        return self.token is not None and (before is None or self.token.id_token != before.id_token)

    @property
    def failures(self) -> int:
        """How often in a row it could not be renewed."""
        return max(self.renewals.trouble.failures, self.refusals.failures)

    @property
    def next_try(self) -> float:
        """When to try again (seconds since the epoch)."""
        return max(self.renewals.trouble.next_try, self.refusals.next_try)

    @property
    def failure(self) -> ProviderError | StoreUnavailable | None:
        """Why it could not be renewed; None once it could."""
        return self.refusals.failure or self.renewals.trouble.failure


def _usable_until(claims: Claims) -> float:
    return claims.expires - min(SEND_MARGIN, (claims.expires - claims.issued_at) / MOST_MARGIN_SHARE)
