"""
Does a UI heed the bearer at all?

Edge: a plain connection of its own. The Dashboard 2.7, reached over plain HTTP without ``--enable-insecure-login``,
ignores every token and acts with its own service account for everybody; it says so in ``login/status`` (httpsMode).
"""

import asyncio
import json

from oidcgate.net.upstream import Address

LIMIT = 5.0  # seconds
MOST_BYTES = 64 * 1024
STATUS_PATH = "/api/v1/login/status"


async def ignores_bearer(address: Address) -> str | None:
    """Why this Dashboard 2.7 may not be passed requests, or None when it heeds the bearer."""
    try:
        async with asyncio.timeout(LIMIT):
            body = await _status(address)
    except (TimeoutError, OSError) as error:
        return f"it could not be asked whether it heeds tokens ({error or 'no answer'})"
    if body.get("httpsMode") is True:
        return None
    return "it acts with its own service account for everybody; use its HTTPS port, or give it --enable-insecure-login"


async def _status(address: Address) -> dict[str, object]:
    """``login/status``; empty when the answer is not what the Dashboard gives."""
    if address.path:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(
            f"GET {STATUS_PATH} HTTP/1.0\r\nHost: {address.authority}\r\nAccept: application/json\r\n"
            "Authorization: Bearer probe\r\nConnection: close\r\n\r\n".encode()
        )
        received = b""
        while len(received) < MOST_BYTES and (data := await reader.read(MOST_BYTES)):
            received += data
    finally:
        writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    try:
        document = json.loads(body) if b" 200 " in head.partition(b"\r\n")[0] + b" " else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
