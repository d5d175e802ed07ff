"""One line a check, and a summary that counts; a check that fails stops those that need it, not the others."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LAST_LINES = 12  # of a failed program's output


class CheckFailed(Exception):
    """A check does not hold; the message says what was found."""


class Report:
    """Runs checks and remembers which failed."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self._began = time.monotonic()

    def check(self, name: str, work: Callable[[], T]) -> T | None:
        """Run a check and print its line; what it returned, or None when it failed."""
        began = time.monotonic()
        try:
            result = work()
        except CheckFailed as error:
            self.failed.append(name)
            print(f"FAIL  {time.monotonic() - began:5.1f} s  {name}: {error}", flush=True)
            return None
        self.passed += 1
        said = f": {result}" if isinstance(result, str) else ""
        print(f"ok    {time.monotonic() - began:5.1f} s  {name}{said}", flush=True)
        return result

    def summary(self) -> int:
        """Print it; the exit code."""
        seconds = time.monotonic() - self._began
        print(f"{self.passed} checks hold, {len(self.failed)} do not, in {seconds:.0f} s")
        for name in self.failed:
            print(f"  {name}")
        return 1 if self.failed else 0


def run(
    *command: str | Path, folder: Path | None = None, environment: Mapping[str, str] | None = None, seconds: float = 300
) -> str:
    """
    A program's standard output.

    Args:
        folder: where it runs.
        environment: all of its variables; else ours.

    Raises:
        CheckFailed: it ended badly, or did not end in time.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            words, cwd=folder, env=environment, timeout=seconds, capture_output=True, text=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckFailed(f"{named(words)}: {error}") from None
    if done.returncode != 0:
        told = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
        raise CheckFailed(f"{named(words)} ended with {done.returncode}:\n{told}")
    return done.stdout


def named(words: Sequence[str]) -> str:
    """A command for people: without the folders of its program."""
    return " ".join([Path(words[0]).name, *words[1:]])


def require(holds: bool, message: str) -> None:
    """
    Fail unless it holds.

    Raises:
        CheckFailed: it does not.
    """
    if not holds:
        raise CheckFailed(message)
