"""Where a login may lead back to: never away from our origin, as browsers read it (WHATWG URL)."""

import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oidcgate.returnto import destination, encode_fragment, location, safe_fragment, safe_path
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
