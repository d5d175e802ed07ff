"""
One SockJS session: frames out, messages in, whatever carries them. Edge: asyncio timers.

Rules: `o` comes first and once; messages wait in an outbox until a receiver takes them; silence is filled
with `h`; `c[code,"reason"]` is the last frame and is given to every receiver that asks afterwards. One
receiver at a time. A session that stays without a receiver ends. Sources: the SockJS protocol 0.3.3, and what
sockjs-go makes of it.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Protocol


class Peer(Protocol):
    """The application's end of a session."""

    def message(self, text: str) -> None:
        """The browser sent `text`."""

    def closed(self) -> None:
        """The session is over; called once."""


class SockSession:
    """
    A session that any transport may serve.

    `heartbeat` and `orphan_timeout` are seconds: the longest silence, and how long it lives without a
    receiver. `on_end` is called once, when nobody can reach the session any more.
    """

    def __init__(self, *, heartbeat: float, orphan_timeout: float, on_end: Callable[["SockSession"], None]) -> None:
        self._heartbeat = heartbeat
        self._orphan_timeout = orphan_timeout
        self._on_end = on_end
        self._greeted = False
        self._outbox: list[str] = []
        self._close_frame = ""
        self._wake = asyncio.Event()
        self._attached = False
        self._ended = False
        self._orphan: asyncio.TimerHandle | None = None
        self.peer: Peer | None = None

    @property
    def is_closed(self) -> bool:
        """True once the close frame has been decided."""
        return self._close_frame != ""

    def send(self, text: str) -> None:
        """Queues one message for the browser; dropped when the session is closed."""
        if not self.is_closed:
            self._outbox.append(text)
            self._wake.set()

    def receive(self, texts: list[str]) -> None:
        """Hands the browser's messages to the application, in order."""
        for text in texts:
            if self.peer is not None and not self.is_closed:
                self.peer.message(text)

    def close(self, code: int, reason: str) -> None:
        """Ends the session in order: what is queued still goes out, then the close frame."""
        if self.is_closed:
            return
        self._close_frame = "c" + json.dumps([code, reason], separators=(",", ":"))
        self._wake.set()
        if self.peer is not None:
            self.peer.closed()

    def end(self) -> None:
        """Ends the session at once: its receiver is gone, or nobody came."""
        self.close(3000, "Go away!")
        self._cancel_orphan()
        if not self._ended:
            self._ended = True
            self._on_end(self)

    def attach(self) -> bool:
        """Takes the receiver's place; False if somebody has it already."""
        if self._attached:
            return False
        self._attached = True
        self._cancel_orphan()
        return True

    def detach(self) -> None:
        """Gives the receiver's place back; the next one has `orphan_timeout` seconds to come."""
        self._attached = False
        if not self._ended:
            self._orphan = asyncio.get_running_loop().call_later(self._orphan_timeout, self.end)

    async def next_frame(self) -> str:
        """The next frame for the receiver; waits at most `heartbeat` seconds."""
        if not self._greeted:
            self._greeted = True
            return "o"
        while not self._outbox and not self.is_closed:
            self._wake.clear()
            try:
                async with asyncio.timeout(self._heartbeat):
                    await self._wake.wait()
            except TimeoutError:
                return "h"
        if self._outbox:
            texts, self._outbox = self._outbox, []
            return "a" + json.dumps(texts, separators=(",", ":"))
        return self._close_frame

    def _cancel_orphan(self) -> None:
        if self._orphan is not None:
            self._orphan.cancel()
            self._orphan = None
