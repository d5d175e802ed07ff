"""Packages in empty virtual environments, used as people use them."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.browser import Browser
from tools.release.contents import metadata
from tools.release.report import LAST_LINES, CheckFailed, require, run

LONG = 60.0  # seconds after which a program that says nothing has failed
FITS = "import ensurepip, sqlite3, ssl, sys, venv; raise SystemExit('%d.%d' % sys.version_info[:2] != sys.argv[1])"
CONSUMER = """\
from oidcgate.config import Config, load_config
from pathlib import Path
config: Config = load_config(Path("gate.yaml"))
"""
WRONG_CONSUMER = CONSUMER.replace("config: Config", "config: int")
CONFIGURATION = """\
provider: {issuer: "https://dex.example.com", client_id: oidcgate}
session: {store: "redis://redis.example.com", keys_file: keys}
sites: [{url: "https://dashboard.example.com", upstream: {url: "https://dashboard.svc"}}]
"""


def find_python(version: str) -> Path:
    """
    A Python of a version, on the path or among pyenv's, that can make environments.

    Raises:
        CheckFailed: there is none.
    """
    on_path = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [Path(on_path)] if on_path else []
    candidates += sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    for candidate in candidates:
        with suppress(CheckFailed):
            run(candidate, "-c", FITS, version)
            return candidate
    raise CheckFailed(f"there is no Python {version}; OIDCGATE_PYTHONS names the ones to use")


def program(name: str) -> Path:
    """A tool of the `release` extra, beside the Python that runs this."""
    return Path(sys.executable).parent / name


class Environment:
    """
    A virtual environment with nothing in it but a package and what it asks for.

    Args:
        folder: a new one; programs run in an empty folder inside it.
    """

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self.place = folder / "empty"
        self.bin = folder / "venv/bin"
        self._python = python
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "UV_"))}
        self.variables = {**kept, "PATH": f"{self.bin}:/usr/bin:/bin", "VIRTUAL_ENV": str(folder / "venv")}

    def with_pip(self, *what: str | Path) -> str:
        """Install by pip, as people do."""
        self.place.mkdir(parents=True)
        run(self._python, "-m", "venv", self.folder / "venv")
        run(self.bin / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)
        return run(self.bin / "python", "-m", "pip", "check").strip()

    def with_uv(self, *what: str | Path) -> str:
        """Install by uv, which brings no pip into the environment."""
        self.place.mkdir(parents=True)
        run(program("uv"), "venv", "--quiet", "--python", self._python, self.folder / "venv")
        run(program("uv"), "pip", "install", "--quiet", "--python", self.bin / "python", *what)
        run(program("uv"), "pip", "check", "--quiet", "--python", self.bin / "python")
        return f"{len(self.installed())} packages"

    def with_lowest(self, wheel: Path) -> str:
        """Install with the oldest versions that the package allows; which these are."""
        wanted = requirements(wheel, extra="redis")
        self.with_uv("--resolution", "lowest-direct", f"{wheel}[redis]", *map(str, wanted))
        installed = self.installed()
        return ", ".join(f"{one.name} {installed[canonicalize_name(one.name)]}" for one in wanted)

    def installed(self) -> dict[str, str]:
        """What is installed, with its version."""
        listed = run(program("uv"), "pip", "list", "--quiet", "--format", "json", "--python", self.bin / "python")
        return {row["name"]: row["version"] for row in json.loads(listed)}

    def run(self, *command: str | Path) -> str:
        """Run a program of the environment in an empty folder."""
        first, *rest = command
        return run(self.bin / first, *rest, folder=self.place, environment=self.variables)

    # What has to hold in each.

    def says_version(self, version: str) -> str:
        """Both ways to call it, the metadata and the module agree."""
        asked = "import importlib.metadata as m, oidcgate; print(m.version('oidcgate'), oidcgate.__version__)"
        told = {
            "oidcgate --version": self.run("oidcgate", "--version"),
            "python -m oidcgate --version": self.run("python", "-m", "oidcgate", "--version"),
            "metadata": self.run("python", "-c", asked),
        }
        line = f"oidcgate {version}\n"
        require(told == {**dict.fromkeys(told, line), "metadata": f"{version} {version}\n"}, str(told))
        return version

    def has_what_it_needs(self) -> None:
        """Licence and type marker are there, and it comes from the environment itself."""
        asked = (
            "import importlib.metadata as m, oidcgate, pathlib, sys; f = m.files('oidcgate'); "
            "assert any(p.name == 'LICENSE' and p.locate().is_file() for p in f), 'no licence'; "
            "assert any(p.name == 'py.typed' and p.locate().is_file() for p in f), 'no py.typed'; "
            "assert pathlib.Path(oidcgate.__file__).is_relative_to(sys.prefix), oidcgate.__file__"
        )
        self.run("python", "-c", asked)

    def small_commands(self) -> None:
        """The commands that need no network."""
        schema = json.loads(self.run("oidcgate", "check", "--schema"))
        require(schema["title"] == "oidcgate configuration", f"the schema is of {schema['title']}")
        keys = {self.run("oidcgate", "secret") for _ in range(2)}
        require(len(keys) == 2 and all(len(key.split()) == 1 for key in keys), "two secrets are not two lines")

    def checks_a_configuration(self) -> None:
        """A good one is called good; it names Redis, so the extra has to be there."""
        path, keys = self.place / "gate.yaml", self.place / "keys"
        path.write_text(CONFIGURATION)
        keys.touch(0o600)
        keys.write_text(self.run("oidcgate", "secret"))
        try:
            told = self.run("oidcgate", "check", "--config", path)
        finally:
            path.unlink()
            keys.unlink()
        require("good; 1 site" in told, told)

    def has_redis(self, wanted: bool) -> str:
        """The extra brings its libraries; without it nothing asks for them."""
        asked = "from importlib.util import find_spec as f; print(f('redis') is not None, f('hiredis') is not None)"
        told = self.run("python", "-c", asked).strip()
        require(told == f"{wanted} {wanted}", f"redis, hiredis: {told}")
        if wanted:
            self.run("python", "-c", "import oidcgate.stores.redis")
        return "there" if wanted else "absent, and not needed"

    def types_reach_users(self, cache: Path) -> None:
        """mypy reads our types in somebody else's three lines, and finds the mistake in three others."""
        command: list[str | Path] = [
            program("mypy"),
            "--strict",
            "--no-error-summary",
            "--config-file=",
            "--cache-dir",
            cache,
        ]
        command += ["--python-executable", self.bin / "python"]
        for name, text in (("consumer.py", CONSUMER), ("wrong.py", WRONG_CONSUMER)):
            (self.place / name).write_text(text)
        try:
            run(*command, "consumer.py", folder=self.place)
            try:
                run(*command, "wrong.py", folder=self.place)
            except CheckFailed as error:
                require('"Config"' in str(error) and '"int"' in str(error), str(error))
            else:
                raise CheckFailed("mypy takes a configuration for a number")
        finally:
            for name in ("consumer.py", "wrong.py"):
                (self.place / name).unlink()

    def runs_the_demo(self) -> str:
        """The demo starts, signs alice in, shows her the UI, and ends by Ctrl-C with nothing left."""
        told = asyncio.run(self._demo())
        require(not list(self.place.iterdir()), f"left behind: {list(self.place.iterdir())}")
        return told

    async def _demo(self) -> str:
        port = free_ports(3)
        process = await asyncio.create_subprocess_exec(
            self.bin / "oidcgate",
            "demo",
            "--port",
            str(port),
            cwd=self.place,
            env={**self.variables, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=heed_interrupts,
        )
        assert process.stdout is not None
        lines: list[str] = []
        try:
            async with asyncio.timeout(LONG):
                while not lines or "Ctrl-C ends it" not in lines[-1]:
                    line = await process.stdout.readline()
                    if not line:
                        await process.wait()
                    require(bool(line), "it ended:\n" + "".join(lines[-LAST_LINES:]))
                    lines.append(line.decode())
                told = await signed_in(f"http://localhost:{port}")
                process.send_signal(signal.SIGINT)
                rest = (await process.stdout.read()).decode()
                require(await process.wait() == 0 and rest.endswith("bye\n"), f"it ended badly:\n{rest}")
                require("Traceback" not in rest and "Warning" not in rest, rest)
        except (TimeoutError, OSError, EOFError, AssertionError) as error:
            process.kill()
            rest = (await process.stdout.read()).decode()
            told = "".join("".join([*lines, rest]).splitlines(keepends=True)[-LAST_LINES:])
            raise CheckFailed(f"{type(error).__name__} {error}; it said:\n{told}") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return told


def requirements(wheel: Path, *, extra: str) -> list[Requirement]:
    """What a wheel asks for on this system, with an extra; the extra's own condition is met and left out."""
    named = [Requirement(line) for line in metadata(wheel).get_all("Requires-Dist", [])]
    wanted = [one for one in named if one.marker is None or one.marker.evaluate({"extra": extra})]
    for one in wanted:
        one.marker = None
    return wanted


def heed_interrupts() -> None:
    """A shell's background jobs ignore the interrupt key, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def signed_in(url: str) -> str:
    """
    A stranger is stopped; alice signs in, is known to the gate, and reaches the UI.

    Raises:
        CheckFailed: one of these does not.
    """
    stranger = await Browser().fetch(f"{url}/api/whoami")
    require(stranger.status == 401, f"a stranger's request is answered {stranger.status}")
    browser = Browser()
    page = await browser.sign_in(f"{url}/", "alice")
    require(page.status == 200 and page.url.startswith(url), f"the sign-in ends at {page.url}: {page.status}")
    session = await browser.fetch(f"{url}/oauth2/userinfo")
    require(session.status == 200 and "alice" in session.text, f"userinfo: {session.status} {session.text[:200]}")
    return "alice signed in"


def free_ports(count: int) -> int:
    """The first of some ports in a row that are free."""
    for first in range(20_000 + os.getpid() % 20_000, 60_000, count):
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise CheckFailed("no free ports")


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def runs_by_pipx(wheel: Path, python: Path, folder: Path, constraints: Path, version: str) -> str:
    """
    `pipx run` takes the wheel.

    Raises:
        CheckFailed: it does not.
    """
    folder.mkdir(parents=True)
    variables = {**os.environ, "PIPX_HOME": str(folder / "home"), "PIPX_BIN_DIR": str(folder / "bin")}
    variables["PIP_CONSTRAINT"] = str(constraints)
    command: list[str | Path] = [sys.executable, "-m", "pipx", "run", "--quiet", "--python", python, "--spec", wheel]
    told = run(*command, "oidcgate", "--version", folder=folder, environment=variables)
    require(told == f"oidcgate {version}\n", told)
    return version
