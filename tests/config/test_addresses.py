"""Addresses in the configuration, and their canonical form."""

import pytest

from oidcgate.config.addresses import (
    Listen,
    Origin,
    checked_proxy,
    checked_url,
    is_host,
    is_loopback,
    parse_listen,
    parse_origin,
)


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        pytest.param("localhost", True, id="localhost"),
        pytest.param("LocalHost", True, id="case"),
        pytest.param("dashboard.localhost", True, id="below-localhost"),
        pytest.param("127.0.0.1", True, id="ipv4"),
        pytest.param("127.8.9.1", True, id="the-whole-net"),
        pytest.param("[::1]", True, id="ipv6-in-brackets"),
        pytest.param("::1", True, id="ipv6"),
        pytest.param("localhost.example.com", False, id="above-something-else"),
        pytest.param("notlocalhost", False, id="ends-alike"),
        pytest.param("127.0.0.1.example.com", False, id="begins-alike"),
        pytest.param("10.0.0.1", False, id="private-is-not-this-machine"),
        pytest.param("0.0.0.0", False, id="every-address"),
    ],
)
def test_loopback(host: str, answer: bool) -> None:
    """Only names and addresses that can mean nothing but this machine count."""
    assert is_loopback(host) is answer


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param("https://dashboard.example.com", "https://dashboard.example.com", id="plain"),
        pytest.param("HTTPS://Dashboard.Example.COM", "https://dashboard.example.com", id="case-folded"),
        pytest.param("https://dashboard.example.com:443/", "https://dashboard.example.com", id="default-port-left-out"),
        pytest.param("http://localhost:80", "http://localhost", id="default-port-of-http"),
        pytest.param("https://dex.example.com:5556/dex", "https://dex.example.com:5556", id="path-is-no-part"),
        pytest.param("http://[::1]:8000", "http://[::1]:8000", id="ipv6"),
        pytest.param("http://[0:0:0:0:0:0:0:1]", "http://[::1]", id="ipv6-shortened"),
    ],
)
def test_origin(url: str, shown: str) -> None:
    """An origin is compared byte for byte, so it has one spelling only."""
    assert str(parse_origin(url)) == shown


def test_origin_parts() -> None:
    """The authority is what a browser writes in Host."""
    origin = parse_origin("https://ui.example.com:8443/")
    assert origin == Origin("https", "ui.example.com", 8443)
    assert origin.authority == "ui.example.com:8443"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("dashboard.example.com", "must begin with https://", id="no-scheme"),
        pytest.param("ftp://example.com", "must begin with https://", id="other-scheme"),
        pytest.param("", "must begin with https://", id="empty"),
        pytest.param("https://example.com:port", "is not a URL", id="port-is-a-word"),
        pytest.param("https://example.com:70000", "is not a URL", id="port-too-large"),
        pytest.param("https://[::1", "is not a URL", id="open-bracket"),
        pytest.param("https://[fe80::1%25eth0]", "no usable host name", id="with-a-zone"),
        pytest.param("https://example.com/?a=b", "a query or a fragment", id="query"),
        pytest.param("https://example.com/?", "a query or a fragment", id="empty-query"),
        pytest.param("https://example.com/#a", "a query or a fragment", id="fragment"),
        pytest.param("https://", "no usable host name", id="no-host"),
        pytest.param("https://exa mple.com", "no usable host name", id="space"),
        pytest.param("https://exa\tmple.com", "no usable host name", id="tab-that-parsers-drop"),
        pytest.param("https://example.com\n", "no usable host name", id="line-break-that-parsers-drop"),
        pytest.param("https://example.com.", "no usable host name", id="final-dot"),
        pytest.param("https://ex\\ample.com", "no usable host name", id="backslash"),
        pytest.param("https://-a.example.com", "no usable host name", id="hyphen-first"),
        pytest.param("https://bücher.example", "no usable host name", id="not-ascii"),
    ],
)
def test_no_origin(url: str, message: str) -> None:
    """What is no usable URL says why."""
    with pytest.raises(ValueError, match=message):
        parse_origin(url)


@pytest.mark.parametrize("url", ["https://user:geheim@example.com", "https://:geheim@example.com"])
def test_user_is_not_repeated(url: str) -> None:
    """A URL with a password is refused by a message that does not show it."""
    with pytest.raises(ValueError, match="must not carry a user or a password") as caught:
        checked_url(url)
    assert "geheim" not in str(caught.value)


def test_checked_url_stays_as_written() -> None:
    """An issuer is compared letter by letter, so its URL is checked and not changed."""
    assert checked_url("https://Dex.example.com/dex/") == "https://Dex.example.com/dex/"


@pytest.mark.parametrize("url", ["http://proxy:3128", "https://user:geheim@proxy.example.com", "http://[::1]:3128/"])
def test_proxy(url: str) -> None:
    """An outgoing proxy's URL may carry a user and a password."""
    assert checked_proxy(url) == url


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("socks5://geheim@proxy", id="other-scheme"),
        pytest.param("proxy:3128", id="no-scheme"),
        pytest.param("http://", id="no-host"),
        pytest.param("http://[geheim", id="open-bracket"),
        pytest.param("http://u:geheim@proxy:port", id="port-is-a-word"),
    ],
)
def test_no_proxy(url: str) -> None:
    """What is no proxy's URL is refused without being quoted: it may hold a password."""
    with pytest.raises(ValueError, match="must be an http:// or https:// URL") as caught:
        checked_proxy(url)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "listen", "shown"),
    [
        pytest.param("127.0.0.1:8080", Listen("127.0.0.1", 8080), "127.0.0.1:8080", id="ipv4"),
        pytest.param("localhost:0", Listen("localhost", 0), "localhost:0", id="name-and-any-port"),
        pytest.param(":8080", Listen("0.0.0.0", 8080), "0.0.0.0:8080", id="every-address"),
        pytest.param("[::1]:8080", Listen("::1", 8080), "[::1]:8080", id="ipv6"),
        pytest.param("[::]:8080", Listen("::", 8080), "[::]:8080", id="every-ipv6-address"),
        pytest.param("unix:/run/gate.sock", Listen(path="/run/gate.sock"), "unix:/run/gate.sock", id="socket"),
    ],
)
def test_listen(text: str, listen: Listen, shown: str) -> None:
    """Host and port, or a Unix socket; what is shown parses to the same."""
    assert parse_listen(text) == listen
    assert str(listen) == shown
    assert parse_listen(shown) == listen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("8080", "write host:port or unix:/path", id="port-only"),
        pytest.param("localhost", "write host:port", id="host-only"),
        pytest.param("localhost:", "write host:port", id="no-port"),
        pytest.param("localhost:http", "write host:port", id="port-is-a-word"),
        pytest.param("localhost:65536", "write host:port", id="port-too-large"),
        pytest.param("localhost:" + "9" * 5000, "write host:port", id="port-far-too-large"),
        pytest.param("localhost:٨٠", "write host:port", id="digits-that-are-not-ascii"),
        pytest.param("http://localhost:8080", "write host:port", id="a-url"),
        pytest.param("local host:8080", "write host:port", id="a-space"),
        pytest.param("[::1]", "write host:port", id="ipv6-without-port"),
        pytest.param("unix:gate.sock", "needs an absolute path", id="relative-socket"),
        pytest.param("unix:", "needs an absolute path", id="empty-socket"),
    ],
)
def test_no_listen(text: str, message: str) -> None:
    """What is no address to listen on says how to write one."""
    with pytest.raises(ValueError, match=message):
        parse_listen(text)


def test_host() -> None:
    """Names and addresses are hosts, in lower case; others are not."""
    assert all(map(is_host, ["a", "a-b.example.com", "10.0.0.1", "::1"]))
    assert not any(map(is_host, ["", "A", "a_b", "a..b", "-a", "fe80::1%eth0", "[::1]"]))
