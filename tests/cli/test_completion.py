"""`oidcgate completion`: real shells complete what the real parser takes."""

import argparse
import asyncio
import os
import pty
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from oidcgate.cli.completion import SHELLS, Command, bash, fish, read_parser, zsh
from oidcgate.cli.main import main, parser
from tests.cli.support import LONG

FILES = ("gate.yaml", "my flags.cfg", "other")
# A shell where `oidcgate` prints each of its arguments between brackets, followed by a line that says that it is done.
STUB = "oidcgate() { printf '\\n'; printf '[%s]' \"$@\"; printf '{done}\\n'; }"
START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {script}"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; source {script}"),
}


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a few files, and each shell's script beside it."""
    for shell in SHELLS:
        assert main(["completion", shell]) == 0
        (tmp_path / f"script.{shell}").write_text(capsys.readouterr().out)
    place = tmp_path / "place"
    place.mkdir()
    for name in FILES:
        (place / name).touch()
    return place


def shell_or_skip(name: str) -> str:
    """A shell's path; the test is skipped without it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


class Typist:
    """Somebody at a shell's terminal."""

    def __init__(self, terminal: int, reader: asyncio.StreamReader) -> None:
        self._terminal = terminal
        self._reader = reader

    async def type(self, keys: str) -> str:
        """Type a line, with its tabs; the arguments that the command was then run with."""
        os.write(self._terminal, keys.encode() + b"\n")
        async with asyncio.timeout(LONG):
            heard = await self._reader.readuntil(b"]{done}")
        return heard.decode().rpartition("\n")[2].removesuffix("{done}")


@asynccontextmanager
async def typist(shell: str, folder: Path) -> AsyncIterator[Typist]:
    """A shell on a terminal of its own, with the completion loaded."""
    shell_or_skip(shell)
    command, load = START[shell]
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder.parent), "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    os.close(theirs)
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    with os.fdopen(os.dup(ours), "rb", buffering=0) as file:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        try:
            someone = Typist(ours, reader)
            script = folder.parent / f"script.{shell}"
            assert await someone.type(f"{load.format(script=script)}; {STUB}; oidcgate ready") == "[ready]"
            yield someone
        finally:
            transport.close()
            process.kill()
            await process.wait()
            os.close(ours)


TYPED = {  # what is typed, and what the command is then run with
    "che\t--conf\tga\t": "[check][--config][gate.yaml]",
    "secr\t": "[secret]",
    "snippet hap\t --ga\tx": "[snippet][haproxy][--gate][x]",
    "import oa\tmy\t": "[import][oauth2-proxy][my flags.cfg]",
    "import oauth2-proxy --out\tot\t": "[import][oauth2-proxy][--output][other]",
    "sessions e\tabc --js\t": "[sessions][end][abc][--json]",
    "completion f\t": "[completion][fish]",
    "serve --config=ga\t": "[serve][--config][gate.yaml]",
    "serve ga\t": "[serve][ga]",  # takes no such word
    "wor\t": "[wor]",  # the master's own command is nobody's to type
    "explain --method ga\t": "[explain][--method][ga]",  # a value that is no file
}


@pytest.mark.parametrize("shell", START)
async def test_typed(shell: str, folder: Path) -> None:
    """At a terminal commands, options, choices and files are completed; where nothing fits, nothing is."""
    async with typist(shell, folder) as someone:
        done = {keys: (await someone.type(f"oidcgate {keys}")).replace("=", "][") for keys in TYPED}
    assert done == TYPED


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("che", ["check"]),
        ("wor", []),
        ("check --", ["--config", "--help", "--print", "--schema"]),
        ("check --config ga", ["gate.yaml"]),
        ("serve ga", []),
        ("snippet env", ["envoy", "envoy-gateway"]),
        ("sessions ", ["end", "list"]),
        ("sessions end --j", ["--json"]),
        ("import oa", ["oauth2-proxy"]),
        ("import oauth2-proxy my", ["my flags.cfg"]),
        ("explain --method ga", []),
    ],
)
async def test_fish(line: str, offered: list[str], folder: Path) -> None:
    """fish offers the same."""
    process = await asyncio.create_subprocess_exec(
        shell_or_skip("fish"),
        "--no-config",
        "--command",
        f"source {folder.parent}/script.fish; complete --do-complete 'oidcgate {line}'",
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder.parent), "LC_ALL": "C.UTF-8"},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert sorted(told.partition("\t")[0].replace("\\", "") for told in output.decode().splitlines()) == offered


def command(name: str) -> Command:
    """What is read of one of our commands."""
    (found,) = [one for one in read_parser(parser()) if one.name == name]
    return found


def test_every_listed_command_is_read() -> None:
    """All that help lists, after the program itself, and nothing that it does not list."""
    names = [one.name for one in read_parser(parser())]
    assert names[0] == ""
    assert names[1:] == sorted(names[1:], key=parser().format_help().index)
    assert {"serve", "check", "sessions", "demo"} < set(names)
    assert "worker" not in names
    assert all(one.help for one in read_parser(parser())[1:])


def test_what_comes_after_an_option() -> None:
    """Files, words to choose from, anything else, or nothing."""
    options = {flag: option for option in command("doctor").options for flag in option.flags}
    assert options["--config"].value == "file"
    assert options["--site"].value == "text"
    assert options["--offline"].value is None
    assert options["--token-file"].apart == ("--login",)
    assert command("credential").words == (("what", ("get", "logout", "status")),)
    assert [option.flags[0] for option in command("explain").options if option.several] == ["--group"]
    assert command("import").words[1] == ("FILE", "file")
    assert command("import").several


@pytest.mark.parametrize("shell", SHELLS)
async def test_odd_signs(shell: str, tmp_path: Path) -> None:
    """A shell reads a script whose help texts hold what it would take for its own, and runs nothing of them."""
    odd = argparse.ArgumentParser(prog="oidcgate")
    help_ = "it's `touch ran` $(touch ran): [a] \\ \" * \u00e9"
    added = odd.add_subparsers().add_parser("odd", help=help_)
    added.add_argument("--how", choices=["a", "b"], help=help_)
    path = tmp_path / "script"
    path.write_text({"bash": bash, "fish": fish, "zsh": zsh}[shell](read_parser(odd)))
    source = f"function compdef; end; source {path}" if shell == "fish" else f"compdef() {{ :; }}; source {path}"
    process = await asyncio.create_subprocess_exec(
        shell_or_skip(shell), "-c", source, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert not (tmp_path / "ran").exists()
