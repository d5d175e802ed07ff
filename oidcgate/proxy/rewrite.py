"""
From the inbound request to the head that goes to the UI.

Pure. Order (the fourth of five stops): the client's end-to-end headers, then the gate's own, and the bearer last of
all, so that nothing the client sent can replace or remove it.
"""

from oidcgate.inbound import Head


def outbound_head(
    method: str,
    target: str,
    *,
    host: bytes,
    block: bytes,
    forwarding: bytes,
    framing: bytes,
    bearer: bytes,
) -> bytes:
    """
    The complete head of a request to the UI.

    Args:
        target: as received, byte for byte.
        host: the Host line of the upstream.
        block: the client's end-to-end headers, from ``end_to_end``.
        forwarding: from ``forwarding_lines``.
        framing: from ``framing_line`` or a handshake's lines.
        bearer: the whole Authorization line, or nothing.
    """
    return b"".join(
        (
            method.encode("ascii"),
            b" ",
            target.encode("ascii"),
            b" HTTP/1.1\r\n",
            host,
            block,
            forwarding,
            framing,
            bearer,
            b"\r\n",
        )
    )


def framing_line(head: Head, method: str) -> bytes:
    """How the body's length is told: the gate re-frames, so chunked stays chunked and a length stays a length."""
    if head.chunked:
        return b"Transfer-Encoding: chunked\r\n"
    if head.length or method in ("POST", "PUT", "PATCH"):
        return b"Content-Length: %d\r\n" % head.length
    return b""


def bearer_line(token: str) -> bytes:
    """The one credential that goes to the UI (RFC 6750 §2.1)."""
    return b"Authorization: Bearer " + token.encode("ascii") + b"\r\n"


def host_line(authority: str) -> bytes:
    """The upstream's own Host."""
    return b"Host: " + authority.encode("ascii") + b"\r\n"
