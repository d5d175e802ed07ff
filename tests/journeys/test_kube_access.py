"""Who a real API server thinks people are, what they may do there, and what has to be applied so that they may."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from oidcgate.demo.issuer import Client
from oidcgate.web import texts
from tests.journeys.test_kube_lab import lab
from tests.lab.kube.authority import Authority
from tests.lab.kube.control_plane import ADMIN
from tests.lab.kube.issuer import ClusterStack
from tests.lab.kube.lab import NAMESPACE, PREFIX, Lab
from tests.lab.kube.programs import BUILD_LIMIT
from tests.support.browser import Browser, Page
from tests.support.raw import LIMIT
from tests.support.stack import CLIENT, SECRET
from tests.web.steps import gate_of

__all__ = ["lab"]  # the control plane is shared

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(BUILD_LIMIT + 120),
    pytest.mark.asyncio(loop_scope="session"),
]
PRE = re.compile(r"<pre[^>]*>(.*?)</pre>", re.DOTALL)
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"

Start = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="session")
async def start(lab: Lab) -> AsyncIterator[Start]:
    """Starts gates whose site names the API server; more of its keys are options."""
    running: list[ClusterStack] = []

    async def begin(*, credential: str | None = None, client: str = CLIENT, **site: Any) -> ClusterStack:
        known = {
            "api": lab.cluster.url,
            "ca_file": lab.cluster.ca_file,
            "username_prefix": PREFIX,
            "groups_prefix": PREFIX,
        }
        provider = {"client_id": client, "ca_file": lab.cluster.ca_file}
        stack = lab.stack(site={"badge": False, "kubernetes": known, **site}, config={"provider": provider})
        if credential is not None:
            known["credential_file"] = str(private(stack.folder / "credential", credential))
        stack._site["kubernetes"] = known
        running.append(stack)
        await stack.__aenter__()
        if client != CLIENT:
            lab.issuer.add_client(Client(client, SECRET, (f"{stack.url}/oauth2/callback",)))
        return stack

    yield begin
    for stack in running:
        await stack.__aexit__()


def private(file: Path, text: str) -> Path:
    """A file for the gate's eyes."""
    file.touch(0o600)
    file.write_text(text)
    return file


def yamls(page: Page) -> list[str]:
    """The texts to copy."""
    return [unescape(text) for text in PRE.findall(page.text)]


async def signed_in(lab: Lab, stack: ClusterStack, login: str, path: str = "/version") -> tuple[Browser, Page]:
    """Somebody's browser, and the first page that they get."""
    browser = Browser(route=lab.issuer.route)
    return browser, await browser.sign_in(stack.url + path, login)


async def test_people_as_the_cluster_sees_them(lab: Lab, start: Start) -> None:
    """Names have the API server's prefixes; alice may do everything, bob may look at his namespace."""
    stack = await start()
    for login, group, right in (
        ("alice", "platform-admins", "<strong>*</strong>"),
        ("bob", "team-shop", "<strong>get, list, watch</strong>"),
    ):
        browser, page = await signed_in(lab, stack, login)
        assert page.status == 200, page.text
        page = await browser.open(f"{stack.url}/oauth2/access?namespace={NAMESPACE}")
        assert f"<dd>{PREFIX}{login}@example.com</dd>" in page.text
        assert f"<dd>{PREFIX}{group}, system:authenticated</dd>" in page.text
        assert right in page.text
        assert "<h2>Prefix</h2>" not in page.text


@pytest.mark.parametrize("everywhere", [False, True])
async def test_what_is_printed_gives_access(lab: Lab, start: Start, everywhere: bool) -> None:
    """Carol may nothing; an admin applies what the page prints for her, and she may look."""
    namespace = f"granted-{str(everywhere).lower()}"
    await lab.cluster.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    stack = await start()
    browser, _ = await signed_in(lab, stack, "carol")
    path = f"{stack.url}/api/v1/namespaces/{namespace}/pods"
    assert (await browser.fetch(path)).status == 403
    page = await browser.open(f"{stack.url}/oauth2/access?namespace={namespace}")
    assert texts.TO_ASK_FOR in page.text
    printed = yamls(page)[int(everywhere)]
    await lab.cluster.apply(printed)
    try:
        async with asyncio.timeout(LIMIT):
            while (await browser.fetch(path)).status != 200:  # the authorizer learns of it by a watch
                pass
    finally:
        done = await lab.cluster.kubectl("delete", "-f", "-", "--wait=false", stdin=printed)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("credential", [ADMIN, None])
async def test_a_wrong_audience(lab: Lab, start: Start, credential: str | None) -> None:
    """In place of an empty UI there is the page that names it: for certain where the gate may ask for TokenReviews."""
    stack = await start(credential=credential, client="elsewhere")
    browser, page = await signed_in(lab, stack, "alice", "/pods?x")
    assert page.status == 403, page.text
    said = unescape(page.text)
    assert texts.MISFIT[0] in said
    assert "The token is for the audience elsewhere." in said
    assert ('It accepts ["gate" "kubectl"].' in said) == (credential is not None)
    assert (texts.MISFIT_UNSURE in said) == (credential is None)
    assert re.findall("<h2>(.*?)</h2>", page.text)[0] == "Audience"
    assert "  audiences:\n    - elsewhere\n" in yamls(page)[0]
    assert "--oidc-client-id=elsewhere" in yamls(page)
    assert 'href="/pods?x"' in page.text
    assert (await browser.fetch(f"{stack.url}/oauth2/userinfo")).status == 200


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"iss": "https://elsewhere.example"}, "Issuer"),
        ({"email_verified": False}, "Username claim"),
        ({"nbf": 32503680000}, "Clock"),
    ],
)
async def test_what_a_token_review_tells(lab: Lab, start: Start, change: dict[str, Any], part: str) -> None:
    """The API server's own words, of the release that runs here, are understood."""
    stack = await start(credential=ADMIN)
    browser, _ = await signed_in(lab, stack, "alice")
    (live,) = gate_of(stack).sessions._lives.values()
    live.shared.bearer = live.bearer = b"Authorization: Bearer " + changed(lab, change).encode() + b"\r\n"
    page = await browser.open(f"{stack.url}/")
    assert page.status == 403
    assert re.findall("<h2>(.*?)</h2>", page.text) == [part]


def changed(lab: Lab, change: dict[str, Any]) -> str:
    """Alice's token with other claims."""
    keys = lab.issuer.keys
    claims = keys.verify(lab.issuer.id_token("alice"), issuer=lab.issuer.url)
    return keys.sign(keys.header, {**claims, **change})


async def test_may_decides(lab: Lab, start: Start) -> None:
    """Who lacks the permission is refused by the gate, until an admin applies what /access prints."""
    may = {"verb": "get", "resource": "services/proxy", "namespace": NAMESPACE}
    stack = await start(access={"may": may})
    alice, page = await signed_in(lab, stack, "alice")
    assert page.status == 200
    bob, page = await signed_in(lab, stack, "bob")
    assert page.status == 403
    assert texts.DENIED_PERMISSION[1] in page.text
    assert (await bob.fetch(stack.url + PODS)).status == 403
    page = await bob.open(f"{stack.url}/oauth2/access?namespace={NAMESPACE}")
    printed = yamls(page)[0]
    assert "kind: Role\n" in printed
    await lab.cluster.apply(printed)
    try:
        async with asyncio.timeout(LIMIT):
            while (await bob.fetch(stack.url + PODS)).status != 200:
                gate_of(stack).clusters._verdicts.forget()  # ten seconds later
        page = await bob.open(f"{stack.url}/oauth2/access")
        assert texts.NEEDED_AND_THERE.partition("{")[0] in page.text
    finally:
        done = await lab.cluster.kubectl("delete", "-f", "-", "--wait=false", stdin=printed)
        assert done.returncode == 0, done.stderr
    assert (await alice.fetch(stack.url + PODS)).status == 200


async def test_a_wrong_ca(lab: Lab, start: Start, tmp_path: Path) -> None:
    """An API server that the gate does not trust holds nobody up; /access says why nothing is known."""
    stack = await start()
    gate_of(stack).clusters._servers[stack.url]._ca_file = str(Authority(tmp_path).ca_file)
    browser, page = await signed_in(lab, stack, "alice")
    assert page.status == 200
    page = await browser.open(f"{stack.url}/oauth2/access")
    assert "<h2>CA</h2>" in page.text
    assert f"<dd>{lab.issuer.url}</dd>" in page.text
