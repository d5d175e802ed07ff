"""
Secrets that come from files or the environment, read again when they change.

Edge: reads files. A secret's text shows in no ``repr``; a file that everybody on the machine can read is refused.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path


class UnusableSecret(ValueError):
    """A secret's file or variable cannot be used; the message is for the operator."""


def read_private(path: Path) -> bytes:
    """
    The contents of a file that only its owner and group may read.

    Raises:
        UnusableSecret: missing, unreadable or readable by everybody.
    """
    try:
        mode = path.stat().st_mode
        if mode & stat.S_IROTH:
            raise UnusableSecret(
                f"{path} can be read by everybody on this machine; run: chmod o-rwx {path}"
                " (for a Kubernetes Secret volume set defaultMode: 0440)"
            )
        return path.read_bytes()
    except OSError as error:
        raise UnusableSecret(f"{path} cannot be read: {error.strerror}") from None


@dataclass(slots=True)
class SecretFile:
    """A one-line secret in a file; ``read()`` looks at the file again when its time or inode changed."""

    path: Path
    _stamp: tuple[int, int] | None = field(default=None, repr=False)
    _value: str = field(default="", repr=False)

    def read(self) -> str:
        """
        The secret as it is now.

        Raises:
            UnusableSecret: as ``read_private``, or empty.
        """
        try:
            status = self.path.stat()
        except OSError as error:
            raise UnusableSecret(f"{self.path} cannot be read: {error.strerror}") from None
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            try:
                value = read_private(self.path).decode("utf-8", "strict").strip()
            except UnicodeDecodeError:
                raise UnusableSecret(f"{self.path} is not text (UTF-8)") from None
            if not value:
                raise UnusableSecret(f"{self.path} is empty")
            self._value, self._stamp = value, stamp
        return self._value


def read_environment(name: str) -> str:
    """
    The secret in an environment variable.

    Raises:
        UnusableSecret: unset or empty.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        raise UnusableSecret(f"the environment variable {name} is not set")
    return value
