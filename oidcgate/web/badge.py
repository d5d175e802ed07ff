"""
The session badge's own paths: its script, and what the script asks now and then.

Edge: aiohttp responses. Rules of this file:
- Whoever asks does not use the session: a tab that nobody touches keeps nothing alive (``Sessions.look``).
- Nothing is said that the page behind the gate could not ask of ``/userinfo``.
"""

import hashlib
import re
import time
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from aiohttp import web

from oidcgate.oidc.idtoken import Claims
from oidcgate.policy import Crossing
from oidcgate.web import answers, texts
from oidcgate.web.colour import readable, text_on
from oidcgate.web.facts import Inbound
from oidcgate.web.pages import json_response

SOURCE = (files("oidcgate.web") / "badge.js").read_text(encoding="utf-8")
# As it is sent: without indentation, and lines that are comments.
LINES = "\n".join(line.strip() for line in SOURCE.splitlines() if not line.strip().startswith("//"))
CANVAS = {"LIGHT": "#ffffff", "DARK": "#121212"}  # what browsers make of the system colour that the badge stands on
FRESH = 300  # seconds for which browsers do not ask for the script again
WORD = re.compile(r"[^\W_]+")


class Script(NamedTuple):
    """The script as it is sent, and its entity tag."""

    body: bytes
    tag: str


@lru_cache(maxsize=8)
def script_in(colour: str) -> Script:
    """The script in a colour, which is made readable on the badge's ground."""
    text = LINES
    for scheme, ground in CANVAS.items():
        accent = readable(colour, (ground,))
        text = text.replace(f"--a:{scheme};--o:ON_{scheme}", f"--a:{accent};--o:{text_on(accent)}")
    body = text.encode()
    return Script(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


class BadgePages:
    """
    ``/badge.js`` and ``/badge``.

    Args:
        idle: seconds after which a session that nobody uses is over.
    """

    def __init__(self, *, idle: float) -> None:
        self._idle = idle

    async def script(self, inbound: Inbound) -> web.Response:
        """The script, the same for everybody."""
        script = script_in(inbound.facts.site.look.colour)
        if not self._is_on(inbound):
            return json_response(404, {"error": "not_found", "message": texts.NOT_FOUND[1]})
        known = inbound.request.headers.get("If-None-Match", "")
        if script.tag in (part.strip().removeprefix("W/") for part in known.split(",")):
            response = web.Response(status=304)
        else:
            response = web.Response(body=script.body, content_type="text/javascript", charset="utf-8")
        response.headers["Cache-Control"] = f"max-age={FRESH}"
        response.headers["ETag"] = script.tag
        return response

    async def state(self, inbound: Inbound) -> web.Response:
        """Who is signed in, and until when; times are seconds since the epoch, as is ``now``."""
        live = inbound.live
        if not self._is_on(inbound):
            return json_response(404, {"error": "not_found", "message": texts.NOT_FOUND[1]})
        if live is None:
            return answers.unauthorized(inbound, canned=False)
        if inbound.facts.how is Crossing.FOREIGN:
            return json_response(403, {"error": "forbidden", "message": texts.FOREIGN[0]})
        claims = live.claims
        return json_response(
            200,
            {
                "who": shown_name(claims),
                "account": claims.email or claims.subject,
                "initials": initials(shown_name(claims)),
                "now": round(time.time(), 1),
                "session_ends": int(live.session.ends),
                "token_expires": int(claims.expires),
                "idle": int(self._idle),
                # Where one cookie serves all hosts, the one where logins end goes straight back.
                "renews": inbound.facts.site.names.domain is None,
            },
        )

    @staticmethod
    def _is_on(inbound: Inbound) -> bool:
        site = inbound.facts.site
        return site.carries and site.config.badge


def shown_name(claims: Claims) -> str:
    """How a person is called, in the order in which people know one another."""
    return claims.name or claims.preferred_username or claims.email or claims.subject


def initials(name: str) -> str:
    """One or two letters for somebody; ``?`` when there is none."""
    words = WORD.findall(name.partition("@")[0])
    letters = [words[0][0], *([words[-1][0]] if len(words) > 1 else [])] if words else ["?"]
    return "".join(letters).upper()[:2]
