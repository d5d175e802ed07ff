"""Sessions: the handle's shape, the limits, the record."""

import json
from dataclasses import replace
from typing import Any

import pytest

from oidcgate.errors import InvalidHandle, InvalidSeal
from oidcgate.session.session import FIELDS, HANDLE_LENGTH, Session, encode_handle, session_from_bytes, session_key

NOW = 1_800_000_000.0
SESSION = Session(
    key="session:abc",
    grant_key="grant:def",
    started=NOW,
    seen=NOW,
    ends=NOW + 43200,
    site="https://ui.example.com",
    csrf="00" * 16,
    sid="sid-1",
    id_token_hint="a.b.c",
    address="192.0.2.1",
    agent="Firefox",
)


def test_handle() -> None:
    """A handle is 256 bits as a cookie value; the store's key is its hash and does not show it."""
    handle = encode_handle(bytes(range(32)))
    assert len(handle) == HANDLE_LENGTH
    key = session_key(handle.encode())
    assert key.startswith("session:")
    assert len(key) == len("session:") + 64
    assert handle not in key
    assert session_key(encode_handle(bytes(32)).encode()) != key


@pytest.mark.parametrize("handle", [b"", b"a" * 42, b"a" * 44, b"a" * 3900], ids=["empty", "short", "long", "huge"])
def test_no_handle(handle: bytes) -> None:
    """What has not a handle's shape is refused before the store is asked."""
    with pytest.raises(InvalidHandle):
        session_key(handle)


@pytest.mark.parametrize(
    ("seen", "now", "over"),
    [
        pytest.param(0, 0, False, id="just-begun"),
        pytest.param(0, 3599.9, False, id="almost-idle"),
        pytest.param(0, 3600, True, id="idle"),
        pytest.param(43000, 43199.9, False, id="almost-the-lifetime"),
        pytest.param(43000, 43200, True, id="the-lifetime-however-busy"),
    ],
)
def test_over(seen: float, now: float, over: bool) -> None:
    """A session ends at its idle limit and, however busy, at its absolute one."""
    assert SESSION.used(NOW + seen).is_over(NOW + now, idle=3600) is over


def test_used() -> None:
    """Being seen changes nothing else."""
    assert SESSION.used(NOW + 5) == replace(SESSION, seen=NOW + 5)


def test_record() -> None:
    """A session reads back as it was; its key is not in the record but bound to it."""
    record = SESSION.to_bytes()
    assert session_from_bytes(SESSION.key, record) == SESSION
    assert b"session:abc" not in record


def changed(**fields: Any) -> bytes:
    """The record with fields set, or removed where None."""
    record = json.loads(SESSION.to_bytes()) | fields
    return json.dumps({key: value for key, value in record.items() if value is not None}).encode()


def test_record_of_a_newer_release() -> None:
    """A field that a newer release added is ignored: two releases run side by side."""
    assert session_from_bytes(SESSION.key, changed(colour="blue")) == SESSION


def test_record_of_an_older_release() -> None:
    """A field that an older release did not write has its default."""
    assert session_from_bytes(SESSION.key, changed(agent=None)) == replace(SESSION, agent="")


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(changed(v=2), id="newer"),
        pytest.param(changed(v=0), id="older"),
        pytest.param(changed(v=None), id="none"),
        pytest.param(changed(v="1"), id="text"),
    ],
)
def test_record_of_another_version(record: bytes) -> None:
    """A record of a version that this release does not know is no session."""
    with pytest.raises(InvalidSeal, match="another version"):
        session_from_bytes(SESSION.key, record)


@pytest.mark.parametrize("field", ["grant_key", "csrf", "ends"])
def test_record_without_a_needed_field(field: str) -> None:
    """A record that lacks what every session has is no session, and no crash."""
    with pytest.raises(InvalidSeal, match="lacks"):
        session_from_bytes(SESSION.key, changed(**{field: None}))


def test_repr() -> None:
    """No secret shows in a repr."""
    shown = repr(replace(SESSION, csrf="geheim", id_token_hint="geheim"))
    assert "geheim" not in shown


def test_fields() -> None:
    """Every field is in the record but the key."""
    assert {*FIELDS, "key"} == set(Session.__dataclass_fields__)
