"""
What people do inside the cluster, followed from the request to its end: the audit's exec, attach, port_forward, secret.

Edge by its audit and clock. Rules of this file:
- Nothing is looked at but sizes, times and ends; the one reply that is read is the Dashboard's that names a shell.
- Of a shell's id only a hash is kept, for minutes, and only beside the session that got it.
- A shell that SockJS carries in many requests is one event.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from oidcgate.errors import OidcgateError
from oidcgate.net.copied import CopiedExchange
from oidcgate.proxy.ui.actions import Action, action_of, id_in_query, id_in_reply
from oidcgate.web.audit import Audit, of
from oidcgate.web.auditfile import Fact
from oidcgate.web.ends import Answer, End, end_of, told
from oidcgate.web.facts import Inbound
from oidcgate.web.logs import timestamp

NAMES_KEPT = 600.0  # seconds for which a shell's pod is known by its id
MOST_NAMES = 1024
QUIET = 10.0  # seconds without a request after which a shell over SockJS is over; the Dashboard waits for five
MOST_TALKS = 1024

PassOn = Callable[[Inbound], Awaitable[Answer]]


@dataclass(slots=True)
class Talk:
    """A shell that many requests carry. Times in seconds since the epoch."""

    action: Action
    facts: dict[str, Fact]
    began: float
    last: float
    under_way: int = 0
    up: int = 0
    down: int = 0
    end: End = field(default_factory=lambda: End("complete"))


class Followed:
    """
    Tells the audit of actions.

    Args:
        address: where the person of a request is.
    """

    def __init__(
        self, audit: Audit, *, address: Callable[[Inbound], str], clock: Callable[[], float] = time.time
    ) -> None:
        self._audit = audit
        self._address = address
        self._clock = clock
        self._names: dict[tuple[str, bytes], tuple[float, Action]] = {}
        self._talks: dict[tuple[str, bytes], Talk] = {}

    def action(self, inbound: Inbound) -> Action | None:
        """What a request does in the cluster; of a shell whose id is known, with its pod."""
        action = action_of(inbound.method, inbound.path, inbound.target.partition("?")[2])
        if action is None or not action.leg:
            return action
        shell = id_in_query(inbound.target.partition("?")[2])
        known = None if shell is None else self._names.get((key_of(inbound), hashed(shell)))
        if known is None or self._clock() >= known[0]:
            return action
        return replace(known[1], kind=action.kind, leg=action.leg)

    async def through(self, inbound: Inbound, action: Action, pass_on: PassOn) -> Answer:
        """Pass a request on, and tell what became of it."""
        inbound.is_copied = action.kind == "shell"
        talk = self._join(inbound, action) if action.leg not in ("", "websocket") else None
        facts = self._facts(inbound, action) if talk is None else talk.facts
        if action.is_stream and talk is None:
            self._audit.event(f"{action.kind}_opened", **facts)
        try:
            answer = await pass_on(inbound)
        except OidcgateError as error:
            self._over(inbound, action, facts, talk, End("error", error.public))
            raise
        except asyncio.CancelledError:
            self._over(inbound, action, facts, talk, End("restart"))
            raise
        if isinstance(answer, CopiedExchange):
            self._remember(inbound, action, answer)
        self._over(inbound, action, facts, talk, end_of(inbound, answer))
        return answer

    def carried(self, inbound: Inbound) -> None:
        """Another proxy was told that it may pass a request on; what becomes of it is not seen."""
        action = self.action(inbound)
        if action is None or action.leg == "send":
            return
        if not action.leg or self._audit.is_news(key_of(inbound), "carried", talk_of(inbound).hex()):
            self._audit.event(action.kind, **self._facts(inbound, action), ended="carried")

    def sweep(self) -> None:
        """Once a second: shells whose requests have stopped are over."""
        now = self._clock()
        for key, talk in list(self._talks.items()):
            if not talk.under_way and now - talk.last > QUIET:
                self._tell(self._talks.pop(key))

    def close(self) -> None:
        """The gate stops."""
        while self._talks:
            self._tell(self._talks.pop(next(iter(self._talks))))

    def _facts(self, inbound: Inbound, action: Action) -> dict[str, Fact]:
        who = {} if inbound.live is None else of(inbound.live)
        return {
            **who,
            "site": inbound.facts.site.authority,
            "address": self._address(inbound),
            "cluster": action.cluster,
            "namespace": action.namespace,
            "pod": action.pod,
            "container": action.container,
            "secret": action.secret,
            "method": inbound.method if action.kind == "secret" else "",
            "start": timestamp(inbound.began),
        }

    def _over(self, inbound: Inbound, action: Action, facts: dict[str, Fact], talk: Talk | None, end: End) -> None:
        now = self._clock()
        if talk is None:
            self._audit.event(action.kind, **facts, **told(end, now - inbound.began))
            return
        talk.under_way -= 1
        talk.last = now
        talk.up += end.up
        talk.down += end.down
        if action.leg != "send":
            talk.end = end

    # The Dashboard's shells.

    def _remember(self, inbound: Inbound, action: Action, exchange: CopiedExchange) -> None:
        """The pod of the id that a reply holds."""
        shell = id_in_reply(exchange.body) if exchange.status == 200 else None
        if shell is None:
            return
        now = self._clock()
        for key in [key for key, (until, _) in self._names.items() if now >= until]:
            del self._names[key]
        if len(self._names) >= MOST_NAMES:
            del self._names[next(iter(self._names))]
        self._names[key_of(inbound), hashed(shell)] = (now + NAMES_KEPT, action)

    def _join(self, inbound: Inbound, action: Action) -> Talk:
        """The shell that a request of SockJS belongs to."""
        key = key_of(inbound), talk_of(inbound)
        talk = self._talks.get(key)
        if talk is None:
            if len(self._talks) >= MOST_TALKS:
                self._tell(self._talks.pop(next(iter(self._talks))))
            talk = Talk(action, self._facts(inbound, action), inbound.began, inbound.began)
            self._talks[key] = talk
            self._audit.event(f"{action.kind}_opened", **talk.facts)
        talk.under_way += 1
        return talk

    def _tell(self, talk: Talk) -> None:
        end = replace(talk.end, up=talk.up, down=talk.down)
        self._audit.event(talk.action.kind, **talk.facts, **told(end, talk.last - talk.began))


def key_of(inbound: Inbound) -> str:
    """Whose a shell is."""
    return "" if inbound.live is None else inbound.live.session.key


def hashed(secret: str) -> bytes:
    """What is kept of an id."""
    return hashlib.sha256(secret.encode()).digest()


def talk_of(inbound: Inbound) -> bytes:
    """What is kept of the path that SockJS' requests of one session have in common: all but its last segment."""
    return hashed(f"{inbound.facts.site.authority} {inbound.path.rstrip('/').rpartition('/')[0]}")
