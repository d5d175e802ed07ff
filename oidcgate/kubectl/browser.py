"""
Opening the person's browser without letting it near kubectl's pipes.

Edge: a process.

kubectl reads the plugin's output to its end, so a browser that inherits it would be waited for until it is closed, and
what it prints would spoil the answer: it gets no stream of ours.
"""

import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

# The module's own command line does not say whether a browser was found.
OPENS = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
HAVE_DISPLAY = ("darwin", "win32")
DISPLAYS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")


def has_browser(environment: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Whether there is a screen that a browser could show itself on, or one was named."""
    return platform in HAVE_DISPLAY or any(environment.get(name) for name in DISPLAYS)


def browser_command(url: str, command: str | None) -> list[str]:
    """
    What to run; ``command`` may have ``%s`` where the address goes, else it goes last; None = the system's browser.

    Raises:
        ValueError: the command's quotes do not match.
    """
    if command is None:
        return [sys.executable, "-c", OPENS, url]
    words = shlex.split(command)
    return [word.replace("%s", url) for word in words] if "%s" in command else [*words, url]


def open_browser(words: list[str], failed: Callable[[], None]) -> None:
    """Start it and return at once; ``failed`` is called from another thread if it cannot be started, or says so."""

    def run() -> None:
        try:
            done = subprocess.run(  # noqa: S603  # the person's own command, and no shell
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # the interrupt key ends the login, not the browser
                check=False,
            )
        except OSError:
            failed()
        else:
            if done.returncode:
                failed()

    threading.Thread(target=run, name="browser", daemon=True).start()
