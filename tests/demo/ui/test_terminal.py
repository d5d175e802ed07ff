"""The pretend shell: keystrokes in, screen out."""

import pytest

from oidcgate.demo.ui.terminal import CLEAR_SCREEN, MAX_LINE, REDRAW, Place, Terminal

PLACE = Place("shop", "cart-1", "cart", "bob@example.com", ("team-shop",))
PROMPT = "cart:/app# "


def terminal(place: Place = PLACE) -> Terminal:
    """A shell at a fixed moment."""
    return Terminal(place, lambda: 1_790_000_000)


def run(line: str, place: Place = PLACE) -> str:
    """The output of one command line, without its echo and the next prompt."""
    screen = terminal(place).feed(line + "\r")
    assert screen.startswith(line + "\r\n")
    return screen.removeprefix(line + "\r\n").removesuffix(PROMPT).replace("\r\n", "\n")


COMMANDS = {
    "nothing": ("", ""),
    "blanks": ("   ", ""),
    "echo": ("echo one  'two  three'", "one two  three\n"),
    "echo a variable": ("echo $POD_NAMESPACE ${HOSTNAME}", "shop cart-1\n"),
    "echo an unknown variable": ("echo [$NOPE]", "[]\n"),
    "hostname": ("hostname", "cart-1\n"),
    "pwd": ("pwd", "/app\n"),
    "ls": ("ls", "README.md  config.yaml  server\n"),
    "ls of a folder": ("ls /etc", "hostname  hosts  os-release\n"),
    "ls of the root": ("ls /", "app  etc\n"),
    "ls of here": ("ls .", "README.md  config.yaml  server\n"),
    "ls of a file": ("ls /etc/hostname", "/etc/hostname\n"),
    "ls of nothing": ("ls nope", "ls: nope: No such file or directory\n"),
    "ls long": ("ls -l /etc/hostname", "-rw-r--r-- 1 root root     7 /etc/hostname\n"),
    "cat": ("cat /etc/hostname", "cart-1\n"),
    "cat here": ("cat config.yaml", "service: cart\nlisten: 0.0.0.0:8080\nlog: {level: debug}\n"),
    "cat nothing": ("cat nope", "cat: nope: No such file or directory\n"),
    "uname": ("uname", "Linux\n"),
    "uname all": ("uname -a", "Linux cart-1 6.12.0-demo x86_64 GNU/Linux\n"),
    "date": ("date", "Mon Sep 21 14:13:20 UTC 2026\n"),
    "clear": ("clear", CLEAR_SCREEN),
    "unknown": ("rm -rf /", "sh: rm: not found\n"),
    "open quote": ("echo 'oops", "sh: syntax error: No closing quotation\n"),
    "whoami": (
        "whoami",
        "root in the container; the API server believes you are bob@example.com (groups: team-shop)\n",
    ),
}


@pytest.mark.parametrize(("line", "output"), COMMANDS.values(), ids=COMMANDS)
def test_commands(line: str, output: str) -> None:
    """Each command prints what it should."""
    assert run(line) == output


def test_commands_that_print_much() -> None:
    """Help names every command, env and ps show the container."""
    assert "whoami" in run("help")
    assert "exit" in run("help")
    assert "POD_NAMESPACE=shop\n" in run("env")
    assert "/app/server" in run("ps")


def test_whoami_without_groups() -> None:
    """Somebody without groups is told so."""
    assert "(groups: none)" in run("whoami", Place("shop", "cart-1", "cart", "carol@example.com"))


EDITING = {
    "echo": ("abc", "abc"),
    "wide characters": ("é漢", "é漢"),
    "backspace": ("ab\x7f", "ab\b \b"),
    "backspace as BS": ("ab\b", "ab\b \b"),
    "backspace at the start": ("\x7f", ""),
    "Ctrl-C": ("ab\x03", f"ab^C\r\n{PROMPT}"),
    "Ctrl-U": ("ab\x15", f"ab{REDRAW}{PROMPT}"),
    "Ctrl-L": ("ab\x0c", f"ab{CLEAR_SCREEN}{PROMPT}ab"),
    "Ctrl-D amid a line": ("ab\x04", "ab"),
    "other controls": ("a\x01\x00b", "ab"),
    "an arrow that does nothing": ("a\x1b[Cb", "ab"),
    "a lone escape": ("a\x1b", "a"),
    "CR LF is one Enter": ("\r\n", f"\r\n{PROMPT}"),
    "LF is Enter": ("\n", f"\r\n{PROMPT}"),
    "history": ("pwd\r\x1b[A", f"pwd\r\n/app\r\n{PROMPT}{REDRAW}{PROMPT}pwd"),
    "history and back": ("pwd\r\x1b[A\x1b[B", f"pwd\r\n/app\r\n{PROMPT}{REDRAW}{PROMPT}pwd{REDRAW}{PROMPT}"),
    "history when there is none": ("\x1b[A", f"{REDRAW}{PROMPT}"),
}


@pytest.mark.parametrize(("keys", "screen"), EDITING.values(), ids=EDITING)
def test_line_editing(keys: str, screen: str) -> None:
    """Each key does what a terminal's user expects."""
    assert terminal().feed(keys) == screen


def test_backspace_changes_the_command() -> None:
    """What is rubbed out is not run."""
    assert terminal().feed("pwdd\x7f\r").endswith(f"\r\n/app\r\n{PROMPT}")


def test_start_shows_the_prompt() -> None:
    """A fresh shell shows its prompt."""
    assert terminal().start() == PROMPT


def test_a_line_has_a_limit() -> None:
    """More characters than a terminal holds are dropped, not echoed."""
    assert len(terminal().feed("x" * (MAX_LINE + 10))) == MAX_LINE


@pytest.mark.parametrize(("keys", "screen"), [("exit\r", "exit\r\n"), ("\x04", "exit\r\n")])
def test_exit_ends_the_shell(keys: str, screen: str) -> None:
    """After exit or Ctrl-D nothing is answered any more."""
    shell = terminal()
    assert shell.feed(keys + "pwd\r") == screen
    assert shell.exited
    assert shell.feed("pwd\r") == ""
