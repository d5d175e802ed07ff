"""Opening a browser."""

import sys
import threading
from pathlib import Path

import pytest

from oidcgate.kubectl.browser import browser_command, has_browser, open_browser

URL = "https://dex.example.com/auth?a=b&c=d"
OPENS = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
LIMIT = 30.0


@pytest.mark.parametrize(
    ("environment", "platform", "has"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"BROWSER": "wslview"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_has_browser(environment: dict[str, str], platform: str, has: bool) -> None:
    """Where there is a screen, or one was named."""
    assert has_browser(environment, platform) is has


@pytest.mark.parametrize(
    ("command", "words"),
    [("firefox --new-tab", ["firefox", "--new-tab", URL]), ("open '%s' -x", ["open", URL, "-x"])],
)
def test_command(command: str, words: list[str]) -> None:
    """The address goes last, or where it is wanted; no shell reads it."""
    assert browser_command(URL, command) == words


def test_system_s_browser() -> None:
    """By the webbrowser module, in a process of its own."""
    words = browser_command(URL, None)
    assert words[0] == sys.executable
    assert "webbrowser.open" in words[2]
    assert words[-1] == URL


def outcome(words: list[str]) -> bool:
    """Whether it says that it failed; waits for its end."""
    failed = threading.Event()
    open_browser(words, failed.set)
    for thread in threading.enumerate():
        if thread.name == "browser":
            thread.join(LIMIT)
    return failed.is_set()


def test_it_is_opened(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With the address, and without a stream of ours."""
    talks = f"{OPENS}; print('loud'); print('louder', file=sys.stderr); assert sys.stdin.read() == ''"
    assert not outcome([sys.executable, "-c", talks, str(tmp_path / "opened"), URL])
    assert (tmp_path / "opened").read_text() == URL
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("words", [["/nowhere/browser"], [sys.executable, "-c", "raise SystemExit(1)"]])
def test_it_fails(words: list[str]) -> None:
    """Somebody is told."""
    assert outcome(words)
