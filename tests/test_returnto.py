"""Where a login may lead back to: never away from our origin, as browsers read it (WHATWG URL)."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oidcgate.returnto import Destination, destination, encode_fragment, location, safe_fragment, safe_path
from tests.corpora.redirects import GOOD, OURS, redirects

# Resolves every string and every finished Location against our origin, as a browser would.
JUDGE = """
const { origin, cases } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const leaves = (text) => {
  const url = new URL(text, origin + "/oidcgate/callback");
  return url.origin !== origin || url.pathname.startsWith("//") || url.username !== "" || url.password !== "";
};
console.log(JSON.stringify(cases.filter((pair) => pair.some(leaves))));
"""


def return_to(text: str, *, origin: str) -> str:
    """The path of a single site that a login leads back to; ``/`` in place of another host."""
    goal = destination(text, own=origin, is_ours=lambda _scheme, _authority: False)
    return "/" if goal is None else goal.path


def judged(cases: list[tuple[str, str]]) -> list[list[str]]:
    """Those of the cases that leave our origin, by Node's URL parser."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: its URL parser, the one browsers use, judges here")
    text = json.dumps({"origin": OURS, "cases": cases})
    done = subprocess.run([node, "-e", JUDGE], input=text, capture_output=True, text=True, timeout=60, check=True)
    leaving: list[list[str]] = json.loads(done.stdout)
    return leaving


def test_corpus_is_large() -> None:
    """The corpus keeps its size, and the rule finds both kinds in it."""
    corpus = redirects()
    accepted = [text for text in corpus if safe_path(text) is not None]
    assert len(corpus) >= 2000
    assert 300 < len(accepted) < len(corpus) / 2


@pytest.mark.real
def test_nothing_leaves_our_origin() -> None:
    """No accepted path leaves, neither alone nor in the Location that is sent; whatever is refused becomes ``/``."""
    accepted = [text for text in redirects() if safe_path(text) is not None]
    goals = {return_to(text, origin=OURS) for text in redirects()}
    assert judged([(text, location(OURS, text)) for text in {*accepted, *goals}]) == []


@pytest.mark.real
def test_the_judge_sees_what_leaves() -> None:
    """The judge is awake: strings known to leave are told from those that stay."""
    leaving = ["//evil.example", "/\\evil.example", "/\t/evil.example", "https://evil.example", "/..//evil.example"]
    staying = ["/", "/a", OURS + "/x"]
    assert [pair[0] for pair in judged([(text, "/") for text in leaving + staying])] == leaving


@pytest.mark.parametrize("path", GOOD)
def test_good_paths(path: str) -> None:
    """Paths of UIs pass as they are."""
    assert safe_path(path) == path
    assert return_to(path, origin=OURS) == path
    assert return_to(OURS + path, origin=OURS) == path


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("a", id="relative"),
        pytest.param("//evil.example", id="two-slashes"),
        pytest.param("/\\evil.example", id="slash-backslash"),
        pytest.param("/a\\b", id="backslash"),
        pytest.param("/\t/evil.example", id="tab"),
        pytest.param("/a\n", id="trailing-newline"),
        pytest.param("/a b", id="space"),
        pytest.param("/a\x7f", id="delete"),
        pytest.param("/\u00e4", id="not-ascii"),
        pytest.param("/a#b", id="fragment"),
        pytest.param("/..", id="dot-dot"),
        pytest.param("/../a", id="dot-dot-first"),
        pytest.param("/a/./b", id="dot"),
        pytest.param("/a/.?x", id="dot-before-the-query"),
        pytest.param("/..//evil.example", id="dots-then-slashes"),
        pytest.param("/%2e%2E/a", id="escaped-dots"),
        pytest.param("/a/.%2e", id="half-escaped"),
        pytest.param("/a/%2e", id="escaped-dot"),
        pytest.param("/" + "a" * 2048, id="too-long"),
    ],
)
def test_refused_paths(text: str) -> None:
    """Anything else leads to the front page."""
    assert safe_path(text) is None
    assert return_to(text, origin=OURS) == "/"
    assert return_to(OURS + text, origin=OURS) == "/"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(OURS, "/", id="bare-origin"),
        pytest.param(OURS + "/x?y", "/x?y", id="path-and-query"),
        pytest.param(OURS + "?x", "/", id="query-without-path"),
        pytest.param(OURS + ".evil.example/x", "/", id="longer-host"),
        pytest.param(OURS + "@evil.example/x", "/", id="userinfo"),
        pytest.param(OURS + ":8443/x", "/", id="another-port"),
        pytest.param(OURS + ":443/x", "/", id="default-port"),
        pytest.param(OURS + "//evil.example", "/", id="two-slashes-behind-it"),
        pytest.param(OURS + OURS + "/x", "/", id="twice"),
        pytest.param(OURS.upper() + "/x", "/", id="another-case"),
        pytest.param("http://dash.example.com/x", "/", id="another-scheme"),
        pytest.param("https://evil.example/x", "/", id="another-host"),
        pytest.param(" " + OURS + "/x", "/", id="leading-space"),
    ],
)
def test_absolute_targets(text: str, expected: str) -> None:
    """An absolute URL counts only when it begins with exactly our origin."""
    assert return_to(text, origin=OURS) == expected


def test_longest_path() -> None:
    """2048 characters are allowed."""
    assert safe_path("/" + "a" * 2047) is not None


def test_dots_in_a_query() -> None:
    """Dot segments are a matter of the path alone."""
    assert safe_path("/a?x=/../b") == "/a?x=/../b"


@given(st.text(max_size=40))
def test_whatever_comes_the_location_is_ours(text: str) -> None:
    """For any text the Location begins with our origin and one slash, and holds printable ASCII only."""
    goal = location(OURS, return_to(text, origin=OURS), safe_fragment(text))
    assert goal.startswith(OURS + "/")
    assert not goal.startswith(OURS + "//")
    assert goal.isascii()
    assert goal.isprintable()
    assert " " not in goal


# The fragment.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("/pod/ns/name?x=1", "/pod/ns/name?x=1", id="dashboard"),
        pytest.param("a b", "a%20b", id="space"),
        pytest.param("a%20b%zz", "a%20b%zz", id="escapes-stay"),
        pytest.param("#a", "%23a", id="hash"),
        pytest.param("\"<>\\^`{|}'", "%22%3C%3E%5C%5E%60%7B%7C%7D'", id="markup"),
        pytest.param("[a]_~!$&()*+,;=:@", "[a]_~!$&()*+,;=:@", id="allowed"),
    ],
)
def test_encoded_fragment(text: str, expected: str) -> None:
    """What may not stand in a fragment is percent-encoded (RFC 3986 §3.5)."""
    assert encode_fragment(text) == expected
    assert location(OURS, "/x", text) == f"{OURS}/x#{expected}"


def test_no_fragment() -> None:
    """Without a fragment there is no ``#``."""
    assert location(OURS, "/x") == OURS + "/x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("/pod?x", "/pod?x", id="good"),
        pytest.param("a" * 2048, "a" * 2048, id="longest"),
        pytest.param("a" * 2049, "", id="too-long"),
        pytest.param("a\nb", "", id="newline"),
        pytest.param("a\x00", "", id="nul"),
        pytest.param("\u00e4", "", id="not-ascii"),
        pytest.param("", "", id="empty"),
    ],
)
def test_safe_fragment(text: str, expected: str) -> None:
    """A fragment of at most 2048 printable ASCII characters, else none."""
    assert safe_fragment(text) == expected


# Several hosts: the own one, another site, whatever is below a wildcard, and hosts that are no sites.

EXACT = {("https", "dash.example.com"), ("https", "one.example.com:8443"), ("http", "local.localhost:8000")}
WILD, RETURN = ".k8s.example.com", ".tools.example.org"
CONFIGURED = (
    "dash.example.com",
    "one.example.com:8443",
    "a.k8s.example.com",
    "b.a.k8s.example.com",
    "x.tools.example.org",
)
EVIL_HOSTS = ("evil.example", "127.0.0.1", "[::1]", "xn--e1awd7f.com", "localhost", "example.com", "com")
# What each part of an address may be written as, where some program or other still reads our host in it.
ADDRESSES = ("0x7f.1", "0x7f000001", "2130706433", "017700000001", "127.1", "0x0.0x0.0x0.0x0", "1.2.3.4", "0x.0x.0x.0x")
BEFORE = (
    "",
    "user@",
    "user:x@",
    "@",
    ":@",
    "a%40b@",
    "dash.example.com@",
    "dash.example.com%40",
    "dash.example.com:443@",
)
BEHIND = (
    "",
    ":443",
    ":80",
    ":8443",
    ":0443",
    ":",
    ":65536",
    ":99999",
    ":-1",
    ":443:443",
    ".",
    "..",
    ".:443",
    "%2e",
    "%00",
)
STARTS = (
    *(
        "https://",
        "http://",
        "HTTPS://",
        "https:",
        "https:/",
        "https:///",
        "https:\\\\",
        "https:/\\",
        "https:\\/",
        "//",
        "///",
    ),
    *(
        "\\\\",
        "ftp://",
        "javascript://",
        "https\t://",
        "ht\ntps://",
        " https://",
        "https:// ",
        "\x00https://",
        "wss://",
        "blob:https://",
    ),
)
ENDS = (
    "",
    "/",
    "/a",
    "?a",
    "#a",
    "\\a",
    "/\\a",
    "//a",
    "/..//a",
    "/a?b#c",
    "\t/a",
    "\n/a",
    " /a",
    "/%2e%2e/a",
    "/@evil.example",
)


def is_ours(scheme: str, authority: str) -> bool:
    """As a configuration with those hosts says."""
    name = authority.rpartition(".k8s.example.com")[0] or authority.rpartition(".tools.example.org")[0]
    return (scheme, authority) in EXACT or (
        scheme == "https" and authority.endswith((WILD, RETURN)) and bool(name) and ":" not in authority
    )


def spelled(host: str) -> Iterator[str]:
    """A host as attackers write it, and hosts that look like it."""
    name, colon, port = host.partition(":")
    tail = colon + port
    yield from (host, host.upper(), host.title(), host + ".evil.example", "evil.example." + host, "x" + host)
    yield from (f"{name}.{tail}", f"{name}..{tail}", f"x-{host}", f"{name}x{tail}", f"{name[:-1]}{tail}", f".{host}")
    yield from (
        name.replace(".", "\u3002") + tail,
        name.replace("e", "\uff45") + tail,
        name.replace("a", "\u0430") + tail,
    )
    yield from (
        name.replace(".", "%2e") + tail,
        quote(name.replace("a", "\u00e4")) + tail,
        name.replace("a", "%61") + tail,
    )
    yield from (
        name.replace(".", "\u00ad.") + tail,
        name.replace("k", "\u212a") + tail,
        name.replace("s", "\u017f") + tail,
    )
    yield from (f"{name}\\.evil.example", f"{name}\\@evil.example", f"{name}%23.evil.example", f"{name};.evil.example")
    yield from (f"{name},evil.example", f"{name}&@evil.example", f"{name}%2f@evil.example", f"evil.example%2f{name}")
    yield from (f"evil.example\\{name}", f"evil.example#{host}", f"evil.example?{host}", f"evil.example/{host}")
    yield from (
        f"[{name}]{tail}",
        f"{name}\t{tail}",
        f"{name}\n{tail}",
        f"{name} {tail}",
        f"\u200b{host}",
        f"{name}_{tail}",
    )


def absolutes() -> tuple[str, ...]:
    """Absolute addresses in every spelling."""
    found: dict[str, None] = {}
    for host in (*CONFIGURED, *EVIL_HOSTS):
        for written in spelled(host):
            for end in ("/", "/a?b"):
                found[f"https://{written}{end}"] = None
        for start in STARTS:
            for end in ENDS:
                found[f"{start}{host}{end}"] = None
        for before in BEFORE:
            for behind in BEHIND:
                found[f"https://{before}{host}{behind}/a"] = None
                found[f"https://{before}evil.example{behind}/{host}"] = None
    for address in ADDRESSES:
        for written in (address, address + WILD, f"a.{address}", f"{address}.", f"{address}:443"):
            found[f"https://{written}/"] = None
    return tuple(found)


READ = """
const { base, cases } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const read = (text) => {
  try {
    const url = new URL(text, base);
    return [url.protocol, url.host, url.username + url.password, url.pathname];
  } catch { return null; }
};
console.log(JSON.stringify(cases.map(([text, sent]) => [read(text), read(sent)])));
"""


def read_by_browsers(cases: list[tuple[str, str]]) -> list[list[list[str] | None]]:
    """Scheme, host, userinfo and path of both strings of each case, as Node's URL parser reads them on our page."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: its URL parser, the one browsers use, judges here")
    text = json.dumps({"base": OURS + "/oauth2/callback", "cases": cases})
    done = subprocess.run([node, "-e", READ], input=text, capture_output=True, text=True, timeout=60, check=True)
    read: list[list[list[str] | None]] = json.loads(done.stdout)
    return read


def goals(texts: tuple[str, ...]) -> list[tuple[str, Destination]]:
    """Each text that leads somewhere, with where."""
    found = ((text, destination(text, own=OURS, is_ours=is_ours)) for text in texts)
    return [(text, goal) for text, goal in found if goal is not None]


def test_addresses_are_many() -> None:
    """Both corpora keep their size; of the addresses some are accepted, on each kind of host."""
    accepted = goals(absolutes())
    assert len(absolutes()) >= 2000
    assert len(redirects()) >= 2000
    origins = {goal.origin for _, goal in accepted}
    expected = {f"https://{host}" for host in CONFIGURED}
    assert expected <= origins
    assert len(accepted) < len(absolutes())
    assert any(destination(text, own=OURS, is_ours=is_ours) is None for text in absolutes())


@pytest.mark.real
@pytest.mark.parametrize("corpus", ["redirects", "absolutes", "redirects behind our hosts"])
def test_every_location_is_on_a_configured_host(corpus: str) -> None:
    """What is sent is read by a browser as a host of ours, and as the very host that was accepted."""
    texts = absolutes() if corpus == "absolutes" else redirects()
    if corpus.endswith("hosts"):
        texts = tuple(f"https://{host}{text}" for host in CONFIGURED for text in texts)
    cases = [(text, goal, location(goal.origin, goal.path)) for text, goal in goals(texts)]
    assert cases
    for (text, goal, sent), (asked, got) in zip(
        cases, read_by_browsers([(text, sent) for text, _, sent in cases]), strict=True
    ):
        assert got is not None, sent
        protocol, host, userinfo, path = got
        assert is_ours(protocol.removesuffix(":"), host), (text, sent)
        assert f"{protocol}//{host}" == goal.origin, (text, sent)
        assert userinfo == ""
        assert path.startswith("/")
        assert not path.startswith("//"), (text, sent)
        if goal.origin != OURS or goal.path != "/":  # the text was heeded: the browser must read it alike
            assert asked is not None, text
            assert f"{asked[0]}//{asked[1]}" == goal.origin, text


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        pytest.param("https://one.example.com:8443/a", "https://one.example.com:8443", id="another-site"),
        pytest.param("https://a.k8s.example.com:443/a", "https://a.k8s.example.com", id="the-scheme's-own-port"),
        pytest.param("https://x.tools.example.org/a", "https://x.tools.example.org", id="a-return-host"),
        pytest.param("http://local.localhost:8000/a", "http://local.localhost:8000", id="http"),
        pytest.param("https://a.k8s.example.com\\@evil.example/a", OURS, id="no-address"),
        pytest.param("https://A.k8s.example.com/a", OURS, id="upper-case-is-no-address-of-ours"),
        pytest.param("https://a.k8s.example.com./a", OURS, id="trailing-dot"),
        pytest.param("https://1.2.3.4/a", OURS, id="numbers-are-no-name"),
        pytest.param("https://evil.example/a", None, id="a-foreign-host"),
        pytest.param("https://k8s.example.com/a", None, id="the-domain-itself"),
        pytest.param("https://a.k8s.example.com:8443/a", None, id="another-port"),
        pytest.param("http://a.k8s.example.com/a", None, id="another-scheme"),
        pytest.param("https://xk8s.example.com/a", None, id="without-the-dot"),
        pytest.param("https://a.k8s.example.com.evil.example/a", None, id="as-a-prefix"),
    ],
)
def test_named_hosts(text: str, origin: str | None) -> None:
    """A foreign host is told from what names none at all: the first is refused, the second leads home."""
    goal = destination(text, own=OURS, is_ours=is_ours)
    assert (goal and goal.origin) == origin


@given(st.text(alphabet="htps:/\\@.%#?[]0x1ake8-\t\u3002", max_size=40), st.sampled_from(CONFIGURED))
def test_whatever_comes_the_host_is_configured(text: str, host: str) -> None:
    """For any text around one of our hosts."""
    for candidate in (text, f"https://{host}{text}", f"https://{text}{host}/", f"{text}{host}/a"):
        goal = destination(candidate, own=OURS, is_ours=is_ours)
        if goal is not None:
            scheme, _, authority = goal.origin.partition("://")
            assert is_ours(scheme, authority)
            assert safe_path(goal.path) == goal.path
