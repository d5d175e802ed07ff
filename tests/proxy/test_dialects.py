"""What proxies ask: each in its own words, each word once, and nothing guessed."""

import pytest

from oidcgate.errors import RequestError
from oidcgate.inbound import RawHeaders
from oidcgate.proxy.dialects import (
    DIALECTS,
    Original,
    bare_host,
    dialect_of,
    normal_host,
    read_original,
    restrictions,
)

PREFIX = "/oauth2"
CLIENT: RawHeaders = ((b"Cookie", b"oidcgate=x"), (b"Accept", b"*/*"))
NAMES_OF_PEERS = [name for name in DIALECTS if name]
URL_SOURCE = ["", "nginx", "haproxy"]
FORWARDED_SOURCE = ["traefik", "caddy"]
BY_URL: RawHeaders = ((b"X-Original-URL", b"https://one.example.com/a?b=c"), (b"X-Original-Method", b"POST"))
BY_FORWARDED: RawHeaders = (
    (b"X-Forwarded-Host", b"one.example.com"),
    (b"X-Forwarded-Uri", b"/a?b=c"),
    (b"X-Forwarded-Method", b"POST"),
)


def words(name: str, raw: RawHeaders, target: str = "") -> Original:
    """What a question says; of Envoy's, the target is the question's own."""
    dialect = DIALECTS[name]
    asked = target or f"{PREFIX}/auth/{name}".rstrip("/")
    found = dialect_of(asked.partition("?")[0], PREFIX)
    assert found is not None
    assert found[0] is dialect
    method = "POST" if dialect.source == "path" else "GET"
    return read_original(dialect, raw, method=method, target=asked, begin=found[1])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/oauth2/auth", ""),
        ("/oauth2/auth/nginx", "nginx"),
        ("/oauth2/auth/haproxy", "haproxy"),
        ("/oauth2/auth/traefik", "traefik"),
        ("/oauth2/auth/caddy", "caddy"),
        ("/oauth2/auth/envoy", "envoy"),
        ("/oauth2/auth/envoy/", "envoy"),
        ("/oauth2/auth/envoy/api/v1/pods", "envoy"),
        ("/oauth2/auth/envoy//x", "envoy"),
    ],
)
def test_questions(path: str, name: str) -> None:
    """Each dialect has its path; only Envoy's goes on behind it."""
    found = dialect_of(path, PREFIX)
    assert found is not None
    assert found[0].name == name


@pytest.mark.parametrize(
    "path",
    [
        "/oauth2/auth/",
        "/oauth2/auth//",
        "/oauth2/auth//nginx",
        "/oauth2/auth/nginx/",
        "/oauth2/auth/nginx/x",
        "/oauth2/auth/traefik/",
        "/oauth2/auth/NGINX",
        "/oauth2/auth/unknown",
        "/oauth2/authx",
        "/oauth2/auth%2fnginx",
        "/oauth2/auth;x",
        "/auth/nginx",
        "/oauth2",
        "/",
    ],
)
def test_no_questions(path: str) -> None:
    """Everything else is none, and never by guessing oauth2-proxy's."""
    assert dialect_of(path, PREFIX) is None


def test_statuses() -> None:
    """oauth2-proxy says 202, all others take 200; those that pass an answer on are the ones that can redirect."""
    assert {name: dialect.allow for name, dialect in DIALECTS.items()} == {
        "": 202,
        "nginx": 200,
        "haproxy": 200,
        "traefik": 200,
        "caddy": 200,
        "envoy": 200,
    }
    assert {name for name, dialect in DIALECTS.items() if dialect.passes_answer} == {"traefik", "caddy", "envoy"}


@pytest.mark.parametrize("name", URL_SOURCE)
@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        (b"https://one.example.com/a?b=c", b"one.example.com", "/a?b=c"),
        (b"http://one.example.com/", b"one.example.com", "/"),
        (b"https://one.example.com", b"one.example.com", "/"),
        (b"https://One.Example.COM/A", b"one.example.com", "/A"),
        (b"https://one.example.com./a", b"one.example.com", "/a"),
        (b"https://one.example.com.:8443/a", b"one.example.com:8443", "/a"),
        (b"wss://one.example.com:8443/ws", b"one.example.com:8443", "/ws"),
        (b"https://[::1]:8443/a", b"[::1]:8443", "/a"),
        (b"https://one.example.com//a", b"one.example.com", "//a"),
        (b"https://one.example.com/a/../b%2f?c=/d", b"one.example.com", "/a/../b%2f?c=/d"),
    ],
)
def test_by_url(name: str, url: bytes, host: bytes, target: str) -> None:
    """X-Original-URL has host and target, X-Original-Method the method; the target is not tidied up."""
    raw = ((b"Host", b"gate"), (b"X-Original-URL", url), (b"X-Original-Method", b"PUT"), *CLIENT)
    assert words(name, raw) == Original("PUT", target, ((b"Host", host), *CLIENT))


@pytest.mark.parametrize("name", FORWARDED_SOURCE)
def test_by_forwarded(name: str) -> None:
    """X-Forwarded-Host, -Uri and -Method."""
    raw = ((b"Host", b"gate"), *BY_FORWARDED, (b"X-Forwarded-Proto", b"https"), *CLIENT)
    assert words(name, raw) == Original("POST", "/a?b=c", ((b"Host", b"one.example.com"), *CLIENT))


@pytest.mark.parametrize(
    ("tail", "target"),
    [
        ("", "/"),
        ("/", "/"),
        ("/a?b=c", "/a?b=c"),
        ("//a", "//a"),
        ("/a/..b/...", "/a/..b/..."),
        ("/a?/../b", "/a?/../b"),
        ("?b", "?b"),
    ],
)
def test_by_path(tail: str, target: str) -> None:
    """Envoy asks with the original's own method, Host and path, behind the prefix."""
    raw = ((b"host", b"One.example.com"), (b"x-envoy-internal", b"true"), (b"content-length", b"0"), *CLIENT)
    original = words("envoy", raw, f"/oauth2/auth/envoy{tail}")
    assert original == Original("POST", target, ((b"Host", b"one.example.com"), *CLIENT))


@pytest.mark.parametrize("name", [*URL_SOURCE, *FORWARDED_SOURCE])
def test_the_questions_query_says_nothing(name: str) -> None:
    """Caddy appends the client's to the question's address; what is asked about stands in the words."""
    raw = BY_URL if name in URL_SOURCE else BY_FORWARDED
    assert words(name, raw, f"{PREFIX}/auth/{name}".rstrip("/") + "?b=/admin").target == "/a?b=c"


REQUIRED = [
    *((name, word) for name in URL_SOURCE for word in (b"X-Original-URL", b"X-Original-Method")),
    *((name, word) for name in FORWARDED_SOURCE for word, _ in BY_FORWARDED),
    ("envoy", b"Host"),
]


def full(name: str) -> RawHeaders:
    """All words of a dialect."""
    return {"url": BY_URL, "forwarded": BY_FORWARDED, "path": ((b"Host", b"one.example.com"),)}[DIALECTS[name].source]


@pytest.mark.parametrize(("name", "word"), REQUIRED)
def test_each_word_exactly_once(name: str, word: bytes) -> None:
    """A word that is missing, there twice, or beside another spelling of itself is refused; the message names it."""
    given = full(name)
    value = dict(given)[word]
    others = [
        (*given, (word, value)),
        (*given, (word.lower(), b"other")),
        ((word.replace(b"-", b"_"), value), *given),
        (*given, (word.replace(b"-", b"."), value)),
        (*given, (word.replace(b"-", b"--"), value)),
        (*given, (word.replace(b"-", b"-_-").upper(), value)),
        tuple(pair for pair in given if pair[0] != word),
        tuple((b"_".join(n.split(b"-")), v) if n == word else (n, v) for n, v in given),
    ]
    if word == b"Host":  # it has one spelling only
        others = [others[0], others[1], others[6]]
    for raw in others:
        with pytest.raises(RequestError, match=word.decode().lower()):
            words(name, raw)
    assert words(name, tuple((n.swapcase(), v) for n, v in given)) == words(name, given)


@pytest.mark.parametrize(
    "url",
    [
        b"",
        b"/a",
        b"//one.example.com/a",
        b"one.example.com/a",
        b"ftp://one.example.com/a",
        b"https:/one.example.com/a",
        b"https:///a",
        b"https://user@one.example.com/a",
        b"https://user:x@one.example.com/a",
        b"https://one.example.com/a#b",
        b"https://one.example.com#b",
        b"https://one.example.com?b",
        b"https://one.example.com\\a",
        b"https://one.example.com/a\\b",
        b"https://one.example.com,evil.example/a",
        b"https://one.example.com /a",
        b"https://one.example.com..:80/a",
        b"https://one_example.com/a",
        b"https://-one.example.com/a",
        b"https://one.example.com:/a",
        b"https://one.example.com:123456/a",
        b"https://one.example.com:80:80/a",
        b"https://%6fne.example.com/a",
        "https://\u00f6ne.example.com/a".encode(),
        b"HTTPS://one.example.com/a",
    ],
)
def test_malformed_urls(url: bytes) -> None:
    """What could be read in two ways is refused."""
    with pytest.raises(RequestError):
        words("nginx", ((b"X-Original-URL", url), (b"X-Original-Method", b"GET")))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"A.Example.com", b"a.example.com"),
        (b"a.", b"a"),
        (b"a.:1", b"a:1"),
        (b"[::1]", b"[::1]"),
        (b"1.2.3.4", b"1.2.3.4"),
    ],
)
def test_hosts(host: bytes, expected: bytes) -> None:
    """In lower case, without the dot that may end them (Authelia CVE-2026-48794)."""
    assert normal_host(host) == expected


@pytest.mark.parametrize(
    "host", [b"", b".", b"a b", b"a_b", b"a/b", b"a@b", b"a..", b"a:", b"a:x", b"a,b", b"[a", b"\xff"]
)
def test_no_hosts(host: bytes) -> None:
    """Anything that is no host name is refused, from each peer that says one."""
    with pytest.raises(RequestError):
        normal_host(host)
    with pytest.raises(RequestError):
        words("traefik", tuple((n, host if n == b"X-Forwarded-Host" else v) for n, v in BY_FORWARDED))
    with pytest.raises(RequestError):
        words("envoy", ((b"Host", host),))


def test_what_is_the_clients() -> None:
    """The peer's own headers do not pass for the client's; everything else does, order and spelling included."""
    peers = [
        b"X-Original-URI",
        b"X-Forwarded-For",
        b"X-Forwarded-Proto",
        b"X-Forwarded-Port",
        b"X-Forwarded-Server",
        b"X-Forwarded-Prefix",
        b"Forwarded",
        b"X-Real-IP",
        b"X-Request-ID",
        b"X-Sent-From",
        b"X-Auth-Request-Redirect",
        b"X-Scheme",
        b"X-Envoy-Expected-Rq-Timeout-Ms",
        b"Connection",
        b"Upgrade",
        b"Keep-Alive",
        b"TE",
        b"Expect",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Host",
    ]
    client = (
        (b"COOKIE", b"a=b"),
        (b"Origin", b"https://one.example.com"),
        (b"Sec-Fetch-Site", b"none"),
        (b"X-Mine", b"1"),
    )
    raw = (*((name, b"1") for name in peers), *BY_URL[1:], *client, (b"x-original-url", BY_URL[0][1]))
    assert words("nginx", raw).headers == ((b"Host", b"one.example.com"), *client)


@pytest.mark.parametrize("name", list(DIALECTS))
def test_a_websockets_handshake(name: str) -> None:
    """It is known by its key, since peers drop Connection and Upgrade; the client's own say nothing."""
    key = ((b"sec-websocket-KEY", b"AAAAAAAAAAAAAAAAAAAAAA=="), (b"Sec-WebSocket-Version", b"13"))
    headers = words(name, (*full(name), *key)).headers
    assert headers[1:] == ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), *key)
    plain = words(name, (*full(name), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))).headers
    assert plain == ((b"Host", b"one.example.com"),)


@pytest.mark.parametrize(
    "path",
    [
        "/..",
        "/../x",
        "/a/../../start",
        "/a/..",
        "/a/..%2f",
        "/a/%2e%2E/b",
        "/a/.%2e/b",
        "/a%2f../b",
        "/a%5C..%5cb",
        "/a/..;/b",
        "/a/..;x=1/b",
        "/a/..%3b/b",
        "/a/..\\b",
        "/..?x",
    ],
)
def test_a_path_that_climbs_out_of_the_question(path: str) -> None:
    """Envoy's question has the client's path in its own: a proxy that tidies up would make it another question."""
    with pytest.raises(RequestError, match="climbs"):
        words("envoy", ((b"Host", b"one.example.com"),), f"/oauth2/auth/envoy{path}")
    raw = ((b"X-Original-URL", b"https://one.example.com" + path.encode()), (b"X-Original-Method", b"GET"))
    if "\\" not in path:
        assert words("nginx", raw).target == path


@pytest.mark.parametrize("spelling", ["X-Forwarded-Proto", "x_forwarded_proto", "X.Forwarded-_Proto", "X--REAL_IP"])
def test_other_spellings_of_the_peers_headers(spelling: str) -> None:
    """What servers behind a peer may read as its word is nobody's: it is in no block that is judged."""
    assert words("traefik", (*BY_FORWARDED, (spelling.encode(), b"x"))).headers == ((b"Host", b"one.example.com"),)


@pytest.mark.parametrize(
    "header",
    [
        b"Impersonate-User",
        b"impersonate_group",
        b"Impersonate.Uid",
        b"Impersonate-Extra-Scopes",
        b"X-Remote-User",
        b"x_remote_group",
        b"X--Remote-Extra-A",
        b"X.Remote.User",
    ],
)
def test_whoever_claims_to_be_somebody(header: bytes) -> None:
    """Where the peer cannot drop headers by how their names begin, such a request is refused."""
    for name, dialect in DIALECTS.items():
        raw = (*full(name), (header, b"admin"))
        if dialect.strips_prefixes:
            assert words(name, raw).headers[1:] == ((header, b"admin"),)
        else:
            with pytest.raises(RequestError, match="claim"):
                words(name, raw)
    assert {name for name, dialect in DIALECTS.items() if not dialect.strips_prefixes} == {"", "nginx"}


@pytest.mark.parametrize("header", [b"X-Impersonate-User", b"Impersonated", b"X-Remotely", b"Remote-User", b"X-Remote"])
def test_names_that_claim_nothing(header: bytes) -> None:
    """They pass."""
    assert words("nginx", (*BY_URL, (header, b"x"))).headers[1:] == ((header, b"x"),)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {}),
        ("?", {}),
        ("?rd=/a&allowed=x", {}),
        ("?allowed_groups=a,b", {"allowed_groups": ("a", "b")}),
        ("?allowed_groups=a&allowed_groups=b%2Cc", {"allowed_groups": ("a", "b", "c")}),
        ("?allowed_groups= a , b ", {"allowed_groups": ("a", "b")}),
        ("?allowed_groups=", {"allowed_groups": ("",)}),
        (
            "?allowed_emails=a@example.com&allowed_email_domains=example.com",
            {"allowed_emails": ("a@example.com",), "allowed_email_domains": ("example.com",)},
        ),
        ("?ALLOWED_GROUPS=a", {}),
    ],
)
def test_further_conditions(query: str, found: dict[str, tuple[str, ...]]) -> None:
    """Of oauth2-proxy's endpoint alone, since other peers append what the client wrote."""
    assert restrictions(DIALECTS[""], f"/oauth2/auth{query}") == found
    for name in NAMES_OF_PEERS:
        assert restrictions(DIALECTS[name], f"/oauth2/auth/{name}{query}") == {}


@pytest.mark.parametrize("name", URL_SOURCE)
@pytest.mark.parametrize(
    ("query", "good"),
    [
        ("?host=one.example.com", True),
        ("?host=One.Example.com.", True),
        ("?host=one.example.com:8443", True),
        ("?x=y&host=one.example.com", True),
        ("?host=two.example.com", False),
        ("?host=one.example.com&host=two.example.com", False),
        ("?host=xone.example.com", False),
        ("?host=_", False),
        ("?host=one.example.com%2C", False),
        ("?host=%C3%B6ne.example.com", False),
        ("?HOST=two.example.com", True),
        ("?rd=two.example.com", True),
    ],
)
def test_the_server_that_asks_names_its_host(name: str, query: str, good: bool) -> None:
    """nginx's own variable holds what the client wrote in Host, even where the request line named another."""
    target = f"{PREFIX}/auth/{name}".rstrip("/") + query
    if good:
        assert words(name, BY_URL, target).headers == ((b"Host", b"one.example.com"),)
    else:
        with pytest.raises(RequestError):
            words(name, BY_URL, target)


def test_bare_host() -> None:
    """Without port and dot."""
    assert [bare_host(h) for h in (b"A.Example.com", b"a.:1", b"a:80", b"[::1]:80", b"[::1]")] == [
        b"a.example.com",
        b"a",
        b"a",
        b"[::1]",
        b"[::1]",
    ]


def test_a_path_that_is_not_ascii() -> None:
    """Is refused, not replaced by another."""
    with pytest.raises(RequestError, match="ASCII"):
        words("envoy", ((b"Host", b"one.example.com"),), "/oauth2/auth/envoy/\u00e4")
