"""`oidcgate secret`: a new key, one line for ``session.keys_file``."""

import secrets

from oidcgate.session.seal import KEY_SIZE, encode_key


def secret() -> int:
    """Print a key."""
    print(encode_key(secrets.token_bytes(KEY_SIZE)))
    return 0
