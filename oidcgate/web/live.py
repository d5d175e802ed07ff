"""
A session in use in this process, and until when it may be used without another look.

Edge by its clock only.
"""

import json
import math
import time

from oidcgate.errors import ProviderUnreachable, SessionEnded, UpstreamError
from oidcgate.oidc.idtoken import Claims
from oidcgate.session.lifecycle import SEEN_WINDOW
from oidcgate.session.session import Session
from oidcgate.web.sharedgrant import SharedGrant
from oidcgate.web.site import SiteRuntime


class Live:
    """
    A session in use in this process.

    Attributes:
        key: by which this process finds it: its handle, and where one cookie serves several sites, which of them.
        site: whose token it sends.
        bearer: the Authorization line of its token.
        lines: all that the UI is sent about the person, the credential last.
        fresh_until: until when it may be used without another look (seconds since the epoch).
        seen: when a request or a websocket's byte last came.
        over: why it ended; empty while it goes on.
        user: how the log names the person, as a JSON string.
        admitted: whether the person may use the site, as last decided; None = not yet for this token.
        told: what proxies that ask are told about the person; None = not yet for this token.
        permitted: whether the person has the permission in the cluster that the site asks for.
        permitted_until: until when the cluster's yes to that holds; for ever where the site asks for none.
    """

    __slots__ = (
        "__weakref__",
        "_revision",
        "admitted",
        "bearer",
        "checked",
        "fresh_until",
        "handle",
        "key",
        "lines",
        "over",
        "permitted",
        "permitted_until",
        "seen",
        "session",
        "shared",
        "site",
        "told",
        "unsendable",
        "user",
    )

    def __init__(self, handle: bytes, session: Session, shared: SharedGrant, now: float, site: SiteRuntime) -> None:
        self.handle = handle
        self.site = site
        self.key = site.scope + handle
        self.session = session
        self.shared = shared
        self.seen = now
        self.checked = now
        self.over = ""
        self.admitted: bool | None = None
        self.told: bytes | None = None
        self.permitted = site.config.access.may is None
        self.permitted_until = math.inf if self.permitted else 0.0
        self.bearer = shared.bearer
        self.lines = b""
        self.unsendable: UpstreamError | None = None
        self.fresh_until = 0.0
        self._revision = -1
        shared.users.add(self)
        self.user = json.dumps(self.claims.email or self.claims.subject)

    def __repr__(self) -> str:
        return f"<Live {self.session.key[:16]}{' over: ' + self.over if self.over else ''}>"

    @property
    def claims(self) -> Claims:
        """Who it is."""
        return self.shared.claims

    def use(self) -> None:
        """A websocket's byte came from the browser."""
        self.seen = time.time()

    def check_usable(self) -> None:
        """
        Looking things up and dialling take time: what may have changed is looked at right before a request goes out.

        Raises:
            SessionEnded: somebody signed out meanwhile.
            ProviderUnreachable: the token is past its time; the next request has a new one.
            UpstreamError: nothing can be sent in this person's name.
        """
        if self.over:
            raise SessionEnded(self.over)
        if time.time() >= self.shared.usable_until:
            raise ProviderUnreachable("the token ran out while its request was on its way")
        if self.unsendable is not None:
            raise self.unsendable

    def take_over(self) -> None:
        """Take over what the grant has: another token, and perhaps other groups to judge."""
        if self.shared.revision != self._revision:
            self._revision = self.shared.revision
            self.bearer = self.shared.bearer
            self._make_lines()
            self.admitted = None
            self.told = None

    def _make_lines(self) -> None:
        self.unsendable = None
        try:
            self.lines = self.site.outgoing.lines(self.claims, self.bearer)
        except UpstreamError as error:
            self.lines, self.unsendable = b"", error

    def refresh(self, now: float) -> None:
        """Take over what the grant has, and say until when that holds."""
        self.take_over()
        if self.site.outgoing.may_change:
            self._make_lines()
        shared = self.shared
        until = min(now + SEEN_WINDOW, shared.usable_until, self.session.ends, self.permitted_until)
        if shared.can_renew:
            until = min(until, shared.due if shared.due > now else now + 1.0)
        self.fresh_until = until if self.unsendable is None else 0.0
