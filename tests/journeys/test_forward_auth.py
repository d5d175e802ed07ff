"""People behind a proxy that asks the gate, in each dialect, from the first page to the sign-out."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from oidcgate.demo.issuer import DEMO_PEOPLE
from oidcgate.proxy.dialects import DIALECTS
from oidcgate.web import texts
from tests.support.browser import Browser
from tests.support.central import AskingProxy, Central, asking, question, set_every_clock
from tests.support.stack import Clock
from tests.web.steps import gate_of, intercept_store, look_again

NAMES = list(DIALECTS)
MODES = pytest.mark.parametrize(
    "shared", [pytest.param(False, id="a-cookie-a-host"), pytest.param(True, id="one-cookie")]
)
FORGED = {
    "Authorization": "Bearer forged",
    "X-Auth-Request-User": "admin",
    "X-Auth-Request-Groups": "platform-admins",
    "X-Forwarded-User": "admin",
    "X-Forwarded-Email": "admin@example.com",
}


def told(proxy: AskingProxy) -> dict[str, str]:
    """What the proxy was told with the last request that it carried."""
    return proxy.carried[-1][1]


@MODES
@pytest.mark.parametrize("name", NAMES)
async def test_from_the_first_page_to_the_sign_out(name: str, shared: bool) -> None:
    """A deep link, a password, scripts, a second host without one, and a sign-out that the next question knows."""
    async with Central(shared=shared) as central, asking(central, dialect=name, routes_own=not shared) as proxy:
        browser, url = Browser(route=proxy.route), f"{central.of('ui')}/pods?a=b%20c&d=%2F#/x"
        page = await browser.sign_in(url)
        assert (page.status, page.url, page.text) == (200, url, f"the UI of {central.host_of('ui')}")
        assert proxy.carried[-1][0] == url.partition("#")[0]
        for _ in range(3):
            page = await browser.fetch(f"{central.of('ui')}/api/v1/pods?x=y")
            assert page.status == 200
            assert told(proxy)["X-Auth-Request-Email"] == "alice@example.com"
        gate: Any = gate_of(central)
        assert gate.quick._otherwise.taken >= 2
        page = await browser.fetch(f"{central.of('ui')}/api/v1/pods", "POST", b"{}")
        assert page.status == 200
        logins = central.issuer.calls["login"]
        page = await browser.sign_in(central.of("other") + "/")
        assert (page.status, page.url) == (200, central.of("other") + "/")
        assert central.issuer.calls["login"] == logins
        out = central.url if shared else central.of("ui")
        page = await browser.submit(await browser.open(f"{out}/oauth2/sign_out"))
        assert texts.SIGNED_OUT[0] in page.text
        carried = len(proxy.carried)
        for host in ("ui", "other"):
            assert (await browser.fetch(central.of(host) + "/api/v1/pods")).status == 401
            assert "password" in (await browser.open(central.of(host) + "/")).text
        assert len(proxy.carried) == carried


@pytest.mark.parametrize("name", NAMES)
async def test_headers_of_the_clients_own_are_overruled(name: str) -> None:
    """Every name that the UI may believe is in the answer, so the client's own never gets through."""
    config = {"forward_auth": {"headers": ["authorization", "x-auth-request", "x-forwarded"]}}
    async with Central(config=config) as central, asking(central, dialect=name, routes_own=True) as proxy:
        browser = Browser(route=proxy.route)
        await browser.sign_in(central.of("ui") + "/", "carol")
        for _ in range(2):
            assert (await browser.fetch(central.of("ui") + "/api/x", **FORGED)).status == 200
            assert set(FORGED) <= set(told(proxy))
            assert "forged" not in told(proxy)["Authorization"]
            assert told(proxy)["X-Auth-Request-Groups"] == ""
            assert told(proxy)["X-Forwarded-Email"] == told(proxy)["X-Auth-Request-Email"] == "carol@example.com"
        assert (await Browser(route=proxy.route).fetch(central.of("ui") + "/api/x", **FORGED)).status == 401


@pytest.mark.parametrize("name", NAMES)
async def test_who_may_and_who_may_no_longer(name: str) -> None:
    """Somebody who leaves a group is kept out with the next token, without a new login; and comes back alike."""
    clock = Clock()
    sites = {"*": {"access": {"groups": ["team-shop"]}}}
    options: Any = {"issuer": {"id_token_life": 600, "clock": clock}, "ui": {"clock": clock}}
    async with Central(sites=sites, **options) as central, asking(central, dialect=name, routes_own=True) as proxy:
        set_every_clock(central, clock)
        alice, bob = Browser(route=proxy.route), Browser(route=proxy.route)
        assert (await alice.sign_in(central.of("ui") + "/")).status == 403
        assert (await bob.sign_in(central.of("ui") + "/", "bob")).status == 200
        logins = central.issuer.calls["login"]
        for groups, status in (((), 403), (("team-shop", "new"), 200)):
            central.issuer.replace_person(replace(DEMO_PEOPLE[1], groups=groups))
            clock.ahead += 601
            look_again(central)
            assert (await bob.fetch(central.of("ui") + "/api/x")).status == status
        assert told(proxy)["X-Auth-Request-Groups"] == "team-shop,new"
        assert central.issuer.calls["login"] == logins


@pytest.mark.parametrize("name", NAMES)
async def test_outages_sign_nobody_out(name: str) -> None:
    """The issuer's, then the store's: 503 while nobody can tell, and after that all goes on without a password."""
    clock = Clock()
    options: Any = {"issuer": {"id_token_life": 600, "clock": clock}, "ui": {"clock": clock}}
    async with Central(**options) as central, asking(central, dialect=name, routes_own=True) as proxy:
        set_every_clock(central, clock)
        browser, url = Browser(route=proxy.route), central.of("ui") + "/"
        assert (await browser.sign_in(url)).status == 200
        await central.issuer.stop()
        assert (await browser.fetch(url + "api/x")).status == 200
        clock.ahead += 601
        look_again(central)
        assert (await browser.fetch(url + "api/x")).status == 503
        assert (await browser.open(url)).status == 503
        await central.issuer.start()
        clock.ahead += 60
        look_again(central)
        assert (await browser.fetch(url + "api/x")).status == 200
        store = intercept_store(central)
        store.is_down = True
        gate_of(central).sessions._lives.clear()
        gate_of(central).gate.facts.forget()
        assert (await browser.fetch(url + "api/x")).status == 503
        assert (await browser.open(url)).status == 503
        store.is_down = False
        page = await browser.open(url)
        assert (page.status, page.url) == (200, url)


async def test_many_people_behind_one_proxy() -> None:
    """However their questions come together, each is answered about the person who sent it."""
    async with Central() as central, asking(central, dialect="nginx", routes_own=True) as proxy:
        people = {}
        for login in ("alice", "bob", "carol"):
            people[login] = Browser(route=proxy.route)
            await people[login].sign_in(central.of("ui") + "/", login)

        async def ask(login: str, number: int) -> tuple[str, str]:
            url = f"{central.of('ui')}/api/{number}"
            jar = ("Cookie", people[login].cookie_header(url))
            reply = await central.ask(question("nginx", url, headers=[jar]))
            return login + "@example.com", reply.value("X-Auth-Request-Email")

        found = await asyncio.gather(*(ask(login, number) for number in range(60) for login in people))
        assert len(found) == 180
        assert all(expected == seen for expected, seen in found)


@pytest.mark.parametrize("name", NAMES)
async def test_a_websocket_is_asked_about_once(name: str) -> None:
    """With the session and the origin of its own site; another site's page, or nobody, opens none."""
    async with Central() as central, asking(central, dialect=name, routes_own=True) as proxy:
        browser = Browser(route=proxy.route)
        await browser.sign_in(central.of("ui") + "/")
        wanted = {
            "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec_WebSocket_Version": "13",
            "Sec_Fetch_Mode": "websocket",
        }
        url = central.of("ui") + "/ws"
        assert (await browser.fetch(url, Origin=central.of("ui"), **wanted)).status == 200
        assert (await browser.fetch(url, Origin=central.of("other"), **wanted)).status == 403
        assert (await browser.fetch(url, **wanted)).status == 403
        page = await Browser(route=proxy.route).fetch(url, Origin=central.of("ui"), **wanted)
        assert (page.status, page.location) == (401, "")
