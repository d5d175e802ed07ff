"""The page that says who the cluster thinks one is, what one may do there, and what to ask an administrator for."""

import re
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from oidcgate.kube.reviews import SELF_ACCESS_PATH, SELF_PATH, SELF_RULES_PATH, Person, Rule, Rules
from oidcgate.web import texts
from oidcgate.web.accesspage import chosen, rights_of, subjects_of
from tests.support.apiserver import clustered
from tests.support.browser import Browser, Page
from tests.web.steps import links, quick_stack

PRE = re.compile(r"<pre[^>]*>(.*?)</pre>", re.DOTALL)
MAY = {"verb": "get", "resource": "services/proxy", "namespace": "shop"}
ALICE = Person("oidc:alice", ("oidc:a", "oidc:b", "system:authenticated"))
CHOICES = [
    # the target, what was chosen
    ("/oauth2/access", ("default", "view", "Group oidc:a")),
    ("/oauth2/access?namespace=shop&role=edit&subject=Group+oidc%3Ab", ("shop", "edit", "Group oidc:b")),
    ("/oauth2/access?subject=User+oidc%3Aalice", ("default", "view", "User oidc:alice")),
    ("/oauth2/access?subject=Group+system%3Aauthenticated&role=root", ("default", "view", "Group oidc:a")),
    ("/oauth2/access?namespace=", ("default", "view", "Group oidc:a")),
    ("/oauth2/access?namespace=Shop", ("default", "view", "Group oidc:a")),
    ("/oauth2/access?namespace=a.b", ("default", "view", "Group oidc:a")),
    ("/oauth2/access?namespace=../x", ("default", "view", "Group oidc:a")),
    (f"/oauth2/access?namespace={'a' * 64}", ("default", "view", "Group oidc:a")),
    (f"/oauth2/access?namespace={'a' * 63}", ("a" * 63, "view", "Group oidc:a")),
]


async def open_access(browser: Browser, url: str, query: str = "") -> Page:
    """The page."""
    page = await browser.open(f"{url}/oauth2/access{query}")
    assert page.status == 200, page.text
    return page


def objects(page: Page) -> list[dict[str, Any]]:
    """The RBAC objects that a page shows."""
    found = [each for text in PRE.findall(page.text) for each in yaml.safe_load_all(unescape(text))]
    return [each for each in found if isinstance(each, dict) and "rbac" in str(each.get("apiVersion"))]


@pytest.mark.parametrize(("target", "expected"), CHOICES)
def test_the_form(target: str, expected: tuple[str, str, str]) -> None:
    """What is not on offer becomes what comes first."""
    choice = chosen(target, ALICE)
    assert (choice.namespace, choice.role, str(choice.subject)) == expected


def test_for_whom() -> None:
    """Groups first; nobody's role is changed by way of the cluster's own groups."""
    assert [str(subject) for subject in subjects_of(ALICE)] == ["Group oidc:a", "Group oidc:b", "User oidc:alice"]
    assert [str(subject) for subject in subjects_of(Person("x"))] == ["User x"]


def test_rights() -> None:
    """Verbs and what they are for; what is missing is said."""
    html = rights_of(
        Rules(
            (Rule(("get", "list"), resources=("pods", "<b>"), groups=("", "apps"), names=("one",)),),
            (Rule(("get",), addresses=("/version",)),),
            incomplete=True,
        )
    )
    assert "<strong>get, list</strong><span>pods, &lt;b&gt; of apps named one</span>" in html
    assert "<strong>get</strong><span>/version</span>" in html
    assert texts.RIGHTS_INCOMPLETE.partition("{")[0] in html
    assert texts.NO_RIGHTS in rights_of(Rules())
    assert "<i>" not in rights_of(Rules(error="<i>"))


async def test_as_the_api_server_sees_it() -> None:
    """User and groups with their prefixes, rights by namespace, and bindings for these very names."""
    rights = {"oidc:platform-admins": {("list", "pods")}}
    async with clustered(rights=rights) as (stack, api):
        browser = await stack.browser()
        page = await open_access(browser, stack.url, "?namespace=shop")
        assert texts.SEEN_BY_CLUSTER.replace("'", "&#x27;") in page.text
        assert "<dd>oidc:alice@example.com</dd>" in page.text
        assert "<dd>oidc:platform-admins, system:authenticated</dd>" in page.text
        assert "<strong>list</strong><span>pods</span>" in page.text
        assert api.bodies[-1]["spec"] == {"namespace": "shop"}
        inside, everywhere = objects(page)
        assert (inside["kind"], inside["metadata"]["namespace"]) == ("RoleBinding", "shop")
        assert everywhere["kind"] == "ClusterRoleBinding"
        assert inside["subjects"][0]["name"] == everywhere["subjects"][0]["name"] == "oidc:platform-admins"
        assert {"/", "/oauth2/session", "/oauth2/sign_out"} <= set(links(page))
        assert page.reply.value("Cache-Control") == "no-store"
        assert "default-src 'none'" in page.reply.value("Content-Security-Policy")
        assert texts.NEEDED_HERE not in page.text
        subject = quote("User oidc:alice@example.com")
        page = await open_access(browser, stack.url, f"?role=edit&subject={subject}")
        assert objects(page)[0]["subjects"][0] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "User",
            "name": "oidc:alice@example.com",
        }
        assert objects(page)[0]["roleRef"]["name"] == "edit"
        assert api.calls[SELF_PATH] == 1
        session = await browser.open(f"{stack.url}/oauth2/session")
        assert "/oauth2/access" in links(session)


async def test_somebody_without_groups() -> None:
    """The binding is for themselves."""
    async with clustered() as (stack, _):
        page = await open_access(await stack.browser("carol"), stack.url)
        assert objects(page)[0]["subjects"][0]["name"] == "oidc:carol@example.com"


async def test_without_an_api_server() -> None:
    """What the token says, and which key is missing."""
    async with quick_stack() as stack:
        page = await open_access(await stack.browser(), stack.url)
        assert texts.NO_CLUSTER_KNOWN.replace("'", "&#x27;") in page.text
        assert "kubernetes.api" in page.text
        assert "<dd>alice@example.com</dd>" in page.text
        assert f"<dd>{stack.issuer.url}</dd>" in page.text
        assert "<pre" not in page.text


async def test_without_a_session() -> None:
    """After the login the page is there."""
    async with clustered() as (stack, _):
        browser = Browser()
        page = await browser.sign_in(f"{stack.url}/oauth2/access", "bob")
        assert page.url.startswith(f"{stack.url}/oauth2/access")
        assert "<dd>oidc:bob@example.com</dd>" in page.text
        page = await browser.fetch(f"{stack.url}/oauth2/access", "POST")
        assert (page.status, page.reply.value("Allow")) == (405, "GET")


async def test_whom_the_api_server_does_not_take() -> None:
    """The names that are to be expected, and what does not fit."""
    async with clustered(audience="other") as (stack, api):
        browser = Browser()
        await browser.sign_in(stack.url + "/", "alice")
        page = await open_access(browser, stack.url)
        assert texts.NOT_SEEN_BY_CLUSTER.replace("'", "&#x27;") in page.text
        assert "<h2>Audience</h2>" in page.text
        assert objects(page)[0]["subjects"][0]["name"] == "oidc:platform-admins"
        assert api.calls[SELF_RULES_PATH] == 0


async def test_an_api_server_that_is_away() -> None:
    """What is known is shown."""
    async with clustered(site={"access": {"may": MAY}}) as (stack, api):
        await api.stop()
        browser = Browser()
        assert (await browser.sign_in(stack.url + "/", "alice")).status == 503
        page = await open_access(browser, stack.url)
        assert texts.NOT_SEEN_BY_CLUSTER.replace("'", "&#x27;") in page.text
        assert texts.RIGHTS_UNKNOWN.replace("'", "&#x27;") in page.text
        assert texts.NEEDED_AND_UNKNOWN.partition("{")[0] in page.text
        assert len(objects(page)) == 2


async def test_rules_that_are_refused() -> None:
    """The reason is shown in the API server's words."""
    async with clustered(status={SELF_RULES_PATH: 500}) as (stack, _):
        page = await open_access(await stack.browser(), stack.url)
        assert "out for a test" in page.text


async def test_what_the_site_asks_for() -> None:
    """Whoever has the permission is told so; whoever lacks it gets the role and the binding that give it."""
    rights = {"oidc:platform-admins": {("get", "services/proxy")}}
    async with clustered(site={"access": {"may": MAY}}, rights=rights) as (stack, api):
        said = unescape((await open_access(await stack.browser(), stack.url)).text)
        assert texts.NEEDED_AND_THERE.format("get services/proxy in namespace 'shop'") in said
        bob = Browser()
        denied = await bob.sign_in(stack.url + "/", "bob")
        assert denied.status == 403
        page = await open_access(bob, stack.url)
        assert texts.NEEDED_AND_MISSING.format("get services/proxy in namespace 'shop'") in unescape(page.text)
        role, bound = objects(page)[:2]
        assert role["rules"] == [{"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]}]
        assert bound["roleRef"]["name"] == role["metadata"]["name"]
        assert bound["subjects"][0]["name"] == "oidc:team-shop"
        assert api.bodies[-1]["kind"] == "SelfSubjectRulesReview"
        asked = next(body for body in api.bodies if body["kind"] == "SelfSubjectAccessReview")
        assert asked["spec"]["resourceAttributes"]["namespace"] == "shop"
        assert api.calls[SELF_ACCESS_PATH] == 2


async def test_the_denied_page_leads_here() -> None:
    """Whoever is signed in and may not open something can ask why."""
    rules = [{"path": "/admins/*", "groups": ["nobody"]}]
    async with quick_stack(site={"access": {"rules": rules}}) as stack:
        browser = await stack.browser("bob")
        page = await browser.open(stack.url + "/admins/x")
        assert page.status == 403
        assert "/oauth2/access" in links(page)
        assert texts.WHY in page.text
        assert (await open_access(browser, stack.url)).status == 200
