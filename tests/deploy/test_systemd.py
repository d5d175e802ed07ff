"""The systemd unit: valid, confined, and true to what the gate does with signals, files and exit codes."""

import asyncio
import configparser
import ctypes
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from oidcgate.web import master
from tests.cli.support import config, fetch, ran, started
from tests.deploy.manifests import check
from tests.docs.pages import shell_commands
from tests.support.processes import program

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/systemd"
UNIT = FOLDER / "oidcgate.service"
CONFIG = FOLDER / "config.yaml"
EXPOSED_AT_MOST = 15  # tenths; systemd-analyze calls anything below 2.0 well protected, most services have over 9
SYSTEM_UNITS = Path("/usr/lib/systemd/system")
PR_SET_MDWE = 65  # prctl(2): what MemoryDenyWriteExecute= does where the kernel can


class Repeated(dict[str, str]):
    """A unit's key may be there again; the values are kept, one a line."""

    def __setitem__(self, key: str, value: object) -> None:
        if key in self and isinstance(value, list) and isinstance(self[key], list):
            value = [*self[key], *value]
        super().__setitem__(key, value)  # type: ignore[assignment]


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    """The unit's [Service], each key's values in their order."""
    parser = configparser.RawConfigParser(strict=False, dict_type=Repeated, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return {key: value.splitlines() for key, value in parser["Service"].items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system's files as systemd-analyze needs them: the unit, the system's own, and programs by their names."""
    shutil.copytree(SYSTEM_UNITS, tmp_path / "usr/lib/systemd/system", symlinks=True)
    place = tmp_path / "etc/systemd/system"
    place.mkdir(parents=True)
    shutil.copy(UNIT, place)
    for name in ("opt/oidcgate/bin/oidcgate", "bin/kill"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch(0o755)
    return tmp_path


def verified(root: Path) -> tuple[int, str]:
    """What systemd says of the unit."""
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}", "oidcgate.service"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_systemd_takes_the_unit(root: Path) -> None:
    """Nothing is unknown, wrong or missing."""
    assert verified(root) == (0, "")


@pytest.mark.parametrize(
    ("good", "wrong", "said"),
    [
        pytest.param("KillMode=mixed", "KilMode=mixed", "KilMode", id="unknown-key"),
        pytest.param("KillMode=mixed", "KillMode=mild", "kill mode", id="unknown-value"),
        pytest.param("/opt/oidcgate/bin/oidcgate serve", "/opt/oidcgat serve", "/opt/oidcgat", id="no-such-program"),
    ],
)
def test_systemd_would_tell(root: Path, good: str, wrong: str, said: str) -> None:
    """A unit with a mistake does not pass as this one does."""
    unit = root / "etc/systemd/system/oidcgate.service"
    unit.write_text(unit.read_text().replace(good, wrong))
    assert said in verified(root)[1]


def test_the_unit_is_confined(root: Path) -> None:
    """By systemd's own measure; the threshold is where it is now, rounded up."""
    assert measured(root, EXPOSED_AT_MOST) == 0
    assert measured(root, 1) != 0, "the threshold means something"


def measured(root: Path, tenths: int) -> int:
    """Zero when the unit is exposed no more than so."""
    command = ["systemd-analyze", "security", "--offline=yes", f"--root={root}", "--no-pager"]
    command += [f"--threshold={tenths}", "oidcgate.service"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Overall exposure level" in done.stdout
    return done.returncode


def test_commands_of_the_page(tmp_path: Path) -> None:
    """Those of docs/docker.md put every file where the unit looks for it, secrets for root alone."""
    (tmp_path / "deploy").symlink_to(FOLDER.parent)
    (tmp_path / "client-secret").write_text("a-secret-for-tests-only")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    all_commands = shell_commands("docs/docker.md")
    for command in all_commands[all_commands.index("python3 -m venv /opt/oidcgate") :]:
        if command.startswith(("install ", "/opt/oidcgate/bin/oidcgate ")):
            moved = command.replace("/opt/oidcgate/bin/oidcgate", f"{sys.executable} -m oidcgate")
            moved = moved.replace("/etc/", f"{tmp_path}/etc/")
            subprocess.run(["sh", "-ec", moved], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    unit = tmp_path / "etc/systemd/system" / UNIT.name
    wanted = {tmp_path / path.lstrip("/") for path in re.findall(r"/etc/oidcgate/[\w.-]+", unit.read_text())}
    assert {path for path in (tmp_path / "etc/oidcgate").iterdir() if path.stat().st_size} == wanted
    assert {path.name for path in wanted if path.stat().st_mode & 0o077 == 0} == {"client-secret", "keys"}
    assert [c for c in all_commands if c.startswith("systemctl ")] == [
        "systemctl daemon-reload",
        f"systemctl enable --now {UNIT.name}",
    ]


def test_the_configuration_is_good(tmp_path: Path) -> None:
    """`oidcgate check` finds nothing wrong."""
    assert "good; 1 site" in check(CONFIG.read_text(), tmp_path)


def test_the_configuration_names_what_the_unit_gives(service: dict[str, list[str]]) -> None:
    """Each credential is where systemd puts it for a unit of this name, and the state where StateDirectory is."""
    given = yaml.safe_load(CONFIG.read_text())
    credentials = {text.partition(":")[0] for text in service["LoadCredential"]}
    files = {given["provider"]["client_secret_file"], given["session"]["keys_file"]}
    assert files == {f"/run/credentials/{UNIT.name}/{name}" for name in credentials}
    assert given["session"]["state_dir"] == f"/var/lib/{service['StateDirectory'][0]}"
    assert shlex.split(service["ExecStart"][0])[1:] == ["serve", "--config", "/etc/oidcgate/config.yaml"]


def test_it_is_given_time_to_end(service: dict[str, list[str]]) -> None:
    """systemd kills later than the master does, and tells the master alone, which tells its workers."""
    assert int(service["TimeoutStopSec"][0]) > master.NOTICE + master.DRAIN + master.LAST_WAIT
    assert service["KillMode"] == ["mixed"]


async def test_a_wrong_configuration_is_not_tried_again(service: dict[str, list[str]], tmp_path: Path) -> None:
    """The exit code that the unit does not restart after is the one that the gate ends with."""
    code, _, errors = await ran("serve", "--config", config(tmp_path, ("client_id: gate", "client: gate")))
    assert service["RestartPreventExitStatus"] == [str(code)]
    assert "client_id" in errors


async def test_reload_and_stop_as_the_unit_says(service: dict[str, list[str]], tmp_path: Path) -> None:
    """ExecReload's signal gives new workers, and what systemd stops it by ends it well."""
    assert service["ExecReload"][1] == "/bin/kill -HUP $MAINPID"
    file = config(tmp_path, ("sites:", "log: {format: console}\nsites:"))
    async with started("serve", "--config", file) as gate:
        await gate.line("listening on")
        gate.process.send_signal(signal.SIGHUP)
        await gate.line("reloaded")
        assert (await gate.end(signal.SIGTERM))[0] == 0


async def test_it_runs_without_writable_code(tmp_path: Path) -> None:
    """MemoryDenyWriteExecute: neither the gate nor a library that it uses makes code while it runs."""
    if subprocess.run([sys.executable, "-c", ""], preexec_fn=deny_writable_code, check=False).returncode:
        pytest.skip("the kernel is older than 6.3")
    file = config(tmp_path, ("sites:", "log: {format: console}\nsites:"))
    command = [sys.executable, "-m", "oidcgate", "serve", "--config", file]
    async with program(*command, ready="listening on", preexec_fn=deny_writable_code) as (process, said):
        port = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert port is not None
        assert (await fetch(int(port[1]), "/", "localhost:8000")).startswith("HTTP/1.1 401")
    assert process.returncode == 0


def deny_writable_code() -> None:
    """What systemd's MemoryDenyWriteExecute does, by the kernel's own switch; inherited by what is started."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MDWE, 1, 0, 0, 0):
        os._exit(77)


async def test_it_tells_when_it_has_started(service: dict[str, list[str]], tmp_path: Path) -> None:
    """Type=notify: systemd hears of the gate when it listens, and when it begins to end."""
    assert service["Type"] == ["notify"]
    file = config(tmp_path, ("sites:", "log: {format: console}\nsites:"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        command = [sys.executable, "-m", "oidcgate", "serve", "--config", file]
        async with program(*command, ready="listening on", env=environment) as (process, _):
            assert await asyncio.get_running_loop().sock_recv(heard, 100) == b"READY=1"
            process.terminate()
            assert await asyncio.get_running_loop().sock_recv(heard, 100) == b"STOPPING=1"
