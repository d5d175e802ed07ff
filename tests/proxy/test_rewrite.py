"""The outbound head: the target byte for byte, and exactly one credential, last."""

import pytest

from oidcgate.inbound import RawHeaders, read_head
from oidcgate.proxy.headers import end_to_end
from oidcgate.proxy.rewrite import bearer_line, framing_line, host_line, outbound_head


def test_order() -> None:
    """Host, the client's headers, ours, the framing, the bearer."""
    head = outbound_head(
        "GET",
        "/api/v1/pod/%20?x",
        host=host_line("upstream:9090"),
        block=b"Accept: */*\r\n",
        forwarding=b"X-Forwarded-For: 192.0.2.1\r\n",
        framing=b"",
        bearer=bearer_line("a.b.c"),
    )
    assert head == (
        b"GET /api/v1/pod/%20?x HTTP/1.1\r\nHost: upstream:9090\r\nAccept: */*\r\n"
        b"X-Forwarded-For: 192.0.2.1\r\nAuthorization: Bearer a.b.c\r\n\r\n"
    )


@pytest.mark.parametrize("target", ["/x/../api", "/%2e%2e/a", "/%7e", "/%zz", "/a//b", "/?a=b&c", "/a?0123", "/;x"])
def test_target_as_received(target: str) -> None:
    """What was judged is what is sent."""
    head = outbound_head("POST", target, host=b"", block=b"", forwarding=b"", framing=b"", bearer=b"")
    assert head == b"POST " + target.encode() + b" HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    "line",
    [
        (b"Authorization", b"Bearer theirs"),
        (b"AUTHORIZATION", b"Basic eDp5"),
        (b"Proxy_Authorization", b"Bearer theirs"),
        (b"Impersonate-User", b"system:admin"),
        (b"jweToken", b"theirs"),
    ],
)
def test_one_credential(line: tuple[bytes, bytes]) -> None:
    """Whatever a client sends, one Authorization goes on: ours."""
    raw: RawHeaders = ((b"Host", b"dash.example.com"), line, line)
    head = outbound_head(
        "GET",
        "/",
        host=host_line("upstream"),
        block=end_to_end(raw, read_head(raw, (1, 1)), own=b"own"),
        forwarding=b"",
        framing=b"",
        bearer=bearer_line("ours"),
    )
    assert head == b"GET / HTTP/1.1\r\nHost: upstream\r\nAuthorization: Bearer ours\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "line", "expected"),
    [
        pytest.param("GET", None, b"", id="get"),
        pytest.param("DELETE", None, b"", id="delete"),
        pytest.param("POST", None, b"Content-Length: 0\r\n", id="empty-post"),
        pytest.param("PUT", None, b"Content-Length: 0\r\n", id="empty-put"),
        pytest.param("PATCH", (b"Content-Length", b"0"), b"Content-Length: 0\r\n", id="said-empty-patch"),
        pytest.param("POST", (b"Content-Length", b"0012"), b"Content-Length: 12\r\n", id="length-in-our-words"),
        pytest.param("DELETE", (b"Content-Length", b"3"), b"Content-Length: 3\r\n", id="delete-with-a-body"),
        pytest.param("POST", (b"Transfer-Encoding", b"Chunked"), b"Transfer-Encoding: chunked\r\n", id="chunked"),
    ],
)
def test_framing(method: str, line: tuple[bytes, bytes] | None, expected: bytes) -> None:
    """Framing is always written anew."""
    raw: RawHeaders = ((b"Host", b"a"),) + ((line,) if line else ())
    assert framing_line(read_head(raw, (1, 1)), method) == expected


def test_a_token_beyond_ascii_goes_nowhere() -> None:
    """A token that is not ASCII is an error, never repaired."""
    with pytest.raises(UnicodeEncodeError):
        bearer_line("a\u2028b")
