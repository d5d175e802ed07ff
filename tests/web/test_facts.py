"""What follows from a header block, worked out once and remembered within bounds."""

from pathlib import Path
from typing import Any

import pytest

from oidcgate.config.load import parse_config
from oidcgate.errors import RequestError
from oidcgate.policy import Crossing
from oidcgate.proxy.forwarded import parse_networks
from oidcgate.web import facts as module
from oidcgate.web.facts import FactsTable
from oidcgate.web.providers import Providers
from oidcgate.web.site import make_site, make_table

HOST = (b"Host", b"a.localhost")
HANDLE = b"A" * 43


class Asked:
    """As much of a request as facts need."""

    def __init__(self, *headers: tuple[bytes, bytes], version: tuple[int, int] = (1, 1), path: str = "/") -> None:
        from aiohttp import HttpVersion

        self.raw_headers = (HOST, *headers) if headers or version else ()
        self.version = HttpVersion(*version)
        self.method = "GET"
        self.raw_path = path


def table(*, trusted: tuple[str, ...] = (), head_limit: int = 65536) -> FactsTable:
    """A table for one site."""
    config = parse_config(
        {
            "provider": {"issuer": "http://localhost:1/dex", "client_id": "gate"},
            "sites": [{"url": "http://a.localhost", "upstream": {"url": "http://127.0.0.1:2"}}],
        },
        folder=Path("."),
    )
    sites = [make_site(config, config.sites[0], Providers(config))]
    return FactsTable(make_table(config, sites), trusted=parse_networks(trusted), head_limit=head_limit)


def read(facts: FactsTable, request: Any) -> Any:
    """Facts of a request."""
    return facts.read(request)


def test_facts_of_a_signed_in_browser() -> None:
    """The handle is found, and such a request may go the short way."""
    found = read(table(), Asked((b"Cookie", b"oidcgate=" + HANDLE), (b"Sec-Fetch-Site", b"same-origin")))
    assert found.handle == HANDLE
    assert found.how is Crossing.SAME
    assert found.is_quick
    assert not found.opens_page
    assert b"oidcgate" not in found.block


def test_only_remembered_blocks_are_found_again() -> None:
    """Visitors fill no table: a block is kept once somebody signed in has sent it, and only if it can be."""
    facts, asked = table(), Asked((b"Cookie", b"oidcgate=" + HANDLE))
    request: Any = asked
    first = read(facts, asked)
    assert facts.known(asked.raw_headers) is None
    facts.remember(request, first)
    assert facts.known(asked.raw_headers) is first
    assert read(facts, asked) is first
    facts.remember(request, first)
    facts.forget()
    assert facts.known(asked.raw_headers) is None


@pytest.mark.parametrize(
    "asked",
    [
        Asked(version=(1, 0)),
        Asked((b"Content-Length", b"5")),
        Asked((b"Connection", b"upgrade"), (b"Upgrade", b"websocket")),
        Asked((b"X-Long", b"x" * module.MOST_BLOCK_REMEMBERED)),
    ],
)
def test_some_blocks_are_never_remembered(asked: Any) -> None:
    """HTTP/1.0, bodies, upgrades, and what is too long."""
    facts = table()
    facts.remember(asked, read(facts, asked))
    assert facts.known(asked.raw_headers) is None


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full, it begins anew."""
    monkeypatch.setattr(module, "MOST_REMEMBERED", 3)
    facts = table(trusted=("10.0.0.0/8",))
    for number in range(10):
        asked: Any = Asked((b"X-Number", str(number).encode()))
        found = read(facts, asked)
        facts.remember(asked, found)
        facts.forwarding(found.head, found.site, f"10.0.0.{number}")
        assert facts.known(asked.raw_headers) is found
    assert len(facts._known) <= 3
    assert len(facts._forwarding) <= 3


def test_tails_are_bounded() -> None:
    """One block from many peers, as behind a proxy's many addresses."""
    facts = table()
    found = read(facts, Asked())
    tails = [facts.tail(found, f"10.0.0.{number}", found.pool) for number in range(2 * module.MOST_TAILS)]
    assert len(found.tails) <= module.MOST_TAILS
    assert len(set(tails)) == len(tails)
    assert facts.tail(found, "10.0.0.31", found.pool) == tails[31]


def test_a_long_chain_is_not_remembered() -> None:
    """X-Forwarded-For is the client's to choose."""
    facts = table(trusted=("10.0.0.0/8",))
    found = read(facts, Asked((b"X-Forwarded-For", b"198.51.100.1, " * 40 + b"198.51.100.2")))
    assert b"198.51.100.2" in facts.forwarding(found.head, found.site, "10.0.0.1")
    assert not facts._forwarding


def test_who_is_trusted() -> None:
    """Configured networks, and whoever comes by the Unix socket."""
    facts = table(trusted=("10.0.0.0/8",))
    assert facts.is_trusted("10.1.2.3")
    assert facts.is_trusted("unix")
    assert not facts.is_trusted("192.0.2.1")


def test_a_request_that_came_back() -> None:
    """Our own name in Via is a loop; another gate's is not."""
    facts = table()
    with pytest.raises(RequestError, match="loop"):
        read(facts, Asked((b"Via", b"1.1 " + facts._via.encode().upper())))
    assert read(facts, Asked((b"Via", b"1.1 oidcgate-00000000")))


def test_the_heads_size() -> None:
    """Counted as it stood on the wire."""
    facts = table(head_limit=200)
    assert read(facts, Asked((b"X", b"x" * 100)))
    with pytest.raises(RequestError) as caught:
        read(facts, Asked((b"X", b"x" * 200)))
    assert caught.value.status == 431


def test_reprs_show_no_cookie() -> None:
    """What a traceback prints is not secret."""
    found = read(table(), Asked((b"Cookie", b"oidcgate=" + HANDLE)))
    assert HANDLE.decode() not in repr(found)


def test_a_request_of_a_trace_is_not_remembered() -> None:
    """The next one has another block: the table is kept for those that come again."""
    parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    session = (b"Cookie", b"oidcgate=" + HANDLE)
    for extra, is_kept in (((b"Traceparent", parent), False), ((b"Traceparent", b"nonsense"), True)):
        facts, asked = table(), Asked(session, extra)
        facts.remember(asked, read(facts, asked))  # type: ignore[arg-type]
        assert (facts.known(asked.raw_headers) is not None) == is_kept
