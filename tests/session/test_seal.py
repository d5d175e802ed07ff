"""Authenticated encryption, key rings and rotation."""

import base64

import pytest

from oidcgate.errors import InvalidSeal
from oidcgate.session.seal import HEAD_SIZE, KEY_ID_SIZE, KEY_SIZE, VERSION, KeyRing, decode_key, encode_key

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
NONCE = b"twelve bytes"
RECORD = {"purpose": "session", "context": "session:abc"}


def sealed(plain: bytes = b"a token", *, keys: tuple[bytes, ...] = (OLD,)) -> bytes:
    """A sealed record."""
    return KeyRing(keys).seal(plain, **RECORD, nonce=NONCE)


@pytest.mark.parametrize("plain", [b"", b"x", b"a token" * 1000], ids=["empty", "short", "long"])
def test_seal(plain: bytes) -> None:
    """What was sealed opens again, and cannot be read meanwhile."""
    box = sealed(plain)
    assert KeyRing([OLD]).unseal(box, **RECORD) == plain
    assert not plain or plain not in box
    assert len(box) == HEAD_SIZE + len(plain) + 16


@pytest.mark.parametrize("position", range(len(sealed())))
def test_changed(position: int) -> None:
    """A single changed bit anywhere, and it does not open."""
    box = bytearray(sealed())
    box[position] ^= 1
    with pytest.raises(InvalidSeal):
        KeyRing([OLD]).unseal(bytes(box), **RECORD)


@pytest.mark.parametrize("length", range(len(sealed())))
def test_cut(length: int) -> None:
    """Cut short anywhere, it does not open."""
    with pytest.raises(InvalidSeal):
        KeyRing([OLD]).unseal(sealed()[:length], **RECORD)


@pytest.mark.parametrize(
    ("purpose", "context"),
    [
        pytest.param("session", "session:abd", id="another-record"),
        pytest.param("session", "", id="no-context"),
        pytest.param("grant", "session:abc", id="another-purpose"),
        pytest.param("session:", "abc", id="border-moved"),
    ],
)
def test_moved(purpose: str, context: str) -> None:
    """A record that was moved to another place or purpose does not open."""
    with pytest.raises(InvalidSeal, match="changed, moved, or for another purpose"):
        KeyRing([OLD]).unseal(sealed(), purpose=purpose, context=context)


def test_border_of_purpose_and_context() -> None:
    """Where the purpose ends is bound too: no two pairs of texts mean the same."""
    box = KeyRing([OLD]).seal(b"x", purpose="a", context="b:c", nonce=NONCE)
    with pytest.raises(InvalidSeal):
        KeyRing([OLD]).unseal(box, purpose="a:b", context="c")


def test_another_ring() -> None:
    """A record of a key that is not on the ring says so."""
    with pytest.raises(InvalidSeal, match="not on the ring"):
        KeyRing([NEW]).unseal(sealed(), **RECORD)


def test_rotation() -> None:
    """The first key seals and every key opens, so a new key in front signs nobody out."""
    before, both, after = KeyRing([OLD]), KeyRing([NEW, OLD]), KeyRing([NEW])
    assert both.unseal(before.seal(b"old", **RECORD, nonce=NONCE), **RECORD) == b"old"
    box = both.seal(b"new", **RECORD, nonce=NONCE)
    assert after.unseal(box, **RECORD) == b"new"
    with pytest.raises(InvalidSeal):
        before.unseal(box, **RECORD)


def test_key_id_is_bound_to_the_key() -> None:
    """A record under another key's id does not open."""
    ring = KeyRing([NEW, OLD])
    box = ring.seal(b"x", **RECORD, nonce=NONCE)
    other = KeyRing([OLD]).seal(b"", **RECORD, nonce=NONCE)[1 : 1 + KEY_ID_SIZE]
    with pytest.raises(InvalidSeal, match="does not open"):
        ring.unseal(VERSION + other + box[1 + KEY_ID_SIZE :], **RECORD)


def test_ring() -> None:
    """A ring needs a key, counts each once, and shows none."""
    with pytest.raises(ValueError, match="needs a key"):
        KeyRing([])
    assert len(KeyRing([OLD, NEW, OLD])) == 2
    assert repr(KeyRing([OLD])) == "<KeyRing of 1>"


def test_key_line() -> None:
    """A key as a line reads back, with the padding that other programs add, and in either alphabet."""
    key = b"\xfb\xff" * 16
    line = encode_key(key)
    assert len(line) == 43
    assert decode_key(line + "\n") == key
    assert decode_key(base64.b64encode(key).decode()) == key
    assert decode_key(base64.urlsafe_b64encode(key).decode()) == key


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("", "a key has 32 bytes, this one has 0", id="empty"),
        pytest.param(encode_key(b"short"), "a key has 32 bytes, this one has 5", id="short"),
        pytest.param(encode_key(bytes(33)), "a key has 32 bytes, this one has 33", id="long"),
        pytest.param("a" * 41, "one line of base64, as `oidcgate secret` prints it", id="cut"),
        pytest.param("a" * 20 + " " + "b" * 22, "one line of base64", id="space-inside"),
        pytest.param("ä" * 43, "one line of base64", id="not-ascii"),
        pytest.param("-----BEGIN PRIVATE KEY-----", "one line of base64", id="pem"),
    ],
)
def test_no_key(line: str, message: str) -> None:
    """What is no key says what is."""
    with pytest.raises(ValueError, match=message):
        decode_key(line)


def test_key_size() -> None:
    """Keys are those of AES-256."""
    assert KEY_SIZE == 32
