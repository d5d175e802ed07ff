"""The command line: exit codes, usage, and what goes where."""

import argparse
import asyncio
import sys

import pytest

from oidcgate import __version__
from oidcgate.cli import main as module
from oidcgate.cli.completion import read_parser
from oidcgate.cli.main import demo_port, main, parser
from oidcgate.errors import ConfigError, Problem, StoreUnavailable
from tests.cli.support import ran


async def test_version() -> None:
    """`python -m oidcgate` is the same as `oidcgate`."""
    assert await ran("--version") == (0, f"oidcgate {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "the following arguments are required: COMMAND", id="no-command"),
        pytest.param(["sevre"], "invalid choice: 'sevre'", id="unknown-command"),
        pytest.param(["serve"], "the following arguments are required: --config", id="no-config"),
        pytest.param(["check", "--colour"], "unrecognized arguments: --colour", id="unknown-option"),
        pytest.param(["demo", "--port", "http"], "a port from 1 to 65533", id="port-is-a-word"),
        pytest.param(["demo", "--port", "0"], "a port from 1 to 65533", id="port-zero"),
        pytest.param(["demo", "--port", "65534"], "a port from 1 to 65533", id="no-two-ports-behind-it"),
        pytest.param(["demo", "--port", "٨٠"], "a port from 1 to 65533", id="digits-that-are-not-ascii"),
    ],
)
def test_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is told on standard error and exits with 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "check", "secret", "demo"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command explains itself, and stands in the list."""
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"oidcgate {command}" in capsys.readouterr().out
    assert command in parser().format_help()


def test_every_option_says_what_it_is_for() -> None:
    """No command's help leaves one out, and each begins with what the list of commands says."""
    commands = read_parser(parser())
    assert [(each.name, option.flags) for each in commands for option in each.options if not option.help] == []
    assert "check a configuration without starting" in help_of("check")
    assert "get is what kubectl asks for" in help_of("credential")


def help_of(command: str) -> str:
    """What a command's own help says."""
    (found,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return str(found.choices[command].format_help())


def test_demo_port() -> None:
    """The demo's port is any that has two more behind it."""
    assert (demo_port("1"), demo_port("65533")) == (1, 65533)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        pytest.param(
            ConfigError([Problem("sites[0].url", "no"), Problem("", "neither")]),
            2,
            "2 problems in the configuration:\n  sites[0].url: no\n  neither\n",
            id="configuration",
        ),
        pytest.param(
            ConfigError([Problem("listen", "taken")]), 2, "1 problem in the configuration:\n  listen: taken\n", id="one"
        ),
        pytest.param(StoreUnavailable("sqlite: locked"), 1, "oidcgate: sqlite: locked\n", id="run-time"),
        pytest.param(KeyboardInterrupt(), 0, "", id="ctrl-c"),
    ],
)
def test_exit_code(
    error: BaseException,
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """2 for the configuration, 1 for what fails at run time, 0 for an end that was asked for."""

    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(module, "run", fail)
    assert main(["secret"]) == code
    assert capsys.readouterr() == ("", told)


async def test_help_is_quick() -> None:
    """Help and usage load none of the libraries that a running gate needs."""
    code = "import sys; from oidcgate.cli.main import parser; parser(); print(*sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    loaded = set(output.decode().split())
    assert not loaded & {"aiohttp", "pydantic", "yaml", "cryptography", "uvloop"}
