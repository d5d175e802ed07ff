"""A desk at which somebody works through a page: a folder, an issuer, ports that are free, and a shell."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any, Self

import yaml

from oidcgate.demo.issuer import DEMO_PEOPLE, DemoIssuer
from tests.docs.pages import ROOT
from tests.support.processes import LIMIT, free_ports
from tests.support.stack import merged, signing_key

ISSUER = "https://dex.example.com"  # the issuer of all examples
PUBLIC, ADMIN, DEMO = "8080", "8081", "8000"


class Desk:
    """
    What a page's commands find.

    Args:
        folder: where they run.
        authority: a CA's certificate, PEM, for whatever names one.
        kubeconfig: the file that `kubectl` uses; programs: the folder with that `kubectl`.
    """

    def __init__(
        self, folder: Path, *, authority: str = "", kubeconfig: Path | None = None, programs: Path | None = None
    ) -> None:
        self.folder = folder
        self.authority = authority
        self.kubeconfig = kubeconfig
        self.programs = programs
        self.issuer = DemoIssuer(DEMO_PEOPLE, (), key=signing_key())
        self.ports: dict[str, str] = {}
        self.running: list[tuple[Process, asyncio.Task[bytes]]] = []

    async def __aenter__(self) -> Self:
        await self.issuer.start()
        first = free_ports(5)
        self.ports = {PUBLIC: str(first), ADMIN: str(first + 1), DEMO: str(first + 2)}
        (self.folder / "deploy").symlink_to(ROOT / "deploy")
        (self.folder / "secrets").mkdir()
        for name in ("client-secret", "admin-token", "secrets/client-secret"):
            self.secret(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.stop()
        finally:
            await self.issuer.stop()

    def secret(self, name: str) -> None:
        """A secret's file, for its owner alone."""
        file = self.folder / name
        file.touch(0o600)
        file.write_text("a-secret-for-tests-only\n")

    def real(self, text: str) -> str:
        """The same with addresses and folders of this machine in place of the examples'."""
        if not self.ports:
            return text
        text = text.replace(ISSUER, self.issuer.url).replace("/run/secrets/", f"{self.folder}/secrets/")
        return re.sub(
            rf"\b(localhost:|127\.0\.0\.1:|--port )({PUBLIC}|{ADMIN}|{DEMO})\b",
            lambda found: found[1] + self.ports[found[2]],
            text,
        )

    def configuration(self, document: dict[str, Any], name: str = "gate.yaml") -> None:
        """A configuration of a page, on ports that are free."""
        listeners = {
            "listen": [f"127.0.0.1:{PUBLIC}"],
            "admin": {"listen": f"127.0.0.1:{ADMIN}", "token_file": "admin-token"},
        }
        (self.folder / name).write_text(self.real(yaml.safe_dump(merged(document, listeners))))

    @property
    def environment(self) -> dict[str, str]:
        """Away from the user's own files, with the project's program first."""
        programs = [str(Path(sys.executable).parent)] + ([str(self.programs)] if self.programs else [])
        return {
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PATH": ":".join([*programs, os.environ.get("PATH", "/usr/bin:/bin")]),
            "PYTHONUNBUFFERED": "1",
            **({"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {}),
        }

    async def shell(self, command: str, cwd: Path | None = None) -> Process:
        """Start a command as it stands in a page."""
        return await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", self.real(command)),
            cwd=cwd or self.folder,
            env=self.environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )

    async def run(self, command: str, cwd: Path | None = None) -> tuple[int, str]:
        """Run a command to its end: the exit code, and all that it said."""
        process = await self.shell(command, cwd)
        try:
            async with asyncio.timeout(LIMIT):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, (output + errors).decode()

    async def start(self, command: str, ready: str) -> str:
        """Start a command that stays; returns the line that says that it is ready."""
        process = await self.shell(command)
        assert process.stderr is not None
        assert process.stdout is not None
        self.running.append((process, asyncio.create_task(process.stderr.read())))
        said = ""
        async with asyncio.timeout(LIMIT):
            while line := (await process.stdout.readline()).decode():
                said += line
                if re.search(ready, line):
                    return line
        raise AssertionError(f"{command}: no {ready!r} in\n{said}{(await self.running[-1][1]).decode()}")

    async def stop(self) -> None:
        """End what was started, all at once; whatever does not end well is an error."""
        ended = await asyncio.gather(*(end(*started) for started in self.running))
        self.running.clear()
        assert [errors for code, errors in ended if code] == []


async def end(process: Process, errors: asyncio.Task[bytes]) -> tuple[int, str]:
    """Tell a program to end: its exit code, and what it complained of."""
    assert process.stdout is not None
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(LIMIT):
            await process.stdout.read()
            return await process.wait(), (await errors).decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def make(arguments: str) -> str:
    """What `make` would do, without doing it."""
    return f"make --no-print-directory --dry-run {arguments}"
