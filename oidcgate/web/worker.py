"""
A worker process: one gate on sockets that the master keeps.

Edge: started by the master with two inherited descriptors' worth of arguments; does nothing that the master does not
ask for, and ends when the master has gone.
"""

import asyncio
import gc
import logging
import signal
import socket
from typing import Any

from oidcgate.config.model import Config
from oidcgate.errors import ConfigError, OidcgateError, StoreUnavailable
from oidcgate.web.control import Channel, Message
from oidcgate.web.logs import set_up_logging
from oidcgate.web.server import GateServer

log = logging.getLogger("oidcgate.worker")

GC_THRESHOLDS = (20_000, 20, 50)  # a request leaves no cycle behind, so young objects need not be searched often


class Worker:
    """
    One gate and its side of the conversation with the master.

    Args:
        sockets: listening sockets, shared with the master and with the generation before.
    """

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self._gate: GateServer | None = None
        self._channel: Channel | None = None
        self._ended = asyncio.Event()

    async def run(self, control: socket.socket) -> int:
        """Serve until told to stop, or until the master has gone; the exit code."""
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, lambda: None)  # the master decides
        self._channel = await Channel.over(control, self._on_message)
        listening = asyncio.create_task(self._channel.listen(), name="master")
        ended = asyncio.create_task(self._ended.wait(), name="end")
        await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
        if self._gate is not None and not self._ended.is_set():
            await self._gate.stop(drain=1.0)  # the master has gone
        listening.cancel()
        ended.cancel()
        await asyncio.gather(listening, ended, return_exceptions=True)
        return 0

    async def _on_message(self, message: Message) -> Message | None:
        match message.get("say"):
            case "start":
                return await self._start(message["config"])
            case "leave" if self._gate is not None:
                self._gate.stop_listening()
                return {}
            case "stop":
                await self._stop(message["drain"], patient=message.get("patient", False))
                return {}
            case "ping":
                return {}
            case "metrics" if self._gate is not None:
                return {"metrics": self._gate.metrics_now()}
            case "sessions" if self._gate is not None:
                return await self._sessions(self._gate, message.get("name"))
            case "checks" if self._gate is not None:
                return {"checks": await self._gate.checks()}
            case _:
                return {}

    @staticmethod
    async def _sessions(gate: GateServer, name: str | None) -> Message:
        try:
            return {"result": await gate.list_or_end(name)}
        except StoreUnavailable as error:
            return {"failure": str(error)}

    async def _start(self, document: dict[str, Any]) -> Message:
        config = Config.model_validate(document)
        set_up_logging(form=config.log.format, level=config.log.level)
        gate = GateServer(config, sockets=self._sockets, with_admin=False)
        try:
            await gate.start()
        except ConfigError as error:
            return {"problems": [[problem.path, problem.message] for problem in error.problems]}
        except OidcgateError as error:
            return {"failure": str(error)}
        self._gate = gate
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        return {"ready": True}

    async def _stop(self, drain: float, *, patient: bool) -> None:
        if self._gate is not None:
            await self._gate.stop(drain=drain, patient=patient)
            if self._channel is not None:
                await self._channel.ask("farewell", metrics=self._gate.metrics_now())
        self._ended.set()


async def run_worker(control: int, listen: list[int]) -> int:
    """Take over inherited descriptors and serve."""
    sockets = [socket.socket(fileno=descriptor) for descriptor in listen]
    for sock in sockets:
        sock.setblocking(False)
    return await Worker(sockets).run(socket.socket(fileno=control))
