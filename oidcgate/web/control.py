"""
What master and workers say to each other: one JSON object a line over a socket pair.

Edge: asyncio streams. A question carries an id and is answered with the same one; everything else is told. The end of
the stream means that the other process has gone.
"""

import asyncio
import itertools
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

log = logging.getLogger("oidcgate.control")

MOST_LINE = 16 * 1024 * 1024  # bytes; lists of sessions are long
ANSWER_LIMIT = 2.0  # seconds
TOO_LONG = "the answer is too long"

Message = dict[str, Any]
OnMessage = Callable[[Message], Awaitable[Message | None]]


class Channel:
    """
    One side of the conversation.

    Args:
        on_message: called with everything that is no answer; what it returns answers a question.

    Attributes:
        heard: when the other side last said anything, be it an answer too late (of the monotonic clock).
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_message: OnMessage) -> None:
        self._reader = reader
        self._writer = writer
        self._on_message = on_message
        self.heard = time.monotonic()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def over(cls, sock: socket.socket, on_message: OnMessage) -> "Channel":
        """A channel over a connected socket."""
        reader, writer = await asyncio.open_connection(sock=sock, limit=MOST_LINE)
        return cls(reader, writer, on_message)

    def tell(self, **message: Any) -> None:
        """Say something; nobody listening is no error, and what is too long to be heard is not said."""
        line = json.dumps(message).encode() + b"\n"
        if len(line) > MOST_LINE:  # the other side would hang up, and this process would end with that
            log.error("%d bytes are more than processes tell each other at once", len(line))
            line = json.dumps({"answers": message.get("answers"), "failure": TOO_LONG}).encode() + b"\n"
        if not self._writer.is_closing():
            self._writer.write(line)

    async def ask(self, say: str, *, limit: float = ANSWER_LIMIT, **message: Any) -> Message | None:
        """Ask something; None when no answer comes within ``limit`` seconds, or the other side goes."""
        number = next(self._ids)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self.tell(id=number, say=say, **message)
        try:
            return await asyncio.wait_for(answer, limit)
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(number, None)

    async def listen(self) -> None:
        """Read until the other side goes."""
        try:
            while line := await self._reader.readline():
                self._received(json.loads(line))
        except (ConnectionError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(TimeoutError())
            self._writer.close()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    def _received(self, message: Message) -> None:
        self.heard = time.monotonic()
        if "answers" in message:
            answer = self._waiting.get(message["answers"])
            if answer is not None and not answer.done():
                answer.set_result(message)
            return
        task = asyncio.get_running_loop().create_task(self._handle(message), name="control")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, message: Message) -> None:
        answer = await self._on_message(message)
        if "id" in message:
            self.tell(answers=message["id"], **(answer or {}))
