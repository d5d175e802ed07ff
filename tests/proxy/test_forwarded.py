"""Where a request came from: only a trusted proxy's word counts, and only its last one."""

import pytest

from oidcgate.proxy.forwarded import client_address, forwarding_lines, is_trusted, parse_networks

TRUSTED = parse_networks(["10.0.0.0/8", "2001:db8::/32", "::1"])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("10.1.2.3", True, id="ipv4"),
        pytest.param("::ffff:10.1.2.3", True, id="mapped-ipv4"),
        pytest.param("2001:db8::5", True, id="ipv6"),
        pytest.param("::1", True, id="single-address"),
        pytest.param("11.0.0.1", False, id="outside"),
        pytest.param("::ffff:11.0.0.1", False, id="mapped-outside"),
        pytest.param("::2", False, id="ipv6-outside"),
        pytest.param("", False, id="empty"),
        pytest.param("unix", False, id="no-address"),
        pytest.param("010.1.2.3", False, id="octal"),
        pytest.param("10.1.2.3:80", False, id="with-a-port"),
    ],
)
def test_trusted(address: str, expected: bool) -> None:
    """An address of a configured network, and nothing that only looks like one."""
    assert is_trusted(address, TRUSTED) is expected


def test_nobody_is_trusted_by_default() -> None:
    """Without configuration no address is."""
    assert not is_trusted("127.0.0.1", ())


@pytest.mark.parametrize(
    ("peer", "chain", "expected"),
    [
        pytest.param("192.0.2.1", b"", "192.0.2.1", id="no-chain"),
        pytest.param("192.0.2.1", b"198.51.100.7", "192.0.2.1", id="stranger-claims"),
        pytest.param("10.0.0.1", b"", "10.0.0.1", id="proxy-itself"),
        pytest.param("10.0.0.1", b"198.51.100.7", "198.51.100.7", id="proxy-speaks"),
        pytest.param("10.0.0.1", b"1.1.1.1, 198.51.100.7", "198.51.100.7", id="forged-to-the-left"),
        pytest.param("10.0.0.1", b"198.51.100.7, 10.0.0.2", "198.51.100.7", id="two-proxies"),
        pytest.param("10.0.0.1", b"10.0.0.3,10.0.0.2", "10.0.0.3", id="only-proxies"),
        pytest.param("2001:db8::1", b"2001:db8:1::2, 2001:dead::1", "2001:dead::1", id="ipv6"),
        pytest.param("10.0.0.1", b"1.1.1.1, unknown", "10.0.0.1", id="unknown"),
        pytest.param("10.0.0.1", b"1.1.1.1, unknown, 10.0.0.2", "10.0.0.2", id="unknown-behind-a-proxy"),
        pytest.param("10.0.0.1", b"1.1.1.1:4711", "10.0.0.1", id="with-a-port"),
        pytest.param("10.0.0.1", b"[2001:db8::9]", "10.0.0.1", id="in-brackets"),
        pytest.param("10.0.0.1", b"fe80::1%any text", "10.0.0.1", id="zone-with-any-text"),
        pytest.param("10.0.0.1", b"1.1.1.1,", "10.0.0.1", id="empty-last-hop"),
        pytest.param("10.0.0.1", b"\xff", "10.0.0.1", id="not-ascii"),
        pytest.param("10.0.0.1", b"9.9.9.9, " + b", ".join([b"10.0.0.2"] * 20), "10.0.0.2", id="too-many-hops"),
    ],
)
def test_client_address(peer: str, chain: bytes, expected: str) -> None:
    """The right-most hop that no trusted proxy owns; what is no address ends the search."""
    assert client_address(peer, chain, TRUSTED) == expected


def test_lines() -> None:
    """All that we say of where a request came from, without a proxy in front."""
    lines = forwarding_lines(
        peer="192.0.2.1", client="192.0.2.1", scheme="https", authority="dash.example.com", via="gate-1"
    )
    assert lines == (
        b"X-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: dash.example.com\r\nX-Forwarded-Port: 443\r\nVia: 1.1 gate-1\r\n"
    )


def test_chain_behind_a_proxy() -> None:
    """The client comes first, then the proxy that speaks for it."""
    lines = forwarding_lines(peer="10.0.0.1", client="192.0.2.1", scheme="http", authority="localhost:8080", via="g")
    assert lines.startswith(b"X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\nX-Real-IP: 192.0.2.1\r\n")


@pytest.mark.parametrize(
    ("scheme", "authority", "port"),
    [
        pytest.param("https", "dash.example.com", b"443", id="https"),
        pytest.param("http", "dash.example.com", b"80", id="http"),
        pytest.param("https", "dash.example.com:8443", b"8443", id="named"),
        pytest.param("https", "[::1]", b"443", id="ipv6"),
        pytest.param("http", "[::1]:8080", b"8080", id="ipv6-named"),
    ],
)
def test_port(scheme: str, authority: str, port: bytes) -> None:
    """The port is the one that browsers use."""
    lines = forwarding_lines(peer="192.0.2.1", client="192.0.2.1", scheme=scheme, authority=authority, via="g")
    assert b"\r\nX-Forwarded-Port: " + port + b"\r\n" in lines
