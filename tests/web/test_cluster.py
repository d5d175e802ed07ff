"""Who the cluster thinks somebody is, and whether they may pass: asked once, remembered for a while, and in doubt no."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientTimeout

from oidcgate.kube.client import ClusterUnreachable
from oidcgate.kube.diagnosis import Part
from oidcgate.kube.reviews import SELF_ACCESS_PATH, SELF_PATH, TOKEN_PATH, Person
from oidcgate.web import cluster as module
from oidcgate.web import texts
from oidcgate.web.cluster import Clusters, credentials
from oidcgate.web.live import Live
from oidcgate.web.site import SiteRuntime
from tests.support.apiserver import CREDENTIAL, ApiServer, clustered
from tests.support.browser import NAVIGATION, SCRIPT, Browser
from tests.support.raw import LIMIT, connect, request
from tests.support.stack import Clock, Stack
from tests.web.steps import ask, gate_of, is_signed_in, look_again, quick_stack, the_live

MAY = {"access": {"may": {"verb": "get", "resource": "services/proxy"}}}
ADMINS = {"oidc:platform-admins": {("get", "services/proxy")}}

Both = tuple[Stack, ApiServer]


@pytest.fixture
async def known() -> AsyncIterator[Both]:
    """A site with an API server to which everything fits."""
    async with clustered() as both:
        yield both


@pytest.fixture
async def judged() -> AsyncIterator[Both]:
    """A site for those who may reach services through the API server: admins."""
    async with clustered(site=MAY, rights=dict(ADMINS)) as both:
        yield both


def clusters_of(stack: Stack) -> Clusters:
    """What the gate asks API servers with."""
    return gate_of(stack).clusters


def now_is(stack: Stack, clock: Clock) -> None:
    """Let answers grow old by a clock, and what sessions took from them."""
    clusters: Any = clusters_of(stack)
    for part in (clusters, clusters._people, clusters._verdicts):
        part._clock = clock


def site_of(stack: Stack) -> SiteRuntime:
    """The only site."""
    return gate_of(stack).sites[0]


async def open_page(browser: Browser, stack: Stack, path: str = "/") -> Any:
    """A navigation, without the redirects that a browser follows."""
    return await browser.send("GET", stack.url + path, NAVIGATION)


# Who somebody is.


async def test_asked_once_a_token(known: Both) -> None:
    """The first page asks; neither scripts nor further pages do."""
    stack, api = known
    browser = await stack.browser()
    assert api.calls == {SELF_PATH: 1}
    for _ in range(3):
        assert (await open_page(browser, stack)).status == 200
        assert (await ask(browser, stack)).status == 200
        look_again(stack)
    assert api.headers[0]["Authorization"].startswith("Bearer ey")
    await stack.browser("bob")
    assert api.calls == {SELF_PATH: 2}


async def test_a_new_token_asks_again(known: Both) -> None:
    """What the cluster said of the last one says nothing of the next."""
    stack, api = known
    browser = await stack.browser()
    shared = the_live(stack).shared
    before = shared.bearer
    gate_of(stack).grants.begin_renewal(shared)
    await gate_of(stack).grants.wait_for_renewal(shared)
    assert shared.bearer != before
    assert (await open_page(browser, stack)).status == 200
    assert api.calls == {SELF_PATH: 2}


@pytest.mark.parametrize("site", [{"identity": "none"}, {}])
async def test_nobody_asks(site: dict[str, Any]) -> None:
    """Neither where no token goes to the UI, nor where no API server is named."""
    async with clustered(site=site) as (stack, api):
        if not site:
            gate_of(stack).gate.clusters = None
        await stack.browser()
        assert not api.calls


async def test_sites_without_an_api_server() -> None:
    """There is nothing to ask, and the gate does not try."""
    async with quick_stack() as stack:
        assert len(clusters_of(stack)) == 0
        assert gate_of(stack).gate.clusters is None
        await stack.browser()
        assert await clusters_of(stack).permit(the_live(stack), site_of(stack))
        assert not clusters_of(stack).knows(the_live(stack), site_of(stack))


BROKEN: list[tuple[dict[str, Any], bool, str, str]] = [
    # what is broken, whether the gate may ask for TokenReviews, the part, words of the page
    ({"audience": "other"}, True, "Audience", "It accepts &quot;gate&quot;"),
    ({"trusted": "https://other.example"}, True, "Issuer", "exactly this address"),
    ({"skew": 86400.0 * 2}, True, "Clock", "s ahead of the gate&#x27;s"),
    ({"skew": 86400.0 * 2}, False, "Clock", "s ahead of the gate&#x27;s"),
    ({"audience": "other"}, False, "Audience", texts.MISFIT_UNSURE),
    ({"trusted": "https://other.example"}, False, "Issuer", texts.MISFIT_UNSURE),
]


@pytest.mark.parametrize(("broken", "credential", "part", "words"), BROKEN)
async def test_a_token_that_is_not_taken(broken: dict[str, Any], credential: bool, part: str, words: str) -> None:
    """In place of an empty UI a page that names what does not fit, and the setting to change; nobody is signed out."""
    async with clustered(credential=credential, **broken) as (stack, api):
        browser = Browser()
        page = await browser.sign_in(stack.url + "/pods?x=1", "alice")
        assert page.status == 403
        assert texts.MISFIT[0].replace("'", "&#x27;") in page.text
        assert f"<h2>{part}</h2>" in page.text
        assert words in page.text
        assert "AuthenticationConfiguration" in page.text or part == "Clock"
        assert 'href="/pods?x=1"' in page.text
        assert "default-src &#x27;none&#x27;" in page.text or "'none'" in page.reply.value("Content-Security-Policy")
        assert CREDENTIAL not in page.text
        assert stack.ui is not None
        assert not stack.ui.arrivals
        assert await is_signed_in(browser, stack)
        assert api.calls[TOKEN_PATH] == int(credential)
        assert (await ask(browser, stack)).status != 403  # scripts are not the gate's to explain things to


async def test_put_right(known: Both) -> None:
    """What was refused is looked at again soon, by whoever opens a page."""
    stack, api = known
    clock = Clock()
    now_is(stack, clock)
    api.audience = "other"
    browser = Browser()
    assert (await browser.sign_in(stack.url + "/", "alice")).status == 403
    api.audience = "gate"
    assert (await open_page(browser, stack)).status == 403
    assert api.calls[SELF_PATH] == 1
    clock.ahead += module.FAILED_FOR
    assert (await open_page(browser, stack)).status == 200
    assert api.calls[SELF_PATH] == 2


@pytest.mark.parametrize(
    ("broken", "part"),
    [
        ({"drops_tokens": True}, Part.ANONYMOUS),
        ({"basic": False}, Part.ROLE),
        ({"status": {SELF_PATH: 404}}, Part.NETWORK),
        ({"raw": {SELF_PATH: b"{}"}}, Part.NETWORK),
        ({"raw": {SELF_PATH: b"<html>"}}, Part.NETWORK),
    ],
)
async def test_what_holds_nobody_up(broken: dict[str, Any], part: Part) -> None:
    """Whatever is odd, but not a refusal, is told in the log and on /access; people pass."""
    async with clustered(**broken) as (stack, _):
        await stack.browser()
        who = await clusters_of(stack).who(the_live(stack), site_of(stack))
        assert [finding.part for finding in who.findings] == [part]
        assert not who.is_refused


async def test_an_api_server_that_is_down(known: Both) -> None:
    """It holds nobody up, and is asked again soon."""
    stack, api = known
    clock = Clock()
    now_is(stack, clock)
    await api.stop()
    browser = await stack.browser()
    who = await clusters_of(stack).who(the_live(stack), site_of(stack))
    assert [finding.part for finding in who.findings] == [Part.NETWORK]
    await api.start()
    clock.ahead += module.FAILED_FOR
    assert (await open_page(browser, stack)).status == 200
    assert api.calls == {SELF_PATH: 1}


async def test_an_api_server_that_is_slow(known: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page waits a moment; then no page does for a while, and the question goes on."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    stack, api = known
    api.held = asyncio.Event()
    browser = await stack.browser()
    for _ in range(3):
        assert (await asyncio.wait_for(open_page(browser, stack), LIMIT)).status == 200
    api.held.set()
    who = await clusters_of(stack).who(the_live(stack), site_of(stack))
    assert who.person is not None
    assert who.person.username == "oidc:alice@example.com"
    assert api.calls == {SELF_PATH: 1}


async def test_a_credential_that_may_not_ask() -> None:
    """Without a TokenReview there are candidates, as without a credential."""
    for change in ({"status": {TOKEN_PATH: 403}}, {"raw": {TOKEN_PATH: b"no"}}):
        async with clustered(credential=True, audience="other", **change) as (stack, api):
            page = await Browser().sign_in(stack.url + "/", "alice")
            assert texts.MISFIT_UNSURE in page.text
            assert api.calls[TOKEN_PATH] == 1
    async with clustered(credential=True, audience="other") as (stack, api):
        (stack.folder / "credential").unlink()
        page = await Browser().sign_in(stack.url + "/", "alice")
        assert texts.MISFIT_UNSURE in page.text
        assert api.calls[TOKEN_PATH] == 0


async def test_prefixes_that_differ() -> None:
    """They hold nobody up either: the API server's own names count."""
    async with clustered(site={"kubernetes": {"username_prefix": "x:"}}) as (stack, _):
        await stack.browser()
        who = await clusters_of(stack).who(the_live(stack), site_of(stack))
        assert [finding.part for finding in who.findings] == [Part.PREFIX]


async def test_other_credentials(known: Both) -> None:
    """How a person is made known to the API server is an argument: the gate may act for people."""
    stack, api = known
    await stack.browser()
    live = the_live(stack)
    assert credentials(live, site_of(stack))["Authorization"] == live.bearer.decode()[15:-2]
    api.calls.clear()
    clusters = Clusters(gate_of(stack).sites, credentials=lambda _live, _site: {"Authorization": "Bearer other"})
    assert stack.url in repr(clusters)
    assert (await clusters.who(live, site_of(stack))).is_refused
    assert api.headers[-1]["Authorization"] == "Bearer other"
    await clusters.close()


@pytest.mark.parametrize("takes", [True, False])
async def test_acting_for_people(takes: bool) -> None:
    """With its own credential the gate asks as the person; where that is not taken, the credential is to blame."""
    site = {"identity": "impersonate", **MAY}
    async with clustered(site=site, credential=True, rights=dict(ADMINS), takes_credential=takes) as (stack, api):
        browser = Browser()
        page = await browser.sign_in(stack.url + "/", "alice")
        assert page.status == (200 if takes else 403)
        assert ("<h2>Credential</h2>" in page.text) != takes
        sent = api.headers[-1]
        assert (sent["Authorization"], sent["Impersonate-User"]) == (f"Bearer {CREDENTIAL}", "oidc:alice@example.com")
        assert sent["Impersonate-Group"] == "oidc:platform-admins"
        who = await clusters_of(stack).who(the_live(stack), site_of(stack))
        assert [finding.part for finding in who.findings] == ([] if takes else [Part.CREDENTIAL])
        assert who.person == (Person("oidc:alice@example.com", (*ADMINS, "system:authenticated")) if takes else None)
        page = await Browser().sign_in(stack.url + "/", "bob")
        assert page.status == 403
        assert CREDENTIAL not in page.text


async def test_a_credential_that_is_gone() -> None:
    """Nothing is asked as anybody else; the page says that it will pass."""
    async with clustered(site={"identity": "impersonate", **MAY}, credential=True) as (stack, api):
        (stack.folder / "credential").unlink()
        browser = Browser()
        page = await browser.sign_in(stack.url + "/", "alice")
        assert page.status == 503
        assert not api.calls
        assert (await open_page(browser, stack, "/oauth2/access")).status == 503


# Whether they may pass.


async def test_who_has_the_permission_passes(judged: Both) -> None:
    """Alice may; bob gets the page of those who may not, his scripts 403, and the UI hears nothing of him."""
    stack, api = judged
    await stack.browser()
    assert stack.ui is not None
    arrived = len(stack.ui.arrivals)
    bob = Browser()
    page = await bob.sign_in(stack.url + "/", "bob")
    assert page.status == 403
    assert texts.DENIED_PERMISSION[1] in page.text
    assert 'href="/oauth2/access"' in page.text
    reply = await ask(bob, stack)
    assert (reply.status, json.loads(reply.text)["message"]) == (403, texts.DENIED_PERMISSION[1])
    assert len(stack.ui.arrivals) == arrived
    assert await is_signed_in(bob, stack)
    assert api.bodies[-1]["kind"] == "SelfSubjectAccessReview" or api.bodies[-1]["kind"] == "SelfSubjectReview"
    assert (await bob.open(f"{stack.url}/oauth2/sign_out")).status == 200


async def test_a_yes_holds_for_ten_seconds(judged: Both) -> None:
    """One question for all requests of that time, on the quick way too; then the next request asks again."""
    stack, api = judged
    browser = await stack.browser()
    live = the_live(stack)
    asked = api.calls[SELF_ACCESS_PATH]
    assert asked == 1
    before = gate_of(stack).quick.taken
    for _ in range(5):
        assert (await ask(browser, stack)).status == 200
    assert gate_of(stack).quick.taken > before
    assert live.fresh_until <= live.permitted_until
    assert api.calls[SELF_ACCESS_PATH] == asked
    api.rights.clear()
    clusters_of(stack)._verdicts.forget()
    live.permitted_until = live.fresh_until = 0.0  # ten seconds later
    taken = gate_of(stack).quick.taken
    assert [(await ask(browser, stack)).status for _ in range(3)] == [403] * 3
    assert gate_of(stack).quick.taken == taken
    assert api.calls[SELF_ACCESS_PATH] == asked + 1
    api.rights.update(ADMINS)
    clusters_of(stack)._verdicts.forget()
    assert (await ask(browser, stack)).status == 200


async def test_freshness_ends_with_the_yes(judged: Both) -> None:
    """However often a session is looked at, the quick way ends with the verdict."""
    stack, _ = judged
    await stack.browser()
    live = the_live(stack)
    assert live.permitted
    live.permitted_until = live.checked + 1.0
    live.refresh(live.checked)
    assert live.fresh_until == live.permitted_until


async def test_one_question_for_a_burst(judged: Both) -> None:
    """A page's requests wait for the same answer; none passes before it."""
    stack, api = judged
    browser = await stack.browser()
    live = the_live(stack)
    before = len(stack.ui.arrivals) if stack.ui is not None else 0
    clusters_of(stack)._verdicts.forget()
    live.permitted_until = live.fresh_until = 0.0
    api.held = asyncio.Event()
    api.waiting.clear()
    burst = [asyncio.create_task(ask(browser, stack, f"/api/v1/me?{n}")) for n in range(6)]
    await asyncio.wait_for(api.waiting.wait(), LIMIT)
    assert stack.ui is not None
    assert len(stack.ui.arrivals) == before
    api.held.set()
    assert {(await reply).status for reply in burst} == {200}
    assert api.calls[SELF_ACCESS_PATH] == 2


@pytest.mark.parametrize("status", [401, 403])
async def test_whom_the_api_server_does_not_take(status: int) -> None:
    """They have no permission."""
    async with clustered(site=MAY, rights=dict(ADMINS), status={SELF_ACCESS_PATH: status}) as (stack, _):
        page = await Browser().sign_in(stack.url + "/", "alice")
        assert page.status == 403
        assert texts.DENIED_PERMISSION[1] in page.text


async def test_a_token_that_is_not_taken_explains_the_refusal() -> None:
    """Whoever lacks the permission since nothing fits is told what does not fit."""
    async with clustered(site=MAY, rights=dict(ADMINS), audience="other") as (stack, _):
        page = await Browser().sign_in(stack.url + "/", "alice")
        assert page.status == 403
        assert "<h2>Audience</h2>" in page.text


@pytest.mark.parametrize("broken", ["down", "500", "nonsense"])
async def test_in_doubt_nobody_passes(judged: Both, broken: str) -> None:
    """503 that comes back by itself, and nobody is signed out; our own pages are there all the same."""
    stack, api = judged
    browser = await stack.browser()
    live = the_live(stack)
    clock = Clock()
    now_is(stack, clock)
    clusters_of(stack)._verdicts.forget()
    live.permitted_until = live.fresh_until = 0.0
    if broken == "down":
        await api.stop()
    elif broken == "500":
        api.status[SELF_ACCESS_PATH] = 500
    else:
        api.raw[SELF_ACCESS_PATH] = b'{"kind":"SelfSubjectAccessReview","status":{}}'
    page = await open_page(browser, stack)
    assert (page.status, page.reply.value("Retry-After")) == (503, "5")
    assert texts.CLUSTER_DOWN[0] in page.text
    script = await ask(browser, stack)
    assert (script.status, json.loads(script.text)["error"]) == (503, "cluster_unavailable")
    assert await is_signed_in(browser, stack)
    with pytest.raises(ClusterUnreachable):
        await clusters_of(stack).permit(live, site_of(stack))
    if broken == "down":
        await api.start()
    api.status.clear()
    api.raw.clear()
    clock.ahead += module.DOWN_FOR
    assert (await ask(browser, stack)).status == 200


async def test_an_api_server_that_never_answers(judged: Both) -> None:
    """The wait has an end, which is a 503."""
    stack, api = judged
    browser = await stack.browser()
    server: Any = clusters_of(stack)._servers[stack.url]
    server._session._timeout = server._timeout = ClientTimeout(total=0.05)
    clusters_of(stack)._verdicts.forget()
    the_live(stack).permitted_until = the_live(stack).fresh_until = 0.0
    api.held = asyncio.Event()
    assert (await asyncio.wait_for(ask(browser, stack), LIMIT)).status == 503


async def test_public_paths_ask_nothing() -> None:
    """A rule that lets everybody pass lets them pass while the API server is away."""
    access = {"may": MAY["access"]["may"], "rules": [{"path": "/public/*", "public": True}]}
    async with clustered(site={"access": access}, rights=dict(ADMINS)) as (stack, api):
        bob = Browser()
        await bob.sign_in(stack.url + "/", "bob")
        await api.stop()
        clusters_of(stack)._verdicts.forget()
        assert (await ask(bob, stack, "/public/x")).status != 503
        assert (await ask(bob, stack, "/other")).status == 503


async def test_a_session_that_ends_meanwhile(judged: Both) -> None:
    """A yes that comes too late opens nothing, and makes nothing fresh."""
    stack, api = judged
    browser = await stack.browser()
    live: Live = the_live(stack)
    clusters_of(stack)._verdicts.forget()
    live.permitted_until = live.fresh_until = 0.0
    api.held = asyncio.Event()
    api.waiting.clear()
    reply = asyncio.create_task(ask(browser, stack))
    await asyncio.wait_for(api.waiting.wait(), LIMIT)
    await gate_of(stack).sessions.end(live, "for a test")
    api.held.set()
    assert (await reply).status == 401
    assert live.fresh_until == 0.0


async def test_the_end_waits_for_nothing(judged: Both) -> None:
    """Questions that are under way when the gate stops are given up."""
    stack, api = judged
    await stack.browser()
    live = the_live(stack)
    clusters = clusters_of(stack)
    clusters._verdicts.forget()
    live.permitted_until = 0.0
    api.held = asyncio.Event()
    api.waiting.clear()
    clusters.judge_open([live, live], lambda _live: None)
    await asyncio.wait_for(api.waiting.wait(), LIMIT)
    assert len(clusters._tasks) == 1
    await asyncio.wait_for(clusters.close(), LIMIT)
    assert live.permitted_until == 0.0


async def test_what_is_open_closes(judged: Both) -> None:
    """A stream outlives its verdict only while the cluster says yes; while it says nothing, it stays."""
    stack, api = judged
    server = gate_of(stack)
    browser = await stack.browser()
    wire = await connect(stack.port)
    headers = {**SCRIPT, "Cookie": browser.cookie_header(stack.url)}
    await wire.send(request("/api/v1/events", host=f"localhost:{stack.port}", headers=headers))
    assert (await wire.head()).status == 200
    live = the_live(stack)

    async def look() -> None:
        clusters_of(stack)._verdicts.forget()
        live.permitted_until = 0.0
        await server.look_after()
        await asyncio.gather(*clusters_of(stack)._tasks)

    await look()
    assert live.permitted_until > 0.0
    await api.stop()
    await look()
    assert server._with_open() == [live]
    await api.start()
    api.rights.clear()
    await look()
    await asyncio.wait_for(wire.rest(), LIMIT)
    assert server._with_open() == []
    assert await is_signed_in(browser, stack)
    await wire.close()


async def test_forward_auth(judged: Both) -> None:
    """Whoever asks for a person who may not pass is told so; in doubt 503."""
    stack, api = judged
    gate = gate_of(stack)
    assert gate.forward_auth is not None
    bob = Browser()
    await bob.sign_in(stack.url + "/", "bob")
    alice = await stack.browser()
    for peers in (False, True):
        if peers:
            gate.forward_auth.is_peer = lambda _address: True  # type: ignore[method-assign]
        question = f"{stack.url}/oauth2/auth"
        original = {"X_Original_URL": f"{stack.url}/api/v1/me", "X_Original_Method": "GET"} if peers else {}
        assert (await alice.fetch(question, **original)).status == 202
        assert (await alice.fetch(question, **original)).status == 202
        assert (await bob.fetch(question, **original)).status == 403
        clusters_of(stack)._verdicts.forget()
        for live in gate.sessions._lives.values():
            live.permitted_until = live.fresh_until = 0.0
        await api.stop()
        assert (await alice.fetch(question, **original)).status == 503
        await api.start()
        clusters_of(stack)._verdicts.forget()
