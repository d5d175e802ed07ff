"""The policy: who may come from where, by which rule, whatever way a path is spelled."""

from typing import Any

import pytest

from oidcgate.config.model import Access, Rule
from oidcgate.errors import RequestError
from oidcgate.inbound import Head, read_head
from oidcgate.oidc.claims import Claims
from oidcgate.policy import (
    Crossing,
    Login,
    Unauthorized,
    admits,
    crossing,
    is_public,
    matches,
    may_cross,
    readings,
    refused_by,
    without_session,
)

ORIGIN = "https://dash.example.com"
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
OPENS = {"site": "cross-site", "mode": "navigate", "dest": "document"}

HOST = "ui.example.com"


def head(
    *,
    origin: str | None = None,
    referer: str | None = None,
    site: str | None = None,
    mode: str | None = None,
    dest: str | None = None,
) -> Head:
    """The facts of a request with just these headers."""
    given = {"Origin": origin, "Referer": referer, "Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
    given["Sec-Fetch-Dest"] = dest
    lines = [(name.encode(), value.encode()) for name, value in given.items() if value is not None]
    return read_head(((b"Host", b"dash.example.com"), *lines), (1, 1))


def person(**changes: Any) -> Claims:
    """Verified claims."""
    values: dict[str, Any] = {"issuer": "i", "subject": "s", "audience": ("c",), "expires": 9.0, "issued_at": 1.0}
    return Claims(**(values | changes))


# From where.


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({"site": "same-origin"}, Crossing.SAME, id="same-origin"),
        pytest.param({"site": "none"}, Crossing.SAME, id="typed"),
        pytest.param({"site": "same-origin", "origin": ORIGIN}, Crossing.SAME, id="both-agree"),
        pytest.param({"origin": ORIGIN}, Crossing.SAME, id="origin-alone"),
        pytest.param({"referer": ORIGIN + "/x"}, Crossing.SAME, id="referer-alone"),
        pytest.param({"referer": ORIGIN}, Crossing.SAME, id="referer-is-the-origin"),
        pytest.param({}, Crossing.PLAIN, id="nothing-said"),
        pytest.param({"site": ""}, Crossing.PLAIN, id="empty-site"),
        pytest.param({"referer": "https://evil.example/"}, Crossing.PLAIN, id="foreign-referer"),
        pytest.param({"referer": ORIGIN + ".evil.example/"}, Crossing.PLAIN, id="referer-with-our-origin-as-prefix"),
        pytest.param({"referer": ORIGIN + "@evil.example/"}, Crossing.PLAIN, id="referer-with-our-origin-as-user"),
        pytest.param({"referer": ORIGIN + ":8443/"}, Crossing.PLAIN, id="referer-on-another-port"),
        pytest.param({"referer": "http://dash.example.com/"}, Crossing.PLAIN, id="referer-without-tls"),
        pytest.param(OPENS, Crossing.NAVIGATION, id="link-from-another-site"),
        pytest.param(OPENS | {"site": "same-site"}, Crossing.NAVIGATION, id="link-from-a-sibling"),
        pytest.param(OPENS | {"origin": "null"}, Crossing.FOREIGN, id="form-of-a-sandbox"),
        pytest.param(OPENS | {"origin": ORIGIN}, Crossing.FOREIGN, id="our-origin-but-another-site"),
        pytest.param(OPENS | {"dest": "iframe"}, Crossing.FOREIGN, id="framed"),
        pytest.param(OPENS | {"dest": "embed"}, Crossing.FOREIGN, id="embedded"),
        pytest.param(OPENS | {"mode": "no-cors"}, Crossing.FOREIGN, id="mode-of-a-script"),
        pytest.param({"site": "cross-site"}, Crossing.FOREIGN, id="site-alone"),
        pytest.param({"site": "same-site", "mode": "cors", "dest": "empty"}, Crossing.FOREIGN, id="sibling-fetches"),
        pytest.param({"site": "cross-site", "mode": "websocket"}, Crossing.FOREIGN, id="websocket"),
        pytest.param({"site": "same-origin, cross-site"}, Crossing.FOREIGN, id="site-twice"),
        pytest.param({"site": "SAME-ORIGIN"}, Crossing.FOREIGN, id="site-in-another-case"),
        pytest.param(
            {"site": "same-origin", "origin": "https://evil.example"}, Crossing.FOREIGN, id="origin-disagrees"
        ),
        pytest.param({"origin": "null"}, Crossing.FOREIGN, id="null"),
        pytest.param({"origin": ""}, Crossing.FOREIGN, id="empty-origin"),
        pytest.param({"origin": "null", "referer": ORIGIN + "/"}, Crossing.FOREIGN, id="null-with-our-referer"),
        pytest.param({"origin": "http://dash.example.com"}, Crossing.FOREIGN, id="another-scheme"),
        pytest.param({"origin": ORIGIN + ":8443"}, Crossing.FOREIGN, id="another-port"),
        pytest.param({"origin": ORIGIN + "/"}, Crossing.FOREIGN, id="origin-with-a-slash"),
        pytest.param({"origin": ORIGIN + ".evil.example"}, Crossing.FOREIGN, id="longer-host"),
        pytest.param({"origin": "https://evil.dash.example.com"}, Crossing.FOREIGN, id="subdomain"),
        pytest.param({"origin": f"{ORIGIN} https://evil.example"}, Crossing.FOREIGN, id="list-of-origins"),
    ],
)
def test_crossing(facts: dict[str, str], expected: Crossing) -> None:
    """Fetch Metadata, Origin and Referer in this order; whatever disagrees is foreign."""
    assert crossing(head(**facts), ORIGIN) is expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_api", [False, True])
@pytest.mark.parametrize("upgrade", [False, True])
def test_what_may_cross(method: str, is_api: bool, upgrade: bool) -> None:
    """Ours acts, a stranger reads, another site only leads here, and never to an API; nobody else upgrades."""
    facts = {"is_api": is_api, "upgrade": upgrade}
    assert may_cross(Crossing.SAME, method, **facts)
    assert may_cross(Crossing.PLAIN, method, **facts) is (method in ("GET", "HEAD", "OPTIONS") and not upgrade)
    assert may_cross(Crossing.NAVIGATION, method, **facts) is (method in ("GET", "HEAD") and not is_api and not upgrade)
    assert not may_cross(Crossing.FOREIGN, method, **facts)


# Who.


@pytest.mark.parametrize(
    ("access", "claims"),
    [
        pytest.param({}, {}, id="open-to-all"),
        pytest.param({"groups": ("a", "b")}, {"groups": ("x", "b")}, id="one-group-in-common"),
        pytest.param({"emails": ("jane@example.com",)}, {"email": "jane@example.com"}, id="email"),
        pytest.param({"emails": ("jane@EXAMPLE.com",)}, {"email": "jane@example.com"}, id="domain-in-another-case"),
        pytest.param({"email_domains": ("example.com",)}, {"email": "jane@example.com"}, id="domain"),
        pytest.param({"email_domains": ("Example.COM",)}, {"email": "jane@example.com"}, id="configured-in-capitals"),
        pytest.param({"email_domains": (".example.com",)}, {"email": "jane@eu.example.com"}, id="below-a-domain"),
        pytest.param({"email_domains": (".example.com",)}, {"email": "jane@a.b.example.com"}, id="far-below"),
        pytest.param(
            {"groups": ("a",), "emails": ("x@y.z",), "email_domains": ("example.com",)},
            {"email": "jane@example.com"},
            id="any-list-is-enough",
        ),
    ],
)
def test_admitted(access: dict[str, Any], claims: dict[str, Any]) -> None:
    """Each list opens the site to those it names."""
    assert admits(Access(**access), person(email_verified=True, **claims))


@pytest.mark.parametrize(
    ("access", "claims"),
    [
        pytest.param({"groups": ("a",)}, {}, id="no-group"),
        pytest.param({"groups": ("a",)}, {"groups": ("A", "ab", "")}, id="groups-are-compared-exactly"),
        pytest.param({"groups": ("jane@example.com",)}, {"email": "jane@example.com"}, id="an-email-is-no-group"),
        pytest.param({"emails": ("jane@example.com",)}, {"groups": ("jane@example.com",)}, id="a-group-is-no-email"),
        pytest.param({"emails": ("jane@example.com",)}, {}, id="no-email"),
        pytest.param({"emails": ("jane@example.com",)}, {"email": "Jane@example.com"}, id="local-part-in-another-case"),
        pytest.param({"emails": ("jane@example.com",)}, {"email": "jane@example.com.evil"}, id="longer-domain"),
        pytest.param({"email_domains": ("example.com",)}, {"email": "jane@evilexample.com"}, id="no-dot-boundary"),
        pytest.param({"email_domains": ("example.com",)}, {"email": "jane@eu.example.com"}, id="only-that-domain"),
        pytest.param({"email_domains": (".example.com",)}, {"email": "jane@example.com"}, id="only-those-below"),
        pytest.param({"email_domains": (".example.com",)}, {"email": "jane@evilexample.com"}, id="dot-is-the-boundary"),
        pytest.param({"email_domains": ("example.com",)}, {"email": "example.com@evil.org"}, id="domain-as-local-part"),
        pytest.param({"email_domains": ("example.com",)}, {"email": "a@example.com@evil.org"}, id="two-ats"),
        pytest.param({"email_domains": ("example.com",)}, {"email": "jane@example.com."}, id="trailing-dot"),
    ],
)
def test_not_admitted(access: dict[str, Any], claims: dict[str, Any]) -> None:
    """Who is on no list stays out, however close."""
    assert not admits(Access(**access), person(email_verified=True, **claims))


@pytest.mark.parametrize("access", [{"emails": ("jane@example.com",)}, {"email_domains": ("example.com",)}])
def test_unverified_email(access: dict[str, Any]) -> None:
    """An e-mail that the provider did not verify says nothing."""
    assert not admits(Access(**access), person(email="jane@example.com", email_verified=False))


# Rules by path.

PUBLIC = (
    Rule(path="/metrics", methods=("GET",), public=True),
    Rule(path="/assets/private/*"),
    Rule(path="/assets/*", public=True),
)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        pytest.param("GET", "/metrics", True, id="exact"),
        pytest.param("HEAD", "/metrics", True, id="head-is-get"),
        pytest.param("POST", "/metrics", False, id="another-method"),
        pytest.param("GET", "/metrics/", False, id="longer"),
        pytest.param("GET", "/METRICS", False, id="case"),
        pytest.param("GET", "/assets/a.css", True, id="prefix"),
        pytest.param("POST", "/assets/a.css", True, id="any-method"),
        pytest.param("GET", "/assets", False, id="shorter-than-the-prefix"),
        pytest.param("GET", "/assets/private/a.css", False, id="first-match-decides"),
        pytest.param("GET", "/", False, id="no-rule"),
        pytest.param("GET", "/assets/..%2fapi", False, id="escaped-slash"),
        pytest.param("GET", "/assets/%2e%2e/api", False, id="escaped-dots"),
        pytest.param("GET", "/assets/%61", False, id="any-escape"),
        pytest.param("GET", "/assets/../api", False, id="dot-dot"),
        pytest.param("GET", "/assets/..", False, id="dot-dot-at-the-end"),
        pytest.param("GET", "/assets/./api", False, id="dot"),
        pytest.param("GET", "/assets//private/a.css", False, id="empty-segment"),
        pytest.param("GET", "/assets/;/api", False, id="parameter"),
        pytest.param("GET", "/assets/..;x/api", False, id="dot-dot-with-a-parameter"),
        pytest.param("GET", "/assets/\\..\\api", False, id="backslash"),
        pytest.param("GET", "/assets/...", True, id="three-dots-are-a-name"),
    ],
)
def test_public(method: str, path: str, expected: bool) -> None:
    """Public is what the first matching rule says is, spelled so that no server can read it otherwise."""
    assert is_public(PUBLIC, HOST, method, path) is expected


def test_head_falls_under_rules_for_get() -> None:
    """A rule for GET covers HEAD, which would tell the same; not the other way round."""
    assert matches(Rule(path="/x", methods=("GET",)), HOST, "HEAD", "/x")
    assert not matches(Rule(path="/x", methods=("HEAD",)), HOST, "GET", "/x")


ADMINS = Rule(path="/admin/*", groups=("admins",))
EXACT = Rule(path="/admin", groups=("admins",))
NESTED = Rule(path="/a/admin", groups=("admins",))
WRITES = Rule(path="/api/*", methods=("POST", "DELETE"), groups=("writers",))
RULES = (Rule(path="/admin/help", public=True), ADMINS, EXACT, NESTED, WRITES, Rule(path="/*"))


@pytest.mark.parametrize(
    ("method", "path", "rule"),
    [
        pytest.param("GET", "/admin/users", ADMINS, id="prefix"),
        pytest.param("GET", "/admin", EXACT, id="exact"),
        pytest.param("POST", "/api/x", WRITES, id="method"),
        pytest.param("GET", "/%61dmin/users", ADMINS, id="escaped-letter"),
        pytest.param("GET", "/%2561dmin/users", ADMINS, id="escaped-twice"),
        pytest.param("GET", "/x%2f..%2fadmin%2fusers", ADMINS, id="escaped-slashes"),
        pytest.param("GET", "/x%252f..%252fadmin%252fusers", ADMINS, id="slashes-escaped-twice"),
        pytest.param("GET", "/x/%2e%2e/admin/users", ADMINS, id="escaped-dots"),
        pytest.param("GET", "/x/%2E./admin/users", ADMINS, id="half-escaped-dots"),
        pytest.param("GET", "/x/../admin/users", ADMINS, id="dots"),
        pytest.param("GET", "/./admin/users", ADMINS, id="dot"),
        pytest.param("GET", "/../admin/users", ADMINS, id="dots-above-the-root"),
        pytest.param("GET", "/admin/./", ADMINS, id="dot-at-the-end"),
        pytest.param("GET", "/x/..//admin/users", ADMINS, id="empty-segment"),
        pytest.param("GET", "/a//../admin", NESTED, id="dots-take-an-empty-segment"),
        pytest.param("GET", "/x/a/..//../a/admin", NESTED, id="both-orders"),
        pytest.param("GET", "/x/..;/admin/users", ADMINS, id="parameter-on-dots"),
        pytest.param("GET", "/admin;v=1/users", ADMINS, id="parameter-on-a-segment"),
        pytest.param("GET", "/admin;x", EXACT, id="parameter-at-the-end"),
        pytest.param("GET", "/admin;%2fx", EXACT, id="parameter-dropped-before-decoding"),
        pytest.param("GET", "/admin%3bx", EXACT, id="parameter-dropped-after-decoding"),
        pytest.param("GET", "/admin%3fx", EXACT, id="escaped-question-mark"),
        pytest.param("GET", "/admin%23x", EXACT, id="escaped-hash"),
        pytest.param("GET", "/admin%00.css", EXACT, id="escaped-nul"),
        pytest.param("GET", "/x\\..\\admin\\users", ADMINS, id="backslashes"),
        pytest.param("GET", "/x%5c..%5cadmin%5cusers", ADMINS, id="escaped-backslashes"),
        pytest.param("GET", "/admin/help/..%2fusers", ADMINS, id="out-of-a-public-place"),
        pytest.param("POST", "/x/%2e%2e/api/x", WRITES, id="method-and-dots"),
    ],
)
def test_refused(method: str, path: str, rule: Rule) -> None:
    """A person without the group is kept out in every spelling that a server could take for the path."""
    assert refused_by(RULES, HOST, method, path, person(groups=("viewers",))) is rule


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("GET", "/admin/help", id="earlier-rule"),
        pytest.param("GET", "/api/x", id="another-method"),
        pytest.param("GET", "/api/v1/pod/%20", id="harmless-escape"),
        pytest.param("GET", "/x//y;z/../%2e", id="ambiguous-but-nowhere-near"),
        pytest.param("GET", "/xadmin/users", id="another-path"),
    ],
)
def test_not_refused(method: str, path: str) -> None:
    """What no rule restricts passes."""
    assert refused_by(RULES, HOST, method, path, person(groups=("viewers",))) is None


@pytest.mark.parametrize("path", ["/admin/users", "/x/%2e%2e/admin/users", "/admin"])
def test_the_group_opens(path: str) -> None:
    """Whoever is in the group passes, in any spelling."""
    assert refused_by(RULES, HOST, "GET", path, person(groups=("admins",))) is None


def test_no_rules() -> None:
    """Without rules nothing is refused and nothing is public."""
    assert refused_by((), HOST, "GET", "/", person()) is None
    assert not is_public((), HOST, "GET", "/")


def test_readings_of_a_plain_path() -> None:
    """A path that all read alike has one reading."""
    assert readings("/api/v1/namespaces") == ("/api/v1/namespaces",)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/" + "a/..;b//%2f%252f\\.%2e/%5c%3b%253b%3f%00/./%2e%2e/", id="every-trick-at-once"),
        pytest.param("/a" * 600 + "/%20", id="long"),
    ],
)
def test_a_path_with_too_many_readings_is_refused(path: str) -> None:
    """Working them out would cost more than the request is worth."""
    with pytest.raises(RequestError) as caught:
        readings(path)
    assert caught.value.status == 400


@pytest.mark.parametrize("path", ["/api/v1/pod/%20", "/a//b/../c", "/x;v=1/%2fy", "/r%C3%A4tsel/%2e%2e/z"])
def test_honest_paths_have_few_readings(path: str) -> None:
    """The path as sent comes first."""
    found = readings(path)
    assert found[0] == path
    assert len(found) <= 16


# Without a session.


@pytest.mark.parametrize(
    ("navigation", "is_api", "expected"),
    [
        pytest.param(True, False, Login(), id="page"),
        pytest.param(True, True, Unauthorized(), id="api-opened-as-a-page"),
        pytest.param(False, False, Unauthorized(), id="asset"),
        pytest.param(False, True, Unauthorized(), id="api"),
    ],
)
def test_without_session(navigation: bool, is_api: bool, expected: object) -> None:
    """Only a page leads to the login."""
    assert without_session(navigation=navigation, is_api=is_api) == expected


@pytest.mark.parametrize(
    ("hosts", "host", "expected"),
    [
        pytest.param((), "any.example.com", True, id="none-means-all"),
        pytest.param(("ui.example.com",), "ui.example.com", True, id="exact"),
        pytest.param(("ui.example.com",), "xui.example.com", False, id="not-a-suffix"),
        pytest.param(("ui.example.com",), "ui.example.com:8443", True, id="any-port"),
        pytest.param(("ui.example.com:8443",), "ui.example.com:8443", True, id="with-its-port"),
        pytest.param(("ui.example.com:8443",), "ui.example.com", False, id="another-port"),
        pytest.param(("*.example.com",), "a.example.com:8443", True, id="below-at-any-port"),
        pytest.param(("*.example.com",), "a.b.example.com", True, id="below"),
        pytest.param(("*.example.com",), "example.com", False, id="not-the-domain-itself"),
        pytest.param(("*.example.com",), "evilexample.com", False, id="the-dot-is-the-boundary"),
    ],
)
def test_rules_by_host(hosts: tuple[str, ...], host: str, expected: bool) -> None:
    """A rule with hosts speaks of those alone."""
    assert matches(Rule(path="/*", hosts=hosts), host, "GET", "/x") is expected


def test_rules_name_people_as_sites_do() -> None:
    """A rule's lists of groups, addresses and domains each open its path to those they name."""
    rules = (Rule(path="/*", groups=("ops",), emails=("a@example.com",), email_domains=("corp.example",)),)
    assert refused_by(rules, HOST, "GET", "/", person(groups=("ops",))) is None
    assert refused_by(rules, HOST, "GET", "/", person(email="a@example.com", email_verified=True)) is None
    assert refused_by(rules, HOST, "GET", "/", person(email="b@corp.example", email_verified=True)) is None
    assert refused_by(rules, HOST, "GET", "/", person(email="b@corp.example", email_verified=False)) is rules[0]
    assert refused_by(rules, HOST, "GET", "/", person(email="b@notcorp.example", email_verified=True)) is rules[0]
