"""The landing page: what a person may open, how it is, and when it was used."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from oidcgate.demo.issuer import DEMO_PEOPLE
from oidcgate.errors import StoreUnavailable
from oidcgate.web import landing as module
from oidcgate.web import texts
from oidcgate.web.landing import KNOWN_FOR, Health
from oidcgate.web.visits import WRITE_EVERY
from tests.support.browser import NAVIGATION, Browser, Page
from tests.support.central import Central, question, set_every_clock
from tests.support.stack import Clock, Stack
from tests.web.steps import gate_of, lives, look_again

ROW = re.compile(
    r"<li(?: class=\"\w+\")?><div><strong>(.*?)</strong><span>(.*?)</span></div><a class=\"(.*?)\" href=\"(.*?)\">"
)


@pytest.fixture
async def central() -> AsyncIterator[Central]:
    """Two clusters, a login host, and a wildcard; bob may not use the second."""
    async with Central(sites={"two": {"access": {"groups": ["platform-admins"]}}}) as running:
        yield running


async def open_landing(central: Stack, browser: Browser, query: str = "") -> Page:
    """The page, after a login if need be."""
    page = await browser.open(f"{central.url}/oauth2/{query}")
    return await browser.submit(page, login="alice", password="alice") if "password" in page.text else page


def rows(page: Page) -> dict[str, tuple[str, str]]:
    """What is said of each host, and where its link leads, in order."""
    assert page.status == 200, (page.status, page.text)
    return {unescape(host): (unescape(said), unescape(link)) for host, said, _, link in ROW.findall(page.text)}


async def signed_in(central: Central, login: str = "alice") -> Browser:
    """Somebody on the login host."""
    browser = Browser()
    page = await browser.sign_in(f"{central.url}/oauth2/", login)
    assert texts.LANDING[0] in page.text
    return browser


async def test_what_a_person_may_open(central: Central) -> None:
    """Clusters of their own, not the login host, and not what they may not use; no wildcard has a name."""
    alice, bob = await signed_in(central), await signed_in(central, "bob")
    found = rows(await open_landing(central, alice))
    assert set(found) == {central.host_of("one"), central.host_of("two")}
    assert found[central.host_of("one")] == (f"{texts.ANSWERS} · {texts.NEVER_USED}", central.of("one") + "/")
    page = await open_landing(central, bob)
    assert set(rows(page)) == {central.host_of("one")}
    assert "two.k8s" not in page.text
    assert "*" not in page.text.partition("<main")[2]
    assert "bob@example.com" in page.text


async def test_nothing_to_open() -> None:
    """Somebody who may open nothing is told so, and can sign out."""
    nobody = {"access": {"groups": ["nobody"]}}
    async with Central(sites={"one": nobody, "two": nobody}) as central:
        page = await open_landing(central, await signed_in(central))
        assert rows(page) == {}
        assert texts.NO_CLUSTER in page.text
        assert 'href="/oauth2/sign_out"' in page.text


async def test_without_a_session(central: Central) -> None:
    """Nothing is named to strangers; the path that came along survives the login."""
    browser = Browser()
    page = await browser.send("GET", f"{central.url}/oauth2/?rd=%2F%3Fx%3D1", NAVIGATION)
    assert page.status == 302
    assert "one.k8s" not in page.text + str(page.reply.headers)
    page = await open_landing(central, browser, "?rd=%2F%3Fx%3D1")
    assert rows(page)[central.host_of("one")][1] == f"{central.of('one')}/?x=1"


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("", "/"),
        ("?rd=%2Fpods%3Fa%3D1%26b%3D2", "/pods?a=1&b=2"),
        ("?rd=%2Fa%22%3E%3Cscript%3E", '/a"><script>'),
        ("?rd=https%3A%2F%2Fevil.example%2F", "/"),
        ("?rd=%2F%2Fevil.example", "/"),
        ("?rd=%5Cevil.example", "/"),
        ("?rd=%2F..%2F..%2Fa", "/"),
        ("?rd=%40evil.example", "/"),
        ("?rd=.evil.example", "/"),
        ("?rd=javascript:alert(1)", "/"),
        ("?rd=%2Fa&rd=%2Fb", "/"),
        ("?rd=%FF", "/"),
    ],
)
async def test_a_path_is_kept_for_every_cluster(central: Central, query: str, path: str) -> None:
    """A link to the landing page can be a deep link; what is no path of ours is none, and all is escaped."""
    browser = await signed_in(central)
    page = await open_landing(central, browser, query)
    assert [link for _, link in rows(page).values()] == [central.of("one") + path, central.of("two") + path]
    assert "<script>" not in page.text


async def test_the_last_use(central: Central) -> None:
    """Of a host that was used; the last one first. Another person's visits, and questions that were refused, are none."""
    clock = Clock()
    set_every_clock(central, clock)
    gate: Any = gate_of(central).gate.own_pages
    gate._landing._clock = gate._landing._health._clock = clock
    browser, bob = await signed_in(central), await signed_in(central, "bob")
    await bob.open(central.of("one") + "/")
    clock.ahead += 60
    await browser.open(central.of("two") + "/")
    clock.ahead += 600
    look_again(central)
    found = rows(await open_landing(central, browser))
    assert list(found) == [central.host_of("two"), central.host_of("one")]
    assert found[central.host_of("two")][0] == f"{texts.ANSWERS} · {texts.LAST_USED.format('10 minutes')}"
    assert found[central.host_of("one")][0].endswith(texts.NEVER_USED)


async def test_uses_are_known_to_other_processes(central: Central) -> None:
    """They are written with what happens each second, at most once a minute."""
    browser = await signed_in(central)
    await browser.open(central.of("one") + "/")
    visits = gate_of(central).visits
    visits._next = 0.0
    await gate_of(central).look_after()
    assert visits._noted == {}
    assert WRITE_EVERY == 60.0
    found = rows(await open_landing(central, browser))
    assert "last used" in found[central.host_of("one")][0]


async def test_a_host_below_a_wildcard_appears_after_a_visit(central: Central) -> None:
    """By the question of its proxy; nothing is known of its health. One that left the configuration is not named."""
    browser = await signed_in(central)
    page = await browser.open(f"{central.of('fresh')}/oauth2/start?rd=/oauth2/session")
    assert page.status == 200
    assert central.host_of("fresh") not in rows(await open_landing(central, browser))
    cookie = ("Cookie", browser.cookie_header(central.of("fresh")))
    for _ in range(2):
        reply = await central.ask(question("nginx", central.of("fresh") + "/", headers=[cookie]))
        assert reply.status == 200
    gate_of(central).visits.note(lives(central)[0].session.grant_key, "http://gone.example.com")
    found = rows(await open_landing(central, browser, "?rd=/x"))
    assert next(iter(found)) == central.host_of("fresh")
    said, link = found[central.host_of("fresh")]
    assert (said, link) == (texts.LAST_USED.format("less than a minute"), central.of("fresh") + "/x")
    assert len(found) == 3
    page = await Browser().sign_in(f"{central.url}/oauth2/", "bob")
    assert central.host_of("fresh") not in rows(page)


async def test_a_question_that_is_refused_is_no_visit(central: Central) -> None:
    """Nor is one of a stranger."""
    await central.ask(question("nginx", central.of("fresh") + "/"))
    bob = await Browser().sign_in(f"{central.of('two')}/", "bob")
    assert bob.status == 403
    assert all(central.of("two") not in origins for origins in gate_of(central).visits._noted.values())


async def test_a_dead_ui(central: Central) -> None:
    """Is told, and its link is quiet; it is looked at again after a moment, not at once."""
    clock = Clock()
    pages: Any = gate_of(central).gate.own_pages
    pages._landing._health._clock = clock
    browser = await signed_in(central)
    assert rows(await open_landing(central, browser))[central.host_of("two")][0].startswith(texts.ANSWERS)
    await central.uis["two"].stop()
    for site in gate_of(central).sites:
        site.pools.close()
    assert rows(await open_landing(central, browser))[central.host_of("two")][0].startswith(texts.ANSWERS)
    clock.ahead += KNOWN_FOR
    page = await open_landing(central, browser)
    assert rows(page)[central.host_of("two")][0].startswith(texts.SILENT)
    assert rows(page)[central.host_of("one")][0].startswith(texts.ANSWERS)
    assert f'<a class="button quiet" href="{central.of("two")}/">' in page.text


async def test_a_ui_that_accepts_nothing_in_time(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page does not wait for it."""
    monkeypatch.setattr(module, "LOOK", 0.01)
    site = next(site for site in gate_of(central).sites if site.carries)

    async def never(_pool: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(site.pools, "connect", never)
    assert await Health().of(site) is False


async def test_a_look_counts_for_a_while(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many people look at the page, the UI is dialled once in ten seconds; the connection is kept for use."""
    site = next(site for site in gate_of(central).sites if site.carries)
    clock, pool = Clock(), site.pools.pools[0]
    health, dial, dialled = Health(clock=clock), site.pools.connect, []

    async def connect(pool: Any) -> Any:
        dialled.append(pool)
        return await dial(pool)

    monkeypatch.setattr(site.pools, "connect", connect)
    assert [await health.of(site) for _ in range(5)] == [True] * 5
    assert dialled == [pool]
    assert len(pool.idle) == 1
    clock.ahead += KNOWN_FOR
    assert await health.of(site) is True
    assert len(dialled) == 2


async def test_everything_is_escaped(central: Central) -> None:
    """Whatever the provider calls people."""
    evil = replace(DEMO_PEOPLE[0], email='"<b>&x"@example.com', name="<script>")
    central.issuer.replace_person(evil)
    page = await Browser().sign_in(f"{central.url}/oauth2/")
    assert page.status == 200
    assert "<b>" not in page.text
    assert "<script>" not in page.text
    assert "default-src 'none'" in page.reply.value("Content-Security-Policy")


async def test_other_hosts_lead_to_it(central: Central) -> None:
    """The own page of a cluster's host has the way to all clusters; only the login host shows them."""
    browser = await signed_in(central)
    page = await browser.open(f"{central.of('one')}/oauth2/start?rd=/oauth2/session")
    page = await browser.open(f"{central.of('one')}/oauth2/")
    assert rows(page) == {}
    assert f'href="{central.url}/oauth2/"' in page.text
    assert texts.ALL_CLUSTERS in page.text


async def test_a_single_site_has_none(stack: Stack) -> None:
    """There is nothing to choose from."""
    page = await (await stack.browser()).open(f"{stack.url}/oauth2/")
    assert texts.LANDING[0] not in page.text
    assert texts.ALL_CLUSTERS not in page.text


@pytest.mark.parametrize(
    ("access", "is_named"),
    [
        ({}, True),
        ({"rules": [{"path": "/x", "groups": ["nobody"]}]}, True),
        ({"groups": ["platform-admins"]}, False),
        ({"emails": ["alice@example.com"]}, False),
        ({"email_domains": ["example.com"]}, False),
    ],
)
async def test_a_site_with_another_client(access: dict[str, Any], is_named: bool) -> None:
    """What its provider says of the person is not known here: it is named when it is open to all."""
    async with Central(other="two", sites={"two": {"access": access}}) as central:
        found = rows(await open_landing(central, await signed_in(central)))
        assert (central.host_of("two") in found) == is_named


async def test_the_store_is_away(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and the page comes back by itself."""
    browser = await signed_in(central)
    visits: Any = gate_of(central).visits

    async def away(*_: object) -> None:
        raise StoreUnavailable("out for a test")

    monkeypatch.setattr(visits._store, "get", away)
    page = await browser.open(f"{central.url}/oauth2/")
    assert page.status == 503
    assert 'http-equiv="refresh"' in page.text
