"""
Token sets in this process: adopted from logins, joined by sessions, given back with the last one.

Edge by its stores and providers. How they are kept is in ``grantrecords``, how they are renewed in ``renewal``.
No token is ever sent that is for more than its own audience.
"""

import asyncio

from oidcgate.errors import AudienceRefused, NeedsNarrowLogin
from oidcgate.oidc.idtoken import Claims
from oidcgate.oidc.tokens import TokenSet
from oidcgate.session.grant import Grant, Token, grant_key
from oidcgate.web.grantrecords import MOST_CONFLICTS
from oidcgate.web.renewal import Renewal
from oidcgate.web.sharedgrant import SharedGrant

FINISH = 15.0  # seconds that renewals under way may take at the end; longer than a token call


class Grants(Renewal):
    """Loads, stores and renews grants."""

    async def load(self, key: str, audience: str = "") -> SharedGrant | None:
        """
        The grant as the store has it, shared with whoever else uses it here for that audience.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        read = await self._read(key)
        return None if read is None else self._share(*read, audience)

    async def peek(self, key: str) -> Grant | None:
        """
        As ``load``, for somebody who only wants to know whose it is.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        read = await self._read(key)
        return None if read is None else read[0]

    async def adopt_login(
        self,
        tokens: TokenSet,
        claims: Claims,
        *,
        issuer: str,
        client_id: str,
        session_key: str,
        ends: float,
        audience: str = "",
        root: str | None = None,
    ) -> tuple[SharedGrant, tuple[str, ...]]:
        """
        A login's token set replaces the person's last one; the issuer has ended that one anyway.

        Args:
            audience: whom the site's tokens are for; empty or ``client_id`` = the client itself.
            root: the session that this one was handed over from, if it was.

        Returns:
            The grant for that audience, and the keys of sessions of browsers that are too many for this person.

        Raises:
            NeedsNarrowLogin: the token is for more than that audience and cannot be narrowed; nothing was changed.
            AudienceRefused: the token is not for that audience; nothing was changed.
        """
        key = grant_key(issuer, client_id, claims.subject)
        now, audience = self._clock(), "" if audience == client_id else audience
        sendable = self._sendable(tokens, claims, issuer=issuer, client_id=client_id, audience=audience)
        if audience not in sendable:
            _check_renewable(tokens, claims, client_id, audience)

        def change(old: Grant | None) -> Grant:
            grant = old or Grant(key=key, issuer=issuer, client_id=client_id, claims=claims)
            new = grant.with_login(claims, refresh_token=tokens.refresh_token, tokens=sendable, now=now)
            return new.with_session(session_key, ends, now=now, root=root)

        changed = await self._change(key, change)
        assert changed is not None
        shared = self._share(*changed, audience)
        shared.renewals.trouble.clear()
        for member in shared.renewals.members:
            member.refusals.clear()
        return shared, shared.grant.over_limit(self._limits.max_per_user)

    async def adopt_tokens(
        self, tokens: TokenSet, claims: Claims, *, issuer: str, client_id: str, audience: str = ""
    ) -> None:
        """A login that led to no session here: it has ended the refresh token of the person's other sessions anyway."""
        sendable = self._sendable(tokens, claims, issuer=issuer, client_id=client_id, audience=audience)
        if not sendable and tokens.refresh_token is None:
            return

        def change(old: Grant | None) -> Grant | None:
            return old and old.with_login(
                claims, refresh_token=tokens.refresh_token, tokens=sendable, now=self._clock()
            )

        changed = await self._change(grant_key(issuer, client_id, claims.subject), change)
        if changed is not None:
            self._adopt(*changed)

    async def join(
        self, key: str, audience: str, *, session_key: str, ends: float, root: str
    ) -> tuple[SharedGrant, tuple[str, ...]] | None:
        """
        One more session of a grant, handed over from another host's.

        Args:
            root: the session of the login host; it must still be there.

        Returns:
            As ``adopt_login``; None when the grant or the root is gone, or has no way to a token of that audience.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        now = self._clock()

        def change(old: Grant | None) -> Grant | None:
            if old is None or not old.has_session(root):
                return None
            if not self.serves(old, audience):
                return None
            return old.with_session(session_key, ends, now=now, root=root)

        changed = await self._change(key, change)
        if changed is None:
            return None
        return self._share(*changed, audience), changed[0].over_limit(self._limits.max_per_user)

    def _sendable(
        self, tokens: TokenSet, claims: Claims, *, issuer: str, client_id: str, audience: str
    ) -> dict[str, Token]:
        """A login's token by its audience if it is for that one alone; else nothing: it would open all clusters."""
        exactly = self._exactly(issuer, client_id, audience)
        if exactly is not None and exactly != frozenset(claims.audience):
            return {}
        return {audience: Token(tokens.id_token, claims, self._clock())}

    async def leave_key(self, key: str, session_key: str) -> None:
        """
        A session ended; with the last one the grant goes, and its refresh token is revoked.

        Raises:
            StoreUnavailable: the grant still counts the session.
        """
        for _ in range(MOST_CONFLICTS):
            read = await self._read(key)
            if read is None:
                return
            grant, version = read[0].without_session(session_key), read[1]
            if grant.ends > self._clock():
                await self._change(key, lambda old: old and old.without_session(session_key))
                return
            # Only what was just read goes: somebody may sign in at this very moment.
            if await self._store.delete(key, expected=version):
                self._revoke(grant)
                return

    def _revoke(self, grant: Grant) -> None:
        provider = self._providers.for_grant(grant.issuer, grant.client_id)
        if provider is not None and grant.refresh_token is not None:
            self._background(provider.revoke(grant.refresh_token), f"revoke for {grant.key[:14]}")

    async def close(self) -> None:
        """Let renewals under way finish: their refresh tokens would be lost."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FINISH)


def _check_renewable(tokens: TokenSet, claims: Claims, client_id: str, audience: str) -> None:
    """
    A login's own token may not be sent: see that a refresh can bring one that may.

    Raises:
        AudienceRefused, NeedsNarrowLogin: it cannot.
    """
    if audience and audience not in claims.audience:
        raise AudienceRefused(audience, client_id, f"the login's token is for {', '.join(claims.audience)[:200]}")
    if tokens.refresh_token is None:
        raise NeedsNarrowLogin(audience)
