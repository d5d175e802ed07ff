"""A grant: one person's tokens, and the sessions that use them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from oidcgate.errors import InvalidSeal
from oidcgate.oidc.claims import Claims
from oidcgate.session.grant import Grant, Token, grant_from_bytes, grant_key

NOW = 1_800_000_000.0
ISSUER = "https://dex.example.com"
KEY = grant_key(ISSUER, "gate", "jane")
CLAIMS = Claims(
    issuer=ISSUER, subject="jane", audience=("gate",), expires=NOW + 300, issued_at=NOW, groups=("team-a", "team-b")
)
FOR_A = replace(CLAIMS, audience=("a", "gate"), expires=NOW + 400)
GRANT = Grant(
    key=KEY,
    issuer=ISSUER,
    client_id="gate",
    claims=CLAIMS,
    tokens={"": Token("a.b.c", CLAIMS, NOW), "a": Token("d.e.f", FOR_A, NOW + 1)},
    refresh_token="refresh",
    granted=("a", "b"),
    obtained=NOW,
    sessions=(("session:1", NOW + 100, "session:1"), ("session:2", NOW + 200, "session:2")),
)
HANDED_OVER = replace(
    GRANT,
    sessions=(
        ("session:1", NOW + 100, "session:1"),
        ("session:2", NOW + 100, "session:2"),
        ("session:3", NOW + 100, "session:1"),
        ("session:4", NOW + 100, "session:4"),
    ),
)


def test_key() -> None:
    """The store's key names nobody."""
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
    assert found.sessions == (GRANT.sessions[1], ("session:3", NOW + 300, "session:3"))


def test_with_the_same_session() -> None:
    """A session counts once, with its new end."""
    found = GRANT.with_session("session:1", NOW + 300, now=NOW)
    assert found.sessions == (GRANT.sessions[1], ("session:1", NOW + 300, "session:1"))


def test_with_a_session_handed_over() -> None:
    """It counts as the browser's whose session it came from."""
    found = GRANT.with_session("session:3", NOW + 300, now=NOW, root="session:1")
    assert found.sessions[-1] == ("session:3", NOW + 300, "session:1")
    assert found.keys_of_browser("session:1") == ("session:1", "session:3")
    assert found.keys_of_browser("session:2") == ("session:2",)
    assert found.session_keys == ("session:1", "session:2", "session:3")
    assert found.has_session("session:3")
    assert not found.has_session("session:4")


def test_without_session() -> None:
    """A session that ended goes; one that is not there changes nothing."""
    assert GRANT.without_session("session:1").sessions == GRANT.sessions[1:]
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
    """Beyond the limit the oldest sessions have to go."""
    assert GRANT.over_limit(most) == over


@pytest.mark.parametrize(
    ("most", "over"),
    [
        pytest.param(3, (), id="exactly"),
        pytest.param(2, ("session:1", "session:3"), id="the-oldest-with-all-it-has"),
        pytest.param(1, ("session:1", "session:2", "session:3"), id="two"),
    ],
)
def test_over_limit_counts_browsers(most: int, over: tuple[str, ...]) -> None:
    """A browser that was handed over to other hosts counts once, and goes as a whole."""
    assert HANDED_OVER.over_limit(most) == over


def test_a_browser_whose_first_session_ended() -> None:
    """Its other sessions still count as one browser."""
    assert HANDED_OVER.without_session("session:1").over_limit(2) == ("session:2",)


def test_ends() -> None:
    """A grant ends with its last session; without one it is over."""
    assert GRANT.ends == NOW + 200
    assert replace(GRANT, sessions=()).ends == 0.0


@pytest.mark.parametrize(
    ("refresh_token", "audience", "allows"),
    [
        pytest.param("refresh", "", True, id="ourselves"),
        pytest.param("refresh", "b", True, id="granted"),
        pytest.param("refresh", "c", False, id="not-asked-for-at-the-login"),
        pytest.param(None, "a", False, id="no-refresh-token"),
        pytest.param(None, "", False, id="no-refresh-token-for-ourselves"),
    ],
)
def test_allows(refresh_token: str | None, audience: str, allows: bool) -> None:
    """A refresh may narrow what the login was for, never widen it (RFC 6749 §6)."""
    assert replace(GRANT, refresh_token=refresh_token).allows(audience) is allows


def test_with_login() -> None:
    """Another login brings another refresh token; what it brings no token for keeps the one it has."""
    claims = replace(CLAIMS, audience=("b", "gate"), groups=())
    token = Token("g.h.i", claims, NOW + 9)
    found = GRANT.with_login(claims, refresh_token="second", tokens={"b": token}, now=NOW + 9)
    assert (found.refresh_token, found.granted, found.obtained, found.claims) == ("second", ("b",), NOW + 9, claims)
    assert found.tokens == {**GRANT.tokens, "b": token}


def test_with_login_without_a_refresh_token() -> None:
    """The refresh token that is there stays, and with it what it was granted for."""
    claims = replace(CLAIMS, audience=("gate",))
    found = GRANT.with_login(claims, refresh_token=None, tokens={}, now=NOW + 9)
    assert (found.refresh_token, found.granted, found.obtained) == ("refresh", ("a", "b"), NOW + 9)


@pytest.mark.parametrize(("now", "obtained"), [(NOW + 5, NOW + 5), (NOW - 5, NOW)], ids=["later", "a-slow-clock"])
def test_with_token(now: float, obtained: float) -> None:
    """A renewal replaces one audience's token; by no clock is it older than the login."""
    found = GRANT.with_token("a", "new", FOR_A, now=now)
    assert found.tokens == {"": GRANT.tokens[""], "a": Token("new", FOR_A, obtained)}
    assert found.claims == FOR_A
    assert found.obtained == GRANT.obtained


def test_id_token() -> None:
    """The plain token, where there is one."""
    assert GRANT.id_token == "a.b.c"
    assert replace(GRANT, tokens={}).id_token == ""


@pytest.mark.parametrize(
    "grant",
    [GRANT, HANDED_OVER, replace(GRANT, refresh_token=None, granted=(), tokens={}, sessions=())],
    ids=["full", "handed-over", "bare"],
)
def test_record(grant: Grant) -> None:
    """A grant reads back as it was; its key is not in the record but bound to it."""
    assert grant_from_bytes(KEY, grant.to_bytes()) == grant
    assert KEY.encode() not in grant.to_bytes()


def changed(**fields: Any) -> bytes:
    """The record with fields set, or removed where they are ``...``."""
    record = json.loads(GRANT.to_bytes()) | fields
    return json.dumps({key: value for key, value in record.items() if value is not ...}).encode()


def test_record_of_the_release_before() -> None:
    """Its one token is the client's own, and each session a browser's only one."""
    record = {
        "v": 1,
        "issuer": ISSUER,
        "client_id": "gate",
        "claims": CLAIMS.to_record(),
        "id_token": "a.b.c",
        "refresh_token": "refresh",
        "obtained": NOW,
        "sessions": [["session:1", NOW + 100], ["session:2", NOW + 200]],
    }
    tokens = {"": Token("a.b.c", CLAIMS, NOW)}
    assert grant_from_bytes(KEY, json.dumps(record).encode()) == replace(GRANT, tokens=tokens, granted=())
    del record["id_token"]
    with pytest.raises(InvalidSeal, match="lacks a field"):
        grant_from_bytes(KEY, json.dumps(record).encode())


def test_record_of_a_newer_release() -> None:
    """A field that a newer release added is ignored: two releases run side by side."""
    assert grant_from_bytes(KEY, changed(audiences={})) == GRANT


@pytest.mark.parametrize("version", [0, 3, "2", None, ...])
def test_record_of_another_version(version: object) -> None:
    """A record of a version that this release does not know is no grant."""
    with pytest.raises(InvalidSeal, match="another version"):
        grant_from_bytes(KEY, changed(v=version))


@pytest.mark.parametrize("field", ["issuer", "claims", "tokens", "refresh_token", "granted", "sessions"])
def test_record_without_a_needed_field(field: str) -> None:
    """A record that lacks a field is no grant, and no crash."""
    with pytest.raises(InvalidSeal, match="lacks a field"):
        grant_from_bytes(KEY, changed(**{field: ...}))


@pytest.mark.parametrize("claims", [None, {}, []])
def test_record_with_odd_claims(claims: object) -> None:
    """Claims that are none are no grant either."""
    with pytest.raises(InvalidSeal, match="lacks a field"):
        grant_from_bytes(KEY, changed(claims=claims))


@pytest.mark.parametrize("tokens", [None, [], {"a": {}}, {"a": None}, {"a": {"id_token": "a.b.c", "obtained": 1}}])
def test_record_with_odd_tokens(tokens: object) -> None:
    """Nor are tokens that are none."""
    with pytest.raises(InvalidSeal, match="lacks a field"):
        grant_from_bytes(KEY, changed(tokens=tokens))


def test_repr() -> None:
    """No token shows in a repr."""
    shown = repr(replace(GRANT, tokens={"a": Token("geheim", CLAIMS, NOW)}, refresh_token="geheim"))
    assert "geheim" not in shown


def test_other_groups_make_every_token_due() -> None:
    """What one audience's renewal says of the person counts for all: as after a login, the others are older than it."""
    before = GRANT.with_token("a", "first", FOR_A, now=NOW + 1)
    assert before.obtained == GRANT.obtained
    after = before.with_token("a", "second", replace(FOR_A, groups=("others",)), now=NOW + 2)
    assert after.obtained == NOW + 2
    assert after.tokens[""].obtained < after.obtained == after.tokens["a"].obtained
