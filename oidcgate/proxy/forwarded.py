"""
Where a request came from, said to the UI and to the log.

Pure. X-Forwarded-* of clients is deleted; ours is written from the connection, and only a configured proxy's chain is
believed, from the right: the first address that no trusted proxy owns is the client.
"""

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MOST_HOPS = 20


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Configured networks."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_trusted(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address belongs to one of the networks."""
    if not networks:
        return False
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)


def neighbourhood(address: str) -> str:
    """What limits by address count: an IPv4 address, or the /64 that one IPv6 customer has at the least."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


def client_address(peer: str, chain: bytes, networks: tuple[Network, ...]) -> str:
    """
    The client's address: the peer, or the right-most untrusted hop when the peer is a trusted proxy.

    Args:
        chain: X-Forwarded-For as received.
    """
    if not chain or not is_trusted(peer, networks):
        return peer
    address = peer
    for hop in reversed(chain.decode("ascii", "replace").split(",")[-MOST_HOPS:]):
        text = hop.strip()
        if not _is_address(text):
            return address
        address = text
        if not is_trusted(text, networks):
            break
    return address


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone (RFC 4007 §11) may be any text


def forwarding_lines(*, peer: str, client: str, scheme: str, authority: str, via: str) -> bytes:
    """
    Our own forwarding headers as a block of lines.

    Args:
        peer: who is connected to us.
        client: who that speaks for; the same without a trusted proxy.
        scheme: the site's, as browsers use it.
        authority: the site's host (and port), as browsers use it.
        via: our pseudonym.
    """
    chain = peer if peer == client else f"{client}, {peer}"
    port = authority.rpartition(":")[2] if ":" in authority.rpartition("]")[2] else {"https": "443"}.get(scheme, "80")
    return (
        f"X-Forwarded-For: {chain}\r\nX-Real-IP: {client}\r\nX-Forwarded-Proto: {scheme}\r\n"
        f"X-Forwarded-Host: {authority}\r\nX-Forwarded-Port: {port}\r\nVia: 1.1 {via}\r\n"
    ).encode("ascii", "replace")
