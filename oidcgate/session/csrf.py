"""
CSRF tokens of our own forms: the session's secret under a fresh mask.

Pure. Masking makes each page's token another one, so that compression tells nothing about it (BREACH).
"""

import hmac


def masked(secret: str, pad: bytes) -> str:
    """
    A token for one page.

    Args:
        secret: the session's, 32 hexadecimal digits.
        pad: 16 fresh random bytes.
    """
    return pad.hex() + _xor(bytes.fromhex(secret), pad).hex()


def is_genuine(token: str, secret: str) -> bool:
    """Whether a token was made from the session's secret."""
    try:
        raw = bytes.fromhex(token)
    except ValueError:
        return False
    return len(raw) == 32 and hmac.compare_digest(_xor(raw[16:], raw[:16]), bytes.fromhex(secret))


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
