"""
Authenticated encryption of what is kept in the store and in the login cookie.

Pure. AES-256-GCM (NIST SP 800-38D) under a key derived by HKDF (RFC 5869) for one purpose; the purpose and a context
(whose record, which issuer) are bound as associated data, so a record that is moved does not open.
The first key of a ring seals, every key opens: that is how keys are rotated without signing anybody out.
"""

import base64
import hashlib
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from oidcgate.errors import InvalidSeal

VERSION = b"\x01"
KEY_SIZE = 32
KEY_ID_SIZE = 4
NONCE_SIZE = 12
HEAD_SIZE = len(VERSION) + KEY_ID_SIZE + NONCE_SIZE


def encode_key(key: bytes) -> str:
    """A key as one line of a keys file."""
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def decode_key(line: str) -> bytes:
    """
    One line of a keys file.

    Raises:
        ValueError: not 32 bytes of base64.
    """
    try:
        text = line.strip().rstrip("=").replace("-", "+").replace("_", "/")
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise ValueError(f"a key is one line of base64, as `oidcgate secret` prints it ({error})") from None
    if len(key) != KEY_SIZE:
        raise ValueError(f"a key has {KEY_SIZE} bytes, this one has {len(key)}")
    return key


class KeyRing:
    """The keys of ``session.keys_file``; derives a cipher for each key and purpose once."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = {hashlib.sha256(b"oidcgate key id" + key).digest()[:KEY_ID_SIZE]: key for key in keys}
        if not self._keys:
            raise ValueError("a key ring needs a key")
        self._first = next(iter(self._keys))
        self._ciphers: dict[tuple[bytes, str], AESGCM] = {}

    def __repr__(self) -> str:
        return f"<KeyRing of {len(self._keys)}>"

    def __len__(self) -> int:
        return len(self._keys)

    def seal(self, plain: bytes, *, purpose: str, context: str, nonce: bytes) -> bytes:
        """
        Seal bytes with the first key.

        Args:
            purpose: what the bytes are for; each has a key of its own.
            context: bound, not stored: the same must be given to open.
            nonce: 12 fresh random bytes.
        """
        cipher = self._cipher(self._first, purpose)
        return VERSION + self._first + nonce + cipher.encrypt(nonce, plain, _bound(purpose, context))

    def unseal(self, sealed: bytes, *, purpose: str, context: str) -> bytes:
        """
        Open sealed bytes with whichever key sealed them.

        Raises:
            InvalidSeal: unknown key, other purpose or context, or changed bytes.
        """
        key_id, nonce = sealed[1 : 1 + KEY_ID_SIZE], sealed[1 + KEY_ID_SIZE : HEAD_SIZE]
        if sealed[:1] != VERSION or key_id not in self._keys:
            raise InvalidSeal("sealed with a key that is not on the ring")
        try:
            return self._cipher(key_id, purpose).decrypt(nonce, sealed[HEAD_SIZE:], _bound(purpose, context))
        except (InvalidTag, ValueError) as error:
            raise InvalidSeal("does not open: changed, moved, or for another purpose") from error

    def _cipher(self, key_id: bytes, purpose: str) -> AESGCM:
        cipher = self._ciphers.get((key_id, purpose))
        if cipher is None:
            info = b"oidcgate " + purpose.encode()
            derived = HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=None, info=info).derive(self._keys[key_id])
            cipher = self._ciphers[key_id, purpose] = AESGCM(derived)
        return cipher


def _bound(purpose: str, context: str) -> bytes:
    return f"{len(purpose)}:{purpose}:{context}".encode()
