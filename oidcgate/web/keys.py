"""
Where the key ring comes from.

Edge: reads and creates files.
"""

import os
import secrets
from pathlib import Path

from oidcgate.config.model import Session
from oidcgate.config.secret import UnusableSecret, read_private
from oidcgate.errors import ConfigError, Problem
from oidcgate.session.seal import KEY_SIZE, KeyRing, decode_key, encode_key


def load_ring(session: Session) -> KeyRing:
    """
    The keys of ``keys_file``; without one, those in ``state_dir``, made at the first start. The memory store needs
    none that lasts.

    Raises:
        ConfigError: no usable key.
    """
    if session.keys_file is not None:
        return read_ring(Path(session.keys_file), "session.keys_file")
    if session.store == "memory":
        return KeyRing([secrets.token_bytes(KEY_SIZE)])
    path = Path(session.state_dir) / "keys"
    if not path.exists():
        _generate(path)
    return read_ring(path, "session.state_dir")


def read_ring(path: Path, yaml_path: str) -> KeyRing:
    """
    The keys in a file, one a line; blank lines and comments are skipped.

    Raises:
        ConfigError: unreadable, or a line that is no key.
    """
    try:
        lines = read_private(path).decode("utf-8", "replace").splitlines()
        keys = [decode_key(line) for line in lines if line.strip() and not line.strip().startswith("#")]
        return KeyRing(keys)
    except (UnusableSecret, ValueError) as error:
        raise ConfigError([Problem(yaml_path, f"{path}: {error}")]) from None


def _generate(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        written_aside(path, encode_key(secrets.token_bytes(KEY_SIZE)) + "\n")
    except FileExistsError:
        return  # another process was faster
    except OSError as error:
        raise ConfigError([Problem("session.state_dir", f"{path.parent} cannot be used: {error.strerror}")]) from None


def written_aside(path: Path, text: str) -> None:
    """
    A new private file that is there whole or not at all.

    Raises:
        FileExistsError: somebody else made it first.
        OSError: it cannot be made.
    """
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
        os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
