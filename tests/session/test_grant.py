"""A grant: one person's tokens, and the sessions that use them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from oidcgate.errors import InvalidSeal
from oidcgate.oidc.claims import Claims
from oidcgate.session.grant import Grant, grant_from_bytes, grant_key

NOW = 1_800_000_000.0
ISSUER = "https://dex.example.com"
KEY = grant_key(ISSUER, "gate", "jane")
GRANT = Grant(
    key=KEY,
    issuer=ISSUER,
    client_id="gate",
    claims=Claims(
        issuer=ISSUER, subject="jane", audience=("gate",), expires=NOW + 300, issued_at=NOW, groups=("team-a", "team-b")
    ),
    id_token="a.b.c",
    refresh_token="refresh",
    obtained=NOW,
    sessions=(("session:1", NOW + 100), ("session:2", NOW + 200)),
)


def test_key() -> None:
    """The store's key names nobody (SE-01)."""
    assert KEY.startswith("grant:")
    assert "jane" not in KEY
    assert "dex" not in KEY


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(("https://dex.example.com/", "gate", "jane"), id="issuer"),
        pytest.param((ISSUER, "gat", "ejane"), id="border-moved"),
        pytest.param((ISSUER, "gate", "Jane"), id="subject-in-another-case"),
        pytest.param((ISSUER, 'gate", "jane', ""), id="quotes"),
    ],
)
def test_keys_differ(other: tuple[str, str, str]) -> None:
    """Another issuer, client or subject is another grant, however the three are written."""
    assert grant_key(*other) != KEY


def test_with_session() -> None:
    """One more session is put last; those that ended are forgotten."""
    found = GRANT.with_session("session:3", NOW + 300, now=NOW + 150)
    assert found.sessions == (("session:2", NOW + 200), ("session:3", NOW + 300))


def test_with_the_same_session() -> None:
    """A session counts once, with its new end."""
    found = GRANT.with_session("session:1", NOW + 300, now=NOW)
    assert found.sessions == (("session:2", NOW + 200), ("session:1", NOW + 300))


def test_without_session() -> None:
    """A session that ended goes; one that is not there changes nothing."""
    assert GRANT.without_session("session:1").sessions == (("session:2", NOW + 200),)
    assert GRANT.without_session("session:9") == GRANT


@pytest.mark.parametrize(
    ("most", "over"),
    [
        pytest.param(3, (), id="below"),
        pytest.param(2, (), id="exactly"),
        pytest.param(1, ("session:1",), id="one-too-many"),
        pytest.param(0, ("session:1", "session:2"), id="all"),
    ],
)
def test_over_limit(most: int, over: tuple[str, ...]) -> None:
    """Beyond the limit the oldest sessions have to go (SE-06)."""
    assert GRANT.over_limit(most) == over


def test_ends() -> None:
    """A grant ends with its last session; without one it is over."""
    assert GRANT.ends == NOW + 200
    assert replace(GRANT, sessions=()).ends == 0.0


@pytest.mark.parametrize("grant", [GRANT, replace(GRANT, refresh_token=None, sessions=())], ids=["full", "bare"])
def test_record(grant: Grant) -> None:
    """A grant reads back as it was; its key is not in the record but bound to it."""
    assert grant_from_bytes(KEY, grant.to_bytes()) == grant
    assert KEY.encode() not in grant.to_bytes()


def changed(**fields: Any) -> bytes:
    """The record with fields set, or removed where they are ``...``."""
    record = json.loads(GRANT.to_bytes()) | fields
    return json.dumps({key: value for key, value in record.items() if value is not ...}).encode()


def test_record_of_a_newer_release() -> None:
    """A field that a newer release added is ignored: two releases run side by side."""
    assert grant_from_bytes(KEY, changed(audiences={})) == GRANT


@pytest.mark.parametrize("version", [0, 2, "1", None, ...])
def test_record_of_another_version(version: object) -> None:
    """A record of a version that this release does not know is no grant."""
    with pytest.raises(InvalidSeal, match="another version"):
        grant_from_bytes(KEY, changed(v=version))


@pytest.mark.parametrize("field", ["issuer", "claims", "id_token", "refresh_token", "sessions"])
def test_record_without_a_needed_field(field: str) -> None:
    """A record that lacks a field is no grant, and no crash."""
    with pytest.raises(InvalidSeal, match="lacks a field"):
        grant_from_bytes(KEY, changed(**{field: ...}))


@pytest.mark.parametrize("claims", [None, {}, []])
def test_record_with_odd_claims(claims: object) -> None:
    """Claims that are none are no grant either."""
    with pytest.raises(InvalidSeal, match="lacks a field"):
        grant_from_bytes(KEY, changed(claims=claims))


def test_repr() -> None:
    """No token shows in a repr (SE-07)."""
    shown = repr(replace(GRANT, id_token="geheim", refresh_token="geheim"))
    assert "geheim" not in shown
