"""
``/session``: who am I, how long, from which browsers, with what open; and an end to each of them.

Edge: aiohttp responses. Rules of this file:
- A person sees and ends their own sessions; members of ``session.admins`` see and end everybody's.
- A session is named on the page by a part of its store key, which is a hash and opens nothing.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from aiohttp import web

from oidcgate.session.csrf import is_genuine, masked
from oidcgate.session.session import Session
from oidcgate.web import answers, texts
from oidcgate.web.facts import Inbound
from oidcgate.web.live import Live
from oidcgate.web.pages import Action, Page, redirect
from oidcgate.web.register import Listed, Register
from oidcgate.web.sessions import Sessions

NAME_LENGTH = 16  # of a session's name on the page
ENDED_BY_OWNER = "it was ended from another browser of yours"
ENDED_BY_ADMIN = "an administrator ended it"


def session_name(key: str) -> str:
    """How a session is called on pages and in lists."""
    return key.partition(":")[2][:NAME_LENGTH]


def span(seconds: float) -> str:
    """A length of time as people say it."""
    days, rest = divmod(max(0, int(seconds)), 86400)  # clocks of two machines differ
    hours, minutes = rest // 3600, rest % 3600 // 60
    counted = zip((days, hours, 0 if days else minutes), texts.UNITS, strict=True)
    return " ".join(f"{n} {one if n == 1 else many}" for n, (one, many) in counted if n) or texts.NO_TIME


def as_json(listed: Listed) -> dict[str, Any]:
    """A session for programs."""
    session, claims = listed.session, listed.claims
    return {
        "session": session_name(session.key),
        "browser": session_name(session.browser),
        "subject": claims.subject,
        "email": claims.email,
        "groups": list(claims.groups),
        "site": session.site,
        "address": session.address,
        "agent": session.agent,
        "started": int(session.started),
        "seen": int(session.seen),
        "ends": int(session.ends),
        "open": [{"kind": s.kind, "path": s.path, "since": int(s.since)} for s in listed.streams],
    }


def by_browser(found: Sequence[Listed]) -> list[list[Listed]]:
    """Sessions that one browser has on several hosts, together; in the order in which they come."""
    browsers: dict[str, list[Listed]] = {}
    for one in found:
        browsers.setdefault(one.session.browser, []).append(one)
    return list(browsers.values())


class SessionPage:
    """
    Shows and ends sessions.

    Args:
        admins: groups whose members see everybody's.
        login_origin: where they do.
    """

    def __init__(
        self,
        sessions: Sessions,
        register: Register,
        *,
        admins: Sequence[str],
        login_origin: str,
        prefix: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions = sessions
        self._register = register
        self._admins = frozenset(admins)
        self._login_origin = login_origin
        self._prefix = prefix
        self._clock = clock

    def is_admin(self, live: Live) -> bool:
        """Whether somebody may see everybody's sessions: on the login host, whose cookie no other host ever sees."""
        return live.site.origin == self._login_origin and bool(self._admins & set(live.claims.groups))

    async def show(self, inbound: Inbound) -> web.Response:
        """GET: the list."""
        live = inbound.live
        if live is None:
            return redirect(f"{inbound.facts.site.origin}{self._prefix}/start?rd={self._prefix}%2Fsession")
        everybody = inbound.target.partition("?")[2] == "everybody" and self.is_admin(live)
        found = await (self._register.everybody() if everybody else self._register.of_grant(live.session.grant_key))
        return self._page(live, found, everybody=everybody).response()

    def _page(self, live: Live, found: Sequence[Listed], *, everybody: bool) -> Page:
        token = masked(live.session.csrf, secrets.token_bytes(16))
        facts = [*answers.known_of(live.claims), (texts.ENDS_IN, span(live.session.ends - self._clock()))]
        browsers = by_browser(found)
        rows = "".join(self._row(together, live, token, everybody=everybody) for together in browsers)
        actions = [
            Action(texts.OPEN, "/"),
            Action(texts.WHAT_I_MAY, f"{self._prefix}/access", quiet=True),
            Action(texts.SIGN_OUT, f"{self._prefix}/sign_out", quiet=True),
        ]
        others = [together for together in browsers if together[0].session.browser != live.session.browser]
        if others and not everybody:
            fields = (("csrf", token), ("end", "others"))
            actions.append(Action(texts.END_OTHERS, f"{self._prefix}/session", quiet=True, fields=fields))
        if self.is_admin(live):
            label, where = (texts.MINE, "") if everybody else (texts.EVERYBODY, "?everybody")
            actions.append(Action(label, f"{self._prefix}/session{where}", quiet=True))
        heading = escape(texts.ALL_BROWSERS if everybody else texts.MY_BROWSERS)
        body = f'<h2>{heading}</h2><ul class="list">{rows}</ul>'
        return Page(*texts.SESSION_PAGE, facts=facts, body=body, actions=actions, wide=True)

    def _row(self, together: Sequence[Listed], live: Live, token: str, *, everybody: bool) -> str:
        listed, now = together[-1], self._clock()
        session = listed.session
        mine = session.browser == live.session.browser
        title = texts.THIS_BROWSER if mine else short_agent(session.agent)
        who = f"{listed.claims.email or listed.claims.subject} · " if everybody else ""
        began, seen = min(one.session.started for one in together), max(one.session.seen for one in together)
        times = texts.SINCE.format(span(now - began), span(now - seen))
        where = f" · {', '.join(sorted(_host(one.session) for one in together))}" if len(together) > 1 else ""
        details = f"{who}{session.address} · {times}{where}"
        streams = "".join(
            f"<li>{escape(texts.OPEN_FOR.format(f'{stream.kind} {stream.path}', span(now - stream.since)))}</li>"
            for one in together
            for stream in one.streams
        )
        button = ""
        if not mine:
            fields = (("csrf", token), ("end", session_name(session.browser)))
            about = f"{title}, {who or ''}{session.address}"
            button = Action(texts.END, f"{self._prefix}/session", quiet=True, fields=fields, about=about).html()
        return (
            f"<li><div><strong>{escape(title)}</strong><span>{escape(details)}</span>"
            + (f"<ul>{streams}</ul>" if streams else "")
            + f"</div>{button}</li>"
        )

    async def end(self, inbound: Inbound, fields: dict[str, str]) -> web.Response:
        """POST: end one session, or all but this one."""
        live = inbound.live
        if live is None or not is_genuine(fields.get("csrf", ""), live.session.csrf):
            again = [Action(texts.TRY_AGAIN, f"{self._prefix}/session")]
            return Page(texts.FORM_OLD, texts.NOTHING_CHANGED, actions=again).response(403)
        own = await self._register.of_grant(live.session.grant_key)
        wanted = fields.get("end", "")
        if wanted == "others":
            for one in own:
                if one.session.browser != live.session.browser:
                    await self._sessions.end_key(one.session.key, ENDED_BY_OWNER)
        else:
            await self._end_one(live, own, wanted)
        return redirect(f"{inbound.facts.site.origin}{self._prefix}/session", status=303)

    async def _end_one(self, live: Live, own: Sequence[Listed], name: str) -> None:
        together = [one for one in own if name in (session_name(one.session.browser), session_name(one.session.key))]
        for one in together:
            await self._sessions.end_key(one.session.key, ENDED_BY_OWNER)
        if not together and self.is_admin(live):
            await self.end_by_name(name)

    async def end_by_name(self, name: str) -> bool:
        """
        End anybody's session and what the same browser has on other hosts; whether there was one.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        if len(name) != NAME_LENGTH:
            return False
        ended = False
        for key in await self._sessions.keys_by_name(name):
            session = await self._sessions.read(key)
            together = [] if session is None else await self._sessions.keys_of_browser(session)
            for each in [*together, key]:
                ended = await self._sessions.end_key(each, ENDED_BY_ADMIN) or ended
        return ended


def _host(session: Session) -> str:
    """Where a session is used, for people."""
    return session.site.partition("#")[0].rpartition("/")[2]


BROWSERS = ("Firefox", "Edg", "OPR", "Chrome", "Safari", "curl")
SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def short_agent(agent: str) -> str:
    """What a User-Agent means, in two words; its own text is long and says little."""
    browser = next((name for name in BROWSERS if name in agent), "")
    names = {"Edg": "Edge", "OPR": "Opera"}
    system = next((shown for mark, shown in SYSTEMS if mark in agent), "")
    if not browser:
        return texts.SOME_BROWSER
    shown = names.get(browser, browser)
    return texts.BROWSER_ON.format(shown, system) if system else shown
