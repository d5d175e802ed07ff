"""
How what people do in the cluster ended, in the audit's words.

Edge by the exchanges and tunnels that it reads.
"""

import re
from dataclasses import dataclass

from aiohttp import web

from oidcgate.net.relay import Exchange
from oidcgate.net.tunnel import Tunnel
from oidcgate.web.auditfile import Fact
from oidcgate.web.facts import Inbound

Answer = web.Response | Exchange

SESSION_ENDED = re.compile(r"(?:the session ended: )?Session ended: (.*?)(?: \(\d+\))?")
ENDS = {
    "closed by the browser": "browser",
    "the browser went away": "browser",
    "closed by the UI": "ui",
    "the gate restarts": "restart",
    "the session ended: the gate restarts (1012)": "restart",
    "nothing was sent for too long": "idle",
    "no byte either way for too long": "idle",
}


@dataclass(frozen=True, slots=True)
class End:
    """How something ended, and what went each way."""

    ended: str
    reason: str = ""
    status: int = 0
    up: int = 0
    down: int = 0


def told(end: End, seconds: float) -> dict[str, Fact]:
    """The facts of an end."""
    return {
        "seconds": round(seconds, 3),
        "bytes_up": end.up,
        "bytes_down": end.down,
        "status": end.status or None,
        "ended": end.ended,
        "reason": end.reason,
    }


def end_of(inbound: Inbound, answer: Answer) -> End:
    """How a request that was passed on ended."""
    if isinstance(answer, web.Response):  # our own, in place of a reply
        return End("error" if answer.status >= 500 else "refused", status=answer.status)
    tunnel = inbound.downstream.tunnel
    if isinstance(tunnel, Tunnel) and answer.status == 101:
        ended, reason = worded(tunnel.reason, tunnel.reason)
        return End(ended, reason, 101, tunnel.received, tunnel.sent)
    up, status = inbound.facts.head.length, answer.status
    if answer.failure is None:
        return End("refused" if status >= 400 else "complete", "", status, up, answer.sent)
    ended, reason = worded(str(answer.failure), answer.failure.public)
    return End(ended, reason, status, up, answer.sent)


def worded(text: str, reason: str) -> tuple[str, str]:
    """The audit's word for an end, and its reason where that word does not say it."""
    if text in ENDS:
        return ENDS[text], ""
    session = SESSION_ENDED.fullmatch(text)
    return ("error", reason) if session is None else ("session_end", session[1])
