"""What a peer is told about a person: every name always there, no value that reads as two, and within its buffer."""

from dataclasses import replace

import pytest

from oidcgate.oidc.idtoken import Claims
from oidcgate.web.identity import BUDGET, groups_value, identity_lines, value_of

AUTH, REQUEST, FORWARDED = ("authorization",), ("x-auth-request",), ("x-forwarded",)
EVERY = (*AUTH, *REQUEST, *FORWARDED)
CLAIMS = Claims(
    issuer="https://dex.example.com",
    subject="s-1",
    audience=("gate",),
    expires=2_000_000_000.0,
    issued_at=1_900_000_000.0,
    email="alice@example.com",
    email_verified=True,
    groups=("admins", "team shop"),
    name="Alice",
    preferred_username="alice",
)
BEARER = b"Authorization: Bearer abc.def.ghi\r\n"
NAMES = {
    AUTH: ["Authorization"],
    REQUEST: [
        "X-Auth-Request-User",
        "X-Auth-Request-Email",
        "X-Auth-Request-Groups",
        "X-Auth-Request-Preferred-Username",
    ],
    FORWARDED: ["X-Forwarded-Id-Token", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Group"],
}


def told(claims: Claims | None = CLAIMS, bearer: bytes = BEARER, groups: tuple[str, ...] = EVERY) -> dict[str, str]:
    """The lines by name; each is whole, and no name is there twice."""
    raw = identity_lines(claims, bearer, groups)
    lines = raw.decode().split("\r\n")
    assert lines.pop() == ""
    pairs = [line.split(": ", 1) for line in lines]
    found = {name: value for name, value in pairs}
    assert len(found) == len(pairs)
    return found


def test_everything() -> None:
    """The bearer and who the person is, in both families of names."""
    assert told() == {
        "Authorization": "Bearer abc.def.ghi",
        "X-Forwarded-Id-Token": "abc.def.ghi",
        "X-Auth-Request-User": "s-1",
        "X-Auth-Request-Email": "alice@example.com",
        "X-Auth-Request-Groups": "admins,team shop",
        "X-Auth-Request-Preferred-Username": "alice",
        "X-Forwarded-User": "s-1",
        "X-Forwarded-Email": "alice@example.com",
        "X-Forwarded-Group": "admins,team shop",
    }


@pytest.mark.parametrize("groups", list(NAMES))
def test_only_what_is_configured(groups: tuple[str, ...]) -> None:
    """A family that is not asked for is not there; of one that is, every name."""
    assert list(told(groups=groups)) == NAMES[groups]


def test_nobody() -> None:
    """Where nobody needed to sign in, every name is there all the same, and empty (or the client's own would pass)."""
    found = told(None, b"")
    assert set(found) == {name for names in NAMES.values() for name in names}
    assert set(found.values()) == {""}


def test_without_a_token() -> None:
    """A site that gets none is told who it is, and the names of the token are empty."""
    found = told(bearer=b"")
    assert (found["Authorization"], found["X-Forwarded-Id-Token"]) == ("", "")
    assert found["X-Auth-Request-User"] == "s-1"


def test_an_address_counts_once_it_is_verified() -> None:
    """Whoever may choose an address would be whoever they like."""
    found = told(replace(CLAIMS, email_verified=False))
    assert (found["X-Auth-Request-Email"], found["X-Forwarded-Email"]) == ("", "")
    assert found["X-Auth-Request-User"] == "s-1"


def test_absent_claims_are_empty() -> None:
    """Names stay."""
    bare = replace(CLAIMS, email=None, preferred_username=None, groups=())
    found = told(bare, groups=REQUEST)
    assert found == dict.fromkeys(NAMES[REQUEST], "") | {"X-Auth-Request-User": "s-1"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, b""),
        ("", b""),
        ("a b", b"a b"),
        (" a ", b""),
        ("a ", b""),
        ("\u00a0a", b""),
        ("a\u200bb", b""),
        ("a\u2028b", b""),
        ("a\x85b", b""),
        ("\u00e4", "\u00e4".encode()),
        ("a\r\nX-Evil: 1", b""),
        ("a\nb", b""),
        ("a\x00b", b""),
        ("a\tb", b""),
        ("a\x7f", b""),
        ("\ud800", b""),
    ],
)
def test_values(text: str | None, value: bytes) -> None:
    """No control character ever; a claim cannot write a header of its own."""
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("groups", "value"),
    [
        ((), b""),
        (("a",), b"a"),
        (("a", "b c"), b"a,b c"),
        (("a", "b,admins", "c"), b"a,c"),
        (("b,admins",), b""),
        (("a", "x\ny", "", " "), b"a"),
        ((" a ", "b"), b"b"),
    ],
)
def test_groups(groups: tuple[str, ...], value: bytes) -> None:
    """A group whose name holds a comma would read as two, one of them somebody else's: it is left out."""
    assert groups_value(groups) == value


def test_hostile_claims_write_no_line() -> None:
    """Whatever the provider says, there are as many lines as names."""
    evil = "x\r\nAuthorization: Bearer evil\r\n\r\n"
    found = told(replace(CLAIMS, subject=evil, email=evil, preferred_username=evil, groups=(evil, "ok")))
    assert "evil" not in str(found)
    assert found["X-Auth-Request-Groups"] == "ok"


@pytest.mark.parametrize("families", [REQUEST, (*AUTH, *REQUEST), EVERY])
@pytest.mark.parametrize("token", [1, 100, 1500, 3400, 3700])
@pytest.mark.parametrize("size", [0, 200, 1000, 1900, 3500, 9000])
def test_within_the_budget(families: tuple[str, ...], token: int, size: int) -> None:
    """As long as the token lets it, all lines fit; what does not fit is emptied, never cut, and never missing."""
    claims = replace(CLAIMS, groups=("g" * size,) if size else ())
    bearer = b"Authorization: Bearer " + b"t" * token + b"\r\n"
    lines = identity_lines(claims, bearer, families)
    found = told(claims, bearer, families)
    assert list(found) == [
        *(NAMES[AUTH] if "authorization" in families else ()),
        *(NAMES[FORWARDED][:1] if "x-forwarded" in families else ()),
        *(NAMES[REQUEST] if "x-auth-request" in families else ()),
        *(NAMES[FORWARDED][1:] if "x-forwarded" in families else ()),
    ]
    bare = len(identity_lines(None, bearer, families))
    assert len(lines) <= BUDGET or bare > BUDGET
    for name in ("X-Auth-Request-Groups", "X-Forwarded-Group"):
        assert found.get(name, "") in ("", "g" * size)
    if "authorization" in families:
        assert found["Authorization"] == "Bearer " + "t" * token


def test_a_token_over_the_budget_leaves_all_as_it_is() -> None:
    """Buffers must be raised for it anyway, so nothing is kept back."""
    claims = replace(CLAIMS, groups=("g" * 2000,))
    found = told(claims, b"Authorization: Bearer " + b"t" * 5000 + b"\r\n", (*AUTH, *REQUEST))
    assert found["X-Auth-Request-Groups"] == "g" * 2000
