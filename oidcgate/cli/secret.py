"""`oidcgate secret`: a new key, one line for ``session.keys_file``."""

import secrets

from oidcgate.session.seal import KEY_SIZE, encode_key


def secret() -> int:
    """Print a key."""
    print(new_key())
    return 0


def new_key() -> str:
    """A fresh key as a line of a keys file."""
    return encode_key(secrets.token_bytes(KEY_SIZE))
