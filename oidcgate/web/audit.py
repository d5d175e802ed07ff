"""
The audit: one JSON event a line for what somebody may ask about later.

Edge by its file. Rule of this file: an event names people and things, never what opens them: no handle, token, ticket,
query or id of a shell.
"""

import time
from collections.abc import Callable

from oidcgate.policy import Forbidden
from oidcgate.session.grant import Grant
from oidcgate.session.session import Session
from oidcgate.web.auditfile import AuditFile, Fact
from oidcgate.web.facts import Inbound
from oidcgate.web.live import Live
from oidcgate.web.logs import shown_path, timestamp
from oidcgate.web.sessionpage import session_name

SAID_FOR = 60.0  # seconds for which the same denial of the same session is not told again
MOST_SAID = 4096  # of those that are remembered


class Audit(AuditFile):
    """Tells of people: who came, who was refused, who left."""

    def __init__(
        self,
        path: str | None = None,
        *,
        descriptor: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(path, descriptor=descriptor, clock=clock)
        self._said: dict[tuple[str, ...], float] = {}

    def login(self, inbound: Inbound, live: Live) -> None:
        """Somebody signed in."""
        session = live.session
        self.event(
            "login",
            **of(live),
            site=inbound.facts.site.authority,
            address=session.address,
            agent=session.agent,
            provider=live.claims.issuer,
            until=timestamp(session.ends),
        )

    def login_refused(self, inbound: Inbound, reason: str, *, provider: str, agent: str, user: str = "") -> None:
        """Somebody came back from the provider and was not let in."""
        self.event(
            "login_refused",
            user=user,
            site=inbound.facts.site.authority,
            address=inbound.client,
            agent=agent[:200],
            provider=provider,
            reason=reason,
        )

    def handed_over(self, inbound: Inbound, live: Live) -> None:
        """A login was taken over on another host."""
        session = live.session
        self.event(
            "hand_over",
            **of(live),
            site=inbound.facts.site.authority,
            address=session.address,
            agent=session.agent,
            root=session_name(session.root),
        )

    def ended(self, session: Session, grant: Grant | None, reason: str) -> None:
        """A session is over."""
        claims = None if grant is None else grant.claims
        self.event(
            "session_end",
            user=None if claims is None else claims.email or claims.subject,
            subject=None if claims is None else claims.subject,
            session=session_name(session.key),
            site=session.site.partition("://")[2] or session.site,
            address=session.address,
            started=timestamp(session.started),
            reason=reason,
        )

    def refresh_failed(self, grant: Grant, reason: str) -> None:
        """A grant gives no further tokens."""
        self.event(
            "refresh_failed",
            user=grant.claims.email or grant.claims.subject,
            subject=grant.claims.subject,
            provider=grant.issuer,
            client=grant.client_id,
            reason=reason,
        )

    def denied(self, inbound: Inbound, decision: Forbidden, address: str) -> None:
        """Somebody who is signed in may not; the same again within a minute is not told."""
        live = inbound.live
        if live is None:
            return
        site = inbound.facts.site
        path = shown_path(site, inbound.target)
        if not self.is_news(live.session.key, decision.reason, f"{site.authority} {inbound.method} {path}"):
            return
        self.event(
            "denied",
            **of(live),
            site=site.authority,
            address=address,
            method=inbound.method,
            path=path,
            reason=decision.reason,
        )

    def is_news(self, *said: str) -> bool:
        """Whether something was not said within the last minute; from now on it was."""
        now = self._clock()
        if now < self._said.get(said, 0.0):
            return False
        if len(self._said) >= MOST_SAID:
            self._said.clear()
        self._said[said] = now + SAID_FOR
        return True


def of(live: Live) -> dict[str, Fact]:
    """Who it is, and by which session."""
    claims = live.claims
    name = session_name(live.session.key) if live.handle else None
    return {"user": claims.email or claims.subject, "subject": claims.subject, "session": name}
