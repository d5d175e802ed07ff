"""The pages about rights in the cluster, in Chromium: for everybody who looks, tabs or listens; and their small form."""

from typing import Any

import pytest
from playwright.async_api import expect

from oidcgate.kube.reviews import SELF_ACCESS_PATH
from oidcgate.web import texts
from tests.journeys.steps import fill_in
from tests.journeys.test_pages import problems_of
from tests.support.apiserver import clustered
from tests.support.chromium import People

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MAY = {"access": {"may": {"verb": "get", "resource": "services/proxy"}}}
RIGHTS = {"oidc:platform-admins": {("get", "pods"), ("list", "pods"), ("get", "services/proxy")}}
PAGES: list[tuple[str, str, str, dict[str, Any]]] = [
    # where, as whom, the heading, what the API server and the site are like
    ("/oauth2/access", "alice", texts.ACCESS[0], {"rights": RIGHTS}),
    ("/oauth2/access", "bob", texts.ACCESS[0], {"site": MAY}),
    ("/oauth2/access", "bob", texts.ACCESS[0], {"audience": "other"}),
    ("/", "bob", texts.DENIED[0], {"site": MAY}),
    ("/", "alice", texts.MISFIT[0], {"audience": "other"}),
    ("/", "alice", texts.MISFIT[0], {"audience": "other", "credential": True}),
    ("/", "alice", texts.CLUSTER_DOWN[0], {"site": MAY, "status": {SELF_ACCESS_PATH: 500}}),
]


@pytest.mark.parametrize(("path", "login", "heading", "options"), PAGES)
async def test_page(people: People, path: str, login: str, heading: str, options: dict[str, Any]) -> None:
    """A page is good to read and to use for everybody, and asks nothing of other sites."""
    person = await people(reduced_motion="reduce")
    async with clustered(**options) as (stack, _):
        page = await person.tab(stack.url + path)
        await fill_in(page, login)
        await expect(page.locator("h1")).to_have_text(heading)
        assert await problems_of(page) == []
        assert person.complaints == []
        await page.close()


async def test_another_namespace(people: People) -> None:
    """The form is filled in and sent by keyboard; what is to be copied follows it."""
    person = await people()
    async with clustered(rights=RIGHTS) as (stack, api):
        page = await person.tab(f"{stack.url}/oauth2/access")
        await fill_in(page, "alice")
        await page.get_by_label("For whom").select_option("User oidc:alice@example.com")
        await page.get_by_label("Role to ask for").select_option("edit")
        await page.get_by_role("textbox", name="Namespace").fill("shop")
        await page.keyboard.press("Enter")
        await expect(page.locator("h2").first).to_have_text(texts.RIGHTS_IN.format("shop"))
        await expect(page.locator("pre").first).to_contain_text("name: oidc:alice@example.com")
        await expect(page.locator("pre").first).to_contain_text("namespace: shop")
        await expect(page.get_by_label("Role to ask for")).to_have_value("edit")
        assert api.bodies[-1]["spec"] == {"namespace": "shop"}
        assert person.complaints == []
        await page.close()
