"""
Where tokens are kept between two runs of kubectl: the key ring of the system, else a file of the owner's alone.

Edge: files, and the ``keyring`` package where it is installed.

- Whoever logs in or renews holds the account's lock; it ends with its process, however that ends.
- A file is written aside and renamed, so that a reader sees the old or the new one, and never half of one.
- What cannot be read, or is not as it was written, is no entry. What is kept in both places counts where it is newer.
- Those who waited for the lock are told how the login that they waited for failed, so that one refusal opens one tab.
"""

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from oidcgate.kubectl.account import CredentialError
from oidcgate.kubectl.entry import MAX_RECORD, Entry
from oidcgate.oidc.strictjson import loads_object

SERVICE = "oidcgate"  # in the key ring
_MAX_FAILURE = 2048  # bytes


class Lock:
    """The account's lock, held; what is in its file is how the last login failed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def failure_since(self, began: float) -> str | None:
        """What went wrong for somebody else since then, in seconds since 1970; None = nothing."""
        try:
            record = loads_object(os.pread(self._descriptor, _MAX_FAILURE, 0), max_bytes=_MAX_FAILURE)
            at, sentence = float(str(record["at"])), str(record["sentence"])
        except (ValueError, KeyError, TypeError):
            return None
        return sentence if at >= began else None

    def note_failure(self, sentence: str, at: float) -> None:
        """Tell those who wait."""
        record = json.dumps({"at": at, "sentence": sentence[: _MAX_FAILURE // 8]}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, record, 0)


class Cache:
    """
    The tokens of one account.

    Args:
        folder: made if need be, for the owner alone.
        name: the account's.
        ring: the key ring, None = none; see `open_ring`.
    """

    def __init__(self, folder: Path, name: str, *, ring: Any = None, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._name = name
        self._ring = ring
        self._clock = clock

    def read(self) -> Entry | None:
        """What is kept; the newer one of two."""
        found = [Entry.from_json(text) for text in (self._from_ring(), self._from_file()) if text]
        return max((entry for entry in found if entry is not None), key=lambda entry: entry.stored, default=None)

    def write(self, entry: Entry) -> None:
        """
        Keep an entry; the caller holds the lock.

        Raises:
            CredentialError: it cannot be written.
        """
        text = entry.to_json()
        if self._into_ring(text):
            self._file.unlink(missing_ok=True)
            return
        self._drop_from_ring()
        with self._explained():
            self._write_file(text)

    def drop(self) -> None:
        """
        Forget the entry, in both places; the caller holds the lock.

        Raises:
            CredentialError: it cannot be removed.
        """
        self._drop_from_ring()
        with self._explained():
            self._file.unlink(missing_ok=True)

    @contextmanager
    def lock(self, waiting: Callable[[], None]) -> Iterator[Lock]:
        """
        Hold the account's lock; ``waiting`` is called once if somebody else does.

        Raises:
            CredentialError: the folder cannot be used.
        """
        with self._explained():
            self._open_folder()
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._folder / f"{self._name}.lock", flags, 0o600)
        try:
            with self._explained():
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    waiting()
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Lock(descriptor)
        finally:
            os.close(descriptor)

    @property
    def _file(self) -> Path:
        return self._folder / f"{self._name}.json"

    def _open_folder(self) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it is not a folder of yours")
        if stat.S_IMODE(found.st_mode) & 0o077:
            self._folder.chmod(0o700)

    def _from_file(self) -> str | None:
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                return None  # somebody else may have written it, or read it
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(MAX_RECORD).decode("utf-8", "replace")
        finally:
            os.close(descriptor)

    def _write_file(self, text: str) -> None:
        self._open_folder()
        aside = self._folder / f"{self._name}.new"
        aside.unlink(missing_ok=True)  # of somebody who was killed while he held the lock
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._file)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise CredentialError(
                f"tokens cannot be kept in {self._folder} ({reason}); make it writable for you alone, or set "
                "XDG_CACHE_HOME to another folder"
            ) from error

    # The key ring. Its back ends raise whatever they like, and none of it is worth more than the file.

    def _from_ring(self) -> str | None:
        if self._ring is None:
            return None
        with suppress(Exception):
            text = self._ring.get_password(SERVICE, self._name)
            return text if isinstance(text, str) else None
        return None

    def _into_ring(self, text: str) -> bool:
        if self._ring is None:
            return False
        with suppress(Exception):
            self._ring.set_password(SERVICE, self._name, text)
        return self._from_ring() == text  # some take what they are given and keep nothing

    def _drop_from_ring(self) -> None:
        if self._ring is not None:
            with suppress(Exception):
                self._ring.delete_password(SERVICE, self._name)


def open_ring() -> Any:
    """The ``keyring`` package, when it is installed and has a place to keep things; else None."""
    try:
        ring: Any = import_module("keyring")
        return ring if ring.get_keyring().priority >= 1 else None
    except Exception:  # not installed, or its back ends fail as they load
        return None


def cache_folder(environment: Mapping[str, str], home: Path) -> Path:
    """Where files go (XDG Base Directory Specification: a relative path is to be ignored)."""
    base = environment.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else home / ".cache") / "oidcgate"
