"""The real HAProxy asks the gate, with the two files that `oidcgate snippet haproxy` prints."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oidcgate.snippets.haproxy import files, render
from tests.lab.peers import AskedStack, Peer, hold_to_document, listening, said_by
from tests.lab.scenario import Jar, me, signed_in, walk
from tests.support.browser import NAVIGATION

pytestmark = pytest.mark.real

PROGRAM = shutil.which("haproxy") or "/usr/sbin/haproxy"


def version() -> str:
    """Such as 2.6.12."""
    return said_by(PROGRAM, "-v").split()[2].partition("-")[0]


@asynccontextmanager
async def asking(folder: Path, **options: Any) -> AsyncIterator[Peer]:
    """HAProxy before the UI, and the gate that it asks."""
    async with AskedStack(**options) as stack:
        for name, text in files(render(stack.plan())).items():
            (folder / name).write_text(text)
        async with listening(PROGRAM, "-db", "-f", "haproxy.cfg", port=stack.peer_port, cwd=folder):
            yield Peer("haproxy", stack)


async def test_everything_works_through_haproxy(tmp_path: Path) -> None:
    """The whole walk; the document's row is what came of it."""
    async with asking(tmp_path) as peer:
        hold_to_document("haproxy", version(), await walk(peer))


async def test_with_one_cookie_for_all_hosts(tmp_path: Path) -> None:
    """The whole walk where logins end on another host, and nothing but the question leads from the UI's to the gate."""
    async with asking(tmp_path, shared=True) as peer:
        assert {name: text for name, text in (await walk(peer)).items() if text != "yes"} == {}


async def test_an_outage_is_503(tmp_path: Path) -> None:
    """While the gate is away nobody gets through and nobody is signed out: 503, and the page tries again."""
    async with asking(tmp_path) as peer:
        browser = await signed_in(peer)
        await peer.stack.stop_gate()
        for page in (await me(peer, browser), await browser.send("GET", f"{peer.site}/", NAVIGATION)):
            assert page.status == 503
            assert page.reply.value("Retry-After") == page.reply.value("Refresh") == "3"


async def test_dashboard_is_told_in_its_own_words(tmp_path: Path) -> None:
    """A script of the Dashboard gets the text that its code knows."""
    async with asking(tmp_path, site={"upstream": {"ui": "dashboard-2"}}) as peer:
        page = await Jar().fetch(f"{peer.site}/api/v1/pod")
        assert (page.status, page.text) == (401, "MSG_TOKEN_EXPIRED_ERROR")
        assert page.reply.value("Content-Type") == "text/plain"


async def test_whom_the_site_is_not_open_to(tmp_path: Path) -> None:
    """Somebody with a session who may not use the site gets 403."""
    rules = [{"path": "/api/*", "groups": ["platform-admins"]}]
    async with asking(tmp_path, site={"access": {"rules": rules}}) as peer:
        assert (await me(peer, await signed_in(peer, "alice"))).status == 200
        assert (await me(peer, await signed_in(peer, "bob"))).status == 403
