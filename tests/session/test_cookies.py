"""Cookies as bytes: read strictly, written whole."""

import pytest

from oidcgate.session.cookies import (
    cookie_names,
    expire_cookie,
    find_cookie,
    find_labelled,
    folded,
    named_in,
    set_cookie,
    without_cookies,
)

NAME = b"__Host-oidcgate"
GOOD = b"__Host-oidcgate=abc"
# Names that some parser takes for ours after trimming, unquoting or folding; none of them is.
LOOKALIKES = [
    pytest.param("\u2000__Host-oidcgate".encode(), id="unicode-space-before"),
    pytest.param("__Host-oidcgate\u3000".encode(), id="unicode-space-after"),
    pytest.param("\u00a0__Host-oidcgate".encode(), id="no-break-space"),
    pytest.param("\u200b__Host-oidcgate".encode(), id="zero-width-space"),
    pytest.param("\ufeff__Host-oidcgate".encode(), id="byte-order-mark"),
    pytest.param(b"\xa0__Host-oidcgate", id="latin-1-space"),
    pytest.param(b"\x0b__Host-oidcgate", id="vertical-tab"),
    pytest.param(b"__Host-oidcgate\x0c", id="form-feed"),
    pytest.param(b"\x85__Host-oidcgate", id="next-line"),
    pytest.param(b"\x1f__Host-oidcgate", id="unit-separator"),
    pytest.param(b"\x00__Host-oidcgate", id="nul"),
    pytest.param(b"__Host-oidcgate\x7f", id="delete"),
    pytest.param(b'"__Host-oidcgate"', id="quoted"),
    pytest.param(b"'__Host-oidcgate'", id="single-quoted"),
    pytest.param('"\u2000__Host-oidcgate"'.encode(), id="space-inside-quotes"),
    pytest.param(b"__host-oidcgate", id="lower-case"),
    pytest.param(b"__HOST-OIDCGATE", id="upper-case"),
    pytest.param("__Ho\u017ft-oidcgate".encode(), id="long-s"),
]


def test_names() -> None:
    """On https every cookie has the prefix that binds it to this host; on http, which is local, none has."""
    names = cookie_names("__Host-oidcgate", secure=True)
    assert (names.session, names.login, names.guard) == (
        b"__Host-oidcgate",
        b"__Host-oidcgate-login-",
        b"__Host-oidcgate-guard",
    )
    assert cookie_names("__Host-oidcgate", secure=False).session == b"oidcgate"


@pytest.mark.parametrize("name", ["oidcgate", "__Host-oidcgate", "__Secure-oidcgate"])
def test_names_prefix_follows_the_site(name: str) -> None:
    """Whatever prefix the configuration writes, the site's scheme decides."""
    assert cookie_names(name, secure=True).session == b"__Host-oidcgate"
    assert cookie_names(name, secure=False).session == b"oidcgate"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(GOOD, id="alone"),
        pytest.param(b"a=b; " + GOOD + b"; c=d", id="between-others"),
        pytest.param(b"a=b;" + GOOD, id="no-space"),
        pytest.param(b"a=b;\t " + GOOD + b" \t;c", id="tab-and-space-trimmed"),
        pytest.param(b";; ;" + GOOD + b";", id="empty-pairs"),
        pytest.param(b'a="x; ' + GOOD + b'; y"', id="quotes-of-others-do-not-group"),
        pytest.param(b"\xff\xfe=\xff; " + GOOD, id="others-may-be-bytes"),
        pytest.param(b"__Host-oidcgate2=x; x__Host-oidcgate=y; " + GOOD, id="longer-names"),
    ],
)
def test_found(header: bytes) -> None:
    """Our cookie is found among others, whatever those look like."""
    assert find_cookie(header, NAME) == b"abc"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"", id="no-cookie"),
        pytest.param(b"a=b", id="others-only"),
        pytest.param(b"__Host-oidcgate", id="no-equals-sign"),
        pytest.param(b"__Host-oidcgate=", id="empty"),
        pytest.param(b'__Host-oidcgate="abc"', id="quoted-value"),
        pytest.param(b"__Host-oidcgate=a b", id="space-in-value"),
        pytest.param(b"__Host-oidcgate=a,b", id="comma"),
        pytest.param(b"__Host-oidcgate=a=b", id="equals-sign"),
        pytest.param(b"__Host-oidcgate=a%20b", id="percent"),
        pytest.param(b"__Host-oidcgate=abc\n", id="line-break"),
        pytest.param(b"__Host-oidcgate=\xc3\xa4", id="not-ascii"),
        pytest.param(b"__Host-oidcgate=" + b"a" * 3901, id="too-long"),
        pytest.param(b"__Host-oidcgate =abc", id="space-before-equals-sign"),
        pytest.param(GOOD + b"; " + GOOD, id="twice"),
        pytest.param(GOOD + b"; __Host-oidcgate=evil", id="twice-and-different"),
        pytest.param(GOOD + b"; __Host-oidcgate", id="once-more-without-value"),
        pytest.param(b"a=b, " + GOOD, id="comma-does-not-separate"),
    ],
)
def test_not_found(header: bytes) -> None:
    """Absent, malformed or there twice is no session; nothing is ever picked."""
    assert find_cookie(header, NAME) is None


@pytest.mark.parametrize("lookalike", LOOKALIKES)
def test_lookalike(lookalike: bytes) -> None:
    """A name that only looks like ours is no session, alone or beside the genuine one, before or after it."""
    evil = lookalike + b"=evil"
    for header in (evil, evil + b"; " + GOOD, GOOD + b"; " + evil):
        assert find_cookie(header, NAME) is None


@pytest.mark.parametrize("lookalike", LOOKALIKES)
def test_lookalike_stays_here(lookalike: bytes) -> None:
    """Nothing that looks like a cookie of ours reaches the UI."""
    header = lookalike + b"=evil; a=b; " + lookalike + b"-login-x=evil; " + lookalike
    assert without_cookies(header, own=NAME) in (b"a=b", b"a=b; " + lookalike + b"-login-x=evil")
    assert folded(lookalike) == folded(NAME)


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        pytest.param(GOOD, b"", id="nothing-left"),
        pytest.param(b"a=b;" + GOOD + b";c=d", b"a=b; c=d", id="between-others"),
        pytest.param(b"__Host-oidcgate-login-ab=x; __Host-oidcgate-guard=y; a=b", b"a=b", id="every-cookie-of-ours"),
        pytest.param(GOOD + b"; " + GOOD + b"; __Host-oidcgate", b"", id="twice-and-without-value"),
        pytest.param(b"jweToken=t; a=b; JWETOKEN=u", b"a=b", id="the-uis-token-in-any-case"),
        pytest.param(b"oidcgate=x; a=b", b"oidcgate=x; a=b", id="another-name"),
        pytest.param(b'a="x;y"; b; =c', b'a="x; y"; b; =c', id="others-as-they-come"),
        pytest.param(b"a=\xff", b"a=\xff", id="bytes"),
        pytest.param(b"a=b;; ;", b"a=b", id="empty-pairs"),
        pytest.param(b"jweTokenX=t", b"jweTokenX=t", id="longer-than-the-uis-token"),
    ],
)
def test_without(header: bytes, kept: bytes) -> None:
    """The UI gets everybody's cookies but ours and its own login token."""
    assert without_cookies(header, own=NAME, others=[b"jweToken"]) == kept


def test_hostile_names_cost_little() -> None:
    """A head full of quotes and spaces is folded in one pass, not in one a character."""
    header = b"a" + b'"' * 60_000 + b"b=c"
    assert find_cookie(header, NAME) is None
    assert without_cookies(header, own=NAME) == header


@pytest.mark.parametrize(
    ("header", "found"),
    [
        pytest.param(b"p-login-ab=x; p-login-cd=y; p-login=z", {b"ab": b"x", b"cd": b"y"}, id="several"),
        pytest.param(b"p-login-ab=x; p-login-ab=y; p-login-cd=z", {b"cd": b"z"}, id="twice-is-left-out"),
        pytest.param(b"p-login-ab=x; p-login-ab=x", {}, id="twice-the-same-too"),
        pytest.param(b"p-login-=x", {}, id="no-label"),
        pytest.param(b"p-login-AB=x; p-login-a.b=y; p-login-" + b"a" * 33 + b"=z", {}, id="no-label-of-ours"),
        pytest.param(b'p-login-ab="x"; p-login-cd=; p-login-ef', {}, id="malformed"),
        pytest.param("\u2000p-login-ab=x".encode(), {}, id="lookalike"),
    ],
)
def test_labelled(header: bytes, found: dict[bytes, bytes]) -> None:
    """Attempts' cookies are found by label; malformed ones and doubles are left out."""
    assert find_labelled(header, b"p-login-") == found


def test_set() -> None:
    """A cookie is for this host only, out of reach of scripts and of other sites' requests."""
    assert set_cookie(NAME, "abc", secure=True) == "__Host-oidcgate=abc; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert set_cookie(b"oidcgate", "abc", secure=False, max_age=60) == (
        "oidcgate=abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=60"
    )


def test_expire() -> None:
    """A cookie is removed with the attributes it was set with, else browsers keep it."""
    assert expire_cookie(NAME, secure=True) == "__Host-oidcgate=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"
    assert expire_cookie(b"oidcgate", secure=False) == "oidcgate=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"


@pytest.mark.parametrize(
    ("name", "secure", "session", "login"),
    [
        ("__Host-oidcgate", True, b"__Secure-oidcgate", b"__Host-oidcgate-login-"),
        ("__Secure-oidcgate", True, b"__Secure-oidcgate", b"__Host-oidcgate-login-"),
        ("oidcgate", True, b"__Secure-oidcgate", b"__Host-oidcgate-login-"),
        ("__Host-oidcgate", False, b"oidcgate", b"oidcgate-login-"),
    ],
)
def test_names_for_a_whole_domain(name: str, secure: bool, session: bytes, login: bytes) -> None:
    """The session's cookie cannot have the prefix that binds to a host; those of logins under way keep it."""
    names = cookie_names(name, secure=secure, domain="k8s.example.com")
    assert (names.session, names.login, names.guard) == (session, login, login.replace(b"login-", b"guard"))
    assert names.domain == "k8s.example.com"
    assert cookie_names(name, secure=secure).domain is None


def test_set_and_expired_for_a_whole_domain() -> None:
    """Domain stands in both, or a browser would keep the cookie."""
    name = b"__Secure-oidcgate"
    assert set_cookie(name, "abc", secure=True, domain="k8s.example.com") == (
        "__Secure-oidcgate=abc; Path=/; Domain=k8s.example.com; HttpOnly; SameSite=Lax; Secure"
    )
    assert expire_cookie(name, secure=True, domain="k8s.example.com") == (
        "__Secure-oidcgate=; Path=/; Domain=k8s.example.com; HttpOnly; SameSite=Lax; Secure; Max-Age=0"
    )


def test_cookies_of_both_modes_stay_here() -> None:
    """A domain's cookie and a host's are both kept from the UI, whichever mode the gate is in."""
    header = b"__Secure-oidcgate=x; __Host-oidcgate=y; __Host-oidcgate-login-ab=z; a=b"
    assert without_cookies(header, own=b"__Secure-oidcgate", others=[b"__Host-oidcgate*"]) == b"a=b"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"headlamp-auth-a=x; b=y; headlamp-auth-a=z; Headlamp-Auth-C=1", [b"headlamp-auth-a", b"Headlamp-Auth-C"]),
        (b"headlamp-auth-=x; headlamp-auth", [b"headlamp-auth-"]),
        (b"headlamp-auth-\xff=x; headlamp-auth-a b=y; \x0bheadlamp-auth-c=z", []),
        (b"", []),
    ],
)
def test_named_in(header: bytes, found: list[bytes]) -> None:
    """Names that fit a pattern, each once, as they came, and only such as a Set-Cookie can name."""
    assert named_in(header, [b"headlamp-auth-*"]) == found
