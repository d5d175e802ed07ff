"""The real nginx asks the gate, with the configuration that `oidcgate snippet nginx` prints."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oidcgate.snippets.nginx import render
from oidcgate.snippets.plan import Plan
from tests.lab import nginx
from tests.lab.denials import ADMINS_ONLY, keeps_the_second_bearer_back, loses_its_store, stays_away, tries_again
from tests.lab.peers import AskedStack, Peer, certificate, hold_to_document
from tests.lab.scenario import me, signed_in, walk, works_in_chromium
from tests.snippets.plans import ALL
from tests.support.browser import Browser
from tests.support.chromium import People

pytestmark = pytest.mark.real


@asynccontextmanager
async def asking(**options: Any) -> AsyncIterator[Peer]:
    """nginx before the UI, and the gate that it asks."""
    async with AskedStack(**options) as stack:
        async with nginx.running(render(stack.plan()), port=stack.peer_port):
            yield Peer("nginx", stack)


async def test_everything_works_through_nginx() -> None:
    """The whole walk; the document's row is what came of it."""
    async with asking() as peer:
        hold_to_document("nginx", nginx.version(), await walk(peer))


async def test_with_one_cookie_for_all_hosts() -> None:
    """The whole walk where logins end on another host, and nothing but the question leads from the UI's to the gate."""
    async with asking(shared=True) as peer:
        results = await walk(peer)
        assert {name: text for name, text in results.items() if text != "yes"} == dict(peer.limits)


async def test_what_the_gate_cannot_know_is_503() -> None:
    """A gate whose store is away says 503; so does the proxy, not 500, 401 or the login."""
    async with asking() as peer:
        for page in await loses_its_store(peer):
            assert page.status == 503
            assert page.reply.value("Retry-After") == "3"


async def test_an_outage_is_503() -> None:
    """While the gate is away nobody gets through and nobody is signed out: 503, and the page tries again."""
    async with asking() as peer:
        tries_again(await stays_away(peer))


async def test_dashboard_is_told_in_its_own_words() -> None:
    """A script of the Dashboard gets the text that its code knows."""
    async with asking(site={"upstream": {"ui": "dashboard-2"}}) as peer:
        page = await Browser().fetch(f"{peer.site}/api/v1/pod")
        assert (page.status, page.text) == (401, "MSG_TOKEN_EXPIRED_ERROR")
        assert page.reply.value("Content-Type") == "text/plain"
        assert page.reply.value("Cache-Control") == "no-store"


async def test_whom_the_site_is_not_open_to() -> None:
    """Somebody with a session who may not use the site gets 403."""
    async with asking(site={"access": ADMINS_ONLY}) as peer:
        assert (await me(peer, await signed_in(peer, "alice"))).status == 200
        assert (await me(peer, await signed_in(peer, "bob"))).status == 403


async def test_the_ui_s_own_answers_pass() -> None:
    """A status of the UI's that looks like one of the gate's is the UI's all the same."""
    async with asking() as peer:
        browser = await signed_in(peer, "carol")
        page = await browser.fetch(f"{peer.site}/api/v1/pod/shop/nothing")
        assert page.status == 403
        assert "carol@example.com" in page.text
        page = await browser.fetch(f"{peer.site}/api/v1/upload", "POST", b"x")
        assert (page.status, page.text) == (401, "CSRF validation failed")


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_in_chromium(people: People, secure: bool) -> None:
    """A real browser gets to work, and to a terminal that answers."""
    async with asking(secure=secure) as peer:
        await works_in_chromium(await people(ignore_https_errors=True), peer)


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_nginx_takes_it(plan: Plan, tmp_path: Path) -> None:
    """nginx finds no fault with any variant, nor with two sites side by side."""
    cert_file, key_file = certificate(tmp_path)
    here = {
        "gate": plan.gate if plan.gate.startswith("unix:") else "http://127.0.0.1:8080",
        "upstream": plan.upstream.replace("kong.dashboard.svc", "127.0.0.1"),
        "upstream_ca_file": cert_file,
        "cert_file": cert_file,
        "key_file": key_file,
        "listen": "127.0.0.1:8443",
    }
    one = render(replace(plan, **here))
    other = render(replace(plan, **here, host="other.example.com"))
    for text in (one, f"variables_hash_max_size 2048;\n{one}{other}"):
        assert nginx.check(text, tmp_path) == ""


async def test_the_second_bearer_is_kept_back() -> None:
    """A token among a websocket's protocols, which an API server would believe, does not reach the UI."""
    async with asking() as peer:
        await keeps_the_second_bearer_back(peer)
