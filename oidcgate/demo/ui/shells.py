"""
The exec shells: an id given out by the API, bound to a SockJS session, a pretend terminal behind it. Edge:
asyncio timers.

As in the Dashboard, who may open a shell is decided when the id is given out; afterwards the id alone is the
key. It must be bound within `bind_window` seconds, once. A shell outlives the token that opened it. Where we
differ: a wrong id gets `c[2,...]` at once, the real one leaves the socket hanging.
"""

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from oidcgate.demo.ui.sockjs_session import SockSession
from oidcgate.demo.ui.terminal import Place, Terminal


@dataclass(eq=False)
class Shell:
    """One shell that a browser holds open; `id` is 32 hex digits, `opened_at` seconds since the epoch."""

    id: str = field(repr=False)  # whoever has it owns the shell
    place: Place
    terminal: Terminal = field(repr=False)
    opened_at: float
    session: SockSession | None = field(default=None, repr=False)
    cols: int = 80
    rows: int = 24
    expiry: asyncio.TimerHandle | None = field(default=None, repr=False)

    def send(self, **message: Any) -> None:
        """Sends one message of the Dashboard's terminal protocol; empty output is not sent."""
        if self.session is not None and message.get("Data"):
            self.session.send(json.dumps(message))


class Shells:
    """All shells, waiting or bound. `changed` is called when one opens or ends."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        changed: Callable[[], None],
        bind_window: float = 10,
    ) -> None:
        self._clock = clock
        self._changed = changed
        self._bind_window = bind_window
        self._waiting: dict[str, Shell] = {}
        self.open: list[Shell] = []

    def offer(self, place: Place) -> str:
        """A new shell's id, good for one `bind` within the bind window."""
        shell = Shell(secrets.token_hex(16), place, Terminal(place, self._clock), self._clock())
        self._waiting[shell.id] = shell
        loop = asyncio.get_running_loop()
        shell.expiry = loop.call_later(self._bind_window, self._waiting.pop, shell.id, None)
        return shell.id

    def bind(self, shell_id: str, session: SockSession) -> Shell | None:
        """The waiting shell of that id, now this session's; None if there is none."""
        shell = self._waiting.pop(shell_id, None)
        if shell is None:
            return None
        assert shell.expiry is not None
        shell.expiry.cancel()
        shell.session = session
        self.open.append(shell)
        self._changed()
        return shell

    def release(self, shell: Shell) -> None:
        """Forgets a shell whose session is over."""
        self.open.remove(shell)
        self._changed()

    def pod_deleted(self, namespace: str, pod: str) -> None:
        """Ends the shells in a pod that is gone, with a toast that says so."""
        for shell in list(self.open):
            if (shell.place.namespace, shell.place.pod) == (namespace, pod) and shell.session is not None:
                shell.send(Op="toast", Data=f"pod {pod} was deleted")
                shell.session.close(2, "container is gone")

    def close(self) -> None:
        """Forgets the shells nobody bound; the bound ones end with their sessions."""
        for shell in self._waiting.values():
            assert shell.expiry is not None
            shell.expiry.cancel()
        self._waiting.clear()


class ShellPeer:
    """The shell's end of one SockJS session: the first message must be `bind`."""

    def __init__(self, shells: Shells, session: SockSession) -> None:
        self._shells = shells
        self._session = session
        self._shell: Shell | None = None

    def message(self, text: str) -> None:
        """
        One message of the browser: `bind`, then `stdin` and `resize`; others are ignored, as in the
        Dashboard.
        """
        try:
            message = json.loads(text)
            op = message["Op"]
        except (ValueError, KeyError, TypeError):
            return self._session.close(2, "malformed message")
        if self._shell is None:
            return self._bind(op, message)
        if op == "stdin":
            return self._stdin(self._shell, str(message.get("Data", "")))
        if op == "resize":
            self._shell.cols, self._shell.rows = int(message.get("Cols", 80)), int(message.get("Rows", 24))
        return None

    def closed(self) -> None:
        """Gives the shell back."""
        if self._shell is not None:
            self._shells.release(self._shell)

    def _bind(self, op: object, message: dict[str, Any]) -> None:
        shell = self._shells.bind(str(message.get("SessionID")), self._session) if op == "bind" else None
        if shell is None:
            return self._session.close(2, "no such terminal session")
        self._shell = shell
        return shell.send(Op="stdout", Data=shell.terminal.start())

    def _stdin(self, shell: Shell, data: str) -> None:
        shell.send(Op="stdout", Data=shell.terminal.feed(data))
        if shell.terminal.exited:
            self._session.close(1, "Process exited")
